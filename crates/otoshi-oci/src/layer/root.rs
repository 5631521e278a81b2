//! A directory that nothing gets out of: the only way in which unpacking touches the disk.
//!
//! Every operation is one name below an open directory, and a directory is only ever opened with `openat2` and
//! `RESOLVE_IN_ROOT`, which takes symbolic links (a layer may go through `lib` → `usr/lib`) as a process would whose root
//! this is: absolute ones start at the root, and `..` stops there. No path string is ever put together and handed to the
//! kernel without that.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use otoshi_tree::in_root;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens,
    linkat, makedev, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::xattr::{self, OverlayXattrs};
use crate::tar::Time;

pub(super) const MAKE_DEVICE: &str = "make the device";
pub(super) const SET_OWNER: &str = "set the owner";

/// How many symbolic links one path may go through, as in the kernel.
const MAX_LINKS: usize = 40;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Says what could not be done.
#[derive(Debug)]
pub(super) enum Problem {
    /// The kernel refused.
    Io { action: &'static str, source: io::Error },
    /// We do.
    Refused(String),
}

/// The result of an operation below a root.
pub(super) type Outcome<T> = Result<T, Problem>;

/// Attaches what was being done to an error of the kernel's.
pub(super) trait During<T> {
    fn during(self, action: &'static str) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, action: &'static str) -> Outcome<T> {
        self.map_err(|source| Problem::Io { action, source: source.into() })
    }
}

/// Holds mode, owner and time that a new file or directory gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Holds an open directory that all operations stay below.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    /// The directory of the last entry: most entries follow one of the same directory.
    cached: Option<(Vec<u8>, Rc<OwnedFd>)>,
    lower: Vec<OwnedFd>,
    /// Directories that were implied, and the times they are to have in the end.
    implied: Vec<(Vec<u8>, Time)>,
    xattrs: OverlayXattrs,
}

/// Says what a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Directory,
    Symlink,
    Whiteout,
    Other,
}

impl Found {
    fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice if stat.st_rdev == 0 => Self::Whiteout,
            _ => Self::Other,
        }
    }
}

impl Root {
    /// Opens an existing directory.
    pub(super) fn open(path: &Path, lower: &[PathBuf], xattrs: OverlayXattrs) -> io::Result<Self> {
        let open = |path: &Path| openat(rustix::fs::CWD, path, DIRECTORY, Mode::empty());
        let lower = lower.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        Ok(Self { fd: open(path)?, cached: None, lower, implied: Vec::new(), xattrs })
    }

    /// Returns the root directory itself, open for reading.
    pub(super) fn itself(&self) -> Outcome<OwnedFd> {
        openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .during("open the root directory")
    }

