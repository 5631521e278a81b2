//! The otoshi command line: arguments, calls, output. What is decided is decided in the crates below.

mod commands;
mod exit;
mod failure;
mod pipe;
mod progress;
mod publish;
mod timings;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

/// Keeps application container images fresh at the least possible cost.
///
/// Exit codes: 0 done; 1 a build step or command failed, or a check found something; 2 the arguments or a project's files are wrong; 3 a
/// registry does not have it, or does not answer; 4 the store or an image has a problem; 5 this system lacks something; 6 a rebase or
/// refresh is refused; `check`: 10 something is newer, 11 security updates are waiting; `check`, `update`: 20 something could not be looked at; 141 nobody
/// reads on; otherwise the code of the command that `run` started.
#[derive(Debug, Parser)]
#[command(name = "otoshi", version)]
struct Arguments {
    /// The directory that keeps images and results [default: otoshi in the XDG data directory]
    #[arg(long, env = "OTOSHI_HOME", global = true, value_name = "DIR")]
    home: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    otoshi_sandbox::init_if_requested();
    pipe::end_quietly();
    let arguments = Arguments::parse();
    if std::env::var_os("OTOSHI_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_env("OTOSHI_LOG");
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    match arguments.command.run(arguments.home) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
