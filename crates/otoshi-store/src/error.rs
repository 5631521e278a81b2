//! What can go wrong with the home directory.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use otoshi_explain::{Explain, Kind, Remedy};
use otoshi_oci::LayoutError;

/// An error of the store: what was being done, to which path, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file system operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, as in "creating".
        action: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The store was written by another version of Otoshi, or its `format` file is damaged.
    #[error("the store {} has format {found:?}, and this otoshi reads format {supported}", path.display())]
    Format {
        /// The store's directory.
        path: PathBuf,
        /// The format number found there.
        found: String,
        /// The format number that this program reads.
        supported: u32,
    },
    /// No home directory is known.
    #[error(
        "no place for the store: OTOSHI_HOME is not set, and neither XDG_DATA_HOME nor HOME is an absolute path"
    )]
    NoHome,
    /// The root of the file system was named as the store's directory.
    #[error("the store cannot be {}, which holds everything else", path.display())]
    WholeSystem {
        /// The directory.
        path: PathBuf,
    },
    /// The garbage collector found the store in use.
    #[error("the store {} is in use by another otoshi", path.display())]
    Busy {
        /// The store's directory.
        path: PathBuf,
    },
    /// The image layout inside the store reported an error.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A digest in the store's index is not one.
    #[error("reading the image index: {0}")]
    Digest(#[from] otoshi_oci::DigestError),
}

/// What to do about a store of another format.
fn other_format(found: &str, supported: u32) -> &'static str {
    match found.parse::<u32>() {
        Ok(found) if found > supported => "use a newer otoshi",
        Ok(_) => "use an older otoshi",
        Err(_) => "the store's file `format` is damaged; restore it from a backup",
    }
}

impl StoreError {
    /// Whether it says no more than that nothing can be written there.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self.system(), Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied))
    }

    /// Whether the disk takes nothing more.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.system(), Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }

    /// What the system said, where it was one of its operations that failed.
    fn system(&self) -> Option<ErrorKind> {
        match self {
            Self::Io { source, .. } | Self::Layout(LayoutError::Io { source, .. }) => Some(source.kind()),
            _ => None,
        }
    }

    /// Wraps an I/O error with what was being done and to what; for use with `map_err`.
    pub fn io<E: Into<std::io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source: source.into() }
    }
}

impl Explain for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoHome | Self::WholeSystem { .. } => Kind::User,
            Self::Io { source, .. } if source.kind() == ErrorKind::NotADirectory => Kind::User,
            Self::Layout(error) => error.kind(),
            _ => Kind::Machine,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Layout(error) => error.remedy(),
            Self::Digest(error) => error.remedy(),
            Self::Format { found, supported, .. } => {
                Some(format!("{}, or set another OTOSHI_HOME", other_format(found, *supported)).into())
            }
            Self::NoHome => Some("set OTOSHI_HOME to a directory".into()),
            Self::WholeSystem { .. } => Some("set OTOSHI_HOME to a directory of its own".into()),
            Self::Busy { .. } => Some(Remedy::Wait),
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    Some("set OTOSHI_HOME to a directory that you can write to".into())
                }
                ErrorKind::NotADirectory => Some("set OTOSHI_HOME to a directory".into()),
                _ => None,
            },
        }
    }
}
