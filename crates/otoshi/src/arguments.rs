//! What stands on the command line.

use clap::Parser;

use crate::commands::Command;

/// Keep application container images fresh at the lowest possible cost.
///
/// Exit codes: 0 success; 1 a build step or command failed, or a check found something; 2 invalid arguments or project files; 3
/// not found in the registry, or the registry does not answer; 4 a problem with the store or an image; 5 something is missing
/// on this machine; 6 a rebase or refresh was refused; `check`: 10 updates available, 11 security updates available; `check`,
/// `update`: 20 something could not be checked; 141 output pipe closed; otherwise the exit code of the command that `run`
/// started.
#[derive(Debug, Parser)]
#[command(name = "otoshi", version)]
pub(crate) struct Arguments {
    /// Directory for images and results [env: OTOSHI_HOME] [default: otoshi in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<std::path::PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}
