use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// Print the JSON schema of otoshi.toml, for editors, or of a report.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// What the schema describes
    #[arg(value_enum, default_value = "project")]
    of: Of,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    /// otoshi.toml
    Project,
    /// The output of `otoshi check --json`
    Check,
}

impl Schema {
    pub(crate) fn run(self) -> ExitCode {
        let schema = match self.of {
            Of::Project => otoshi_project::schema(),
            Of::Check => otoshi_updates::schema(),
        };
        outln!("{schema:#}");
        ExitCode::SUCCESS
    }
}
