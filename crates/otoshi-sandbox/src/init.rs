//! The sandbox's init: a fresh, single-threaded execution of this program that becomes the command.

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Command,
};

use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::UnshareFlags,
};
use serde::{Deserialize, Serialize};

use crate::{Network, SandboxError, Spec, capabilities, rootfs, seccomp, sys};

/// The name under which this program runs as the init.
pub(crate) const ARGV0: &str = "otoshi-sandbox-init";

/// Tells the init the numbers of its two file descriptors and its parent's process id.
pub(crate) const FDS: &str = "OTOSHI_SANDBOX";

/// What the init tells its parent, one JSON line each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The command did not run.
    Failed(SandboxError),
    /// The command ended.
    Ended {
        /// The exit code.
        code: Option<i32>,
        /// The signal.
        signal: Option<i32>,
    },
}

/// Runs the sandbox's init if this process was started as one, and does not return then.
///
/// Call it first thing in `main` of every program that starts sandboxes, before any thread.
pub fn init_if_requested() {
    if std::env::args_os().next().is_none_or(|name| name != ARGV0) {
        return;
    }
    let Some((spec, reports, parent)) = handed_over() else {
        eprintln!("{ARGV0}: this name is for Otoshi's own use");
        std::process::exit(2);
    };
    let mut reports = File::from(reports);
    let report = match outer(File::from(spec), parent, &mut reports) {
        Ok((code, signal)) => Report::Ended { code, signal },
        Err(error) => Report::Failed(error),
    };
    tell(&mut reports, &report);
    std::process::exit(0);
}

fn tell(reports: &mut File, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = reports.write_all(&line);
    }
}

fn handed_over() -> Option<(OwnedFd, OwnedFd, i32)> {
    let text = std::env::var(FDS).ok()?;
    let mut numbers = text.split(' ').map(str::parse::<i32>);
    let (spec, reports, parent) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    if spec < 3 || reports < 3 || spec == reports {
        return None;
    }
    Some((sys::take_fd(spec), sys::take_fd(reports), parent))
}

fn die_with_parent() -> Result<(), SandboxError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(SandboxError::setup("binding to the parent's life"))
}

/// Makes the namespaces, starts pid 1 in them, and waits for it.
fn outer(
    mut spec_file: File,
    parent: i32,
    reports: &mut File,
) -> Result<(Option<i32>, Option<i32>), SandboxError> {
    die_with_parent()?;
    // The parent may have died before.
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return Err(SandboxError::Setup { action: "starting".into(), reason: "the parent is gone".into() });
    }
    sys::close_on_exec_from_3().map_err(SandboxError::setup("marking file descriptors"))?;
    let mut text = Vec::new();
    spec_file.read_to_end(&mut text).map_err(SandboxError::setup("reading the specification"))?;
    drop(spec_file);
    let spec: Spec = serde_json::from_slice(&text).map_err(|error| SandboxError::Setup {
        action: "reading the specification".into(),
        reason: error.to_string(),
    })?;

    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if spec.network == Network::None {
        flags |= UnshareFlags::NEWNET;
    }
    sys::unshare(flags).map_err(|error| SandboxError::NotSupported {
        action: "making namespaces".into(),
        reason: error.to_string(),
        hint: "run as root, or allow user namespaces (sysctl user.max_user_namespaces)".into(),
    })?;
    let signals = sys::block_signals();
    match sys::fork().map_err(SandboxError::setup("forking"))? {
        sys::Fork::Parent(child) => {
            let status = sys::forward_signals(child, &signals)
                .map_err(SandboxError::setup("waiting for the command"))?;
            Ok(sys::decode(status))
        }
        sys::Fork::Child => {
            sys::unblock_signals(&signals);
            let error = inner(&spec);
            tell(reports, &Report::Failed(error));
            std::process::exit(125);
        }
    }
}

/// Becomes the command; returns only when that fails.
fn inner(spec: &Spec) -> SandboxError {
    if let Err(error) = prepare(spec) {
        error
    } else {
        let program = spec.argv[0].clone();
        let error = Command::new(&program)
            .args(&spec.argv[1..])
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .exec();
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "not found in the image".to_owned(),
            _ => error.to_string(),
        };
        // The command's own place for messages, as a shell does it.
        eprintln!("otoshi: cannot run {program}: {reason}");
        SandboxError::Exec { program, reason, code }
    }
}

fn prepare(spec: &Spec) -> Result<(), SandboxError> {
    die_with_parent()?;
    if spec.argv.is_empty() {
        return Err(SandboxError::Setup {
            action: "running the command".into(),
            reason: "it is empty".into(),
        });
    }
    let _ = rustix::process::setsid();
    rustix::system::sethostname(spec.hostname.as_bytes())
        .map_err(SandboxError::setup("setting the host name"))?;
    if spec.network == Network::None {
        sys::loopback_up().map_err(SandboxError::setup("bringing the loopback device up"))?;
    }
    rootfs::enter(spec)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    capabilities::limit_bounding()?;
    if spec.seccomp {
        seccomp::load()?;
    }
    let user = &spec.user;
    if let Err(error) = sys::set_groups(&user.additional_gids)
        && !user.additional_gids.is_empty()
    {
        return Err(SandboxError::setup("setting groups")(error));
    }
    sys::set_ids(user.uid, user.gid)
        .map_err(SandboxError::setup(format!("becoming user {}:{}", user.uid, user.gid)))?;
    capabilities::limit_own(user.uid == 0)?;
    // Changing the user clears it.
    die_with_parent()?;
    rustix::process::chdir(spec.cwd.as_str())
        .map_err(SandboxError::setup(format!("changing to the directory {}", spec.cwd)))
}
