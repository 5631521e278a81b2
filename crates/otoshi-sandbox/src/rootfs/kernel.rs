//! `/proc`, `/sys` and `/dev` of a sandbox, and what of them is hidden or read-only. As Docker has it.
//!
//! Where nothing controls which devices a command uses ([`crate::control`]), device files can be used only where they are mounted one
//! by one on `/dev`: everything else is mounted without devices, so that a file which a command makes with `mknod` opens nothing.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Gid, Mode, OFlags, Uid},
    io::Errno,
    mount::MountAttrFlags,
    pty::OpenptFlags,
};

use super::{place::Place, stage::Stage};
use crate::{
    DeviceKind, SandboxError, Spec,
    mounts::{attach, clone_path, clone_tree, is_directory, new_mount, set_attributes, try_new_mount},
};

type Result<T> = std::result::Result<T, SandboxError>;

/// Hidden: what the kernel tells there is none of a container's business. Directories become empty, files `/dev/null`.
const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

/// Readable only.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Name, major and minor number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

pub(super) fn proc_and_sys(place: &mut Place) -> Result<()> {
    let safe = NOSUID | NOEXEC | NODEV;
    let proc = try_new_mount("proc", &[], safe).map_err(SandboxError::not_supported(
        "mounting /proc",
        "inside a container, no part of its /proc may be masked: docker run --security-opt systempaths=unconfined",
    ))?;
    attach(&proc, place.top_directory("proc")?.as_fd(), "/proc")?;
    let sys = match try_new_mount("sysfs", &[], safe | RDONLY) {
        // A user namespace may mount it only with a network namespace of its own: the host's, then.
        Err(Errno::PERM) => {
            let tree = clone_path("/sys".as_ref()).and_then(|tree| {
                set_attributes(tree.as_fd(), safe | RDONLY, true)?;
                Ok(tree)
            });
            tree.map_err(SandboxError::setup("mounting the host's /sys"))?
        }
        other => other.map_err(SandboxError::setup("mounting /sys"))?,
    };
    attach(&sys, place.top_directory("sys")?.as_fd(), "/sys")
}

/// The host's device files, for a user namespace, where none can be made.
pub(super) fn host_devices() -> Result<Vec<(&'static str, OwnedFd)>> {
    let mut found = Vec::new();
    for (name, ..) in DEVICES {
        match clone_path(format!("/dev/{name}").as_ref()) {
            Err(Errno::NOENT) if name != "null" => {}
            other => found.push((name, other.map_err(SandboxError::setup(format!("opening /dev/{name}")))?)),
        }
    }
    Ok(found)
}

/// Makes the device files of a sandbox of its own.
fn own_devices(stage: &Stage) -> Result<Vec<(&'static str, OwnedFd)>> {
    let made = |(name, major, minor): (&'static str, u32, u32)| {
        let node = stage.node(&format!("devices/{name}"), DeviceKind::Character(major, minor), 0o666, (0, 0));
        Ok((name, node.map_err(SandboxError::setup(format!("making /dev/{name}")))?))
    };
    DEVICES.into_iter().map(made).collect()
}

