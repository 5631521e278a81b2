//! Why no root can be made.

use std::io;
use std::path::PathBuf;

use otoshi_explain::{Explain, Kind, Remedy};

use super::deb::DebError;
use crate::apt::index::Record;

/// Says why no root could be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A package, or what one depends on, is in no repository, or not in the version that is needed.
    #[error("{0}")]
    Unmet(String),
    /// Two of the packages must not be installed together.
    #[error("{0}")]
    Conflict(String),
    /// A package could not be fetched, or is not what the index says.
    #[error("fetching {package}: {reason}")]
    Fetch {
        /// Its name and version.
        package: String,
        /// Why.
        reason: String,
    },
    /// A package's file cannot be read.
    #[error("reading {package}: {reason}")]
    Package {
        /// Its name and version.
        package: String,
        /// Why.
        reason: DebError,
    },
    /// A package's files cannot be put into the root.
    #[error("unpacking {package}: {reason}")]
    Unpack {
        /// Its name and version.
        package: String,
        /// Why.
        reason: otoshi_oci::layer::LayerError,
    },
    /// A command in the new root failed.
    #[error("{what}: {reason}")]
    Script {
        /// What was being done.
        what: String,
        /// How it ended, and the last that it said.
        reason: String,
    },
    /// A command could not be started.
    #[error("running a package's scripts: {0}")]
    Sandbox(#[from] otoshi_sandbox::SandboxError),
    /// Something in the new root cannot be read or removed.
    #[error("{action} /{path} in the new root: {source}")]
    Inside {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// An index that is kept is damaged.
    #[error(transparent)]
    Index(#[from] crate::apt::index::Damaged),
    /// What is kept cannot be written or read.
    #[error("keeping {}: {source}", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for RootError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unmet(_) | Self::Conflict(_) => Kind::User,
            Self::Fetch { .. } | Self::Package { .. } => Kind::Registry,
            Self::Unpack { reason, .. } => reason.kind(),
            Self::Script { .. } => Kind::Build,
            Self::Sandbox(error) => error.kind(),
            Self::Inside { .. } | Self::Index(_) | Self::Kept { .. } => Kind::Machine,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Unpack { reason, .. } => reason.remedy(),
            Self::Sandbox(error) => error.remedy(),
            _ => None,
        }
    }
}

/// Two packages have a file, and neither replaces the other.
pub(super) fn conflict(one: &Record, other: &Record, path: &[u8]) -> RootError {
    RootError::Conflict(format!(
        "{} and {} both have /{}",
        named(one),
        named(other),
        otoshi_oci::tar::display(path)
    ))
}

pub(super) fn named(record: &Record) -> String {
    format!("{} {}", record.name, record.version)
}
