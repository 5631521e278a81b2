//! What can go wrong with an import or export.

use std::io;
use std::path::{Path, PathBuf};

use otoshi_explain::{Explain, Kind, Remedy};
use otoshi_http::ExchangeError;

use crate::digest::{DiffId, Digest, DigestError};
use crate::image::ImageError;
use crate::layer::LayerError;
use crate::layout::LayoutError;
use crate::reference::ReferenceError;
use crate::tar::TarError;

/// Says why an image could not be imported or exported.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The layout failed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The image could not be read or written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer could not be read or written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A descriptor has a digest that cannot be verified.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A file or stream failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The source is not a readable archive.
    #[error("cannot read {}", path.display())]
    Archive {
        /// The source.
        path: PathBuf,
        /// Why.
        source: TarError,
    },
    /// The source is not what it should be.
    #[error("{} is not usable: {reason}", path.display())]
    Invalid {
        /// The source.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The source names an image in a way that is no reference.
    #[error("{} names an image {name:?}", path.display())]
    Name {
        /// The source.
        path: PathBuf,
        /// The name.
        name: String,
        /// Why it is none.
        source: ReferenceError,
    },
    /// The source lacks a blob that an image in it needs.
    #[error("{} lacks blob {digest}", path.display())]
    Missing {
        /// The source.
        path: PathBuf,
        /// The blob.
        digest: Digest,
    },
    /// A blob has another size than its descriptor says.
    #[error("blob {digest} has {found} bytes, but its descriptor says {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The content of a layer is not what its image says.
    #[error("layer {layer} has the diff id {found}, but the image says {expected}")]
    DiffId {
        /// The layer.
        layer: String,
        /// What the image says.
        expected: DiffId,
        /// What there is.
        found: DiffId,
    },
    /// One name was given for several images.
    #[error("{} holds {} images ({}); they cannot all have one name", path.display(), names.len(), names.join(", "))]
    Ambiguous {
        /// The source.
        path: PathBuf,
        /// What the images are called there.
        names: Vec<String>,
    },
    /// `DOCKER_HOST` names a daemon in a way that is not supported.
    #[error("DOCKER_HOST is {value:?}; only unix:// sockets are supported")]
    DockerHost {
        /// Its value.
        value: String,
    },
    /// The Docker daemon cannot be reached.
    #[error("cannot connect to the Docker daemon at {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The Docker daemon did not answer.
    #[error("cannot load an image into the Docker daemon at {}: {source}", socket.display())]
    Exchange {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: Box<ExchangeError>,
    },
    /// The Docker daemon refused the image.
    #[error("the Docker daemon could not load the image: {message}")]
    Daemon {
        /// What it said.
        message: String,
    },
}

pub(super) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> TransferError + 'a {
    move |source| TransferError::Io { action, path: path.to_owned(), source }
}

impl Explain for TransferError {
    fn kind(&self) -> Kind {
        match self {
            // What was named is something else, and the store has nothing to do with it.
            Self::Layout(LayoutError::NotALayout { .. })
            | Self::Ambiguous { .. }
            | Self::DockerHost { .. } => Kind::User,
            Self::Layout(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            Self::Io { source, .. } => Kind::of_named_path(source),
            _ => Kind::Machine,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Layout(error) => error.remedy(),
            Self::Image(error) => error.remedy(),
            Self::Layer(error) => error.remedy(),
            Self::Ambiguous { .. } => {
                Some("leave out the name to keep the names that the images have".into())
            }
            Self::DockerHost { .. } => {
                Some("unset DOCKER_HOST, or export a docker-archive and load that".into())
            }
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as root, or add this user to the group docker".into())
            }
            Self::Exchange { source, .. } => source.remedy(),
            Self::Connect { .. } => Some("start Docker, or set DOCKER_HOST to its socket".into()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free space on this file system, then run the same command again".into())
            }
            Self::Io { source, .. } | Self::Archive { source: TarError::Io(source), .. } => source
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<crate::layer::UnsupportedEncoding>())
                .map(|encoding| format!("decompress it first: {}", encoding.command()).into()),
            _ => None,
        }
    }
}
