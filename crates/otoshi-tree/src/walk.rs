//! Everything below a directory, however deep it goes: a directory before what is in it, names in the order of their bytes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

/// How many directories are held open. Of those above, `..` of the one below is opened again, and must be the same directory.
const OPEN: usize = 64;

/// What a walk meets.
#[derive(Debug)]
pub enum Met {
    /// A name in the directory where the walk is, and what it stands for; links are not followed.
    Entry(Vec<u8>, Stat),
    /// The end of a directory that was entered. The walk is in the one above again, where it has this name.
    End(Vec<u8>),
}

/// A walk through a directory; goes into the directories that [`Walk::enter`] is called for.
#[derive(Debug)]
pub struct Walk {
    levels: Vec<Level>,
    /// The path of the directory where the walk is, below the first, with a slash at its end unless it is the first.
    path: Vec<u8>,
    /// The name that was met last, if it may be entered.
    next: Option<Vec<u8>>,
}

/// A directory that the walk is in.
#[derive(Debug)]
struct Level {
    /// `None` while too many below are open.
    directory: Option<OwnedFd>,
    identity: (u64, u64),
    name: Vec<u8>,
    /// The names to come, the first last.
    names: Vec<Vec<u8>>,
}

impl Level {
    fn new(directory: OwnedFd, name: Vec<u8>) -> io::Result<Self> {
        let identity = identity(&fstat(&directory)?);
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self { directory: Some(directory), identity, name, names })
    }
}

impl Walk {
    /// Starts in an open directory.
    ///
    /// Fails where it cannot be read.
    pub fn new(directory: OwnedFd) -> io::Result<Self> {
        Ok(Self { levels: vec![Level::new(directory, Vec::new())?], path: Vec::new(), next: None })
    }

    /// Meets the next name, or the end of a directory; `None` at the end of the first.
    ///
    /// A name that went away since its directory was listed is passed over.
    ///
    /// Fails where a directory cannot be read, and where one is no longer where it was.
    #[allow(clippy::should_implement_trait, reason = "between two steps the walk can be told where to go")]
    pub fn next(&mut self) -> io::Result<Option<Met>> {
        self.next = None;
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(name) = level.names.pop() else { return self.leave() };
            match statat(self.directory(), &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
                Ok(stat) => {
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        self.next = Some(name.clone());
                    }
                    return Ok(Some(Met::Entry(name, stat)));
                }
            }
        }
    }

    /// Goes into the directory that was met last; does nothing where that was none.
    ///
    /// Fails where it cannot be opened or listed; then the walk goes on behind it.
    pub fn enter(&mut self) -> io::Result<()> {
        self.next.take().map_or(Ok(()), |name| self.enter_named(name))
    }

    /// Goes into the directory of this name where the walk is.
    pub(crate) fn enter_named(&mut self, name: Vec<u8>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(self.directory(), &name[..], flags, Mode::empty())?;
        self.path.extend_from_slice(&name);
        self.path.push(b'/');
        match Level::new(directory, name) {
            Ok(level) => self.levels.push(level),
            Err(error) => {
                self.shorten();
                return Err(error);
            }
        }
        if let Some(far) = self.levels.len().checked_sub(OPEN + 1) {
            // The first stays: whatever happens to those below, it is where the walk was begun.
            self.levels[far.max(1)].directory = None;
        }
        Ok(())
    }

    /// The directory where the walk is.
    pub fn directory(&self) -> BorrowedFd<'_> {
        let open = self.levels.iter().rev().find_map(|level| level.directory.as_ref());
        open.unwrap_or_else(|| unreachable!("the first directory stays open")).as_fd()
    }

    /// The path of that directory below the first, with a slash at its end; empty for the first.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// How many directories the walk is in, the first not counted.
    pub fn depth(&self) -> usize {
        self.levels.len().saturating_sub(1)
    }

    fn leave(&mut self) -> io::Result<Option<Met>> {
        let Some(level) = self.levels.pop() else { return Ok(None) };
        let Some(above) = self.levels.last_mut() else { return Ok(None) };
        if above.directory.is_none() {
            let below = level.directory.as_ref().ok_or_else(moved)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat(below, "..", flags, Mode::empty())?;
            if identity(&fstat(&directory)?) != above.identity {
                return Err(moved());
            }
            above.directory = Some(directory);
        }
        self.shorten();
        Ok(Some(Met::End(level.name)))
    }

    /// Takes the last name from the path.
    fn shorten(&mut self) {
        self.path.pop();
        let end = self.path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        self.path.truncate(end);
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn moved() -> io::Error {
    io::Error::other("a directory was moved while it was walked through")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn everything_is_met_in_order_and_no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["a/b", "a/empty", "c"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        fs::write(directory.path().join("a/b/file"), "").unwrap();
        fs::write(directory.path().join("a.txt"), "").unwrap();
        symlink("/etc", directory.path().join("c/out")).unwrap();
        let mut walk = Walk::new(open(directory.path())).unwrap();
        let mut seen = Vec::new();
        while let Some(met) = walk.next().unwrap() {
            let (sign, name) = match met {
                Met::Entry(name, _) => ("", name),
                Met::End(name) => ("end ", name),
            };
            seen.push(format!("{sign}{}{}", walk.path().escape_ascii(), name.escape_ascii()));
            walk.enter().unwrap();
        }
        let expected = [
            "a",
            "a/b",
            "a/b/file",
            "end a/b",
            "a/empty",
            "end a/empty",
            "end a",
            "a.txt",
            "c",
            "c/out",
            "end c",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_directory_that_moved_ends_the_walk() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join(vec!["d"; OPEN + 10].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(directory.path().join("elsewhere")).unwrap();
        let mut walk = Walk::new(open(directory.path())).unwrap();
        while walk.depth() < OPEN + 10 {
            walk.next().unwrap().unwrap();
            walk.enter().unwrap();
        }
        // The directory below one that is no longer open gets another parent.
        fs::rename(directory.path().join("d/d/d"), directory.path().join("elsewhere/d")).unwrap();
        let error = std::iter::from_fn(|| walk.next().transpose()).find_map(Result::err).unwrap();
        assert!(error.to_string().contains("was moved"), "{error}");
    }
}
