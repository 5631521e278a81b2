//! The last steps before the command: its namespaces, its root, its rights, and the program itself.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use otoshi_network::Plan;
use rustix::{
    fs::{FileType, Gid, Mode, Uid},
    io::Errno,
    thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::{
    Network, Privilege, SandboxError, Spec, UserSpec, capabilities,
    channel::Channel,
    control::{Control, Joined},
    network,
    report::Report,
    rootfs::{self, Entered},
    seccomp, sys,
};

/// Becomes the command; returns only when that fails.
pub(crate) fn run(channel: &Channel, spec: &Spec, surroundings: Surroundings) -> SandboxError {
    let prepare = |program| prepare(channel, spec, surroundings).map(|()| program);
    match Program::new(spec).and_then(prepare) {
        Ok(program) => program.start(),
        Err(error) => error,
    }
}

/// What a command is started in.
pub(crate) struct Surroundings {
    pub(crate) privilege: Privilege,
    pub(crate) outlet: Option<Outlet>,
    /// The control group that this process is in, or can go to.
    pub(crate) group: Option<Joined>,
}

/// The network of its own that a command is to have, and the init, which gets the other end of its device.
pub(crate) struct Outlet {
    pub(crate) plan: Plan,
    pub(crate) init: Channel,
}

fn prepare(channel: &Channel, spec: &Spec, surroundings: Surroundings) -> Result<(), SandboxError> {
    let Surroundings { privilege, outlet, group } = surroundings;
    namespaces(spec)?;
    let network = make_network(spec, outlet.as_ref())?;
    // The network's device is none that a command may open.
    let control = Control::enforced(group.as_ref(), spec);
    drop(group);
    limit_pids(spec.pids)?;
    // Mount points get exactly the modes that are asked for.
    rustix::process::umask(Mode::empty());
    let resolver = outlet.map(|outlet| outlet.plan.resolver);
    let Entered { placeholders, terminal, controlled } = rootfs::enter(spec, privilege, resolver, control)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let _ = rustix::process::setsid();
    let mut sent: Vec<BorrowedFd<'_>> = Vec::new();
    if let Some(terminal) = &terminal {
        make_controlling(terminal).map_err(SandboxError::setup("setting the terminal"))?;
        sent.push(terminal.caller.as_fd());
    }
    sent.extend(network.as_ref().map(AsFd::as_fd));
    // As root first: the directory may be reachable for nobody else.
    let directory = format!("changing to the directory {}", spec.cwd);
    let reached = match rustix::process::chdir(spec.cwd.as_str()) {
        Err(Errno::ACCESS) => false,
        // An earlier step may have removed it: it is made anew, as the user's, as BuildKit does. This is inside the root already.
        Err(Errno::NOENT) if make_directories(&spec.cwd, &spec.user).is_ok() => {
            rustix::process::chdir(spec.cwd.as_str()).map_err(SandboxError::setup(&directory))?;
            true
        }
        other => other.map(|()| true).map_err(SandboxError::setup(&directory))?,
    };
    give_streams(spec.user.uid);
    // Without the right to, in a kernel without keyrings, or with too many of them: the calls are filtered in any case.
    let _ = sys::new_session_keyring();
    limit(spec)?;
    if !reached {
        rustix::process::chdir(spec.cwd.as_str()).map_err(SandboxError::setup(&directory))?;
    }
    channel
        .send(&Report::Ready { placeholders, terminal: terminal.is_some(), controlled }, &sent)
        .map_err(SandboxError::setup("reporting that the sandbox is ready"))
}

/// Makes a directory and those above it that are not there, and gives them to a user.
///
/// Directories that the text only passes through, as `/w` in `/w/../v`, are made too, and stay root's.
fn make_directories(path: &str, user: &UserSpec) -> std::io::Result<()> {
    let wanted = without_dots(path);
    for end in path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]) {
        let directory = &path[..end];
        match std::fs::create_dir(directory) {
            Ok(()) if wanted.starts_with(&without_dots(directory)[..]) => {
                std::os::unix::fs::chown(directory, Some(user.uid), Some(user.gid))?;
            }
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The names of a path whose dots are taken out of the text.
fn without_dots(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

fn namespaces(spec: &Spec) -> Result<(), SandboxError> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if spec.network != Network::Host {
        flags |= UnshareFlags::NEWNET;
    }
    // Not every kernel has control groups.
    sys::unshare(flags | UnshareFlags::NEWCGROUP).or_else(|_| sys::unshare(flags)).map_err(
        SandboxError::not_supported(
            "making namespaces",
            "run as root, or allow user namespaces (sysctl user.max_user_namespaces)",
        ),
    )?;
    rustix::system::sethostname(spec.hostname.as_bytes())
        .map_err(SandboxError::setup("setting the host name"))
}

/// Makes the network of the new namespace, and gives the namespace; `None` on the host's network.
fn make_network(spec: &Spec, outlet: Option<&Outlet>) -> Result<Option<OwnedFd>, SandboxError> {
    match outlet {
        Some(Outlet { plan, init }) => {
            let (device, framed) = network::make(plan)?;
            init.send(&framed, &[device.as_fd()])
                .map_err(SandboxError::setup("handing over the network device"))?;
        }
        None if spec.network == Network::Host => return Ok(None),
        None => network::make_none()?,
    }
    network::own().map(Some)
}

/// Bounds how many processes there can be, by the largest process id of this pid namespace.
///
/// The setting belongs to the namespace since Linux 6.14; before, it is the whole machine's and is left alone.
/// <https://docs.kernel.org/admin-guide/sysctl/kernel.html#pid-max>
fn limit_pids(pids: u32) -> Result<(), SandboxError> {
    const SETTING: &str = "/proc/sys/kernel/pid_max";
    /// What the kernel takes at least.
    const LEAST: u32 = 301;
    if !crate::kernel_is_at_least(6, 14) {
        return Ok(());
    }
    let failed = || SandboxError::setup("limiting the number of processes");
    match std::fs::write(SETTING, pids.max(LEAST).to_string()) {
        // In a container whose /proc/sys cannot be written, the container's own limit has to do.
        Err(error)
            if matches!(Errno::from_io_error(&error), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM)) =>
        {
            Ok(())
        }
        other => other.map_err(failed()),
    }
}

/// Makes a terminal the streams and the controlling terminal of this session.
fn make_controlling(terminal: &rootfs::Terminal) -> rustix::io::Result<()> {
    rustix::process::ioctl_tiocsctty(&terminal.command)?;
    rustix::stdio::dup2_stdin(&terminal.command)?;
    rustix::stdio::dup2_stdout(&terminal.command)?;
    rustix::stdio::dup2_stderr(&terminal.command)
}

/// Lets another user open `/dev/stdout` and the like: pipes that carry the streams become theirs.
fn give_streams(uid: u32) {
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = rustix::fs::fstat(stream)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && stat.st_uid != uid);
        if is_pipe {
            let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>);
        }
    }
}

