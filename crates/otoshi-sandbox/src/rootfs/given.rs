//! Device files that a command is given besides those that every one has.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
};

use super::{
    place::{Kind, Place, failed},
    stage::Stage,
};
use crate::{
    Device, DeviceKind, SandboxError,
    mounts::{attach, clone_path, clone_tree},
};

type Result<T> = std::result::Result<T, SandboxError>;

/// The host's own files, for a user namespace, where none can be made; a named pipe can.
pub(super) fn of_host(devices: &[Device]) -> Result<Vec<Option<OwnedFd>>> {
    let of_host = |device: &Device| match device.kind {
        DeviceKind::Fifo => Ok(None),
        DeviceKind::Character(..) | DeviceKind::Block(..) => clone_path(&device.source)
            .map(Some)
            .map_err(SandboxError::setup(format!("opening the device {}", device.source.display()))),
    };
    devices.iter().map(of_host).collect()
}

/// Puts a device file where the command is to see it.
pub(super) fn put(
    place: &mut Place,
    stage: &Stage,
    index: usize,
    device: &Device,
    source: Option<OwnedFd>,
) -> Result<()> {
    let target = device.target.as_str();
    let point = place.mount_point(target, Kind::File).map_err(failed(target))?;
    place.path_for_mount(&point, target)?;
    let file = match source {
        Some(file) => file,
        None => made(stage, index, device).map_err(SandboxError::setup(format!("making {target}")))?,
    };
    attach(&file, point.as_fd(), target)
}

/// Makes a file that belongs to the sandbox only: what a command does to it does not reach the host's.
fn made(stage: &Stage, index: usize, device: &Device) -> std::result::Result<OwnedFd, Errno> {
    let directory = stage.directory("given").map_err(|_| Errno::NOENT)?;
    let (kind, number) = match device.kind {
        DeviceKind::Character(major, minor) => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
        DeviceKind::Block(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        DeviceKind::Fifo => (FileType::Fifo, 0),
    };
    let name = index.to_string();
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    rustix::fs::mknodat(&directory, &name, kind, mode, number)?;
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(&directory, &name, Some(uid), Some(gid), nofollow)?;
    let node = rustix::fs::openat(&directory, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    clone_tree(node.as_fd())
}
