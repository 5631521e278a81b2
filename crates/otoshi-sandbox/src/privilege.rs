//! A mount namespace for this process, and a user namespace where it is not root.

use std::{
    fs,
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd},
    process::{Command, exit},
    sync::OnceLock,
};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    thread::UnshareFlags,
};

use crate::{SandboxError, sys};

/// Set inside the user namespace: at first to the numbers of two file descriptors.
pub(crate) const FDS: &str = "OTOSHI_USER_NAMESPACE";

/// By what right this process mounts and changes owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// It is root.
    Root,
    /// It is root of a user namespace of its own.
    UserNamespace {
        /// Whether further user ids are mapped, or only the user's own.
        sub_ids: bool,
    },
}

static PRIVILEGE: OnceLock<Privilege> = OnceLock::new();

/// What [`enter_namespace`] found or made; root when it was not called.
pub fn privilege() -> Privilege {
    PRIVILEGE.get().copied().unwrap_or_else(|| {
        if std::env::var_os(FDS).is_some() {
            Privilege::UserNamespace { sub_ids: true }
        } else {
            Privilege::Root
        }
    })
}

/// Gives this process a mount namespace of its own, so that no mount outlives it; call it before any thread is started.
///
/// Without the right to mount, the program is executed again inside a new user namespace, whose root is this user, with
/// the further ids that `/etc/subuid` and `/etc/subgid` allow; this process then only waits for it, and exits as it does.
pub fn enter_namespace() -> Result<Privilege, SandboxError> {
    if let Ok(text) = std::env::var(FDS) {
        let found = join(&text)?;
        return Ok(*PRIVILEGE.get_or_init(|| found));
    }
    let may_mount =
        caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN).unwrap_or(false);
    if !may_mount {
        return Err(execute_again());
    }
    own_mounts(UnshareFlags::NEWNS)?;
    Ok(*PRIVILEGE.get_or_init(|| Privilege::Root))
}

fn own_mounts(flags: UnshareFlags) -> Result<(), SandboxError> {
    sys::unshare(flags).map_err(|error| SandboxError::NotSupported {
        action: "making a namespace".into(),
        reason: error.to_string(),
        hint: "run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)".into(),
    })?;
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(SandboxError::setup("making mounts our own"))
}

/// The second execution: makes the user namespace, waits until its ids are mapped, and becomes its root.
fn join(text: &str) -> Result<Privilege, SandboxError> {
    let numbers: Vec<i32> = text.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [ready, go] = numbers[..] else {
        // Further programs that this one starts are inside already.
        return Ok(Privilege::UserNamespace { sub_ids: true });
    };
    let (mut ready, mut go) = (fs::File::from(sys::take_fd(ready)), fs::File::from(sys::take_fd(go)));
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(SandboxError::setup("binding to the parent's life"))?;
    sys::unshare(UnshareFlags::NEWUSER).map_err(|error| SandboxError::NotSupported {
        action: "making a user namespace".into(),
        reason: error.to_string(),
        hint: "allow user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, or AppArmor's restriction".into(),
    })?;
    let _ = ready.write_all(b"r");
    let mut answer = [0];
    go.read_exact(&mut answer).map_err(SandboxError::setup("waiting for the user ids"))?;
    let _ = sys::set_groups(&[]);
    sys::set_ids(0, 0).map_err(SandboxError::setup("becoming root of the user namespace"))?;
    own_mounts(UnshareFlags::NEWNS)?;
    Ok(Privilege::UserNamespace { sub_ids: answer == *b"s" })
}

/// The first execution: starts the second, maps its ids, and exits as it does. Returns only when that fails.
fn execute_again() -> SandboxError {
    match second() {
        Ok(code) => exit(code),
        Err(error) => error,
    }
}

fn second() -> Result<i32, SandboxError> {
    let failed = |what: &str| SandboxError::setup::<std::io::Error>(what.to_owned());
    let pipe = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(SandboxError::setup("creating a pipe"))
    };
    let (ready, ready_writer) = pipe()?;
    let (go_reader, go) = pipe()?;
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1));
    command.env(FDS, format!("{} {}", ready_writer.as_raw_fd(), go_reader.as_raw_fd()));
    sys::inherit(&mut command, [ready_writer.as_fd(), go_reader.as_fd()]);
    let signals = sys::block_signals();
    let child = command.spawn().map_err(failed("starting in a user namespace"))?;
    drop((ready_writer, go_reader));
    let mut letter = [0];
    if fs::File::from(ready).read_exact(&mut letter).is_ok() {
        let answer = if map_ids(child.id())? { b"s" } else { b"1" };
        fs::File::from(go).write_all(answer).map_err(failed("mapping user ids"))?;
    }
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let status = sys::forward_signals(pid, &signals).map_err(failed("waiting"))?;
    let (code, signal) = sys::decode(status);
    Ok(code.unwrap_or_else(|| 128 + signal.unwrap_or_default()))
}

/// Maps the user's ids into the child's namespace; tells whether further ids were mapped.
fn map_ids(child: u32) -> Result<bool, SandboxError> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let name = user_name(uid);
    let users = sub_ids("/etc/subuid", uid, &name);
    let groups = sub_ids("/etc/subgid", uid, &name);
    if let (Some(users), Some(groups)) = (users, groups) {
        let map = |program: &str, own: u32, (start, count): (u32, u32)| {
            let numbers = [child, 0, own, 1, 1, start, count].map(|number| number.to_string());
            Command::new(program).args(numbers).output().is_ok_and(|output| output.status.success())
        };
        if map("newuidmap", uid, users) && map("newgidmap", gid, groups) {
            return Ok(true);
        }
    }
    let failed = || SandboxError::setup::<std::io::Error>("mapping the user's own id");
    fs::write(format!("/proc/{child}/setgroups"), "deny").map_err(failed())?;
    fs::write(format!("/proc/{child}/uid_map"), format!("0 {uid} 1")).map_err(failed())?;
    fs::write(format!("/proc/{child}/gid_map"), format!("0 {gid} 1")).map_err(failed())?;
    Ok(false)
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2).is_some_and(|id| id == uid.to_string()));
    line.and_then(|line| line.split(':').next()).unwrap_or_default().to_owned()
}

/// The first range of further ids that the file gives to this user.
fn sub_ids(file: &str, uid: u32, name: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let ours = (!name.is_empty() && owner == name) || owner == uid.to_string();
        ours.then_some((fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?))
    })
}
