//! The layout store: a directory that is a valid OCI image layout at all times.
//!
//! ```text
//! <root>/
//!   oci-layout             {"imageLayoutVersion":"1.0.0"}
//!   index.json             what is kept: tagged manifests, and untagged ones until the next sweep
//!   blobs/<alg>/<hex>      content, named by its digest; never changed once there
//!   ingest/<pid>-<n>-…     content being written; an flock on the file says that its writer lives
//!   .lock                  flock: exclusive to change index.json or to sweep, shared to add or reuse a blob
//! ```
//!
//! Promises:
//! - A blob appears whole or not at all: it is written in `ingest/`, synced, then renamed into place.
//! - `index.json` is replaced the same way, under the lock, and only after the blobs it names were synced.
//! - Any number of processes may work in one layout. A process that dies leaves garbage in `ingest/` or an unused blob at
//!   most, and [`Layout::sweep`] removes both.
//! - Readers need no lock.
//!
//! Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>

mod blob;
mod index;
mod sweep;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_spec::image::{Descriptor, MediaType};
use otoshi_explain::{Explain, Kind};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::blob::BlobWriter;
pub use self::index::NamedBy;
pub use self::sweep::Swept;
use crate::digest::{Algorithm, Digest, DigestError, Hasher};

/// The largest JSON document (manifest, index, config) that is read, in bytes.
pub const MAX_JSON: u64 = 16 << 20;

/// The annotation that holds an image's name in `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const INGEST: &str = "ingest";
const LOCK_FILE: &str = ".lock";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

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

/// Holds blobs and an index of images, in a directory that other OCI tools can read.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    read: index::Read,
}

impl Layout {
    /// Opens the layout in a directory, making both where they are missing.
    ///
    /// A directory that has other files in it and no layout is refused.
    pub fn create_or_open(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self { root: root.into(), read: index::Read::default() };
        match layout.check_version() {
            Ok(()) if layout.root.join(INGEST).is_dir() && layout.root.join(INDEX_FILE).is_file() => {
                Ok(layout)
            }
            Ok(()) => layout.complete(),
            Err(LayoutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let foreign = match fs::read_dir(&layout.root) {
                    Ok(entries) => entries.filter_map(Result::ok).any(|e| {
                        ![INGEST, LOCK_FILE, INDEX_FILE, "blobs"].iter().any(|own| e.file_name() == *own)
                    }),
                    Err(_) => false,
                };
                // Another process may have made the layout since the first look.
                if foreign && layout.check_version().is_err() {
                    return Err(LayoutError::NotALayout { path: layout.root });
                }
                layout.complete()
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an existing layout without writing to it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self { root: root.into(), read: index::Read::default() };
        match layout.check_version() {
            Err(LayoutError::Io { source, path, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(LayoutError::NotALayout { path: path.parent().unwrap_or(&path).to_owned() })
            }
            other => other.map(|()| layout),
        }
    }

    /// Returns the directory of the layout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn check_version(&self) -> Result<(), LayoutError> {
        let path = self.root.join(LAYOUT_FILE);
        let bytes = read_bounded(&path, "the layout's version")?;
        let value: Value = parse_json(&bytes, || path.display().to_string())?;
        match value.get("imageLayoutVersion").and_then(Value::as_str) {
            Some("1.0.0") => Ok(()),
            version => Err(LayoutError::Version {
                path: self.root.clone(),
                version: version.unwrap_or_default().to_owned(),
            }),
        }
    }

    fn complete(self) -> Result<Self, LayoutError> {
        for directory in [self.root.join("blobs/sha256"), self.root.join(INGEST)] {
            fs::create_dir_all(&directory).map_err(io_error("create the directory", &directory))?;
        }
        let lock = self.lock(FlockOperation::LockExclusive)?;
        if !self.root.join(INDEX_FILE).exists() {
            self.replace(INDEX_FILE, &index::empty()?)?;
        }
        if !self.root.join(LAYOUT_FILE).exists() {
            self.replace(LAYOUT_FILE, LAYOUT)?;
        }
        drop(lock);
        Ok(self)
    }

    /// Returns where a blob lies, whether it is there or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.algorithm_dir(digest.algorithm()).join(digest.hex())
    }

    fn algorithm_dir(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.as_str())
    }

    /// Says whether a blob is there.
    pub fn has(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(self.blob_path(digest)).is_ok_and(|m| m.is_file())
    }

    /// Says whether a blob is there, with the size that its descriptor says. One that is cut off is not.
    pub fn holds(&self, descriptor: &Descriptor) -> bool {
        Digest::of(descriptor)
            .is_ok_and(|digest| self.size(&digest).is_ok_and(|size| size == descriptor.size()))
    }

    /// Says whether a blob is there and, if so, makes it young, so that no sweep removes it before it is named again.
    pub fn reuse(&self, digest: &Digest) -> Result<bool, LayoutError> {
        let _lock = self.lock(FlockOperation::LockShared)?;
        if !self.has(digest) {
            return Ok(false);
        }
        let path = self.blob_path(digest);
        let file = File::open(&path).map_err(io_error("open", &path))?;
        file.set_modified(SystemTime::now()).map_err(io_error("set the time of", &path))?;
        Ok(true)
    }

