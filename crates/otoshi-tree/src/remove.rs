//! A directory removed with all that is in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmodat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::{Met, Walk};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What was removed, and what could not be.
#[derive(Debug, Default)]
pub struct Removed {
    /// How many bytes that held on disk, about.
    pub bytes: u64,
    /// How many names stay, besides the directories that lead to them.
    pub left: usize,
    /// Why the first of them does.
    pub error: Option<io::Error>,
}

impl Removed {
    /// Fails where something stays.
    pub fn whole(self) -> io::Result<u64> {
        self.error.map_or(Ok(self.bytes), Err)
    }

    fn note(&mut self, error: impl Into<io::Error>) {
        self.left += 1;
        self.error.get_or_insert(error.into());
    }
}

/// Removes what a path names, a link itself and not what it leads to, also directories that nobody may enter.
///
/// What cannot be removed stays, and the rest goes. Nothing there is no error. The directories that lead to the path are trusted.
pub fn remove(path: &Path) -> Removed {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Removed { error: Some(io::ErrorKind::InvalidInput.into()), left: 1, bytes: 0 };
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => remove_at(&parent, name.as_encoded_bytes()),
        Err(Errno::NOENT) => Removed::default(),
        Err(error) => Removed { error: Some(error.into()), left: 1, bytes: 0 },
    }
}

/// Removes what has a name in an open directory, as [`remove`] does.
pub fn remove_at(parent: impl AsFd, name: &[u8]) -> Removed {
    let parent = parent.as_fd();
    let mut removed = Removed::default();
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return removed,
        Err(error) => {
            removed.note(error);
            return removed;
        }
    };
    let bytes = |blocks: i64| blocks.unsigned_abs() * 512;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => removed.bytes += bytes(stat.st_blocks),
            Err(error) => removed.note(error),
        }
        return removed;
    }
    match enterable(parent, name).and_then(Walk::new) {
        Ok(walk) => remove_in(walk, &mut removed),
        Err(error) => removed.note(error),
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => removed.bytes += bytes(stat.st_blocks),
        // What stays in it was noted.
        Err(Errno::NOTEMPTY | Errno::EXIST) if removed.left > 0 => {}
        Err(error) => removed.note(error),
    }
    removed
}

fn remove_in(mut walk: Walk, removed: &mut Removed) {
    loop {
        match walk.next() {
            Ok(None) => return,
            // The rest of the walk cannot be trusted, and stays.
            Err(error) => return removed.note(error),
            Ok(Some(Met::Entry(name, stat))) => {
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    match unlinkat(walk.directory(), &name[..], AtFlags::empty()) {
                        Ok(()) => removed.bytes += stat.st_blocks.unsigned_abs() * 512,
                        Err(error) => removed.note(error),
                    }
                    continue;
                }
                removed.bytes += stat.st_blocks.unsigned_abs() * 512;
                if let Err(error) = walk.enter() {
                    // It may be closed to its own owner.
                    match open_up(walk.directory(), &name).and_then(|()| walk.enter_named(name)) {
                        Ok(()) => {}
                        Err(_) => removed.note(error),
                    }
                }
            }
            Ok(Some(Met::End(name))) => match unlinkat(walk.directory(), &name[..], AtFlags::REMOVEDIR) {
                Ok(()) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) if removed.left > 0 => {}
                Err(error) => removed.note(error),
            },
        }
    }
}

/// Opens a directory for reading, also one that is closed to its own owner.
fn enterable(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            open_up(parent, name)?;
            Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// Lets the owner enter a directory. Where something else took its place meanwhile, and is no link, that gets the mode.
fn open_up(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory));
    Ok(chmodat(rustix::fs::CWD, path, Mode::RWXU, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Makes directories in one another; no path is as long as they are deep.
    fn nest(top: &Path, depth: usize) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut here = rustix::fs::open(top, flags, Mode::empty()).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&here, "directory", Mode::RWXU).unwrap();
            here = openat(&here, "directory", flags, Mode::empty()).unwrap();
        }
        drop(openat(&here, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
    }

    #[test]
    fn a_tree_of_any_depth_goes_and_what_its_links_name_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        for path in [&tree, &outside] {
            fs::create_dir(path).unwrap();
        }
        fs::write(outside.join("file"), "kept").unwrap();
        symlink("../outside", tree.join("out")).unwrap();
        fs::create_dir(tree.join("closed")).unwrap();
        fs::write(tree.join("closed/file"), "").unwrap();
        fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
        nest(&tree, 5000);
        // A small stack is enough.
        let removing = tree.clone();
        let thread =
            std::thread::Builder::new().stack_size(64 << 10).spawn(move || remove(&removing)).unwrap();
        thread.join().unwrap().whole().unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
        assert_eq!(remove(&tree).whole().unwrap(), 0);
    }
}
