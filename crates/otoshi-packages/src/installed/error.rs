//! Why the packages of an image cannot be read.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use otoshi_explain::{Explain, Kind, Remedy};
use otoshi_oci::Digest;
use otoshi_oci::layer::LayerError;

/// Says why the packages of an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// A database is not what its name says, or is damaged.
    #[error("cannot read the packages in /{path}: {reason}")]
    Database {
        /// The file, without leading slash.
        path: String,
        /// Why.
        reason: String,
    },
    /// A layer could not be read.
    #[error("cannot read what is installed")]
    Layer(#[from] LayerError),
    /// A layer is not here and could not be brought.
    #[error("cannot read what is installed: layer {layer} is not here")]
    Fetch {
        /// The layer's blob.
        layer: Digest,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An unpacked root could not be read.
    #[error("cannot read what is installed below {}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A layer has more, or larger, files that say such things than any that is meant so.
    #[error("cannot read what is installed: layer {layer} has too many or too large settings files")]
    TooMuch {
        /// The layer's blob.
        layer: Digest,
    },
    /// There are too many levels of symbolic links.
    #[error("cannot read what is installed: too many levels of symbolic links in the image")]
    Links,
}

impl Explain for InstalledError {
    fn kind(&self) -> Kind {
        Kind::Machine
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Layer(error) => error.remedy(),
            _ => None,
        }
    }
}
