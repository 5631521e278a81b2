//! Which devices a command may use: a control group of its own, with a list.
//!
//! Only where that is in force may device files be used outside of `/dev`, so that one which a command makes with `mknod` opens
//! what every container may open, and nothing else. Without the right to make such a group, or in a kernel without them, device
//! files can be used only where the sandbox mounts them one by one.
//!
//! ```text
//! this process   makes the group, removes it when the sandbox has ended
//!   └─ init      starts the command in the group; removes it when this process is gone
//!        └─ command   puts the list in force once its network is made, before it mounts its root
//! ```

mod hierarchy;
mod program;
mod rules;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use self::{
    hierarchy::{DIRECTORY, Hierarchy, next_name},
    rules::Rule,
};
use crate::{Privilege, Spec, sys};

/// What kind of group controls a command's devices, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Of the unified hierarchy; the list is a program.
    Unified(String),
    /// Of the `devices` controller of version 1; the list is in the group already.
    Legacy(String),
}

/// A group that was made for one sandbox; it is removed when it is dropped, after the last process in it has ended.
#[derive(Debug)]
pub(crate) struct Group(Joined);

impl Group {
    /// Makes a group for a command; `None` where that cannot be done.
    pub(crate) fn make(spec: &Spec, privilege: Privilege) -> Option<Self> {
        if privilege != Privilege::Root {
            return None;
        }
        let hierarchy = Hierarchy::of_this_process()?;
        match Self::below(hierarchy, &rules::of(spec)) {
            Ok(group) => Some(group),
            Err(error) => {
                tracing::debug!(%error, "no control group for the devices of a step");
                None
            }
        }
    }

    fn below(hierarchy: &Hierarchy, rules: &[Rule]) -> std::io::Result<Self> {
        let parent = hierarchy.directory();
        let name = new_directory(parent)?;
        let open = rustix::fs::openat(parent, &name, DIRECTORY, Mode::empty());
        let directory = open.inspect_err(|_| {
            let _ = rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR);
        })?;
        // From here on it is removed whatever happens.
        let mut group = match hierarchy {
            Hierarchy::Unified(_) => Self(Joined { kind: Kind::Unified(name), directory, program: None }),
            Hierarchy::Legacy(_) => Self(Joined { kind: Kind::Legacy(name), directory, program: None }),
        };
        match hierarchy {
            Hierarchy::Unified(_) => group.0.program = Some(program::load(rules)?),
            Hierarchy::Legacy(_) => {
                hierarchy::write(group.0.directory.as_fd(), "devices.deny", "a")?;
                for line in rules::lines(rules) {
                    hierarchy::write(group.0.directory.as_fd(), "devices.allow", &line)?;
                }
            }
        }
        Ok(group)
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// What travels with an order.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.0.directory.as_fd()).chain(self.0.program.as_ref().map(AsFd::as_fd))
    }
}

/// Makes a directory that nobody else has: a process of another namespace may have this one's id, or one before it had.
fn new_directory(parent: BorrowedFd<'_>) -> rustix::io::Result<String> {
    loop {
        let name = next_name();
        match rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => {}
            made => return made.map(|()| name),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// The group as the init and the command have it.
#[derive(Debug)]
pub(crate) struct Joined {
    kind: Kind,
    directory: OwnedFd,
    program: Option<OwnedFd>,
}

impl Joined {
    /// The group of an order, which has these descriptors.
    pub(crate) fn received(kind: Option<Kind>, fds: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        Some(Self { kind: kind?, directory: fds.next()?, program: fds.next() })
    }

    /// Starts the command's process; in the group, where that can be done from here.
    ///
    /// Says whether it is there, or can go there by itself.
    pub(crate) fn fork(&self) -> std::io::Result<(sys::Fork, bool)> {
        if let Kind::Unified(_) = self.kind {
            match sys::fork_into(self.directory.as_fd()) {
                Ok(forked) => return Ok((forked, true)),
                Err(error) => tracing::debug!(%error, "could not start a step in its control group"),
            }
        }
        Ok((sys::fork()?, matches!(self.kind, Kind::Legacy(_))))
    }

    /// Puts the list in force for this process and all that it starts.
    ///
    /// Fails where it is not in force then.
    pub(crate) fn enforce(&self) -> std::io::Result<()> {
        match (&self.kind, &self.program) {
            (Kind::Unified(_), Some(program)) => {
                sys::attach_device_program(program.as_fd(), self.directory.as_fd())
            }
            (Kind::Unified(_), None) => Err(std::io::ErrorKind::NotFound.into()),
            // One thread goes without waiting for others, and there is no more than one.
            (Kind::Legacy(_), _) => hierarchy::write(self.directory.as_fd(), "tasks", "0"),
        }
    }

    /// Removes the group, when no process is left in it.
    pub(crate) fn remove(&self) {
        let (Kind::Unified(name) | Kind::Legacy(name)) = &self.kind;
        let removed = rustix::fs::openat(&self.directory, "..", DIRECTORY, Mode::empty())
            .and_then(|parent| rustix::fs::unlinkat(&parent, name.as_str(), AtFlags::REMOVEDIR));
        if let Err(error) = removed {
            tracing::debug!(%error, "a control group stays");
        }
    }
}

/// Whether device files may be used wherever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// No: nothing controls it.
    None,
    /// Yes: a list is in force that does not have the machine's memory.
    List,
    /// Yes, all of them: the command may do what it wants.
    All,
}

impl Control {
    /// Puts the list of a joined group in force.
    pub(crate) fn enforced(joined: Option<&Joined>, spec: &Spec) -> Self {
        match joined.map(Joined::enforce) {
            Some(Ok(())) if rules::is_everything(spec) => Self::All,
            Some(Ok(())) => Self::List,
            Some(Err(_)) | None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsRawFd, path::PathBuf, process::Command};

    use otoshi_test::{Missing, Need, given, require};

    use super::*;
    use crate::{Root, Spec};

    /// The commands of other tests are in groups of the unified hierarchy where there are both.
    #[test]
    fn the_devices_controller_of_version_1_keeps_the_list_too() {
        given!(require(&[Need::Root]));
        let missing = || {
            Missing::new("the devices controller of version 1", "mount -t cgroup -o devices none DIRECTORY")
        };
        let hierarchy = given!(Hierarchy::legacy().ok_or_else(missing));
        let spec = Spec::new(Root::Dir(PathBuf::new()));
        let group = Group::below(&hierarchy, &rules::of(&spec)).unwrap();
        let tasks = format!("/proc/{}/fd/{}/tasks", std::process::id(), group.0.directory.as_raw_fd());
        let script = format!(
            "test -c /dev/net/tun || exit 9; echo 0 >{tasks} || exit 8; exec 3<>/dev/null; (exec 3<>/dev/net/tun) && exit 7; exit 5"
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains("Operation not permitted"), "{said}");
        // Nothing of it stays.
        let Kind::Legacy(name) = group.kind().clone() else { panic!("{group:?}") };
        drop(group);
        let left = rustix::fs::statat(hierarchy.directory(), &name, AtFlags::SYMLINK_NOFOLLOW);
        assert_eq!(left.unwrap_err(), rustix::io::Errno::NOENT);
    }
}
