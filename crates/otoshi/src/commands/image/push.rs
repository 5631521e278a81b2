use std::{process::ExitCode, sync::Arc};

use clap::Args;
use otoshi_oci::{Digest, Reference};
use otoshi_registry::{Item, Repository};
use otoshi_store::Home;

use crate::{engine::remote, failure::Failure, named::find, transfer::Shown};

/// Push an image from the store to a registry.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The image's name
    image: String,
    /// Reference in the registry [default: its name]
    reference: Option<String>,
}

impl Push {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let image = find(home, &self.image)?;
        let reference = Reference::parse(self.reference.as_ref().unwrap_or(&self.image))?;
        push(home, &image.digest, std::slice::from_ref(&reference))?;
        outln!("{}@{}", reference.without_digest(), image.digest);
        Ok(ExitCode::SUCCESS)
    }
}

/// Pushes an image of the store under these names; all move together.
pub(super) fn push(home: &Arc<Home>, digest: &Digest, names: &[Reference]) -> Result<(), Failure> {
    let item = |name: &Reference| Item {
        repository: Repository::of(name),
        tag: Some(name.tag().unwrap_or("latest").to_owned()).filter(|_| name.digest().is_none()),
        digest: digest.clone(),
    };
    let items: Vec<Item> = names.iter().map(item).collect();
    let shown = Shown::new("uploaded");
    let summary = remote(home).push(&items, Arc::clone(&shown) as _)?;
    shown.clear();
    shown.finish(&summary);
    Ok(())
}