/// Fills `/dev`.
pub(super) fn devices(
    place: &mut Place,
    stage: &Stage,
    host: Option<Vec<(&'static str, OwnedFd)>>,
    spec: &Spec,
    no_dev: MountAttrFlags,
) -> Result<Option<Terminal>> {
    let dev = new_mount("tmpfs", &[("mode", "755"), ("size", "65536k")], NOSUID | no_dev)?;
    attach(&dev, place.top_directory("dev")?.as_fd(), "/dev")?;
    let devices = match host {
        Some(devices) => devices,
        None => own_devices(stage)?,
    };
    for (name, device) in &devices {
        attach(device, file_in(&dev, name)?.as_fd(), name)?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name)
            .map_err(SandboxError::setup(format!("making /dev/{name}")))?;
    }
    let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let safe = NOSUID | NOEXEC;
    // The group of terminals may be nobody here.
    let pts = try_new_mount("devpts", &options, safe)
        .or_else(|_| try_new_mount("devpts", &options[..3], safe))
        .map_err(SandboxError::setup("mounting /dev/pts"))?;
    attach(&pts, directory_in(&dev, "pts")?.as_fd(), "/dev/pts")?;
    // A mount of the spec's takes the place of these.
    let is_taken =
        |target: &str| spec.mounts.iter().any(|mount| mount.target().trim_end_matches('/') == target);
    let shm = directory_in(&dev, "shm")?;
    if !is_taken("/dev/shm") {
        let size = spec.shm_size.to_string();
        let memory = new_mount("tmpfs", &[("mode", "1777"), ("size", &size)], safe | NODEV)?;
        attach(&memory, shm.as_fd(), "/dev/shm")?;
    }
    // Not every kernel has it.
    if !is_taken("/dev/mqueue")
        && let Ok(queues) = try_new_mount("mqueue", &[], safe | NODEV)
    {
        attach(&queues, directory_in(&dev, "mqueue")?.as_fd(), "/dev/mqueue")?;
    }
    if !spec.terminal {
        return Ok(None);
    }
    let terminal = terminal(&pts, spec).map_err(SandboxError::setup("making a terminal"))?;
    let console = clone_tree(terminal.command.as_fd()).map_err(SandboxError::setup("making /dev/console"))?;
    attach(&console, file_in(&dev, "console")?.as_fd(), "/dev/console")?;
    Ok(Some(terminal))
}

/// A new terminal of this sandbox, which belongs to the command's user.
fn terminal(pts: &OwnedFd, spec: &Spec) -> rustix::io::Result<Terminal> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let caller = rustix::fs::openat(pts, "ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&caller)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let command = rustix::pty::ioctl_tiocgptpeer(&caller, flags)?;
    rustix::fs::fchown(&command, Some(Uid::from_raw(spec.user.uid)), None::<Gid>)?;
    Ok(Terminal { caller, command })
}

fn file_in(dev: &OwnedFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o666))
        .map_err(SandboxError::setup(format!("making /dev/{name}")))
}

fn directory_in(dev: &OwnedFd, name: &str) -> Result<OwnedFd> {
    let failed = || SandboxError::setup::<Errno>(format!("making /dev/{name}"));
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755)).map_err(failed())?;
    rustix::fs::openat(dev, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed())
}

/// Hides and protects what a command must not read or write, once nothing else is going to be mounted.
pub(super) fn protect(place: &Place, stage: &Stage) -> Result<()> {
    for target in READ_ONLY {
        let Ok(found) = place.find_plain(target) else { continue };
        let failed = || SandboxError::setup::<Errno>(format!("protecting /{target}"));
        let again = clone_tree(found.as_fd()).map_err(failed())?;
        set_attributes(again.as_fd(), RDONLY, true).map_err(failed())?;
        attach(&again, found.as_fd(), target)?;
    }
    let null = place.find_plain("dev/null").map_err(SandboxError::setup("opening /dev/null"))?;
    let empty = stage.directory("empty")?;
    let mask = |target: &str| -> Result<bool> {
        let Ok(found) = place.find_plain(target) else { return Ok(false) };
        let failed = || SandboxError::setup::<Errno>(format!("masking /{target}"));
        let cover = if is_directory(&found) {
            let cover = clone_tree(empty.as_fd()).map_err(failed())?;
            set_attributes(cover.as_fd(), RDONLY | NODEV, false).map_err(failed())?;
            cover
        } else {
            clone_tree(null.as_fd()).map_err(failed())?
        };
        attach(&cover, found.as_fd(), target)?;
        Ok(true)
    };
    for target in MASKED {
        mask(target)?;
    }
    // One for each processor.
    let mut number = 0;
    while mask(&format!("sys/devices/system/cpu/cpu{number}/thermal_throttle"))? {
        number += 1;
    }
    Ok(())
}

/// A pseudoterminal: the caller's end and the command's.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) caller: OwnedFd,
    pub(crate) command: OwnedFd,
}
