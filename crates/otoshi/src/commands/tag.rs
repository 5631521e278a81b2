use std::process::ExitCode;

use clap::Args;
use otoshi_oci::Reference;
use otoshi_store::Home;

use crate::{failure::Failure, named::describe};

/// Give an image in the store another name.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image's name or digest
    image: String,
    /// The additional name
    name: String,
}

impl Tag {
    pub(crate) fn run(self, home: &Home) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let name = Reference::parse(&self.name)?;
        if name.digest().is_some() {
            let hint = Some("a digest is computed from the image and cannot be chosen".to_owned());
            return Err(Failure::usage(format!("{} cannot be given as a name", self.name), hint));
        }
        let descriptor = describe(home, &self.image)?;
        home.layout().names().tag(&name, descriptor)?;
        Ok(ExitCode::SUCCESS)
    }
}