    /// Returns the size of a blob in bytes.
    pub fn size(&self, digest: &Digest) -> Result<u64, LayoutError> {
        let path = self.blob_path(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(LayoutError::Io { action: "look at", path, source })
            }
            _ => Err(self.missing(digest)),
        }
    }

    /// Opens a blob for reading. Its content is not verified.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, LayoutError> {
        let path = self.blob_path(digest);
        // A layout from elsewhere may hold links and fifos: neither is a blob, and a fifo must not block.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        match fs::OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => match file.metadata() {
                Ok(metadata) if metadata.is_file() => Ok(file),
                Ok(_) => Err(self.missing(digest)),
                Err(source) => Err(LayoutError::Io { action: "look at", path, source }),
            },
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(self.missing(digest)),
            Err(source) => Err(LayoutError::Io { action: "open", path, source }),
        }
    }

    /// Reads a small blob whole, and verifies it. At most [`MAX_JSON`] bytes.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, LayoutError> {
        let path = self.blob_path(digest);
        let file = self.open_blob(digest)?;
        let size = file.metadata().map_err(io_error("look at", &path))?.len();
        if size > MAX_JSON {
            return Err(LayoutError::TooLarge { what: format!("blob {digest}"), size, most: MAX_JSON });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(MAX_JSON + 1).read_to_end(&mut bytes).map_err(io_error("read", &path))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        self.expect(digest, hasher.finish())?;
        Ok(bytes)
    }

    /// Reads a small blob as JSON, and verifies it.
    pub fn read_json<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, LayoutError> {
        parse_json(&self.read(digest)?, || format!("blob {digest}"))
    }

    /// Reads a blob of any size to its end and verifies it.
    pub fn verify(&self, digest: &Digest) -> Result<(), LayoutError> {
        let path = self.blob_path(digest);
        let mut file = self.open_blob(digest)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(io_error("read", &path))? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        self.expect(digest, hasher.finish())
    }

    fn expect(&self, digest: &Digest, found: Digest) -> Result<(), LayoutError> {
        if found == *digest {
            Ok(())
        } else {
            Err(LayoutError::Corrupt { digest: digest.clone(), root: self.root.clone(), found })
        }
    }

    /// Makes a file on the layout's file system that has no name and is gone when it is closed.
    pub(crate) fn nameless_file(&self) -> Result<File, LayoutError> {
        let (file, path) = blob::temporary(&self.root.join(INGEST))?;
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
        Ok(file)
    }

    /// Starts a new blob.
    pub fn blob_writer(&self) -> Result<BlobWriter, LayoutError> {
        BlobWriter::new(self.clone(), Algorithm::Sha256)
    }

    /// Starts a new blob that is to be named with the given hash function.
    pub fn blob_writer_with(&self, algorithm: Algorithm) -> Result<BlobWriter, LayoutError> {
        BlobWriter::new(self.clone(), algorithm)
    }

    /// Stores bytes as a blob and returns its descriptor.
    pub fn put(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, LayoutError> {
        let digest = Digest::sha256_of(bytes);
        let descriptor = Descriptor::new(media_type, bytes.len() as u64, digest.to_oci());
        // One that is damaged is written again.
        if self.verify(&digest).is_ok() && self.reuse(&digest)? {
            return Ok(descriptor);
        }
        let mut writer = self.blob_writer()?;
        writer.put(bytes)?;
        writer.commit_expecting(&digest)?;
        Ok(descriptor)
    }

    fn missing(&self, digest: &Digest) -> LayoutError {
        LayoutError::Missing { digest: digest.clone(), root: self.root.clone() }
    }

    /// Takes the lock of the layout; dropping the file releases it.
    fn lock(&self, operation: FlockOperation) -> Result<File, LayoutError> {
        let path = self.root.join(LOCK_FILE);
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_error("open", &path))?;
        rustix::io::retry_on_intr(|| flock(&file, operation))
            .map_err(io::Error::from)
            .map_err(io_error("lock", &path))?;
        Ok(file)
    }

    /// Replaces a file at the top of the layout: temporary name, sync, rename, sync.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        let mut writer = BlobWriter::new(self.clone(), Algorithm::Sha256)?;
        writer.put(bytes)?;
        writer.rename_to(&self.root.join(name))
    }
}

/// Reads a small file whole.
fn read_bounded(path: &Path, what: &str) -> Result<Vec<u8>, LayoutError> {
    read_up_to(path, what, MAX_JSON)
}

fn read_up_to(path: &Path, what: &str, most: u64) -> Result<Vec<u8>, LayoutError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error("open", path))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > most {
        return Err(LayoutError::TooLarge { what: what.to_owned(), size: bytes.len() as u64, most });
    }
    Ok(bytes)
}

pub(crate) fn parse_json<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|source| LayoutError::Json { what: what(), source })
}

impl Explain for LayoutError {
    fn kind(&self) -> Kind {
        Kind::Machine
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Corrupt { root, digest, .. } => Some(format!(
                "remove {}/blobs/{}/{} and import or build the image again",
                root.display(),
                digest.algorithm(),
                digest.hex()
            )),
            Self::Full { .. } => {
                Some("take names away that nobody needs, and remove their images with otoshi gc".into())
            }
            Self::Json { what, .. } if what.ends_with(INDEX_FILE) => Some(format!(
                "put a copy of the file in its place, or remove {what}: then no image has a name, and builds give new ones"
            )),
            _ => None,
        }
    }
}
