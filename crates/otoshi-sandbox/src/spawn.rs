//! The parent's side: starting a sandbox and waiting for it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::fs::MemfdFlags;

use crate::{
    Mount, Privilege, Root, SandboxError, Spec,
    init::{ARGV0, FDS, Report},
    privilege, sys,
};

/// Where one of the command's standard streams goes.
#[derive(Debug)]
pub enum Stream {
    /// This process's own.
    Inherit,
    /// Nowhere.
    Null,
    /// A pipe or file.
    Fd(OwnedFd),
}

impl From<Stream> for Stdio {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Inherit => Self::inherit(),
            Stream::Null => Self::null(),
            Stream::Fd(fd) => fd.into(),
        }
    }
}

/// The command's standard streams.
#[derive(Debug)]
pub struct StdioSpec {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// How a command ended: with a code, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit code.
    pub code: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
}

/// Starts sandboxes.
#[derive(Debug)]
pub struct Sandbox;

/// A sandbox whose command runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    reports: File,
}

impl Sandbox {
    /// Starts a sandbox and returns once its command runs.
    ///
    /// The sandbox's life is bound to the calling thread, which should wait for it. `init_exe` is the executable that calls
    /// [`crate::init_if_requested`]; this process's own when `None`. A program that cannot be started is an exit code of
    /// 126 or 127, as with a shell.
    pub fn spawn(spec: &Spec, stdio: StdioSpec, init_exe: Option<PathBuf>) -> Result<Running, SandboxError> {
        let failed = |action: &str| SandboxError::setup::<std::io::Error>(action.to_owned());
        let mut spec = spec.clone();
        add_skeleton(&mut spec)?;
        let json =
            serde_json::to_vec(&spec).map_err(|error| failed("encoding the specification")(error.into()))?;
        // In memory only: it may hold secrets.
        let memory = rustix::fs::memfd_create("otoshi-sandbox", MemfdFlags::CLOEXEC)
            .map_err(|error| failed("creating a memory file")(error.into()))?;
        let mut memory = File::from(memory);
        memory
            .write_all(&json)
            .and_then(|()| memory.seek(SeekFrom::Start(0)))
            .map_err(failed("writing the specification"))?;
        let (reports, reports_writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| failed("creating a pipe")(error.into()))?;

        let mut command = Command::new(init_exe.unwrap_or_else(|| PathBuf::from("/proc/self/exe")));
        command.arg0(ARGV0).env_clear();
        command.env(
            FDS,
            format!("{} {} {}", memory.as_raw_fd(), reports_writer.as_raw_fd(), std::process::id()),
        );
        if matches!(privilege(), Privilege::UserNamespace { .. }) {
            command.env(crate::privilege::FDS, "inside");
        }
        command.stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr);
        sys::inherit(&mut command, [memory.as_fd(), reports_writer.as_fd()]);
        let child = command.spawn().map_err(failed("starting the sandbox's init"))?;
        // The command keeps the streams in `command`; a reader would never see their end.
        drop((command, reports_writer));
        Ok(Running { child, reports: File::from(reports) })
    }
}

impl Running {
    /// The process id of the sandbox's init; a signal sent to it reaches the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the command, and for everything it started, to end.
    pub fn wait(mut self) -> Result<ExitStatus, SandboxError> {
        let mut text = String::new();
        let _ = self.reports.read_to_string(&mut text);
        let ended = self.child.wait().map_err(SandboxError::setup("waiting for the sandbox"))?;
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Report::Failed(SandboxError::Exec { program, reason, code })) => {
                    tracing::warn!(%program, %reason, "could not start the command");
                    return Ok(ExitStatus { code: Some(code), signal: None });
                }
                Ok(Report::Failed(error)) => return Err(error),
                Ok(Report::Ended { code, signal }) => return Ok(ExitStatus { code, signal }),
                Err(_) => {}
            }
        }
        // The init itself was killed, by us or by somebody else.
        Ok(ExitStatus { code: None, signal: ended.signal().or(Some(9)) })
    }

    /// Ends the command and everything it started.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

/// Puts the mount points that the image may lack into a layer below all others, so that none is left in what is written.
fn add_skeleton(spec: &mut Spec) -> Result<(), SandboxError> {
    let Root::Overlay { lowers, work, .. } = &mut spec.root else { return Ok(()) };
    let skeleton = work.parent().unwrap_or(Path::new("/")).join("skeleton");
    let failed = |path: &Path| {
        SandboxError::setup::<std::io::Error>(format!("creating the mount point {}", path.display()))
    };
    let directories = ["proc", "sys", "dev", "etc"].map(|name| (name.to_owned(), false));
    let files = ["etc/hosts", "etc/hostname", "etc/resolv.conf"].map(|name| (name.to_owned(), true));
    let own = spec.mounts.iter().map(|mount: &Mount| (mount.target().to_owned(), mount.is_file()));
    for (target, is_file) in directories.into_iter().chain(files).chain(own) {
        let parts = Path::new(&target).components().filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name),
            _ => None,
        });
        let path = skeleton.join(parts.collect::<PathBuf>());
        let directory = if is_file { path.parent().unwrap_or(&skeleton) } else { &path };
        std::fs::create_dir_all(directory).map_err(failed(directory))?;
        if is_file && !path.exists() {
            File::create(&path).map_err(failed(&path))?;
        }
    }
    lowers.push(skeleton);
    Ok(())
}
