//! Writing one blob: a temporary file that becomes `blobs/<alg>/<hex>` when it is whole.
//!
//! It is no [`otoshi_tree::NewFile`]: its name is known last, it waits in a directory of its own and locked, so that a sweep takes
//! what others left and not what is being written, and a layout, which other tools read as well, has to be on disk when it says so.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use oci_spec::image::{Descriptor, MediaType};
use rustix::fs::{FlockOperation, flock};

use super::Layout;
use super::error::{LayoutError, io_error};
use super::files::INGEST;
use crate::digest::{Algorithm, Digest, Hasher};

/// Writes a blob and computes its digest on the way.
///
/// Nothing is visible in the layout before [`BlobWriter::commit`]; dropping the writer removes what was written.
#[derive(Debug)]
pub struct BlobWriter {
    layout: Layout,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size: u64,
    done: bool,
}

impl BlobWriter {
    pub(super) fn new(layout: Layout, algorithm: Algorithm) -> Result<Self, LayoutError> {
        let (file, path) = temporary(&layout.root().join(INGEST))?;
        Ok(Self { layout, file, path, hasher: Hasher::new(algorithm), size: 0, done: false })
    }

    /// Returns how many bytes were written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest of what was written so far.
    pub fn digest_so_far(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Opens what was written for reading; what is written later can be read as well, also after the blob was committed.
    ///
    /// Fails where the file cannot be opened.
    pub fn reader(&self) -> Result<File, LayoutError> {
        File::open(&self.path).map_err(io_error("open", &self.path))
    }

    /// Writes bytes; like `write_all`, with an error that names the file.
    ///
    /// Fails where they cannot be written.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), LayoutError> {
        self.write_all(bytes).map_err(io_error("write", &self.path))
    }

    /// Puts the blob into the layout and returns its digest and its size in bytes.
    ///
    /// Fails where the blob cannot be written to the disk or given its name.
    pub fn commit(mut self) -> Result<(Digest, u64), LayoutError> {
        let digest = std::mem::replace(&mut self.hasher, Hasher::sha256()).finish();
        self.place(&digest)?;
        Ok((digest, self.size))
    }

    /// Puts the blob into the layout if its content has the expected digest, and returns its size in bytes.
    ///
    /// Fails, and leaves no blob, where the content has another digest.
    pub fn commit_expecting(mut self, expected: &Digest) -> Result<u64, LayoutError> {
        let found = std::mem::replace(&mut self.hasher, Hasher::sha256()).finish();
        if found != *expected {
            return Err(LayoutError::Unexpected { expected: expected.clone(), found });
        }
        self.place(expected)?;
        Ok(self.size)
    }

    fn place(&mut self, digest: &Digest) -> Result<(), LayoutError> {
        self.file.sync_data().map_err(io_error("sync", &self.path))?;
        let directory = self.layout.algorithm_dir(digest.algorithm());
        fs::create_dir_all(&directory).map_err(io_error("create the directory", &directory))?;
        // Replacing a blob of the same name is harmless, makes it young, and heals a damaged one.
        let _lock = self.layout.lock(FlockOperation::LockShared)?;
        self.file.set_modified(SystemTime::now()).map_err(io_error("set the time of", &self.path))?;
        self.finish(&self.layout.blob_path(digest), &directory)
    }

    pub(super) fn rename_to(mut self, target: &Path) -> Result<(), LayoutError> {
        self.file.sync_data().map_err(io_error("sync", &self.path))?;
        let root = self.layout.root().to_owned();
        self.finish(target, &root)
    }

    fn finish(&mut self, target: &Path, directory: &Path) -> Result<(), LayoutError> {
        fs::rename(&self.path, target).map_err(io_error("rename a new file to", target))?;
        self.done = true;
        let directory_file = File::open(directory).map_err(io_error("open", directory))?;
        directory_file.sync_all().map_err(io_error("sync", directory))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: a sweep removes what stays behind.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Layout {
    /// Makes a file on the layout's file system that has no name and is gone when it is closed.
    pub(crate) fn nameless_file(&self) -> Result<File, LayoutError> {
        let (file, path) = temporary(&self.root.join(INGEST))?;
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
        Ok(file)
    }

    /// Starts a new blob.
    ///
    /// Fails where no file can be made in the layout.
    pub fn blob_writer(&self) -> Result<BlobWriter, LayoutError> {
        BlobWriter::new(self.clone(), Algorithm::Sha256)
    }

    /// Starts a new blob that is to be named with the given hash function.
    ///
    /// Fails where no file can be made in the layout.
    pub fn blob_writer_with(&self, algorithm: Algorithm) -> Result<BlobWriter, LayoutError> {
        BlobWriter::new(self.clone(), algorithm)
    }

    /// Stores bytes as a blob and returns its descriptor.
    ///
    /// Fails where the blob cannot be written.
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

    /// Replaces a file at the top of the layout, as a blob is written: a layout's own directory holds nothing but what the
    /// specification names.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        let mut writer = BlobWriter::new(self.clone(), Algorithm::Sha256)?;
        writer.put(bytes)?;
        writer.rename_to(&self.root.join(name))
    }
}

/// Makes a temporary file and locks it for as long as it is open.
fn temporary(directory: &Path) -> Result<(File, PathBuf), LayoutError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let path = directory.join(format!("{}-{count}-{nanos:08x}", std::process::id()));
        let file =
            match fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.exists() => {
                    fs::create_dir_all(directory).map_err(io_error("create the directory", directory))?;
                    continue;
                }
                Err(error) => return Err(io_error("create", &path)(error)),
            };
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(io::Error::from)
            .map_err(io_error("lock", &path))?;
        // A sweep may have taken the file for garbage before it was locked.
        if file.metadata().map_err(io_error("look at", &path))?.nlink() > 0 {
            return Ok((file, path));
        }
    }
}
