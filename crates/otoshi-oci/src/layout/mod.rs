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
mod documents;
mod entries;
mod error;
mod files;
mod index;
mod open;
mod sweep;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_spec::image::Descriptor;

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::de::DeserializeOwned;

pub use self::blob::BlobWriter;
pub use self::documents::MAX_JSON;
pub(crate) use self::documents::parse_json;
pub use self::error::LayoutError;
use self::error::io_error;
pub(crate) use self::files::REF_NAME;
use self::files::{INGEST, LOCK_FILE};
pub use self::index::{NamedBy, Names};
pub use self::sweep::Swept;
use crate::digest::{Algorithm, Digest, Hasher};

/// Holds blobs and an index of images, in a directory that other OCI tools can read.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    read: entries::Read,
}

impl Layout {
    /// Returns the directory of the layout.
    pub fn root(&self) -> &Path {
        &self.root
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
    ///
    /// Fails where the layout cannot be locked, or the blob's time not be set.
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
    ///
    /// Fails with `Missing` where the blob is not in the layout.
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
    ///
    /// Fails with `Missing` where the blob is not in the layout.
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
    ///
    /// Fails where the blob is missing, is larger than may be read, or does not have its digest.
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
    ///
    /// Fails where the blob is missing, is larger than may be read, or does not have its digest.
    pub fn read_json<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, LayoutError> {
        parse_json(&self.read(digest)?, || format!("blob {digest}"))
    }

    /// Reads a blob of any size to its end and verifies it.
    ///
    /// Fails where the blob is missing, is larger than may be read, or does not have its digest.
    pub fn verify(&self, digest: &Digest) -> Result<(), LayoutError> {
        let path = self.blob_path(digest);
        let found = Hasher::new(digest.algorithm()).of_rest(self.open_blob(digest)?);
        self.expect(digest, found.map_err(io_error("read", &path))?)
    }

    fn expect(&self, digest: &Digest, found: Digest) -> Result<(), LayoutError> {
        if found == *digest {
            Ok(())
        } else {
            Err(LayoutError::Corrupt { digest: digest.clone(), root: self.root.clone(), found })
        }
    }

    fn missing(&self, digest: &Digest) -> LayoutError {
        LayoutError::Missing { digest: digest.clone(), root: self.root.clone() }
    }

    /// Takes the lock of the layout; dropping the file releases it.
    fn lock(&self, operation: FlockOperation) -> Result<File, LayoutError> {
        let path = self.root.join(LOCK_FILE);
        loop {
            let file = fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(io_error("open", &path))?;
            rustix::io::retry_on_intr(|| flock(&file, operation))
                .map_err(io::Error::from)
                .map_err(io_error("lock", &path))?;
            // Whoever had it may have taken it away; then it keeps nobody out any more.
            let own = file.metadata().map_err(io_error("look at", &path))?;
            match fs::metadata(&path) {
                Ok(now) if (now.dev(), now.ino()) == (own.dev(), own.ino()) => return Ok(file),
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LayoutError::Io { action: "look at", path, source });
                }
                _ => {}
            }
        }
    }

    /// Takes away what only writers need, so that the directory holds what the specification names and nothing else; all of it
    /// stays where another writer is at work.
    pub(crate) fn tidy(&self) -> Result<(), LayoutError> {
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let (ingest, lock) = (self.root.join(INGEST), self.root.join(LOCK_FILE));
        match fs::remove_dir(&ingest) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &ingest)(error));
            }
            _ => {}
        }
        fs::remove_file(&lock).map_err(io_error("remove", &lock))
    }
}
