use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_pipeline::{Pipeline, Results};
use otoshi_project::Project;
use otoshi_registry::Summary;
use otoshi_store::Home;

use crate::{
    engine::{engine, remote},
    failure::Failure,
    transfer::Shown,
};

/// Push the result of the last build to the repository in [registry].
///
/// Besides the app images, that is everything another machine needs to continue from here: builder and runner, the compiled
/// application, and a record of each phase. Only what the registry lacks is uploaded; all tags move together at the end.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Project directory [default: the nearest one with an otoshi.toml]
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Tag for the app images; in a shared repository it follows the process name, as in web-TAG
    #[arg(short, long, value_name = "TAG")]
    tag: Option<String>,
    /// Push only the compiled application, as an image that Kubernetes can mount as a volume
    #[arg(long)]
    compiled: bool,
    /// Print JSON: `images` (reference → digest), and `moved`, `total` (bytes), `requests`, `blobs` (`moved`, `mounted`, `skipped`)
    #[arg(long)]
    json: bool,
}

impl Push {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let project = Project::find(&self.project).map_err(Box::new)?;
        let remote = remote(home);
        let engine = engine(home, &remote);
        let pipeline = Pipeline::new(home, &engine, &project).with_remote(&remote);
        let shown = Shown::new("uploaded");
        let progress = Arc::clone(&shown) as _;
        let tag = self.tag.as_deref();
        let published = if self.compiled {
            pipeline.publish_compiled(tag, progress)
        } else {
            pipeline.publish(None, tag, progress)
        };
        let published = published.map_err(Box::new)?;
        // Everything that was asked, for the line and for JSON.
        let summary = Summary { requests: remote.client()?.requests(), ..published.summary };
        shown.clear();
        if self.json {
            let text = serde_json::json!({
                "images": published.images,
                "moved": summary.moved,
                "total": summary.total,
                "requests": summary.requests,
                "blobs": {
                    "moved": summary.blobs_moved,
                    "mounted": summary.blobs_mounted,
                    "skipped": summary.blobs_skipped,
                },
            });
            outln!("{text:#}");
        } else {
            for (reference, digest) in &published.images {
                outln!("{reference}@{digest}");
            }
        }
        shown.finish(&summary);
        Ok(ExitCode::SUCCESS)
    }
}

/// Pushes what a project's images are now, and tells what moved.
pub(super) fn publish(
    pipeline: &Pipeline<'_>,
    results: Option<&Results>,
    tag: Option<&str>,
) -> Result<(), Failure> {
    let shown = Shown::new("uploaded");
    let published = pipeline.publish(results, tag, Arc::clone(&shown) as _).map_err(Box::new)?;
    shown.finish(&published.summary);
    Ok(())
}
