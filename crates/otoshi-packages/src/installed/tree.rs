//! A layer that is unpacked, in overlayfs form, or any other root.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use otoshi_oci::contents::{Layer, Node};
use otoshi_oci::tar::Kind;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fgetxattr, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::room::Room;
use super::unread::{is_mark, is_stored};
use super::wanted::{Wanted, is_secret};

/// The attributes that make a directory opaque.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
/// How deep a directory that is wanted as a whole is read.
const DEPTH: usize = 4;

/// Reads what is wanted of a directory. No link is followed, so nothing outside of it is read.
pub(super) fn layer(root: &Path, wanted: &Wanted) -> io::Result<Layer<Option<Arc<[u8]>>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let mut found = Found::default();
    directory(Here { fd: root.as_fd(), path: b"", depth: 0 }, wanted, &mut found)?;
    Ok(found.layer)
}

/// What was found, and what may still be.
#[derive(Default)]
struct Found {
    layer: Layer<Option<Arc<[u8]>>>,
    room: Room,
}

/// A directory that is read.
#[derive(Clone, Copy)]
struct Here<'a> {
    fd: BorrowedFd<'a>,
    /// Below the root.
    path: &'a [u8],
    /// How many directories it is below one that is wanted as a whole.
    depth: usize,
}

fn directory(here: Here<'_>, wanted: &Wanted, found: &mut Found) -> io::Result<()> {
    let Here { fd, path, depth } = here;
    let mut value = [0; 1];
    // No attribute, or a file system without attributes, is an ordinary directory.
    if OPAQUE.iter().any(|name| fgetxattr(fd, *name, &mut value) == Ok(1) && value == *b"y") {
        found.layer.make_opaque(path.to_vec());
    }
    if !wanted.whole {
        for (name, below) in &wanted.children {
            node(here, name, below, found)?;
        }
        for entry in if wanted.is_store { Some(Dir::read_from(fd)?) } else { None }.into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if is_stored(&[path, b"/", name].concat()) {
                node(here, name, &Wanted::default(), found)?;
            }
        }
        return Ok(());
    }
    let below = Wanted { whole: true, ..Wanted::default() };
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && !is_secret(name) && depth < DEPTH {
            node(Here { depth: depth + 1, ..here }, name, &below, found)?;
        }
    }
    Ok(())
}

fn node(here: Here<'_>, name: &[u8], wanted: &Wanted, found: &mut Found) -> io::Result<()> {
    let Here { fd: parent, path, depth } = here;
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        stat => stat?,
    };
    let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
    let path = [path, slash, name].concat();
    let mut link = Vec::new();
    let (mut content, mut size, mut is_marked) = (None, 0, false);
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == 0 => {
            found.layer.delete(path);
            return Ok(());
        }
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(parent, name, flags, Mode::empty())?;
            directory(Here { fd: fd.as_fd(), path: &path, depth }, wanted, found)?;
            Kind::Directory
        }
        FileType::Symlink => {
            link = readlinkat(parent, name, Vec::new())?.into_bytes();
            Kind::Symlink
        }
        FileType::RegularFile => {
            if is_mark(&path) {
                is_marked = true;
            } else if wanted.children.is_empty() {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let fd = openat(parent, name, flags, Mode::empty())?;
                size = fstat(&fd)?.st_size.unsigned_abs();
                content = Some(fd);
            }
            Kind::File
        }
        _ => Kind::Fifo,
    };
    let too_large = |reason| io::Error::new(io::ErrorKind::FileTooLarge, reason);
    found.room.take(&path, size).map_err(too_large)?;
    let content = content.map(|fd| read(fd, size)).transpose()?.or_else(|| is_marked.then(Vec::new));
    found.layer.insert(path, Node { kind, link, facts: content.map(Into::into) });
    Ok(())
}

/// Reads a file up to the size that it had.
fn read(file: OwnedFd, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    File::from(file).take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}
