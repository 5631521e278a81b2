//! Standard streams handed on to a command, without terminals: with one in its hands, a command could read what is typed for whoever
//! started it, and change how that terminal behaves, for longer than it lives.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread::{self, JoinHandle},
};

use otoshi_sandbox::{StdioSpec, Stream};

use crate::EngineError;

/// Threads that copy between terminals and pipes.
#[derive(Debug, Default)]
pub(crate) struct Relays(Vec<JoinHandle<()>>);

impl Relays {
    /// Waits until all of the command's output is shown.
    pub(crate) fn finish(self) {
        for thread in self.0 {
            let _ = thread.join();
        }
    }
}

/// This process's streams, with pipes in the place of terminals.
pub(crate) fn without_terminals() -> Result<(StdioSpec, Relays), EngineError> {
    let mut relays = Relays::default();
    let stdin = if io::stdin().is_terminal() {
        let (reader, writer) = pipe()?;
        let terminal = copy_of(io::stdin().as_fd())?;
        // It ends with this process: nobody can say when no more is typed.
        thread::spawn(move || copy(terminal, writer));
        Stream::Fd(reader)
    } else {
        Stream::Inherit
    };
    let mut output = |terminal: bool, fd: BorrowedFd<'_>| -> Result<Stream, EngineError> {
        if !terminal {
            return Ok(Stream::Inherit);
        }
        let (reader, writer) = pipe()?;
        let terminal = copy_of(fd)?;
        relays.0.push(thread::spawn(move || copy(reader, terminal)));
        Ok(Stream::Fd(writer))
    };
    let stdout = output(io::stdout().is_terminal(), io::stdout().as_fd())?;
    let stderr = output(io::stderr().is_terminal(), io::stderr().as_fd())?;
    Ok((StdioSpec { stdin, stdout, stderr }, relays))
}

fn copy(from: OwnedFd, to: OwnedFd) {
    // Either side may go away at any moment; then there is nobody to tell.
    let _ = io::copy(&mut File::from(from), &mut File::from(to));
}

fn copy_of(fd: BorrowedFd<'_>) -> Result<OwnedFd, EngineError> {
    fd.try_clone_to_owned().map_err(EngineError::io("opening", "a standard stream"))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), EngineError> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(EngineError::io("making a pipe for", "a standard stream"))
}
