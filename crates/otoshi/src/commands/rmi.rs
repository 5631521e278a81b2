use std::process::ExitCode;

use clap::Args;
use otoshi_oci::{Digest, Reference};
use otoshi_store::Home;

use crate::{failure::Failure, named::not_in_store};

/// Remove names of images; `otoshi gc` then removes images without a name.
#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Names, or digests to remove all names of an image
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Ignore names that do not exist
    #[arg(short, long)]
    force: bool,
    /// Accepted for compatibility: removing a name never removes the image at once
    #[arg(long, hide = true)]
    no_prune: bool,
}

impl Rmi {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let layout = home.layout();
        // All is looked up before anything is taken away.
        let mut names = Vec::new();
        for text in &self.images {
            let found: Vec<Reference> = if let Ok(digest) = text.parse::<Digest>() {
                let is_it =
                    |(_, descriptor): &(Reference, _)| Digest::of(descriptor).ok().as_ref() == Some(&digest);
                layout.names().tagged()?.into_iter().filter(is_it).map(|(name, _)| name).collect()
            } else {
                let name = Reference::parse(text)?;
                layout.names().resolve(&name)?.map(|_| name).into_iter().collect()
            };
            if found.is_empty() && !self.force {
                return Err(not_in_store(text));
            }
            names.extend(found);
        }
        for name in names {
            if home.untag(&name)? {
                outln!("{}", name.familiar());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
