//! Work on single images, without a project.

mod build;
mod check;
mod given;
mod output;
mod push;
mod source;

use std::{process::ExitCode, sync::Arc};

use clap::Subcommand;
use otoshi_store::Home;

use crate::failure::Failure;

/// Works on single images, without a project.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    Build(build::Build),
    Check(check::Check),
    Push(push::Push),
}

impl ImageCommand {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        match self {
            Self::Build(build) => build.run(home),
            Self::Check(check) => check.run(home),
            Self::Push(push) => push.run(home),
        }
    }
}
