//! Import and export: images in the forms that other tools read and write.
//!
//! | form | what it is | who makes it |
//! | --- | --- | --- |
//! | OCI directory | an image layout | `skopeo`, `umoci`, `crane`, Otoshi's own store |
//! | OCI archive | the same in a tar | BuildKit, `skopeo`, `podman save --format oci-archive` |
//! | docker-archive | `manifest.json`, configs and plain layers in a tar | `docker save` |
//! | root filesystem | a tar of `/` | `mmdebstrap`, `debootstrap` and `tar`, `docker export` |
//!
//! Archives may be plain, gzip or zstd, and may come through a pipe. Nothing is believed: digests, sizes and diff ids are
//! computed again, and an image is named only when all of it is in the layout.

mod archive;
mod daemon;
mod docker;
mod oci;
mod rootfs;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::image::Descriptor;
use otoshi_explain::{Explain, Kind};
use otoshi_http::ExchangeError;

use self::archive::Archive;
pub use self::daemon::{DockerHost, load_into_docker};
pub use self::docker::{export_docker_archive, import_docker_archive};
pub use self::oci::{export_oci_archive, export_oci_dir, import_oci};
pub use self::rootfs::import_rootfs_tar;
use crate::digest::{DiffId, Digest, DigestError};
use crate::image::ImageError;
use crate::layer::{Compression, LayerError};
use crate::layout::{Layout, LayoutError};
use crate::platform::Platform;
use crate::reference::{Reference, ReferenceError};
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
    #[error("{} holds {} images ({}); one name cannot name them all", path.display(), names.len(), names.join(", "))]
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

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> TransferError + 'a {
    move |source| TransferError::Io { action, path: path.to_owned(), source }
}

/// Says how images are imported.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The name of the image, instead of the one it has where it comes from.
    pub name: Option<Reference>,
    /// The platform, where a source has several and not all of them are whole, or none is said.
    pub platform: Platform,
    /// How layers that come uncompressed are stored.
    pub compression: Compression,
    /// How many threads compress; 0 means one per core.
    pub threads: usize,
}

impl Default for ImportOptions {
    /// The names that images have, this machine's platform, gzip, one thread per core.
    fn default() -> Self {
        Self { name: None, platform: Platform::host(), compression: Compression::default(), threads: 0 }
    }
}

/// Describes an image that is now in the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name; without one it is listed, but only until the next sweep.
    pub reference: Option<Reference>,
    /// Its manifest or index.
    pub descriptor: Descriptor,
    /// The digest of that.
    pub digest: Digest,
}

/// Names the form that a source had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A directory that is an image layout.
    OciDirectory,
    /// A tar of one.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// A tar of a root filesystem.
    RootFilesystem,
}

/// Imports images from a directory or file, whichever form it has.
///
/// A root filesystem becomes an image of `options.platform` with an empty config.
pub fn import_any(
    layout: &Layout,
    path: &Path,
    options: &ImportOptions,
) -> Result<(Form, Vec<Imported>), TransferError> {
    let metadata = path.metadata().map_err(io_error("look at", path))?;
    if metadata.is_dir() {
        return Ok((Form::OciDirectory, import_oci(layout, path, options)?));
    }
    let file = File::open(path).map_err(io_error("open", path))?;
    if metadata.is_file() {
        import_archive(layout, Archive::open(layout, file, path)?, options)
    } else {
        import_any_from(layout, file, path, options)
    }
}

/// Imports images from a stream, whichever form it has; `name` is what errors call it.
pub fn import_any_from(
    layout: &Layout,
    reader: impl Read + Send,
    name: &Path,
    options: &ImportOptions,
) -> Result<(Form, Vec<Imported>), TransferError> {
    import_archive(layout, Archive::spool(layout, reader, name)?, options)
}

fn import_archive(
    layout: &Layout,
    archive: Archive,
    options: &ImportOptions,
) -> Result<(Form, Vec<Imported>), TransferError> {
    if archive.is_oci() {
        let images = oci::import(layout, &oci::Source::Archive(archive), options)?;
        Ok((Form::OciArchive, images))
    } else if docker::is_docker(&archive) {
        Ok((Form::DockerArchive, docker::import(layout, &archive, options)?))
    } else {
        let config = crate::config::ImageConfig::new(&options.platform);
        let name = archive.path.clone();
        let image = import_rootfs_tar(layout, archive.into_reader(), config, &name, options)?;
        Ok((Form::RootFilesystem, vec![image]))
    }
}

/// Names images in the layout, and lists those without a name: all, or none.
fn file_images(
    layout: &Layout,
    images: Vec<(Option<Reference>, Descriptor)>,
) -> Result<Vec<Imported>, TransferError> {
    layout.file_all(&images)?;
    let imported = |(reference, descriptor): (Option<Reference>, Descriptor)| {
        Ok(Imported { reference, digest: Digest::of(&descriptor)?, descriptor })
    };
    images.into_iter().map(imported).collect()
}

impl Explain for TransferError {
    fn kind(&self) -> Kind {
        Kind::Machine
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Layout(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Ambiguous { .. } => {
                Some("leave the name away to keep the names that the images have".to_owned())
            }
            Self::DockerHost { .. } => {
                Some("unset DOCKER_HOST, or export a docker-archive and load that".to_owned())
            }
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as root, or add this user to the group docker".to_owned())
            }
            Self::Exchange { source, .. } => source.hint(),
            Self::Connect { .. } => Some("start Docker, or set DOCKER_HOST to its socket".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free space on this file system, then run the same command again".to_owned())
            }
            Self::Io { source, .. } | Self::Archive { source: TarError::Io(source), .. } => source
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<crate::layer::UnsupportedEncoding>())
                .map(|encoding| format!("decompress it first: {}", encoding.command())),
            _ => None,
        }
    }
}
