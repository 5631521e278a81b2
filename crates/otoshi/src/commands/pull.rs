use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use otoshi_oci::{Platform, Reference};
use otoshi_pipeline::Remote;
use otoshi_registry::Depth;
use otoshi_store::Home;

use crate::{failure::Failure, transfer::Shown};

/// Pull an image from a registry into the store.
///
/// Logins of `docker login` and `skopeo login` are used, and mirrors of registries.conf.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The image
    image: String,
    /// Platform of a multi-platform image [default: this machine's]
    #[arg(long)]
    platform: Option<String>,
}

impl Pull {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let reference = Reference::parse(&self.image)?;
        let platform = match &self.platform {
            Some(text) => {
                text.parse::<Platform>().map_err(|error| Failure::usage(error.to_string(), None))?
            }
            None => Platform::host(),
        };
        let shown = Shown::new("downloaded");
        let remote = Remote::new(Arc::clone(home), Arc::clone(&shown) as _);
        let (pulled, summary) = remote
            .pull_named(&reference, &platform, Depth::Layers)?
            .ok_or_else(|| no_such_image(&reference))?;
        shown.clear();
        outln!("{} {}", reference.familiar(), pulled.digest);
        shown.finish(&summary);
        Ok(ExitCode::SUCCESS)
    }
}

/// The error of a reference that stands for nothing.
fn no_such_image(reference: &Reference) -> Failure {
    Failure::Missing {
        message: format!("{}: it has nothing under {}", reference.name(), tail(reference)),
        hint: "check the repository and the tag; a private one may need a login".to_owned(),
    }
}

/// Tag or digest.
fn tail(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("the digest {digest}"),
        (None, tag) => format!("the tag {}", tag.unwrap_or("latest")),
    }
}
