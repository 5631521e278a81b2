//! Why a task ended.

use std::{io, path::PathBuf};

/// What went wrong, and to what.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A command could not be started.
    #[error("starting {command}: {source}")]
    Start {
        /// As a person would type it.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A command ended badly.
    #[error("{command}: {status}{output}")]
    Command {
        /// As a person would type it.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it printed, where that was not shown; starts with a line break.
        output: String,
    },
    /// A file could not be used.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine has not what is started on it.
    #[error("this {0}")]
    Missing(#[from] otoshi_test::Missing),
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(String),
}

impl Failure {
    /// Makes the error of a file operation.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}

/// A result whose error is a [`Failure`].
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;
