use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// Prints the JSON schema of otoshi.toml, for editors, or of a report.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// What it describes
    #[arg(value_enum, default_value = "project")]
    of: Of,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    /// otoshi.toml
    Project,
    /// What `otoshi check --json` prints
    Check,
}

impl Schema {
    pub(crate) fn run(self) -> ExitCode {
        let schema = match self.of {
            Of::Project => otoshi_project::schema(),
            Of::Check => otoshi_updates::schema(),
        };
        println!("{schema:#}");
        ExitCode::SUCCESS
    }
}
