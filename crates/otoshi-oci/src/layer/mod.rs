//! Layers: directory trees as tar blobs.
//!
//! ```text
//! tree (overlayfs upper) ──write_layer──▶ tar ──▶ compressed blob in the layout
//!                                          └─ digest of the tar: the diff id
//! blob ──unpack_layer──▶ tree (usable as an overlayfs lower directory)
//! ```
//!
//! On disk, deletions have the form that overlayfs gives them; in the archive, the form that the OCI specification does:
//!
//! | on disk | in the archive |
//! | --- | --- |
//! | character device 0:0 at `NAME` | empty file `.wh.NAME` |
//! | directory with the attribute `trusted.overlay.opaque` (rootless: `user.overlay.opaque`) = `y` | empty file `.wh..wh..opq` in it |
//!
//! Promises:
//! - The same tree gives the same bytes on every machine, at every number of threads: sorted entries, fixed block sizes,
//!   no names of users, no times but the given one. Sparse files are stored whole, since holes depend on the file system.
//! - Unpacking touches nothing outside its root, whatever the archive says; an error names layer and entry.
//! - Memory is bounded whatever the sizes are.
//!
//! Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md>

mod compress;
mod copy;
mod decompress;
mod deflate;
pub mod pyc;
mod root;
mod store;
mod tree;
mod unpack;
mod xattr;

use std::io;
use std::path::PathBuf;

use oci_spec::image::{Descriptor, MediaType};
use otoshi_explain::{Explain, Kind, Remedy};

pub use self::copy::copy_tree;
pub(crate) use self::decompress::with_stream;
pub use self::decompress::{Encoding, UnsupportedEncoding, decoder};
pub(crate) use self::store::inspect;
pub use self::store::{measure, store_tar};
pub use self::tree::{write_layer, write_tar};
pub use self::unpack::{Unpacked, unpack_layer};
pub use self::xattr::OverlayXattrs;
use crate::digest::DiffId;
use crate::layout::LayoutError;
use crate::tar::TarError;

/// The prefix of a name that deletes.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The prefix of names that mean something else than deleting one entry.
pub(crate) const WHITEOUT_META: &[u8] = b".wh..wh.";
/// The name that hides everything below its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Says how a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 6, which every tool reads.
    #[default]
    Gzip,
    /// zstd, level 3: smaller and faster, for tools made since 2020 or so.
    Zstd,
}

impl Compression {
    /// Its name, as settings and keys have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the media type of a layer that is compressed this way.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }
}

/// Says which time the entries of a layer get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mtime {
    /// This one, in seconds since 1970.
    Set(i64),
    /// The one they have in the tree, or this one where theirs is later.
    Clamp(i64),
    /// The one they have in the tree.
    Keep,
}

/// Describes a directory above the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixDir {
    /// Its path in the layer, such as `srv/app`.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Says how a tree becomes a layer.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// How the blob is compressed.
    pub compression: Compression,
    /// The time of all entries.
    pub mtime: Mtime,
    /// Directories that come first; the tree goes below the last.
    pub prefix: Vec<PrefixDir>,
    /// Owner and group of all entries of the tree, instead of those on disk.
    pub owner: Option<(u32, u32)>,
    /// How many threads compress; 0 means one per core. The bytes are the same for every number.
    pub threads: usize,
    /// Where the tree's overlay attributes are.
    pub xattr_namespace: OverlayXattrs,
    /// Trees below this one, the topmost first, each with the time that all of its files have in its layer; they have the same prefix.
    ///
    /// Compiled Python files that record the time of a source in one of these are corrected as well.
    pub normalised_lower: Vec<(PathBuf, i64)>,
}

impl Default for WriteOptions {
    /// gzip, all times 1970, everything else as it is on disk, one thread per core.
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            mtime: Mtime::Set(0),
            prefix: Vec::new(),
            owner: None,
            threads: 0,
            xattr_namespace: OverlayXattrs::Trusted,
            normalised_lower: Vec::new(),
        }
    }
}

/// Describes a layer that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLayer {
    /// The blob, as a manifest lists it.
    pub descriptor: Descriptor,
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The size of the tar in bytes.
    pub uncompressed_size: u64,
    /// How many entries the tar has.
    pub entries: u64,
    /// Whether its bytes depend on the trees that are known to be below.
    pub depends_on_lower: bool,
}

/// Says how a layer becomes a tree.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Where the tree's overlay attributes go.
    pub xattr_namespace: OverlayXattrs,
    /// What errors call the layer.
    pub layer_name: String,
    /// Says that this runs in a user namespace, where some attributes cannot be set and are left out.
    pub in_userns: bool,
    /// Gives `.wh.` names their meaning; off, they are names like others, as in an archive that is no layer, and an entry for
    /// the root changes nothing.
    pub whiteouts: bool,
    /// Leaves directories that are there as they are, and links that lead to one: what a package manager does. A link does
    /// not take a directory's place then, and a file that would is refused.
    pub keep_directories: bool,
    /// Owner and group of all entries, instead of those that they say.
    pub owner: Option<(u32, u32)>,
    /// The trees below this one, the topmost first: directories that the layer implies but does not list get mode, owner, time
    /// and attributes from there; where a link is in their place, what is in them goes where it leads. Of merged layers, one view.
    pub lower: Vec<PathBuf>,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            xattr_namespace: OverlayXattrs::Trusted,
            layer_name: "layer".to_owned(),
            in_userns: false,
            whiteouts: true,
            keep_directories: false,
            owner: None,
            lower: Vec::new(),
        }
    }
}

/// Says why a layer could not be written or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The layout failed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file of the tree, or the stream, could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The tree holds something that a layer cannot.
    #[error("cannot put {} into a layer: {reason}", path.display())]
    Tree {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The stream is not a tar archive, or a malformed one.
    #[error("cannot read {layer}")]
    Archive {
        /// The layer.
        layer: String,
        /// Why.
        source: TarError,
    },
    /// The stream has a compression that is not known.
    #[error("cannot read {layer}")]
    Encoding {
        /// The layer.
        layer: String,
        /// Which one.
        source: UnsupportedEncoding,
    },
    /// An entry asks for something that must not be done.
    #[error("refused to unpack entry {entry:?} of {layer}: {reason}")]
    Refused {
        /// The layer.
        layer: String,
        /// The entry's name.
        entry: String,
        /// Why.
        reason: String,
    },
    /// An entry could not be put on disk.
    #[error("cannot {action} for entry {entry:?} of {layer}")]
    Entry {
        /// The layer.
        layer: String,
        /// The entry's name.
        entry: String,
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Explain for LayerError {
    fn kind(&self) -> Kind {
        Kind::Machine
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Layout(error) => error.remedy(),
            Self::Encoding { source, .. } => {
                Some(format!("decompress it first: {}", source.command()).into())
            }
            Self::Entry { action: root::MAKE_DEVICE, source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(
                    "device nodes can only be made by root; run as root, or use an image without them".into(),
                )
            }
            Self::Entry { action: root::SET_OWNER, source, .. }
                if source.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) =>
            {
                Some(
                    "the owner has no id here; give this user a larger range in /etc/subuid and /etc/subgid"
                        .into(),
                )
            }
            Self::Entry { source, .. } | Self::Io { source, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Some("free space on this file system, then run the same command again".into())
            }
            _ => None,
        }
    }
}
