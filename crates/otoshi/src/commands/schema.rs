use std::process::ExitCode;

use clap::Args;

/// Prints the JSON schema of otoshi.toml, for editors.
#[derive(Debug, Args)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(self) -> ExitCode {
        println!("{:#}", otoshi_project::schema());
        ExitCode::SUCCESS
    }
}
