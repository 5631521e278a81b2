use std::{process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_oci::Reference;
use otoshi_registry::{Item, Repository};
use otoshi_store::Home;

use crate::{commands, failure::Failure, transfer::Shown};

/// Pushes one image of the store to a registry.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The image's name
    image: String,
    /// The reference that it gets there [default: its name]
    reference: Option<String>,
}

impl Push {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = commands::claim(home)?;
        let image = commands::find(home, &self.image)?;
        let reference = Reference::parse(self.reference.as_ref().unwrap_or(&self.image))?;
        let tag = reference.tag().map(str::to_owned);
        let item = Item { repository: Repository::of(&reference), tag, digest: image.digest.clone() };
        let shown = Shown::new("uploaded");
        let summary = commands::remote(home).push(&[item], Arc::clone(&shown) as _)?;
        shown.clear();
        println!("{}@{}", reference.without_digest(), image.digest);
        shown.finish(&summary);
        Ok(ExitCode::SUCCESS)
    }
}
