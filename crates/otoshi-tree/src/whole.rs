//! Files that are there whole or not at all.
//!
//! Whatever a process writes for later is written beside its place and then takes its name, so that a process that is killed leaves
//! the old content or the new one. What a machine that loses its power leaves is another matter, and has one rule:
//!
//! - What nobody else has, or what is read without a check, is [`Lasting::Synced`]: the content is on disk before it has its name, and
//!   the name is when [`NewFile::place`] returns.
//! - What can be made or fetched again and is checked by whoever reads it is [`Lasting::Cached`]: nothing waits for the disk.
//!
//! Some have a way of their own: blobs of an image layout are named by what was written, and are kept from a sweep meanwhile
//! (`otoshi-oci`); snapshots are directories, whose seal says whether they are whole (`otoshi-store`).

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Whether what is written must outlast a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Nobody else has it, or it is read without a check: it is on disk before it has its name.
    Synced,
    /// It can be made or fetched again, and whoever reads it checks it.
    Cached,
}

/// A new content that waits beside its file, in a file of this process alone; where it is dropped, nothing of it is left.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_placed: bool,
}

impl NewFile {
    /// Begins a new content for the file at `path`, in the same directory, which has to be there.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let temporary = beside(path);
        let file = File::create_new(&temporary)?;
        Ok(Self { file, temporary, path: path.to_owned(), is_placed: false })
    }

    /// The file that is written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file that gets the content.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the content its name, in place of what is there; a symbolic link at the name is replaced, and not followed.
    ///
    /// Fails with the system's error, and the name has its old content then. Whether the name itself has reached the disk is no
    /// reason to fail: either content is whole, and not every file system can tell.
    pub fn place(mut self, lasting: Lasting) -> io::Result<()> {
        if lasting == Lasting::Synced {
            self.file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.path)?;
        self.is_placed = true;
        if lasting == Lasting::Synced {
            let _ = File::open(directory(&self.path)).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a file in place of what is there: whoever reads finds the old content or the new one, and never a part.
///
/// Directories above it are made. A symbolic link at the name is replaced, and not followed. Fails with the system's error, and
/// leaves nothing of the new file then.
pub fn write_whole(path: &Path, bytes: &[u8], lasting: Lasting) -> io::Result<()> {
    let mut new = match NewFile::beside(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory(path))?;
            NewFile::beside(path)?
        }
        other => other?,
    };
    new.write_all(bytes)?;
    new.place(lasting)
}

/// The directory that a file is in.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        parent => parent.unwrap_or(Path::new("/")),
    }
}

/// A name beside a file that nobody else has.
fn beside(path: &Path) -> PathBuf {
    /// How many bytes of the file's own name are in it; names have at most 255.
    const MOST: usize = 160;
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut name = OsStr::from_bytes(&name[..name.len().min(MOST)]).to_owned();
    // The nanosecond tells apart processes of namespaces that have the same number.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| now.subsec_nanos());
    name.push(format!(".{}-{}-{nanoseconds}.tmp", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/file");
        write_whole(&path, b"1", Lasting::Cached).unwrap();
        write_whole(&path, b"2", Lasting::Synced).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");

        let link = directory.path().join("a/b/link");
        symlink("file", &link).unwrap();
        write_whole(&link, b"3", Lasting::Cached).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&link).unwrap()), (b"2".to_vec(), b"3".to_vec()));
        assert_eq!(names(path.parent().unwrap()), ["file", "link"]);
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("is-a-directory");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(write_whole(&path, b"1", Lasting::Cached).is_err());
        assert_eq!(names(directory.path()), ["is-a-directory"]);

        let file = directory.path().join("file");
        let mut new = NewFile::beside(&file).unwrap();
        new.write_all(b"1").unwrap();
        drop(new);
        assert!(NewFile::beside(&directory.path().join("missing/file")).is_err());
        assert_eq!(names(directory.path()), ["is-a-directory"]);
    }

    #[test]
    fn a_name_may_be_as_long_as_names_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let name = "a".repeat(255);
        write_whole(&directory.path().join(&name), b"1", Lasting::Synced).unwrap();
        assert_eq!(names(directory.path()), [name]);
    }
}
