use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_pipeline::Pipeline;
use otoshi_project::Project;
use otoshi_store::Home;

use crate::{
    engine::{engine, remote},
    failure::Failure,
    words::{counted, short},
};

/// Restore the images and otoshi.lock as they were before the last refresh on this machine.
///
/// Run it again to go back further. Nothing is built; `otoshi refresh` goes forward again.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Push the restored images, as `otoshi push` does
    #[arg(long)]
    push: bool,
    /// Tag for the pushed app images, as in `otoshi push --tag`
    #[arg(short, long, value_name = "TAG")]
    tag: Option<String>,
    /// Print JSON: `images` (name → digest), `at` (when they were left, in seconds since 1970), `left` (earlier states)
    #[arg(long)]
    json: bool,
}

impl Rollback {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let project = Project::find(&self.project).map_err(Box::new)?;
        let remote = remote(home);
        let engine = engine(home, &remote);
        let pipeline = Pipeline::new(home, &engine, &project).with_remote(&remote);
        let back = pipeline.rollback().map_err(Box::new)?;
        if self.push {
            super::push::publish(&pipeline, None, self.tag.as_deref())?;
        }
        if self.json {
            outln!("{}", serde_json::to_string_pretty(&back).unwrap_or_default());
            return Ok(ExitCode::SUCCESS);
        }
        for (name, digest) in &back.images {
            outln!("{name}  {}", short(digest));
        }
        let verb = if back.left == 1 { "is" } else { "are" };
        errln!("{} {verb} known", counted(back.left as u64, "earlier state"));
        if !self.push && project.manifest.registry.is_some() {
            errln!("the registry has what was pushed last; otoshi push puts these images there");
        }
        Ok(ExitCode::SUCCESS)
    }
}
