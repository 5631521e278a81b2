//! Reading and removing files in a root that nobody trusts: links in it lead nowhere else.
//!
//! Every path is opened with `RESOLVE_IN_ROOT`, as by a process whose root this is.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat, unlinkat};
use rustix::io::Errno;

use super::RootError;

/// The longest file that is read, in bytes.
const MOST: u64 = 256 << 20;
/// How deep directories that are removed may nest.
const MAX_DEPTH: usize = 256;
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A root, open.
#[derive(Debug)]
pub(super) struct Inside(OwnedFd);

impl Inside {
    /// Opens a directory as a root.
    pub(super) fn open(root: &Path) -> Result<Self, RootError> {
        rustix::fs::open(root, DIRECTORY, Mode::empty()).map(Self).map_err(failed("opening", ""))
    }

    /// Reads a file; `None` where there is none.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RootError> {
        // Neither a pipe nor a device keeps anybody waiting.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match self.at(path, flags) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(failed("reading", path))?,
        };
        let stat = fstat(&file).map_err(failed("reading", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size as u64 > MOST {
            return Err(failed("reading", path)(Errno::INVAL));
        }
        let mut content = Vec::new();
        File::from(file).take(MOST).read_to_end(&mut content).map_err(io_failed("reading", path))?;
        Ok(Some(content))
    }

    /// Reads a file of text; an empty one where there is none.
    pub(super) fn text(&self, path: &str) -> Result<String, RootError> {
        Ok(String::from_utf8_lossy(&self.read(path)?.unwrap_or_default()).into_owned())
    }

    /// Returns mode, owner and group of a file; `None` where there is none.
    pub(super) fn attributes(&self, path: &str) -> Option<(u32, u32, u32)> {
        let file = self.at(path, OFlags::PATH | OFlags::CLOEXEC).ok()?;
        let stat = fstat(&file).ok()?;
        Some((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid))
    }

    /// Says whether something has this name.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.at(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC).is_ok()
    }

    /// Returns the names in a directory, sorted; none where there is no such directory.
    pub(super) fn names(&self, path: &str) -> Result<Vec<Vec<u8>>, RootError> {
        match self.at(path, DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
            other => {
                let directory = other.map_err(failed("listing", path))?;
                let mut names = names(&directory).map_err(io_failed("listing", path))?;
                names.sort_unstable();
                Ok(names)
            }
        }
    }

    /// Removes a file, or a directory with all that is in it; nothing where there is none.
    pub(super) fn remove(&self, path: &str) -> Result<(), RootError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        self.remove_in(parent, name.as_bytes())
    }

    /// Removes what has this name in a directory.
    pub(super) fn remove_in(&self, parent: &str, name: &[u8]) -> Result<(), RootError> {
        let directory = match self.at(parent, DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other.map_err(failed("opening", parent))?,
        };
        let shown = || format!("{parent}/{}", name.escape_ascii());
        remove(&directory, name, MAX_DEPTH).map_err(|error| io_failed("removing", &shown())(error))
    }

    /// Takes an extended attribute from a directory; one that is not there is no error.
    pub(super) fn without_attribute(&self, path: &[u8], name: &str) {
        if let Ok(directory) = self.at(path, DIRECTORY | OFlags::NOFOLLOW) {
            let _ = rustix::fs::fremovexattr(directory, name);
        }
    }

    fn at(&self, path: impl rustix::path::Arg + Copy, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut tries = 0;
        loop {
            match openat2(&self.0, path, flags, Mode::empty(), IN_ROOT) {
                // Something was renamed meanwhile; the kernel asks to try again.
                Err(Errno::AGAIN) if tries < 128 => tries += 1,
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Removes a name, following no link.
fn remove(directory: &OwnedFd, name: &[u8], depth: usize) -> io::Result<()> {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(unlinkat(directory, name, AtFlags::empty())?);
    }
    if depth == 0 {
        return Err(io::Error::other("directories nest too deep"));
    }
    let inner = rustix::fs::openat(directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    for child in names(&inner)? {
        remove(&inner, &child, depth - 1)?;
    }
    Ok(unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

fn failed(action: &'static str, path: &str) -> impl FnOnce(Errno) -> RootError {
    let path = path.to_owned();
    move |error| RootError::Inside { action, path, source: error.into() }
}

fn io_failed(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> RootError {
    let path = path.to_owned();
    move |source| RootError::Inside { action, path, source }
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
        assert_eq!(inside.read("up/secret").unwrap(), None);
        assert_eq!(inside.read("etc/absolute").unwrap(), None);
        inside.remove("up/secret").unwrap();
        inside.remove("etc").unwrap();
        inside.remove("up").unwrap();
        assert!(directory.path().join("outside/secret").exists());
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

        rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(inside.read("pipe").is_err(), "nobody waits for a writer");
    }
}
