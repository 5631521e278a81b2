//! A terminal of the command's own, and this process between it and the one where it was started.
//!
//! ```text
//! this terminal, raw ── typed ──→ other end ══ the command's terminal: its session, its job control, its settings
//!                    ←─ shown ───
//! ```
//!
//! The command never has this terminal in its hands. What this terminal was like is restored at the end, however the command ends; signals
//! do not end this process before that.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use otoshi_engine::Handle;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    termios::{
        LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
    },
};

use super::signals::INSISTING;
use crate::failure::Failure;

/// What ^C is, where a terminal is told nothing else.
const INTERRUPT: u8 = 3;

/// The command's terminal, wherever it is needed.
#[derive(Debug, Clone)]
pub(super) struct Terminal(Arc<State>);

#[derive(Debug)]
struct State {
    /// Whether what is typed goes to the command.
    input: bool,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    other_end: Arc<OwnedFd>,
    /// What this terminal was like.
    before: Option<Before>,
    showing: JoinHandle<()>,
    /// Closed when the command has ended.
    stop: OwnedFd,
    typing: Option<JoinHandle<()>>,
}

impl Terminal {
    /// The terminal that is asked for: with `-t`, or where both input and output are a terminal and nothing is said.
    pub(super) fn wanted(interactive: bool, tty: bool) -> Result<Option<Self>, Failure> {
        let here = io::stdin().is_terminal();
        if interactive && tty && !here {
            let hint = "leave out -t: the command reads standard input as it is";
            return Err(Failure::usage("standard input is not a terminal", Some(hint.into())));
        }
        let unsaid = !interactive && !tty;
        let wanted = tty || unsaid && here && io::stdout().is_terminal();
        if !wanted {
            return Ok(None);
        }
        let input = here && (interactive || unsaid);
        Ok(Some(Self(Arc::new(State { input, running: Mutex::new(None) }))))
    }

    /// Begins to hand on what is typed and what is shown.
    pub(super) fn connect(&self, other_end: OwnedFd, command: &Handle) {
        let other_end = Arc::new(other_end);
        if let Err(error) = rustix::io::ioctl_fionbio(&other_end, true) {
            errln!("warning: the terminal may hang: {error}");
        }
        let shown = Arc::clone(&other_end);
        // Before anything is shown: what the command's terminal has made of it is not to be made again.
        let before = change_modes(self.0.input);
        let showing = thread::spawn(move || show(shown.as_fd()));
        let Ok((stopped, stop)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) else { return };
        let typing = self.0.input.then(|| {
            let (typed, command) = (Arc::clone(&other_end), command.clone());
            thread::spawn(move || hand_on(typed.as_fd(), stopped.as_fd(), &command))
        });
        let running = Running { other_end, before, showing, stop, typing };
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        self.resize();
    }

    /// Gives the command's terminal the size of this one's window; says whether there is one.
    pub(super) fn resize(&self) -> bool {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running.as_ref() else { return true };
        let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin()));
        if let Ok(size) = size {
            let _ = tcsetwinsize(&running.other_end, size);
        }
        true
    }

    /// Shows what is left, and makes this terminal what it was.
    pub(super) fn finish(&self) {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        let Running { before, showing, stop, typing, .. } = running;
        let _ = showing.join();
        drop(stop);
        if let Some(typing) = typing {
            let _ = typing.join();
        }
        restore(before.as_ref());
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        restore(running.as_ref().and_then(|running| running.before.as_ref()));
    }
}

/// This terminal as it was, and a descriptor of it.
#[derive(Debug)]
struct Before(OwnedFd, Termios);

/// Lets what is shown through as the command's terminal has made it; with input, what is typed as well, which that terminal shows alone.
fn change_modes(input: bool) -> Option<Before> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let here = if input { stdin.as_fd() } else { stdout.as_fd() };
    let before = tcgetattr(here).ok()?;
    let mut changed = before.clone();
    if input {
        changed.make_raw();
    } else {
        changed.output_modes.remove(OutputModes::OPOST);
    }
    tcsetattr(here, OptionalActions::Drain, &changed).ok()?;
    Some(Before(here.try_clone_to_owned().ok()?, before))
}

fn restore(before: Option<&Before>) {
    if let Some(Before(here, modes)) = before {
        let _ = tcsetattr(here, OptionalActions::Drain, modes);
    }
}

/// Waits until one of two is ready; says which are.
fn wait(one: (BorrowedFd<'_>, PollFlags), other: (BorrowedFd<'_>, PollFlags)) -> (bool, bool) {
    let mut both = [one, other].map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
    while let Err(Errno::INTR) = poll(&mut both, None) {}
    let [one, other] = both.map(|fd| !fd.revents().is_empty());
    (one, other)
}

/// Copies what the command's terminal shows, until the last process on it has ended.
fn show(other_end: BorrowedFd<'_>) {
    let mut buffer = [0; 16 << 10];
    loop {
        let mut ready = [PollFd::from_borrowed_fd(other_end, PollFlags::IN)];
        let _ = poll(&mut ready, None);
        match rustix::io::read(other_end, &mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                // Nobody may be looking on; the command is not to wait for that.
                let mut stdout = io::stdout().lock();
                let _ = stdout.write_all(&buffer[..length]).and_then(|()| stdout.flush());
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
}

/// Copies what is typed until the command has ended.
fn hand_on(other_end: BorrowedFd<'_>, stopped: BorrowedFd<'_>, command: &Handle) {
    let (stdin, mut buffer) = (io::stdin(), [0; 4 << 10]);
    let mut interrupts: Vec<Instant> = Vec::new();
    loop {
        if wait((stopped, PollFlags::IN), (stdin.as_fd(), PollFlags::IN)).0 {
            return;
        }
        let length = match rustix::io::read(&stdin, &mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(_) => return,
        };
        if insists(&buffer[..length], other_end, &mut interrupts) {
            command.kill();
        }
        let mut left = &buffer[..length];
        while !left.is_empty() {
            match rustix::io::write(other_end, left) {
                Ok(written) => left = &left[written..],
                Err(Errno::INTR) => {}
                // The command does not read: then it may still end.
                Err(Errno::AGAIN) => {
                    if wait((stopped, PollFlags::IN), (other_end, PollFlags::OUT)).0 {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

/// Whether somebody interrupts again and again where that is to end a program, and it does not: the first process of a pid namespace
/// gets no signal that it has no handler for.
fn insists(typed: &[u8], other_end: BorrowedFd<'_>, interrupts: &mut Vec<Instant>) -> bool {
    let count = typed.iter().filter(|byte| **byte == INTERRUPT).count();
    let is_signal = tcgetattr(other_end).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ISIG));
    if !is_signal {
        interrupts.clear();
        return false;
    }
    interrupts.extend(std::iter::repeat_n(Instant::now(), count));
    interrupts.retain(|time| time.elapsed() < INSISTING);
    count > 0 && interrupts.len() >= 3
}
