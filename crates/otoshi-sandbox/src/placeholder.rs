//! Mount points that an image lacks: noted when the sandbox makes them, taken away when it has ended.
//!
//! Only what is still as it was made goes: empty files and directories, and directories that an overlay copied to its
//! upper directory for no other reason. Nothing is looked up through links, which a command may have planted.

use std::{
    ffi::OsString,
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{Mount, Root, Spec, patient::patient};

/// Something that stays after a run and that a placeholder was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Area {
    /// The root's upper directory, or the root directory itself.
    Root,
    /// The upper directory or the source of the mount with this index.
    Mount(usize),
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Made {
    File,
    Directory,
    /// A directory that an overlay copied up, as it was below.
    CopiedUp(Attributes),
}

/// One entry that a sandbox made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placeholder {
    pub(crate) area: Area,
    /// Where, in the area.
    pub(crate) path: Bytes,
    pub(crate) made: Made,
}

/// A path of any bytes, as a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.0.clone()))
    }
}

impl<P: AsRef<Path>> From<P> for Bytes {
    fn from(path: P) -> Self {
        Self(path.as_ref().as_os_str().as_encoded_bytes().to_vec())
    }
}

/// What a command may change about a directory without changing what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    mode: u32,
    owner: (u32, u32),
    /// Names and values of extended attributes, without overlayfs's own.
    extended: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the attributes of an open directory.
pub(crate) fn attributes(directory: &OwnedFd) -> rustix::io::Result<Attributes> {
    let stat = rustix::fs::fstat(directory)?;
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(directory, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut extended = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(directory, name, &mut value)?;
        extended.push((name.to_vec(), value[..length].to_vec()));
    }
    extended.sort();
    Ok(Attributes { mode: stat.st_mode, owner: (stat.st_uid, stat.st_gid), extended })
}

/// Takes away what a sandbox made and nobody used; what cannot be taken away stays.
pub(crate) fn remove(spec: &Spec, placeholders: &[Placeholder]) {
    let mut opened: Vec<(Area, Option<OwnedFd>)> = Vec::new();
    for placeholder in placeholders.iter().rev() {
        if !opened.iter().any(|(area, _)| *area == placeholder.area) {
            let directory = directory(spec, placeholder.area).and_then(|path| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, Mode::empty()).ok()
            });
            opened.push((placeholder.area, directory));
        }
        let found = opened.iter().find(|(area, _)| *area == placeholder.area);
        if let Some((_, Some(area))) = found
            && let Err(error) = remove_one(area, placeholder)
        {
            let path = placeholder.path.path();
            tracing::debug!(path = %path.display(), %error, "a mount point stays");
        }
    }
}

fn directory(spec: &Spec, area: Area) -> Option<PathBuf> {
    match area {
        Area::Root => match &spec.root {
            Root::Overlay { upper, .. } => Some(upper.clone()),
            Root::Dir(path) => Some(path.clone()),
            Root::ReadOnlyOverlay { .. } => None,
        },
        Area::Mount(index) => match spec.mounts.get(index)? {
            Mount::OverlayView { upper, .. } => Some(upper.clone()),
            Mount::Bind { source, .. } => fs::canonicalize(source).ok(),
            Mount::Tmpfs { .. } | Mount::File { .. } => None,
        },
    }
}

fn remove_one(area: &OwnedFd, placeholder: &Placeholder) -> rustix::io::Result<()> {
    let path = placeholder.path.path();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = patient(|| rustix::fs::openat2(area, parent, directory, Mode::empty(), beneath))?;
    let before = rustix::fs::fstat(&parent)?;
    let flags = match &placeholder.made {
        Made::File => {
            let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if !is_file || stat.st_size != 0 || stat.st_nlink != 1 {
                return Ok(());
            }
            AtFlags::empty()
        }
        Made::Directory => AtFlags::REMOVEDIR,
        Made::CopiedUp(was) => {
            let copy = patient(|| rustix::fs::openat2(&parent, name, directory, Mode::empty(), beneath))?;
            if attributes(&copy)? != *was {
                return Ok(());
            }
            AtFlags::REMOVEDIR
        }
    };
    rustix::fs::unlinkat(&parent, name, flags)?;
    set_times(&parent, &before)
}

fn set_times(directory: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::futimens(directory, &times(stat))
}

/// The times that a file has.
pub(crate) fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    }
}
