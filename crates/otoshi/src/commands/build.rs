use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use clap::Args;
use otoshi_engine::Events;
use otoshi_pipeline::Pipeline;
use otoshi_project::Project;
use otoshi_store::Home;

use crate::{
    engine::{engine, remote_for},
    failure::Failure,
    progress,
    timings::Timings,
    transfer,
    words::short,
};

/// Build a project's images, running only the phases that have to run.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Fail if otoshi.lock would have to change
    #[arg(long)]
    locked: bool,
    /// Move the runner's bases in otoshi.lock to what their tags point to now, then build
    #[arg(long, conflicts_with = "locked")]
    refresh: bool,
    /// With --refresh: move the builder's bases as well
    #[arg(long, requires = "refresh")]
    builder: bool,
    /// Run every phase and every step again
    #[arg(long)]
    no_cache: bool,
    /// Show the output of every command
    #[arg(short, long)]
    verbose: bool,
    /// Write an HTML timeline of all steps
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// Print JSON, in the format of `otoshi plan --json`
    #[arg(long)]
    json: bool,
    /// What docker build pulls, a project takes in by otoshi refresh
    #[arg(long, hide = true)]
    pull: bool,
    /// The context and the flags of docker build, which belong to otoshi image build
    #[arg(hide = true, value_name = "CONTEXT")]
    context: Option<PathBuf>,
    #[arg(short, long, hide = true)]
    tag: Vec<String>,
    #[arg(short, long, hide = true)]
    file: Option<PathBuf>,
}

impl Build {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        if self.context.is_some() || !self.tag.is_empty() || self.file.is_some() {
            let message =
                "otoshi build builds the project of otoshi.toml, and takes no context, tag or Dockerfile";
            let hint = "otoshi image build builds one image, with the flags of docker build";
            return Err(Failure::usage(message, Some(hint.into())));
        }
        if self.pull {
            errln!(
                "warning: --pull: a build keeps to otoshi.lock; otoshi refresh takes in what the bases' tags point to now"
            );
        }
        let _usage = home.claim()?;
        let started = Instant::now();
        let project = Project::find(&self.project).map_err(Box::new)?;
        let mut events: Arc<dyn Events> = progress::to_standard_error(self.verbose).into();
        let timings = self.timings.as_ref().map(|_| Arc::new(Timings::new(Arc::clone(&events))));
        if let Some(timings) = &timings {
            events = Arc::clone(timings) as Arc<dyn Events>;
        }
        let remote = remote_for(home, &events);
        let engine = engine(home, &remote);
        let pipeline =
            Pipeline::new(home, &engine, &project).with_remote(&remote).with_no_cache(self.no_cache);
        let built = if self.refresh {
            pipeline.build_refreshed(self.builder, events.as_ref())
        } else {
            pipeline.build(self.locked, events.as_ref())
        };
        if let (Some(timings), Some(path)) = (timings, &self.timings) {
            // A failed build is worth a look as well.
            let written = timings.write(&project.manifest.project.name, path);
            if built.is_ok() {
                written?;
            }
        }
        let plan = built.map_err(Box::new)?;
        super::plan::print(&plan, self.json, ["kept", "ran", "skipped"]);
        if !self.json {
            for (name, digest) in &plan.images {
                outln!("{name}  {}", short(digest));
            }
            if let Some(summary) = remote.summary().filter(|summary| summary.requests > 0) {
                errln!("{}", transfer::sentence("downloaded", &summary));
            }
            errln!("done in {:.2} s", started.elapsed().as_secs_f64());
        }
        Ok(ExitCode::SUCCESS)
    }
}
