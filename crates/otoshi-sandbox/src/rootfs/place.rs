//! Finding mount points inside the new root, whatever links it holds, and making those that are missing.
//!
//! The kernel looks paths up with the new root as `/` (`openat2`, `RESOLVE_IN_ROOT`), and mounts are put on descriptors, so
//! no link in an image leads a mount elsewhere. What has to be made is noted, so that it can be taken away after the run:
//! see [`crate::placeholder`].

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{
    SandboxError,
    patient::patient,
    placeholder::{Area, Made, Placeholder, attributes, times},
};

type Result<T> = std::result::Result<T, SandboxError>;

/// As the kernel has it.
const MOST_LINKS: usize = 40;

/// What a mount point is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// A part of the new root whose content stays after the run.
#[derive(Debug)]
pub(super) struct Kept {
    /// Where it is in the new root.
    pub(super) at: PathBuf,
    /// Its name for the parent, or `None` when its content goes with the sandbox.
    pub(super) area: Option<Area>,
    /// The writable directory of an overlay.
    pub(super) upper: Option<OwnedFd>,
}

/// The new root, mounted.
#[derive(Debug)]
pub(super) struct Place {
    fd: OwnedFd,
    /// What this process sees in front of every path in the root.
    prefix: PathBuf,
    kept: Vec<Kept>,
    made: Vec<Placeholder>,
}

