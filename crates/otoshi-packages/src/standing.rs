//! How a package stands to its image's repositories, and repositories that could not be asked.

use crate::error::RepositoryError;

/// A repository that could not be asked, or a part of one.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which one: its id, or its address, or where its source stands.
    pub place: String,
    /// Why.
    pub error: RepositoryError,
    /// Says whether what was kept of it counts instead.
    pub kept: bool,
}

/// Says how a package stands to its image's repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No repository has the package: somebody installed it by other means.
    Foreign,
    /// No repository that answered has the package, and one did not answer.
    Unknown,
    /// There is nothing newer.
    Fresh,
    /// There is something newer.
    Newer(Newer),
}

/// A newer version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// The version.
    pub version: String,
    /// The suite, address or id of the repository that has it.
    pub repository: String,
    /// Says whether it, or a version between it and the installed one, fixes a security problem, as far as the repositories
    /// say so (those of Alpine do not).
    pub security: bool,
    /// Why the package manager would not take it by itself; `None` where it would.
    pub withheld: Option<Withheld>,
}

/// Says why a package manager does not take a newer version by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Somebody asked that the package stays as it is.
    Held,
    /// A pin, or a condition on its version.
    Pinned,
    /// It is taken step by step: so many machines in a hundred take it already, and this one does not.
    Phased(u8),
    /// The settings exclude it.
    Excluded,
    /// It belongs to a stream that is not on.
    Module,
    /// A repository that counts more has the package, too.
    Priority,
}
