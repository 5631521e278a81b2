//! The hierarchy of control groups in which a step gets its own: below the group of this process.
//!
//! It is mounted for this process alone, from a namespace whose root is this process's group. So the group's limits hold for
//! steps, too, whatever is mounted on the host is not needed, and the options of the host's mount stay as they are.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags},
    mount::MountAttrFlags,
    thread::UnshareFlags,
};

use super::program;
use crate::{mounts::try_new_mount, sys};

/// Which hierarchy there is, with the directory of this process's own group.
#[derive(Debug)]
pub(super) enum Hierarchy {
    /// The unified one.
    Unified(OwnedFd),
    /// That of the `devices` controller of version 1.
    Legacy(OwnedFd),
}

/// How a directory is opened.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How the directories of steps begin.
const PREFIX: &str = "otoshi-";

/// How old a group without a process must be to be one that nobody removed, in seconds.
const ABANDONED: i64 = 60;

/// What no other step of this process has.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name that no other group has.
pub(super) fn next_name() -> String {
    format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Hierarchy {
    /// The hierarchy for steps of this process; `None` where there is none in which it may make groups.
    pub(super) fn of_this_process() -> Option<&'static Self> {
        static FOUND: OnceLock<Option<Hierarchy>> = OnceLock::new();
        FOUND.get_or_init(Self::find).as_ref()
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        let (Self::Unified(directory) | Self::Legacy(directory)) = self;
        directory.as_fd()
    }

    fn find() -> Option<Self> {
        // The namespace is the thread's alone, and goes with it.
        let look = || {
            sys::unshare(UnshareFlags::NEWCGROUP).ok()?;
            mount("cgroup2", &[]).map(Self::Unified).filter(Self::has_programs).or_else(Self::legacy)
        };
        let found = thread::Builder::new().name("control-groups".into()).spawn(look).ok()?.join().ok()??;
        remove_abandoned(found.directory());
        Some(found)
    }

    pub(super) fn legacy() -> Option<Self> {
        // Together with the controllers that share its hierarchy, or it is not found.
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let controllers = legacy_controllers(&groups)?;
        let options: Vec<_> = controllers.split(',').map(|name| (name, "")).collect();
        mount("cgroup", &options).map(Self::Legacy)
    }

    /// Whether programs can be loaded; not every kernel has those for devices.
    fn has_programs(&self) -> bool {
        program::load(&[]).inspect_err(|error| tracing::debug!(%error, "no programs for devices")).is_ok()
    }
}

/// Mounts a hierarchy where only this process sees it, and opens its topmost directory.
fn mount(kind: &str, options: &[(&str, &str)]) -> Option<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mounted = try_new_mount(kind, options, attributes)
        .and_then(|mounted| rustix::fs::openat(&mounted, ".", DIRECTORY, Mode::empty()));
    mounted.inspect_err(|error| tracing::debug!(kind, %error, "no control groups")).ok()
}

/// The controllers of the hierarchy that has `devices`, in `/proc/self/cgroup`. Format: `cgroups(7)`.
fn legacy_controllers(text: &str) -> Option<&str> {
    let controllers = text.lines().filter_map(|line| line.split(':').nth(1));
    controllers.into_iter().find(|controllers| controllers.split(',').any(|name| name == "devices"))
}

/// Removes groups of steps whose processes were all killed at once, so that nobody could.
fn remove_abandoned(directory: BorrowedFd<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let Ok(entries) = Dir::read_from(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_old = || {
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| stat.st_ctime.saturating_add(ABANDONED) < now)
        };
        if name.to_bytes().starts_with(PREFIX.as_bytes()) && is_old() {
            // One that has a process stays.
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR);
        }
    }
}

/// Writes to a file of a group.
pub(super) fn write(group: BorrowedFd<'_>, file: &str, text: &str) -> std::io::Result<()> {
    let file = rustix::fs::openat(group, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_controller_may_share_its_hierarchy() {
        let text = "3:name=systemd:/\n2:cpu,devices:/a\n1:memory:/\n0::/\n";
        assert_eq!(legacy_controllers(text), Some("cpu,devices"));
        assert_eq!(legacy_controllers("0::/\n1:mydevices:/\n"), None);
    }
}