    /// Opens the directory at a path, making what is missing on the way.
    pub(super) fn parent(&mut self, path: &[u8]) -> Outcome<Rc<OwnedFd>> {
        if let Some((cached, fd)) = &self.cached
            && cached == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = Rc::new(match self.resolve(path) {
            Ok(fd) => fd,
            // Missing, or deleted by a whiteout of this layer, or behind a link to what is missing.
            Err(Errno::NOENT | Errno::NOTDIR) => self.make(path)?,
            Err(error) => return Err(error).during("open the parent directory"),
        });
        self.cached = Some((path.to_owned(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Opens the directory at a path; an error if there is none.
    pub(super) fn existing(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.resolve(path)
    }

    fn resolve(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        in_root(&self.fd, path, DIRECTORY)
    }

    /// Walks to a directory one name at a time, as `RESOLVE_IN_ROOT` does, and makes what is missing.
    fn make(&mut self, path: &[u8]) -> Outcome<OwnedFd> {
        const OPEN: &str = "open the parent directory";
        let mut names: Vec<Vec<u8>> = path.split(|&b| b == b'/').rev().map(<[u8]>::to_vec).collect();
        // The directories that `current` is below the root; none of them is a link.
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut current = self.resolve(b"").during(OPEN)?;
        let mut links = 0;
        while let Some(name) = names.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    real.pop();
                    current = self.resolve(&real.join(&b'/')).during(OPEN)?;
                    continue;
                }
                _ => {}
            }
            match look(&current, &name)? {
                Found::Directory => {}
                Found::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP).during(OPEN);
                    }
                    let target = readlinkat(&current, &name[..], Vec::new()).during(OPEN)?.into_bytes();
                    if target.starts_with(b"/") {
                        real.clear();
                        current = self.resolve(b"").during(OPEN)?;
                    }
                    names.extend(target.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
                    continue;
                }
                Found::Nothing => {
                    real.push(name.clone());
                    let below = self.link_below(&real)?;
                    if let Some(target) = below {
                        real.pop();
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP).during(OPEN);
                        }
                        if target.starts_with(b"/") {
                            real.clear();
                            current = self.resolve(b"").during(OPEN)?;
                        }
                        names.extend(target.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
                        continue;
                    }
                    self.make_implied(&current, &name, &real)?;
                    real.pop();
                }
                Found::Whiteout => {
                    unlinkat(&current, &name[..], AtFlags::empty()).during("replace a deleted directory")?;
                    mkdirat(&current, &name[..], Mode::from_raw_mode(0o755))
                        .during("make the parent directory")?;
                    let fd = open_directory(&current, &name).during(OPEN)?;
                    fchmod(&fd, Mode::from_raw_mode(0o755)).during("set the mode")?;
                    self.make_opaque(&fd)?;
                }
                Found::Other => return Err(Errno::NOTDIR).during(OPEN),
            }
            current =
                openat(&current, &name[..], DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).during(OPEN)?;
            real.push(name);
        }
        Ok(current)
    }

    /// Says where a link leads that the trees below have at a path, where the topmost that has anything there has one.
    fn link_below(&self, real: &[Vec<u8>]) -> Outcome<Option<Vec<u8>>> {
        let path = real.join(&b'/');
        for lower in &self.lower {
            let Ok(below) = in_root(lower, &path, OFlags::PATH | OFlags::NOFOLLOW) else { continue };
            let stat = rustix::fs::fstat(&below).during("look at the directory below")?;
            if Found::of(&stat) != Found::Symlink {
                return Ok(None);
            }
            let target = readlinkat(&below, "", Vec::new()).during("read the link below")?;
            return Ok(Some(target.into_bytes()));
        }
        Ok(None)
    }

    /// Makes a directory that the layer implies: like the one below it if there is one, else root's, 0755.
    fn make_implied(&mut self, parent: &OwnedFd, name: &[u8], real: &[Vec<u8>]) -> Outcome<()> {
        mkdirat(parent, name, Mode::from_raw_mode(0o700)).during("make the parent directory")?;
        let fd = open_directory(parent, name).during("open the parent directory")?;
        let mut attributes = Attributes { mode: 0o755, uid: 0, gid: 0 };
        let (mut mtime, mut extended) = (Time::default(), Vec::new());
        let path = real.join(&b'/');
        for lower in &self.lower {
            let Ok(below) = in_root(lower, &path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) else {
                continue;
            };
            let stat = rustix::fs::fstat(&below).during("look at the directory below")?;
            if Found::of(&stat) == Found::Directory {
                attributes = Attributes { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid };
                mtime = Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
                let shown = path_through(&below, b".");
                extended = xattr::of_path(&shown).during("read the attributes of the directory below")?;
            }
            break;
        }
        self.implied.push((path, mtime));
        set_owner_and_mode(&fd, attributes)?;
        for (name, value) in extended.iter().filter(|(name, _)| xattr::belongs_to_layer(name)) {
            xattr::set_on_file(&fd, name, value).during("set an extended attribute")?;
        }
        Ok(())
    }

    /// Returns the directories that were implied, and the times they are to have in the end.
    pub(super) fn take_implied(&mut self) -> Vec<(Vec<u8>, Time)> {
        std::mem::take(&mut self.implied)
    }

    /// Marks a directory as hiding everything below it.
    pub(super) fn make_opaque(&self, directory: impl AsFd) -> Outcome<()> {
        xattr::set_on_file(directory, self.xattrs.opaque().as_bytes(), b"y")
            .during("make the directory opaque")
    }

    /// Makes way for a new entry: removes what has its name, directories with all that is in them.
    pub(super) fn clear(&mut self, parent: &OwnedFd, name: &[u8]) -> Outcome<()> {
        const REMOVE: &str = "replace an earlier entry";
        match look(parent, name)? {
            Found::Nothing => {}
            Found::Directory => {
                self.cached = None;
                otoshi_tree::remove_at(parent, name).whole().during(REMOVE)?;
            }
            Found::Symlink => {
                self.cached = None;
                unlinkat(parent, name, AtFlags::empty()).during(REMOVE)?;
            }
            Found::Whiteout | Found::Other => unlinkat(parent, name, AtFlags::empty()).during(REMOVE)?,
        }
        Ok(())
    }
}

