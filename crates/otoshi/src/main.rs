//! The otoshi command line: arguments, calls, output. What is decided is decided in the crates below.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "`print` has what fails in order")]

#[macro_use]
mod print;

mod commands;
mod engine;
mod exit;
mod failure;
mod files;
mod habits;
mod named;
mod output_file;
mod progress;
mod publish;
mod remedy;
mod timings;
mod transfer;
mod words;

use std::process::ExitCode;

use clap::Parser;

/// Keep application container images fresh at the lowest possible cost.
///
/// Exit codes: 0 success; 1 a build step or command failed, or a check found something; 2 invalid arguments or project files; 3
/// not found in the registry, or the registry does not answer; 4 a problem with the store or an image; 5 something is missing
/// on this machine; 6 a rebase or refresh was refused; `check`: 10 updates available, 11 security updates available; `check`,
/// `update`: 20 something could not be checked; 141 output pipe closed; otherwise the exit code of the command that `run`
/// started.
#[derive(Debug, Parser)]
#[command(name = "otoshi", version)]
struct Arguments {
    /// Directory for images and results [env: OTOSHI_HOME] [default: otoshi in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    otoshi_sandbox::init_if_requested();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let words: Vec<String> =
                std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            match habits::known(&error, &words) {
                Some(failure) => return failure.report(),
                None => error.exit(),
            }
        }
    };
    if std::env::var_os("OTOSHI_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_env("OTOSHI_LOG");
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let code = match arguments.command.run(arguments.home) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    };
    print::flush();
    code
}
