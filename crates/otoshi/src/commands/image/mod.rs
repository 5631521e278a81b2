//! Work on single images, without a project.

mod allow;
mod asides;
mod build;
mod check;
mod elsewhere;
mod given;
mod ignore;
mod output;
mod push;
mod source;

use std::{process::ExitCode, sync::Arc};

use clap::Subcommand;
use otoshi_store::Home;

pub(super) use asides::switch;

use crate::failure::Failure;

/// Work on single images, without a project.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    Build(build::Build),
    Check(check::Check),
    Push(push::Push),
    Pull(super::pull::Pull),
    #[command(visible_alias = "list")]
    Ls(super::images::Images),
    Tag(super::tag::Tag),
    Rm(super::rmi::Rmi),
    History(super::history::History),
    Inspect(super::inspect::Inspect),
}

impl ImageCommand {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        match self {
            Self::Build(build) => build.run(home),
            Self::Check(check) => check.run(home),
            Self::Push(push) => push.run(home),
            Self::Pull(pull) => pull.run(home),
            Self::Ls(images) => images.run(home),
            Self::Tag(tag) => tag.run(home),
            Self::Rm(rmi) => rmi.run(home),
            Self::History(history) => history.run(home),
            Self::Inspect(inspect) => inspect.run(home),
        }
    }
}