/// Says what a name stands for, without following it.
pub(super) fn look(parent: &OwnedFd, name: &[u8]) -> Outcome<Found> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Found::of(&stat)),
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Err(error) => Err(error).during("look at an earlier entry"),
    }
}

/// Says whether two names are one file.
pub(super) fn same(a: (&OwnedFd, &[u8]), b: (&OwnedFd, &[u8])) -> bool {
    let identity = |(parent, name): (&OwnedFd, &[u8])| {
        statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
    };
    matches!((identity(a), identity(b)), (Ok(a), Ok(b)) if a == b)
}

/// Opens a directory for reading, never through a link.
pub(super) fn open_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Makes a new file; an error if the name is taken.
pub(super) fn create(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

pub(super) fn make_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    mkdirat(parent, name, Mode::RWXU)
}

pub(super) fn make_symlink(target: &[u8], parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    symlinkat(target, parent, name)
}

pub(super) fn make_link(old: (&OwnedFd, &[u8]), new: (&OwnedFd, &[u8])) -> rustix::io::Result<()> {
    linkat(old.0, old.1, new.0, new.1, AtFlags::empty())
}

pub(super) fn make_whiteout(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
}

pub(super) fn make_node(
    parent: impl AsFd,
    name: &[u8],
    kind: FileType,
    (major, minor): (u32, u32),
) -> rustix::io::Result<()> {
    mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, makedev(major, minor))
}

/// Sets owner, then mode: changing the owner takes away set-id bits.
pub(super) fn set_owner_and_mode(fd: impl AsFd, attributes: Attributes) -> Outcome<()> {
    let fd = fd.as_fd();
    fchown(fd, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid))).during(SET_OWNER)?;
    fchmod(fd, Mode::from_raw_mode(attributes.mode)).during("set the mode")
}

pub(super) fn set_owner_at(parent: impl AsFd, name: &[u8], attributes: Attributes) -> Outcome<()> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).during(SET_OWNER)
}

/// Sets the mode of a device or pipe that was just made, and is therefore no link.
pub(super) fn set_mode_at(parent: impl AsFd, name: &[u8], mode: u32) -> Outcome<()> {
    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty()).during("set the mode")
}

pub(super) fn set_time(fd: impl AsFd, time: Time) -> Outcome<()> {
    futimens(fd, &timestamps(time)).during("set the time")
}

pub(super) fn set_time_at(parent: impl AsFd, name: &[u8], time: Time) -> Outcome<()> {
    utimensat(parent, name, &timestamps(time), AtFlags::SYMLINK_NOFOLLOW).during("set the time")
}

/// Returns a path to a name in an open directory, for system calls that take no directory.
pub(super) fn path_through(parent: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: time, last_modification: time }
}

/// Returns a name as the standard library's path type.
pub(super) fn as_path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}
