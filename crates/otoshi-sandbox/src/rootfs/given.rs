//! Device files that a command is given besides those that every one has.

use std::os::fd::{AsFd, OwnedFd};

use super::{
    place::{Kind, Place, failed},
    stage::Stage,
};
use crate::{
    Device, DeviceKind, SandboxError,
    mounts::{attach, clone_path},
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
    let made = || stage.node(&format!("given/{index}"), device.kind, device.mode, (device.uid, device.gid));
    let file = match source {
        Some(file) => file,
        None => made().map_err(SandboxError::setup(format!("making {target}")))?,
    };
    attach(&file, point.as_fd(), target)
}
