//! Reading and removing single files in a tree: links in it lead nowhere else.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat};
use rustix::io::Errno;

use crate::{in_root, remove_at};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A tree, open.
#[derive(Debug)]
pub struct Inside(OwnedFd);

impl Inside {
    /// Opens a directory as the root of a tree.
    ///
    /// Fails where it cannot be opened, or is no directory.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(root, DIRECTORY, Mode::empty())?))
    }

    /// Opens what a path names, links followed in the tree; `None` where there is nothing.
    ///
    /// Fails as `openat2(2)` does otherwise.
    pub fn at(&self, path: impl AsRef<[u8]>, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        match in_root(&self.0, path.as_ref(), flags) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Reads a file of at most so many bytes, links followed in the tree; `None` where there is none.
    ///
    /// What is no regular file, or longer, is an error; neither a pipe nor a device keeps anybody waiting.
    pub fn read(&self, path: impl AsRef<[u8]>, most: u64) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Some(file) = self.at(path, flags)? else { return Ok(None) };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut content = Vec::new();
        File::from(file).take(most.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            let reason = format!("it has more than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        Ok(Some(content))
    }

    /// Says what a path names, links followed in the tree; `None` where there is nothing.
    ///
    /// Fails as [`Inside::at`] does.
    pub fn stat(&self, path: impl AsRef<[u8]>) -> io::Result<Option<Stat>> {
        let Some(file) = self.at(path, OFlags::PATH)? else { return Ok(None) };
        Ok(Some(fstat(&file)?))
    }

    /// Returns the names in a directory, sorted; none where there is no such directory.
    ///
    /// Fails as [`Inside::at`] does, and where the directory cannot be read.
    pub fn names(&self, path: impl AsRef<[u8]>) -> io::Result<Vec<Vec<u8>>> {
        let Some(directory) = self.at(path, DIRECTORY)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes what has a name in a directory, with all that is in it; nothing where there is none.
    ///
    /// Fails as [`Inside::at`] does, and where something stays.
    pub fn remove(&self, parent: impl AsRef<[u8]>, name: &[u8]) -> io::Result<()> {
        let Some(directory) = self.at(parent, DIRECTORY)? else { return Ok(()) };
        remove_at(&directory, name).whole().map(drop)
    }

    /// Takes an extended attribute from a directory; one that is not there is no error.
    pub fn without_attribute(&self, path: impl AsRef<[u8]>, name: &str) {
        if let Ok(Some(directory)) = self.at(path, DIRECTORY | OFlags::NOFOLLOW) {
            let _ = rustix::fs::fremovexattr(directory, name);
        }
    }

    /// Says whether a path names something, which may be a link to nothing.
    pub fn has(&self, path: impl AsRef<[u8]>) -> bool {
        self.at(path, OFlags::PATH | OFlags::NOFOLLOW).is_ok_and(|found| found.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_read_or_removed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        symlink("../outside", root.join("up")).unwrap();
        symlink(directory.path().join("outside/secret"), root.join("etc/absolute")).unwrap();
        let inside = Inside::open(&root).unwrap();
        assert_eq!(inside.read("up/secret", 100).unwrap(), None);
        assert_eq!(inside.read("/etc/absolute", 100).unwrap(), None);
        inside.remove("up", b"secret").unwrap();
        inside.remove("", b"etc").unwrap();
        inside.remove("/", b"up").unwrap();
        assert!(directory.path().join("outside/secret").exists());
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

        rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(inside.read("pipe", 100).is_err(), "nobody waits for a writer");
        fs::write(root.join("long"), [0; 101]).unwrap();
        assert_eq!(inside.read("long", 100).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
