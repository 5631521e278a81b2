//! How errors explain themselves: of what kind they are, which decides how the program ends, and what can be tried.
//!
//! Whoever hands an error on keeps its kind and its remedy. What an exit code is, and how a command is called, only the command line
//! knows.

use std::error::Error;

mod passed;
mod remedy;

pub use passed::{HandedOn, Panicked};
pub use remedy::{Remedy, Wording};

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller: an argument, or a file of the project, is wrong.
    User,
    /// The author of what was run: a command ended with another exit code than 0, or was stopped.
    Build,
    /// Whoever keeps the registry or the package repository: it does not have something, or does not answer.
    Registry,
    /// Whoever keeps the machine: its disk, the store, or a fault of the program's own.
    Machine,
    /// Whoever keeps the machine: commands cannot be run in a sandbox there.
    Sandbox,
}

impl Kind {
    /// The kind of an error with a file or directory that the caller named: that there is none such, or that it holds
    /// something else, is the caller's, all else the machine's.
    pub fn of_named_path(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidData => Self::User,
            _ => Self::Machine,
        }
    }
}

/// Says of what kind an error is, and what can be tried.
pub trait Explain: Error {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// What to try: words, or what this program itself can do about it. Whoever hands an error on hands on this.
    fn remedy(&self) -> Option<Remedy> {
        None
    }

    /// What to try, in words that name no command of this program; none where there are none.
    fn hint(&self) -> Option<String> {
        self.remedy().and_then(Remedy::into_words)
    }
}

impl<T: Explain> Explain for Box<T> {
    fn kind(&self) -> Kind {
        (**self).kind()
    }

    fn remedy(&self) -> Option<Remedy> {
        (**self).remedy()
    }
}
