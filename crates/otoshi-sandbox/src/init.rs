//! The sandbox's init: a fresh, single-threaded execution of this program, pid 1 of a namespace of its own.
//!
//! It starts the command in a further pid namespace and stays outside of it, where the command cannot see or signal it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use otoshi_network::{Plan, Stack};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Resource, Rlimit, WaitOptions, getrlimit, pidfd_open, setrlimit, waitpid},
    thread::UnshareFlags,
};

use crate::{
    Network, SandboxError, capabilities,
    channel::Channel,
    command::{self, Outlet, Surroundings},
    control::Joined,
    report::{ARGV0, ExitStatus, Order, Report},
    sys,
};

/// Runs the sandbox's init if this process was started as one, and does not return then.
///
/// Call it first thing in `main` of every program that starts sandboxes, before any thread.
pub fn init_if_requested() {
    if std::env::args_os().next().is_none_or(|name| name != ARGV0) {
        return;
    }
    let Some((channel, order, fds)) = receive() else {
        eprintln!("{ARGV0}: this name is for Otoshi's own use");
        std::process::exit(2);
    };
    let report = match run(&channel, order, fds) {
        Ok(Some(status)) => Report::Ended(status),
        // Nobody is left to be told.
        Ok(None) => std::process::exit(1),
        Err(error) => Report::Failed(error),
    };
    let _ = channel.send(&report, &[]);
    std::process::exit(0);
}

/// The channel is standard input: the one descriptor besides the streams that a new program can be given without a race.
fn receive() -> Option<(Channel, Order, Given)> {
    let fd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok()?;
    rustix::net::sockopt::socket_domain(&fd).ok()?;
    let channel = Channel::from_fd(fd);
    let (order, fds) = channel.receive::<Order>().ok()??;
    let mut fds = fds.into_iter();
    let stdin = fds.next()?;
    let group = Joined::received(order.2.clone(), &mut fds);
    Some((channel, order, Given { stdin, group }))
}

/// What comes with an order.
struct Given {
    stdin: OwnedFd,
    group: Option<Joined>,
}

/// Starts the command and waits for it; gives `None` when the process that started us is gone.
fn run(
    channel: &Channel,
    (spec, privilege, _): Order,
    Given { stdin, group }: Given,
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
    let (outlet, mut network) = match spec.network {
        Network::Own => {
            let (ours, theirs) = Channel::pair().map_err(failed("making a channel"))?;
            let mut plan = Plan::of_host();
            plan.relay = spec.relay;
            (Some(Outlet { plan: plan.clone(), init: theirs }), Carrier::Awaited { from: ours, plan })
        }
        Network::Host | Network::None => (None, Carrier::None),
    };
    let forked = match &group {
        Some(group) => group.fork(),
        None => sys::fork().map(|forked| (forked, false)),
    };
    let (forked, is_grouped) = forked.map_err(failed("forking"))?;
    match forked {
        sys::Fork::Child => {
            drop((signals, network));
            let surroundings = Surroundings { privilege, outlet, group: group.filter(|_| is_grouped) };
            let error = command::run(channel, &spec, surroundings);
            let _ = channel.send(&Report::Failed(error), &[]);
            std::process::exit(125);
        }
        sys::Fork::Parent(child) => {
            drop(outlet);
            // Whoever reads the command's output waits for the command only, not for us.
            let _ = close_streams();
            let ended = supervise(channel, child, &signals, &mut network)
                .map_err(SandboxError::setup("waiting for the command"));
            if let (Ok(None), Some(group)) = (&ended, group) {
                // Nobody is left to remove it.
                let _ = sys::kill(child, libc::SIGKILL);
                let _ = waitpid(Some(child), WaitOptions::empty());
                group.remove();
            }
            ended
        }
    }
}

fn close_streams() -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

/// What carries the packets of the command's network.
enum Carrier {
    /// Nothing: it has the host's network, or none; or its device is gone.
    None,
    /// The command is about to send its device.
    Awaited {
        from: Channel,
        plan: Plan,
    },
    Stack(Box<Stack>),
}

impl Carrier {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::None => None,
            Self::Awaited { from, .. } => Some(from.as_fd()),
            Self::Stack(stack) => Some(stack.as_fd()),
        }
    }

    fn patience(&self) -> Option<Timespec> {
        let Self::Stack(stack) = self else { return None };
        Timespec::try_from(stack.next()?).ok()
    }

    /// Does what there is to do; without a device, there is nothing more.
    fn turn(&mut self) {
        let next = match std::mem::replace(self, Self::None) {
            Self::None => return,
            Self::Awaited { from, plan } => match from.receive::<bool>() {
                Ok(Some((framed, fds))) => {
                    // Each connection is an open file of this process, which has no others to speak of.
                    let most = getrlimit(Resource::Nofile).maximum;
                    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
                    let _ = capabilities::keep_signals();
                    fds.into_iter().next().map(|device| Stack::new(device, framed, plan))
                }
                _ => None,
            },
            Self::Stack(mut stack) => Some(stack.turn().map(|()| *stack)),
        };
        if let Some(Ok(stack)) = next {
            *self = Self::Stack(Box::new(stack));
        }
    }
}

fn supervise(
    channel: &Channel,
    child: Pid,
    signals: &OwnedFd,
    network: &mut Carrier,
) -> rustix::io::Result<Option<ExitStatus>> {
    let process = pidfd_open(child, PidfdFlags::empty())?;
    loop {
        let mut sources = vec![
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
            // Nothing is sent to us: this is the end.
            PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::IN),
        ];
        sources.extend(network.as_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timed_out = match poll(&mut sources, network.patience().as_ref()) {
            Err(Errno::INTR) => continue,
            other => other? == 0,
        };
        let is_ready = |at: usize| sources.get(at).is_some_and(|source| !source.revents().is_empty());
        let (ended, signalled, closed) = (is_ready(0), is_ready(1), is_ready(2));
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
        if timed_out || is_ready(3) {
            network.turn();
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
