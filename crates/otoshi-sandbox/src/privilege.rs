//! A mount namespace for this process, and a user namespace where it is not root.

use std::{fs, process::Command, sync::OnceLock};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    process::{Gid, Uid, WaitOptions, waitpid},
    thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde::{Deserialize, Serialize};

use crate::{SandboxError, capabilities, channel::Channel, sys};

/// By what right this process mounts and changes owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// It is root.
    Root,
    /// It is root of a user namespace.
    UserNamespace {
        /// Whether further user ids are mapped, or only the user's own.
        sub_ids: bool,
    },
}

static PRIVILEGE: OnceLock<Privilege> = OnceLock::new();

const HINT: &str = "run as root, or allow user namespaces: sysctl user.max_user_namespaces, \
    kernel.unprivileged_userns_clone (Debian), kernel.apparmor_restrict_unprivileged_userns (Ubuntu); \
    inside a container: docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined";

/// By what right this process mounts and changes owners, now.
pub fn privilege() -> Privilege {
    PRIVILEGE.get().copied().unwrap_or_else(found)
}

/// Gives this process a mount namespace of its own, so that no mount outlives it; call it before any thread is started.
///
/// Without the right to mount, it becomes root of a new user namespace first. There the user's own ids are root's, and those
/// that `/etc/subuid` and `/etc/subgid` give to the user are mapped from 1 on, by `newuidmap` and `newgidmap`; where that
/// cannot be done, the user's own id is the only one, and owners cannot be changed.
///
/// Fails where this process has several threads, or user namespaces are not allowed.
pub fn enter_namespace() -> Result<Privilege, SandboxError> {
    if let Some(privilege) = PRIVILEGE.get() {
        return Ok(*privilege);
    }
    if !capabilities::may_administer() {
        enter_user_namespace()?;
    }
    sys::unshare(UnshareFlags::NEWNS)
        .map_err(SandboxError::not_supported("making a mount namespace", HINT))?;
    // What the host mounts from now on is seen here; what is mounted here is not seen there.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(SandboxError::setup("separating mounts from the host's"))?;
    Ok(*PRIVILEGE.get_or_init(found))
}

/// Looks whether this process is in a user namespace, and how many ids that has.
fn found() -> Privilege {
    let mapped = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum::<u64>()
    };
    match mapped("/proc/self/uid_map") {
        // All ids but −1: the first namespace. Without /proc, nobody knows.
        0 | 0xffff_ffff => Privilege::Root,
        count => Privilege::UserNamespace { sub_ids: count > 1 && mapped("/proc/self/gid_map") > 1 },
    }
}

/// Makes a user namespace and becomes its root.
fn enter_user_namespace() -> Result<(), SandboxError> {
    let failed = |action: &str| SandboxError::setup::<std::io::Error>(action.to_owned());
    let threads = fs::read_dir("/proc/self/task").map_err(failed("counting threads"))?.count();
    if threads != 1 {
        return Err(SandboxError::invalid("making a user namespace", "this process has several threads"));
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let ranges = SubIds::of(uid);
    let (ours, theirs) = Channel::pair().map_err(failed("making a channel"))?;
    // Ids are mapped from outside; so a helper stays there.
    let helper = match sys::fork().map_err(failed("forking"))? {
        sys::Fork::Child => {
            drop(ours);
            let mapped = matches!(theirs.receive::<()>(), Ok(Some(_)))
                && ranges.is_some_and(|ranges| ranges.map(uid, gid));
            let _ = theirs.send(&mapped, &[]);
            std::process::exit(0);
        }
        sys::Fork::Parent(helper) => helper,
    };
    drop(theirs);
    let entered = sys::unshare(UnshareFlags::NEWUSER)
        .map_err(SandboxError::not_supported("making a user namespace", HINT));
    let mapped = entered.is_ok()
        && ours.send(&(), &[]).is_ok()
        && matches!(ours.receive::<bool>(), Ok(Some((true, _))));
    drop(ours);
    let _ = waitpid(Some(helper), WaitOptions::empty());
    entered?;
    if !mapped {
        map_own(uid, gid).map_err(SandboxError::not_supported("mapping the user's own id", HINT))?;
    }
    // With the single id this is not allowed; the groups stay, as nobody's.
    let _ = set_thread_groups(&[]);
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid)
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .map_err(SandboxError::setup("becoming root of the user namespace"))
}

/// Maps root to the user's own ids, and nothing else.
fn map_own(uid: u32, gid: u32) -> std::io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// The ranges of further ids that a user has.
#[derive(Debug, PartialEq, Eq)]
struct SubIds {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl SubIds {
    fn of(uid: u32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let name = user_name(&read("/etc/passwd"), uid);
        let users = ranges(&read("/etc/subuid"), uid, name.as_deref());
        let groups = ranges(&read("/etc/subgid"), uid, name.as_deref());
        (!users.is_empty() && !groups.is_empty()).then_some(Self { users, groups })
    }

    /// Maps the ids of the parent process; tells whether that worked.
    fn map(&self, uid: u32, gid: u32) -> bool {
        let Some(parent) = rustix::process::getppid() else { return false };
        let call = |program: &str, own: u32, ranges: &[(u32, u32)]| {
            let mut numbers = vec![parent.as_raw_nonzero().get().cast_unsigned(), 0, own, 1];
            let mut next = 1;
            for (start, count) in ranges {
                numbers.extend([next, *start, *count]);
                next += count;
            }
            let called = Command::new(program).args(numbers.iter().map(u32::to_string)).output();
            match called {
                Ok(output) if output.status.success() => true,
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    tracing::warn!(program, said = %said.trim(), "could not map further user ids");
                    false
                }
                Err(error) => {
                    tracing::warn!(program, %error, "could not map further user ids");
                    false
                }
            }
        };
        call("newuidmap", uid, &self.users) && call("newgidmap", gid, &self.groups)
    }
}

/// The user's name. Format: `passwd(5)`.
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    line.split(':').next().map(str::to_owned)
}

/// The ranges of a user: start and count. Format: `subuid(5)`.
fn ranges(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let ours = name == Some(owner) || owner == uid.to_string();
        ours.then_some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(range).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_belong_to_a_user_by_name_or_number() {
        let text = "ann:100000:65536\nbob:165536:65536\n1000:300000:10\nann:broken:1\nann:400000:0\n";
        assert_eq!(ranges(text, 1000, Some("ann")), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(ranges(text, 7, Some("carl")), []);
    }

    #[test]
    fn users_are_named_in_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(user_name(passwd, 100), None);
    }
}
