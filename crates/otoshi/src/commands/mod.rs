//! The commands, one file each.

mod build;
mod check;
mod diff;
mod doctor;
mod export;
mod gc;
mod history;
mod image;
mod images;
mod import;
mod inspect;
mod network;
mod plan;
mod pull;
mod push;
mod rebase;
mod refresh;
mod rmi;
mod rollback;
mod run;
mod schema;
mod tag;
mod update;
mod verify;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Subcommand;
use otoshi_store::Home;

use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    InStore(InStore),
    Doctor(doctor::Doctor),
    Schema(schema::Schema),
}

/// The commands that need a store.
#[derive(Debug, Subcommand)]
pub(crate) enum InStore {
    Build(build::Build),
    Plan(plan::Plan),
    Check(check::Check),
    Update(update::Update),
    Run(run::Run),
    Import(import::Import),
    Pull(pull::Pull),
    Push(push::Push),
    Refresh(refresh::Refresh),
    Rollback(rollback::Rollback),
    Rebase(rebase::Rebase),
    Export(export::Export),
    #[command(visible_alias = "ls")]
    Images(images::Images),
    Tag(tag::Tag),
    Rmi(rmi::Rmi),
    History(history::History),
    Inspect(inspect::Inspect),
    Diff(diff::Diff),
    Gc(gc::Gc),
    Verify(verify::Verify),
    #[command(subcommand)]
    Image(image::ImageCommand),
}

impl Command {
    pub(crate) fn run(self, home: Option<PathBuf>) -> Result<ExitCode, Failure> {
        match self {
            Self::InStore(command) => command.run(home),
            Self::Doctor(command) => command.run(home),
            Self::Schema(command) => Ok(command.run()),
        }
    }
}

impl InStore {
    fn run(self, home: Option<PathBuf>) -> Result<ExitCode, Failure> {
        // Before any thread: what follows unpacks, mounts or changes owners.
        if !matches!(self, Self::Images(_) | Self::Inspect(_) | Self::History(_)) {
            otoshi_sandbox::enter_namespace()?;
        }
        let path = home.map_or_else(Home::default_path, Ok)?;
        let home = Arc::new(Home::open(&path)?);
        match self {
            Self::Build(command) => command.run(&home),
            Self::Plan(command) => command.run(&home),
            Self::Check(command) => command.run(&home),
            Self::Update(command) => command.run(&home),
            Self::Run(command) => command.run(&home),
            Self::Import(command) => command.run(&home),
            Self::Pull(command) => command.run(&home),
            Self::Push(command) => command.run(&home),
            Self::Rebase(command) => command.run(&home),
            Self::Refresh(command) => command.run(&home),
            Self::Rollback(command) => command.run(&home),
            Self::Export(command) => command.run(&home),
            Self::Images(command) => command.run(&home),
            Self::Tag(command) => command.run(&home),
            Self::Rmi(command) => command.run(&home),
            Self::History(command) => command.run(&home),
            Self::Inspect(command) => command.run(&home),
            Self::Diff(command) => command.run(&home),
            Self::Gc(command) => command.run(&home),
            Self::Verify(command) => command.run(&home),
            Self::Image(command) => command.run(&home),
        }
    }
}
