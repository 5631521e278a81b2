//! Commands: run them, read what they print, and end those that go on.

use std::{
    process::{Child, ChildStderr, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getuid, kill_process};

use crate::failure::{Failure, Result};

/// How long a process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(20);

/// Runs a command, its output shown.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|source| start(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Command { command: shown(command), status, output: String::new() })
}

/// Runs a command and gives its standard output; all its output is shown only when it fails.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|source| start(command, source))?;
    checked(command, &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command and gives all that it prints, standard error after standard output.
pub(crate) fn read_both(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|source| start(command, source))?;
    checked(command, &output)?;
    Ok(String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned())
}

/// Makes a failure of an output whose status says so.
pub(crate) fn checked(command: &Command, output: &Output) -> Result {
    if output.status.success() {
        return Ok(());
    }
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let output_text = if text.trim().is_empty() { String::new() } else { format!("\n{}", text.trim_end()) };
    Err(Failure::Command { command: shown(command), status: output.status, output: output_text })
}

/// A process that goes on until it is stopped, at the latest when this is dropped.
pub(crate) struct Running {
    child: Child,
    command: String,
}

impl Running {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().map_err(|source| start(command, source))?;
        Ok(Self { child, command: shown(command) })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says on standard error, if that was piped.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Fails when the process has ended.
    pub(crate) fn still_there(&mut self) -> Result {
        match self.child.try_wait().map_err(|source| self.waiting(source))? {
            None => Ok(()),
            Some(status) => {
                Err(Failure::Command { command: self.command.clone(), status, output: String::new() })
            }
        }
    }

    /// Waits for the end, looking at the process every few milliseconds.
    pub(crate) fn watch(mut self, mut look: impl FnMut(u32)) -> Result {
        loop {
            look(self.id());
            if let Some(status) = self.child.try_wait().map_err(|source| self.waiting(source))? {
                let command = self.command.clone();
                let ended = Failure::Command { command, status, output: String::new() };
                return if status.success() { Ok(()) } else { Err(ended) };
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the process to end and waits; after a while it is ended.
    pub(crate) fn stop(&mut self) -> Result {
        if self.ended()? {
            return Ok(());
        }
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // A failure means that it has ended meanwhile, which the wait below sees.
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if self.ended()? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().map_err(|source| self.waiting(source))?;
        self.child.wait().map_err(|source| self.waiting(source))?;
        Err(Failure::Wrong(format!("{} did not end when asked to", self.command)))
    }

    fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().map_err(|source| self.waiting(source))?.is_some())
    }

    fn waiting(&self, source: std::io::Error) -> Failure {
        Failure::Start { command: format!("(waiting for) {}", self.command), source }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(failure) = self.stop() {
            eprintln!("xtask: {failure}");
        }
    }
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    getuid().is_root()
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn start(command: &Command, source: std::io::Error) -> Failure {
    Failure::Start { command: shown(command), source }
}
