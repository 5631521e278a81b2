//! The sandbox's init: a fresh, single-threaded execution of this program, pid 1 of a namespace of its own.
//!
//! It starts the command in a further pid namespace and stays outside of it, where the command cannot see or signal it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid},
    thread::UnshareFlags,
};
use serde::{Deserialize, Serialize};

use crate::{
    Privilege, SandboxError, Spec, channel::Channel, command, placeholder::Placeholder, spawn::ExitStatus,
    sys,
};

/// The name under which this program runs as the init.
pub(crate) const ARGV0: &str = "otoshi-sandbox-init";

/// What the init is told; the command's standard input comes with it.
pub(crate) type Order = (Spec, Privilege);

/// What the init and the command-to-be tell the process that started them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The sandbox is set up, and the command is about to start; a terminal comes with it if one was asked for.
    Ready {
        /// What is to be taken away afterwards.
        placeholders: Vec<Placeholder>,
    },
    /// The command did not run.
    Failed(SandboxError),
    /// The command ended.
    Ended(ExitStatus),
}

/// Runs the sandbox's init if this process was started as one, and does not return then.
///
/// Call it first thing in `main` of every program that starts sandboxes, before any thread.
pub fn init_if_requested() {
    if std::env::args_os().next().is_none_or(|name| name != ARGV0) {
        return;
    }
    let Some((channel, order, stdin)) = receive() else {
        eprintln!("{ARGV0}: this name is for Otoshi's own use");
        std::process::exit(2);
    };
    let report = match run(&channel, order, stdin) {
        Ok(Some(status)) => Report::Ended(status),
        // Nobody is left to be told.
        Ok(None) => std::process::exit(1),
        Err(error) => Report::Failed(error),
    };
    let _ = channel.send(&report, &[]);
    std::process::exit(0);
}

/// The channel is standard input: the one descriptor besides the streams that a new program can be given without a race.
fn receive() -> Option<(Channel, Order, OwnedFd)> {
    let fd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok()?;
    rustix::net::sockopt::socket_domain(&fd).ok()?;
    let channel = Channel::from_fd(fd);
    let (order, fds) = channel.receive::<Order>().ok()??;
    Some((channel, order, fds.into_iter().next()?))
}

/// Starts the command and waits for it; gives `None` when the process that started us is gone.
fn run(
    channel: &Channel,
    (spec, privilege): Order,
    stdin: OwnedFd,
) -> Result<Option<ExitStatus>, SandboxError> {
    let failed = |action: &str| SandboxError::setup::<std::io::Error>(action.to_owned());
    let _ = rustix::thread::set_name(c"otoshi-sandbox");
    sys::close_on_exec_from_3().map_err(failed("marking file descriptors"))?;
    // A terminal's signals go to the process that started us, which decides what the command gets.
    let _ = rustix::process::setsid();
    rustix::stdio::dup2_stdin(&stdin).map_err(SandboxError::setup("setting the standard input"))?;
    drop(stdin);
    sys::unshare(UnshareFlags::NEWPID).map_err(SandboxError::setup("making a pid namespace"))?;
    let signals = sys::take_signals().map_err(failed("taking signals"))?;
    match sys::fork().map_err(failed("forking"))? {
        sys::Fork::Child => {
            drop(signals);
            let error = command::run(channel, &spec, privilege);
            let _ = channel.send(&Report::Failed(error), &[]);
            std::process::exit(125);
        }
        sys::Fork::Parent(child) => {
            // Whoever reads the command's output waits for the command only, not for us.
            let _ = close_streams();
            supervise(channel, child, &signals).map_err(SandboxError::setup("waiting for the command"))
        }
    }
}

fn close_streams() -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

fn supervise(channel: &Channel, child: Pid, signals: &OwnedFd) -> rustix::io::Result<Option<ExitStatus>> {
    let process = pidfd_open(child, PidfdFlags::empty())?;
    loop {
        let mut sources = [
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
            // Nothing is sent to us: this is the end.
            PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::IN),
        ];
        match poll(&mut sources, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let [ended, signalled, closed] = sources.map(|source| !source.revents().is_empty());
        if ended {
            let Some((_, status)) = waitpid(Some(child), WaitOptions::empty())? else { continue };
            let signal = status.terminating_signal();
            return Ok(Some(ExitStatus { code: status.exit_status(), signal }));
        }
        if closed {
            return Ok(None);
        }
        if signalled {
            for signal in pending(signals) {
                let _ = sys::kill(child, signal);
            }
        }
    }
}

/// Reads which signals came in. Layout: `struct signalfd_siginfo`, 128 bytes that start with the number.
fn pending(signals: &OwnedFd) -> Vec<i32> {
    let mut buffer = [0; 128 * 8];
    let length = rustix::io::read(signals, &mut buffer).unwrap_or(0);
    let number = |info: &[u8]| info.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    buffer[..length].chunks(128).filter_map(number).collect()
}
