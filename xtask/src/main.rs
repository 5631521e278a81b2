//! The repository's own tasks, one file each.

mod bases;
mod bench;
mod ci_check;
mod circles;
mod conformance;
#[cfg(test)]
mod container;
mod demo;
mod deny;
mod deps;
mod docker;
#[cfg(test)]
mod examples;
mod failure;
mod fuzz;
mod http;
mod methods;
mod peers;
mod process;
mod project;
mod releases;
mod repository;
mod reproduce;
#[cfg(test)]
mod rooms;
mod test;
mod tokens;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::repository::root;

/// The repository's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Demo(demo::Demo),
    Test(test::Test),
    Bench(bench::Bench),
    Conformance(conformance::Conformance),
    Reproduce(reproduce::Reproduce),
    Fuzz(fuzz::Fuzz),
    Bases(bases::Bases),
    Peers(peers::Peers),
    Deny(deny::Deny),
    CiCheck(ci_check::CiCheck),
    Circles(circles::Circles),
    Methods(methods::Methods),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::Conformance(task) => task.run(),
        Task::Reproduce(task) => task.run(),
        Task::Fuzz(task) => task.run(),
        Task::Bases(task) => task.run(),
        Task::Peers(task) => task.run(),
        Task::Deny(task) => task.run(),
        Task::CiCheck(task) => task.run(),
        Task::Circles(task) => task.run(),
        Task::Methods(task) => task.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
