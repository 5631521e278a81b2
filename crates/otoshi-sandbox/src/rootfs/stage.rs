//! The stage: a file system in memory for what the sandbox itself needs.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Access, AtFlags, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
    mount::MountAttrFlags,
};

use crate::{
    DeviceKind, SandboxError,
    mounts::{attach, clone_tree, new_mount},
};

type Result<T> = std::result::Result<T, SandboxError>;

/// A file system in memory for what the sandbox itself needs.
pub(super) struct Stage(OwnedFd);

impl Stage {
    pub(super) fn mount() -> Result<Self> {
        let failed = || SandboxError::setup::<rustix::io::Errno>("making the staging directory");
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let stage = new_mount("tmpfs", &[("mode", "0755")], attributes)?;
        // What is below is opened already, or not needed.
        let below = ["/tmp", "/run", "/var", "/usr"].into_iter().find_map(|path| {
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
        });
        let below = below.ok_or_else(|| {
            SandboxError::invalid("making the staging directory", "this system has no /tmp")
        })?;
        attach(&stage, below.as_fd(), "the staging directory")?;
        for name in ["root", "files", "devices", "given", "empty"] {
            rustix::fs::mkdirat(&stage, name, Mode::from_raw_mode(0o755)).map_err(failed())?;
        }
        Ok(Self(stage))
    }

    pub(super) fn directory(&self, name: &str) -> Result<OwnedFd> {
        rustix::fs::openat(&self.0, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(SandboxError::setup("opening the staging directory"))
    }

    pub(super) fn make_directory(&self, name: &str) -> Result<OwnedFd> {
        rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o755))
            .map_err(SandboxError::setup("making the staging directory"))?;
        self.directory(name)
    }

    /// Whether this process may not read the machine's memory, though it is root and has a device file for it.
    pub(super) fn refuses_memory(&self) -> Result<bool> {
        let failed = || SandboxError::setup::<Errno>("trying whether devices are controlled");
        let (mode, memory) = (Mode::from_raw_mode(0o600), rustix::fs::makedev(1, 1));
        rustix::fs::mknodat(&self.0, "memory", FileType::CharacterDevice, mode, memory).map_err(failed())?;
        let asked = rustix::fs::accessat(&self.0, "memory", Access::READ_OK, AtFlags::empty());
        rustix::fs::unlinkat(&self.0, "memory", AtFlags::empty()).map_err(failed())?;
        Ok(asked == Err(Errno::PERM))
    }

    /// A device file that belongs to the sandbox only, as a mount of its own: what a command does to it does not reach the host's.
    pub(super) fn node(
        &self,
        path: &str,
        kind: DeviceKind,
        mode: u32,
        owner: (u32, u32),
    ) -> rustix::io::Result<OwnedFd> {
        let (kind, number) = match kind {
            DeviceKind::Character(major, minor) => {
                (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
            }
            DeviceKind::Block(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
            DeviceKind::Fifo => (FileType::Fifo, 0),
        };
        rustix::fs::mknodat(&self.0, path, kind, Mode::from_raw_mode(mode & 0o7777), number)?;
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::chownat(&self.0, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        let node = rustix::fs::openat(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        clone_tree(node.as_fd())
    }

    /// A file with this content, as a mount of its own.
    pub(super) fn file(
        &self,
        name: &str,
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let path = format!("files/{name}");
        let file = rustix::fs::openat(&self.0, path, flags, Mode::from_raw_mode(0o600))?;
        let mut left = content;
        while !left.is_empty() {
            left = &left[rustix::io::write(&file, left)?..];
        }
        rustix::fs::fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        clone_tree(file.as_fd())
    }
}
