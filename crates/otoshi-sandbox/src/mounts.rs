//! Mounts that are made, copied, changed and attached.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::{
    fs::{CWD, FileType},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

use crate::{SandboxError, sys};

type Result<T> = std::result::Result<T, SandboxError>;

pub(crate) fn is_directory(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes a mount that is attached nowhere yet.
pub(crate) fn new_mount(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    try_new_mount(kind, options, attributes).map_err(SandboxError::setup(format!("mounting {kind}")))
}

pub(crate) fn try_new_mount(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options.iter().copied().chain([("source", kind)]) {
        if value.is_empty() {
            fsconfig_set_flag(&context, name)?;
        } else {
            fsconfig_set_string(&context, name, value)?;
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// What is at an open place, with all that is mounted below it, as a mount that is attached nowhere yet.
pub(crate) fn clone_tree(place: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(place, "", flags | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE)
}

/// The same for a path of the host.
pub(crate) fn clone_path(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags | OpenTreeFlags::AT_RECURSIVE)
}

/// The same without what is mounted below it.
pub(crate) fn clone_shallow(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

pub(crate) fn set_attributes(
    mounted: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    recursive: bool,
) -> rustix::io::Result<()> {
    sys::mount_setattr(mounted, attributes.bits().into(), recursive)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
}

pub(crate) fn attach(mounted: &OwnedFd, place: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mounted, "", place, "", flags).map_err(SandboxError::setup(format!("mounting at {name}")))
}
