//! Merged directories: overlayfs, through the new mount calls, or through `mount` where the kernel is older than 6.8.
//!
//! Directories are handed over as descriptors, so that neither the length of a path nor a comma in it matters, and the
//! command does not see the host's paths in `/proc/mounts`. Options:
//! <https://docs.kernel.org/filesystems/overlayfs.html>

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, mount,
    },
};

use super::place::fd_path;
use crate::{SandboxError, mounts::attach};

type Result<T> = std::result::Result<T, SandboxError>;

/// What one layer must not rely on: references to others, and marks of the file system that it lay on.
pub const SELF_CONTAINED: [(&str, &str); 4] =
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", "off")];

/// What to do where the store's file system cannot be part of an overlay.
pub const STORE_HINT: &str = "the file system of the store cannot hold overlays, as often inside a container; \
    set OTOSHI_HOME to a directory on a volume or tmpfs";

const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;

/// The directories of an overlay, opened.
#[derive(Debug)]
pub(super) struct Layers {
    /// The topmost first.
    pub(super) lowers: Vec<OwnedFd>,
    /// The upper and the work directory.
    pub(super) writable: Option<(OwnedFd, OwnedFd)>,
    pub(super) userxattr: bool,
    pub(super) volatile: bool,
    pub(super) classic: bool,
}

pub(super) fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(SandboxError::setup(format!("opening {}", path.display())))
}

pub(super) fn open_directories(paths: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    paths.iter().map(|path| open_directory(path)).collect()
}

impl Layers {
    /// Mounts the merged directories on an open directory, with an attribute or none: `MOUNT_ATTR_NODEV`.
    pub(super) fn mount(&self, place: BorrowedFd<'_>, name: &str, no_dev: MountAttrFlags) -> Result<()> {
        if !self.classic
            && let Some(mounted) = self.mount_new(name, no_dev)?
        {
            return attach(&mounted, place, name);
        }
        self.mount_classic(place, no_dev)
            .map_err(SandboxError::setup(format!("mounting the merged directories at {name}")))
    }

    fn flags(&self) -> impl Iterator<Item = &'static str> {
        let volatile = (self.volatile && self.writable.is_some()).then_some("volatile");
        volatile.into_iter().chain(self.userxattr.then_some("userxattr"))
    }

    /// Gives `None` when the kernel does not know about `lowerdir+`.
    fn mount_new(&self, name: &str, no_dev: MountAttrFlags) -> Result<Option<OwnedFd>> {
        let Ok(context) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else { return Ok(None) };
        let failed = |error: Errno| {
            let told = kernel_message(&context);
            let action = format!("mounting the merged directories at {name}");
            if told.contains("as upperdir") {
                return SandboxError::NotSupported { action, reason: told, hint: STORE_HINT.to_owned() };
            }
            let plain = || std::io::Error::from(error).to_string();
            SandboxError::invalid(action, if told.is_empty() { plain() } else { told })
        };
        for (index, lower) in self.lowers.iter().enumerate() {
            match fsconfig_set_string(&context, "lowerdir+", fd_path(lower)) {
                Err(Errno::INVAL) if index == 0 => return Ok(None),
                other => other.map_err(failed)?,
            }
        }
        if let Some((upper, work)) = &self.writable {
            fsconfig_set_string(&context, "upperdir", fd_path(upper)).map_err(failed)?;
            fsconfig_set_string(&context, "workdir", fd_path(work)).map_err(failed)?;
        }
        for (option, value) in SELF_CONTAINED {
            fsconfig_set_string(&context, option, value).map_err(failed)?;
        }
        for flag in self.flags() {
            fsconfig_set_flag(&context, flag).map_err(failed)?;
        }
        fsconfig_set_string(&context, "source", "overlay").map_err(failed)?;
        fsconfig_create(&context).map_err(failed)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, no_dev).map(Some).map_err(failed)
    }

    /// One page of options: with directories named by short numbers, room for several hundred.
    fn mount_classic(&self, place: BorrowedFd<'_>, no_dev: MountAttrFlags) -> rustix::io::Result<()> {
        let mut mount_flags = MountFlags::empty();
        mount_flags.set(MountFlags::NODEV, no_dev.contains(NODEV));
        let numbers: Vec<String> = self.lowers.iter().map(|lower| lower.as_raw_fd().to_string()).collect();
        let mut options = format!("lowerdir={}", numbers.join(":"));
        if let Some((upper, work)) = &self.writable {
            options += &format!(",upperdir={},workdir={}", upper.as_raw_fd(), work.as_raw_fd());
        }
        for (option, value) in SELF_CONTAINED {
            options += &format!(",{option}={value}");
        }
        for flag in self.flags() {
            options += &format!(",{flag}");
        }
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        // Here the numbers are names. The process gets its working directory later.
        rustix::process::chdir("/proc/self/fd")?;
        let result = mount("overlay", fd_path(&place.as_fd()), "overlay", mount_flags, &*options);
        rustix::process::chdir("/")?;
        result
    }
}

/// What the kernel says about a mount that failed.
pub(super) fn kernel_message(context: &OwnedFd) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    // Each read gives one message.
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        if !text.is_empty() {
            text.extend_from_slice(b"; ");
        }
        let message = &buffer[..length];
        text.extend_from_slice(message.strip_prefix(b"e ").unwrap_or(message).trim_ascii());
    }
    String::from_utf8_lossy(&text).into_owned()
}
