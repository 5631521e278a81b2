//! The otoshi command line: arguments, calls, output. What is decided is decided in the crates below.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "`print` has what fails in order")]

#[macro_use]
mod print;

mod arguments;
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

fn main() -> ExitCode {
    otoshi_sandbox::init_if_requested();
    let arguments = match arguments::Arguments::try_parse() {
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
