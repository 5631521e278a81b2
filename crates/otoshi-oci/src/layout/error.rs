//! What can go wrong with a layout.

use std::io;
use std::path::{Path, PathBuf};

use otoshi_explain::{Explain, Kind, Remedy};

use super::files::INDEX_FILE;
use crate::digest::{Digest, DigestError};

/// Says what went wrong in a layout store.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory is not an OCI image layout.
    #[error("{} is not an OCI image layout", path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
    },
    /// The layout has a version that is not known.
    #[error("{} is an OCI image layout of version {version:?}; only 1.0.0 is known", path.display())]
    Version {
        /// The directory.
        path: PathBuf,
        /// The version it claims.
        version: String,
    },
    /// There is no such blob.
    #[error("blob {digest} is missing from {}", root.display())]
    Missing {
        /// The blob.
        digest: Digest,
        /// The layout.
        root: PathBuf,
    },
    /// The content of a blob is not what its name says.
    #[error("blob {digest} in {} is corrupt: its content has the digest {found}", root.display())]
    Corrupt {
        /// The blob.
        digest: Digest,
        /// The layout.
        root: PathBuf,
        /// The digest of what is there.
        found: Digest,
    },
    /// The content offered is not the content that was asked for.
    #[error("expected content with digest {expected}, got {found}")]
    Unexpected {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A document is larger than any honest one.
    #[error("{what} has {size} bytes or more; at most {most} are read")]
    TooLarge {
        /// The document.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The bound, in bytes.
        most: u64,
    },
    /// One more image would make `index.json` longer than what is written.
    #[error("the list of images in {} would have {size} bytes, which is too much", root.display())]
    Full {
        /// The layout's directory.
        root: PathBuf,
        /// How long it would be, in bytes.
        size: u64,
    },
    /// A document is not the JSON it should be.
    #[error("{what} is not valid")]
    Json {
        /// The document.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A descriptor names its content in a way that cannot be verified.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// Attaches what was being done to an input/output error.
pub(crate) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> LayoutError + 'a {
    move |source| LayoutError::Io { action, path: path.to_owned(), source }
}

impl Explain for LayoutError {
    fn kind(&self) -> Kind {
        Kind::Machine
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Full { .. } => Some(Remedy::CollectGarbage),
            Self::Corrupt { root, digest, .. } => Some(Remedy::Words(format!(
                "remove {}/blobs/{}/{} and import or build the image again",
                root.display(),
                digest.algorithm(),
                digest.hex()
            ))),
            Self::Json { what, .. } if what.ends_with(INDEX_FILE) => Some(Remedy::Words(format!(
                "restore the file from a backup, or remove {what}: images then have no names until they are built again"
            ))),
            _ => None,
        }
    }
}