/// Gives up what the command must not have.
fn limit(spec: &Spec) -> Result<(), SandboxError> {
    capabilities::limit_bounding(spec.capabilities)?;
    if spec.no_new_privs {
        rustix::thread::set_no_new_privs(true).map_err(SandboxError::setup("setting no_new_privs"))?;
    }
    // While it may still be loaded without no_new_privs, which would take the meaning from set-user-id programs.
    if spec.seccomp {
        seccomp::load()?;
    }
    become_user(&spec.user)?;
    capabilities::limit_own(spec.capabilities, spec.user.uid == 0)
}

fn become_user(user: &UserSpec) -> Result<(), SandboxError> {
    let groups: Vec<Gid> = user.additional_gids.iter().copied().map(Gid::from_raw).collect();
    // With a single id mapped nobody may set groups, and there are none but the own one; root needs no further.
    let own = |group: &u32| *group == user.gid;
    if let Err(error) = set_thread_groups(&groups)
        && user.uid != 0
        && !user.additional_gids.iter().all(own)
    {
        return Err(not_mapped("setting the groups", user)(error));
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_res_gid(gid, gid, gid).map_err(not_mapped("becoming the user", user))?;
    set_thread_res_uid(uid, uid, uid).map_err(not_mapped("becoming the user", user))
}

fn not_mapped(action: &str, user: &UserSpec) -> impl FnOnce(Errno) -> SandboxError {
    let action = format!("{action} {}:{}", user.uid, user.gid);
    move |error| match error {
        Errno::INVAL | Errno::PERM => SandboxError::not_supported(
            &action,
            "without root, other users need ranges of ids in /etc/subuid and /etc/subgid, and newuidmap (package uidmap)",
        )(error),
        error => SandboxError::setup(action)(error),
    }
}

/// The program to run, in the form that the kernel wants.
struct Program {
    name: String,
    /// The paths to try, in order.
    paths: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    fn new(spec: &Spec) -> Result<Self, SandboxError> {
        let text = |what: &str| {
            CString::new(what).map_err(|_| {
                SandboxError::invalid("running the command", format!("{what:?} contains a NUL byte"))
            })
        };
        let Some(name) = spec.argv.first().filter(|name| !name.is_empty()) else {
            return Err(SandboxError::invalid("running the command", "it is empty"));
        };
        let paths = if name.contains('/') {
            vec![text(name)?]
        } else {
            let path = spec.env.iter().rev().find(|(variable, _)| variable == "PATH");
            let path = path.map_or("", |(_, path)| path.as_str());
            // As Docker has it, what is relative to the working directory does not count.
            let directories = path.split(':').filter(|directory| directory.starts_with('/'));
            directories.map(|directory| text(&format!("{directory}/{name}"))).collect::<Result<_, _>>()?
        };
        let environment = spec.env.iter().map(|(name, value)| text(&format!("{name}={value}")));
        Ok(Self {
            name: name.clone(),
            paths,
            arguments: spec.argv.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
        })
    }

    /// Becomes the program; returns only when that fails, having said why where the command would have written.
    fn start(self) -> SandboxError {
        sys::reset_signals();
        let mut refused = None;
        for path in &self.paths {
            let error = sys::execve(path, &self.arguments, &self.environment);
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) => {
                    // The file is there; what it names in its first line, or its loader, is not.
                    if refused.is_none() && rustix::fs::stat(path.as_c_str()).is_ok() {
                        refused = Some((127, "its interpreter is not in the image".to_owned()));
                    }
                }
                Some(Errno::ACCESS) => {
                    refused.get_or_insert_with(|| (126, "permission denied".to_owned()));
                }
                _ => {
                    refused = Some((126, error.to_string()));
                    break;
                }
            }
        }
        let (code, reason) = refused.unwrap_or_else(|| (127, "not found in the image".to_owned()));
        eprintln!("otoshi: cannot run {}: {reason}", self.name);
        SandboxError::Exec { program: self.name, reason, code }
    }
}
