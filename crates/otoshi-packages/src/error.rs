//! Why a repository cannot be used: each reason is a variant, so that a person and a program can tell them apart.

use std::path::PathBuf;

use jiff::Timestamp;
use otoshi_explain::{Explain, Kind, Remedy};
use otoshi_http::SafeUrl;

use crate::fetch::FetchError;

/// Says what is wrong with a text, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Malformed {
    pub(crate) fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// Says why a document cannot be read, in words that come after its name, as in "it is not UTF-8".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl From<String> for Unreadable {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<&str> for Unreadable {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// An error with a repository.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RepositoryError {
    /// A file of apt's configuration cannot be understood.
    #[error("{file}: {reason}")]
    Configuration {
        /// The file, below the root.
        file: String,
        /// What is wrong, and in which line.
        reason: Malformed,
    },
    /// The address is of a kind that is not fetched.
    #[error("{url} is not fetched: only http and https are")]
    Method {
        /// The address.
        url: SafeUrl,
    },
    /// No key can be read for a source.
    #[error("no key to check {url} with: {reason}")]
    Keyring {
        /// The repository.
        url: SafeUrl,
        /// What was tried.
        reason: String,
    },
    /// There was no answer, or not the one asked for.
    #[error("cannot fetch {url}: {reason}")]
    Fetch {
        /// The address.
        url: SafeUrl,
        /// Why.
        reason: FetchError,
    },
    /// The repository has no such file.
    #[error("{url} does not exist")]
    Missing {
        /// The address.
        url: SafeUrl,
    },
    /// The repository is not signed.
    #[error("{url} is unsigned")]
    Unsigned {
        /// The address.
        url: SafeUrl,
    },
    /// Nobody signed whose key is known.
    #[error("{url} is signed by {}, and the image has no such key", keys.join(" and "))]
    UnknownKey {
        /// The address.
        url: SafeUrl,
        /// Who signed: fingerprints, or key ids.
        keys: Vec<String>,
    },
    /// The key that signed is not to be trusted any more, or never was to sign.
    #[error("{url} is signed by {key}, which {reason}")]
    UselessKey {
        /// The address.
        url: SafeUrl,
        /// The key's fingerprint.
        key: String,
        /// Why it counts for nothing, as in "expired on …".
        reason: String,
    },
    /// Something is not what was signed.
    #[error("{url} was tampered with: {reason}")]
    Tampered {
        /// The address.
        url: SafeUrl,
        /// What does not match.
        reason: String,
    },
    /// Something is shorter or longer than what was signed.
    #[error("{url} is truncated: it has {found} bytes instead of {expected}")]
    Truncated {
        /// The address.
        url: SafeUrl,
        /// How many bytes were promised.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// What was signed is not valid any more.
    #[error("{url} expired at {since}")]
    Expired {
        /// The address.
        url: SafeUrl,
        /// When.
        since: Timestamp,
    },
    /// What was signed is of a time to come.
    #[error("{url} is dated {date}, which is in the future")]
    NotYetValid {
        /// The address.
        url: SafeUrl,
        /// Its date.
        date: Timestamp,
    },
    /// What was signed is older than what was seen before.
    #[error("{url} is a replay: it is dated {date}, and one dated {seen} was seen before")]
    Replayed {
        /// The address.
        url: SafeUrl,
        /// Its date.
        date: Timestamp,
        /// The newest date seen.
        seen: Timestamp,
    },
    /// What was signed cannot be understood, or lacks what the source names.
    #[error("{url}: {reason}")]
    Malformed {
        /// The address.
        url: SafeUrl,
        /// What is wrong.
        reason: String,
    },
    /// It would take more memory than the repositories of one check may.
    #[error(
        "{url} is not read: {bytes} bytes are more than the {most} that the repositories of one check may take"
    )]
    TooMuch {
        /// The address.
        url: SafeUrl,
        /// How many bytes it would be.
        bytes: u64,
        /// How many there may be.
        most: u64,
    },
    /// What is kept of repositories cannot be read or written.
    #[error("{doing} {}: {reason}", path.display())]
    Kept {
        /// What was being done, as in "writing".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        reason: String,
    },
}

impl RepositoryError {
    /// Names the reason in one word that stays the same, for data.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Configuration { .. } => "configuration",
            Self::Method { .. } => "method",
            Self::Keyring { .. } => "keyring",
            Self::Fetch { .. } => "fetch",
            Self::Missing { .. } => "missing",
            Self::Unsigned { .. } => "unsigned",
            Self::UnknownKey { .. } => "unknown-key",
            Self::UselessKey { .. } => "useless-key",
            Self::Tampered { .. } => "tampered",
            Self::Truncated { .. } => "truncated",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Replayed { .. } => "replayed",
            Self::Malformed { .. } => "malformed",
            Self::TooMuch { .. } => "too-much",
            Self::Kept { .. } => "kept",
        }
    }
}

impl Explain for RepositoryError {
    fn kind(&self) -> Kind {
        Kind::Registry
    }

    fn remedy(&self) -> Option<Remedy> {
        let hint = match self {
            Self::UnknownKey { .. } | Self::Keyring { .. } => Some(
                "the image must have the key of whoever runs the repository where its package manager looks: \
                     Signed-By of apt's source, gpgkey of dnf's repository, /etc/apk/keys",
            ),
            Self::UselessKey { .. } => {
                Some("update the package in the image that holds the repository's keys")
            }
            Self::Unsigned { .. } => Some(
                "trusted=yes on apt's source, or repo_gpgcheck=0 on dnf's repository, accepts an unsigned one; \
                     better sign it",
            ),
            Self::Expired { .. } => Some(
                "the mirror may be stale, or the release archived: check-valid-until=no accepts it as it is",
            ),
            Self::NotYetValid { .. } => Some("check this machine's clock"),
            Self::Tampered { .. } | Self::Truncated { .. } | Self::Replayed { .. } => Some(
                "the mirror may be in the middle of an update, or something on the way changes it: try again",
            ),
            Self::TooMuch { .. } => {
                Some("no real repository is so large; the image may name one that is not to be trusted")
            }
            Self::Missing { .. } => Some("the release may have been archived, or the address may be wrong"),
            _ => None,
        };
        hint.map(Remedy::from)
    }
}
