use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

/// Prints the JSON schema of otoshi.toml, for editors.
#[derive(Debug, Args)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        println!("{:#}", otoshi_project::schema());
        Ok(ExitCode::SUCCESS)
    }
}