impl Place {
    /// A root that was just mounted; `kept` tells about its own content.
    pub(super) fn new(fd: OwnedFd, area: Option<Area>, upper: Option<OwnedFd>) -> Result<Self> {
        let prefix = seen_path(&fd).map_err(SandboxError::setup("locating the new root"))?;
        Ok(Self { fd, prefix, kept: vec![Kept { at: PathBuf::new(), area, upper }], made: Vec::new() })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What was made, in order.
    pub(super) fn into_made(self) -> (OwnedFd, Vec<Placeholder>) {
        (self.fd, self.made)
    }

    /// From now on what lies at this place belongs to another area.
    pub(super) fn covered(&mut self, kept: Kept) {
        self.kept.push(kept);
    }

    /// Opens what is at a path; links are followed inside the root.
    pub(super) fn find(&self, target: &str) -> std::result::Result<OwnedFd, Errno> {
        self.open(target, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// Opens what is at a path in which no part may be a link; for places that only the kernel fills.
    pub(super) fn find_plain(&self, target: &str) -> std::result::Result<OwnedFd, Errno> {
        self.open(target, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
    }

    fn open(&self, target: &str, resolve: ResolveFlags) -> std::result::Result<OwnedFd, Errno> {
        let path = target.trim_start_matches('/');
        let path = if path.is_empty() { "." } else { path };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        patient(|| rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve))
    }

    /// Opens a mount point, and makes it when it is missing.
    pub(super) fn mount_point(&mut self, target: &str, kind: Kind) -> std::result::Result<OwnedFd, Errno> {
        match self.find(target) {
            Err(Errno::NOENT) => self.walk(target, kind),
            other => other,
        }
    }

    /// Opens a directory at the top of the root, which must not be a link, and makes it when it is missing.
    pub(super) fn top_directory(&mut self, name: &str) -> Result<OwnedFd> {
        match self.find_plain(name) {
            Err(Errno::NOENT) => self.walk(name, Kind::Directory).map_err(failed(name)),
            Err(Errno::LOOP) => Err(SandboxError::invalid(
                format!("mounting /{name}"),
                format!("/{name} is a symbolic link in the image"),
            )),
            other => other.map_err(failed(name)),
        }
    }

    /// Where in the root something is that was opened there.
    fn path_of(&self, fd: &OwnedFd) -> Result<PathBuf> {
        let seen = seen_path(fd).map_err(SandboxError::setup("locating a mount point"))?;
        let inside = seen
            .strip_prefix(&self.prefix)
            .map_err(|_| SandboxError::invalid("locating a mount point", "it is not in the new root"))?;
        Ok(inside.to_owned())
    }

    /// Where a mount point is in the root; fails where nothing may be mounted.
    pub(super) fn path_for_mount(&self, point: &OwnedFd, target: &str) -> Result<PathBuf> {
        let at = self.path_of(point)?;
        // What is there is the kernel's, and hidden or protected afterwards.
        let first = at.iter().next().map(OsStrExt::as_bytes);
        if matches!(first, None | Some(b"proc")) {
            return Err(SandboxError::invalid(
                format!("mounting at {target}"),
                "nothing can be mounted over the root or in /proc",
            ));
        }
        Ok(at)
    }

    /// Goes through a path part by part, following links by itself, and makes what is missing.
    fn walk(&mut self, target: &str, kind: Kind) -> std::result::Result<OwnedFd, Errno> {
        let mut todo: VecDeque<OsString> = parts(OsStr::new(target)).collect();
        // The directories from the root on; `here` is where their last one is.
        let mut above: Vec<OwnedFd> = Vec::new();
        let mut here = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                above.pop();
                here.pop();
                continue;
            }
            let directory = above.last().map_or(self.fd.as_fd(), AsFd::as_fd);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match rustix::fs::openat(directory, part.as_os_str(), flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    let kind = if todo.is_empty() { kind } else { Kind::Directory };
                    let directory = rustix::io::fcntl_dupfd_cloexec(directory, 0)?;
                    self.make(&directory, &here, &part, kind)?;
                    rustix::fs::openat(&directory, part.as_os_str(), flags, Mode::empty())?
                }
                other => other?,
            };
            let stat = rustix::fs::fstat(&found)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS || on_proc(&found) {
                        return Err(Errno::LOOP);
                    }
                    let link = rustix::fs::readlinkat(&found, "", Vec::new())?;
                    let link = OsString::from_vec(link.into_bytes());
                    if link.as_bytes().first() == Some(&b'/') {
                        above.clear();
                        here.clear();
                    }
                    let rest = std::mem::take(&mut todo);
                    todo = parts(&link).chain(rest).collect();
                }
                FileType::Directory => {
                    here.push(part);
                    above.push(found);
                }
                _ if todo.is_empty() => return Ok(found),
                _ => return Err(Errno::NOTDIR),
            }
        }
        match above.pop() {
            Some(found) => Ok(found),
            None => self.find("/"),
        }
    }

    /// Makes one entry in `directory`, which is at `here`, and notes it where it would stay.
    fn make(
        &mut self,
        directory: &OwnedFd,
        here: &Path,
        name: &OsStr,
        kind: Kind,
    ) -> std::result::Result<(), Errno> {
        let kept = self.kept.iter().rev().find(|kept| here.starts_with(&kept.at));
        let noted = kept.and_then(|kept| kept.area.map(|area| (kept, area)));
        let mut made = Vec::new();
        if let Some((kept, area)) = &noted {
            let inside = here.strip_prefix(&kept.at).unwrap_or(here);
            if let Some(upper) = &kept.upper {
                made.extend(self.copied_up(upper, &kept.at, inside, *area)?);
            }
            let kind = match kind {
                Kind::Directory => Made::Directory,
                Kind::File => Made::File,
            };
            made.push(Placeholder { area: *area, path: inside.join(name).into(), made: kind });
        }
        let before = rustix::fs::fstat(directory)?;
        match kind {
            Kind::Directory => rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755))?,
            Kind::File => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(drop)?;
            }
        }
        if noted.is_some() {
            // The directory shall look as if nothing had happened.
            let _ = set_times(directory, &before);
        }
        self.made.extend(made);
        Ok(())
    }

    /// The directories on the way to `inside` that the overlay will copy to its upper directory when something is made.
    fn copied_up(
        &self,
        upper: &OwnedFd,
        at: &Path,
        inside: &Path,
        area: Area,
    ) -> std::result::Result<Vec<Placeholder>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let mut found = Vec::new();
        for path in inside.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            match patient(|| rustix::fs::openat2(upper, path, flags, Mode::empty(), beneath)) {
                // It and all above it are there.
                Ok(_) => break,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
            let merged =
                patient(|| rustix::fs::openat2(&self.fd, at.join(path), directory, Mode::empty(), resolve))?;
            let made = Made::CopiedUp(attributes(&merged)?);
            found.push(Placeholder { area, path: path.into(), made });
        }
        found.reverse();
        Ok(found)
    }
}

fn parts(path: &OsStr) -> impl Iterator<Item = OsString> {
    let parts = path.as_bytes().split(|byte| *byte == b'/');
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsString::from_vec(part.to_vec()))
        .collect();
    parts.into_iter()
}

/// Says that a mount point could not be opened or made.
pub(super) fn failed(target: &str) -> impl Fn(Errno) -> SandboxError {
    move |error| SandboxError::setup(format!("opening the mount point {target} in the image"))(error)
}

fn on_proc(fd: &OwnedFd) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|found| found.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// The path under which this process sees an open file.
fn seen_path(fd: &OwnedFd) -> rustix::io::Result<PathBuf> {
    let path = rustix::fs::readlinkat(CWD, fd_path(fd), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

/// A path that leads to an open file.
pub(super) fn fd_path(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn set_times(directory: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::utimensat(CWD, fd_path(directory), &times(stat), AtFlags::empty())
}
