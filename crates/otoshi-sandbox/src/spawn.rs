//! The parent's side: starting a sandbox and waiting for it.

use std::{
    collections::HashMap,
    io,
    net::TcpStream,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    mount::{MountAttrFlags, OpenTreeFlags, open_tree},
    process::{Pid, PidfdFlags, pidfd_open},
    thread::UnshareFlags,
};

use crate::{
    SandboxError, Spec,
    channel::Channel,
    control::Group,
    network,
    placeholder::{self, Placeholder},
    privilege::privilege,
    report::{ARGV0, ExitStatus, Report},
    sys,
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

/// The command's standard streams; a terminal of its own takes their place when the spec asks for one.
#[derive(Debug)]
pub struct StdioSpec {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// Starts sandboxes.
#[derive(Debug)]
pub struct Sandbox;

/// A sandbox whose command runs.
///
/// Dropped without [`Running::wait`], it is ended, with everything in it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    handle: Handle,
    channel: Channel,
    /// For what is left to do when it has ended.
    spec: Spec,
    placeholders: Vec<Placeholder>,
    terminal: Option<OwnedFd>,
    controlled: bool,
    /// What controls its devices; goes when all of it has ended.
    group: Option<Group>,
    /// What was reported before the caller asked.
    ended: Option<ExitStatus>,
    waited: bool,
}

/// Ends or signals a sandbox from another thread, or connects to it; harmless when the sandbox is gone.
#[derive(Debug, Clone)]
pub struct Handle {
    process: Arc<OwnedFd>,
    network: network::Seen,
}

impl Handle {
    /// Ends the command and everything it started.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Sends a signal to the command; SIGKILL ends the whole sandbox.
    ///
    /// As with every container, a command that has no handler for a signal ignores it: it is the first process of its
    /// pid namespace.
    pub fn signal(&self, signal: i32) {
        let _ = sys::pidfd_send_signal(self.process.as_fd(), signal);
    }

    /// Connects to a port on which the command listens, by its loopback address: a socket that this process may use as any other.
    ///
    /// Fails where nothing listens there.
    pub fn connect(&self, port: u16) -> io::Result<TcpStream> {
        self.network.connect(port)
    }
}

impl Sandbox {
    /// Starts a sandbox and returns once it is set up and its command starts.
    ///
    /// `init_exe` is the executable that calls [`crate::init_if_requested`]; this process's own when `None`. A program that
    /// cannot be started is an exit code of 126 or 127, as with a shell, and a message on its standard error.
    ///
    /// Fails where the sandbox cannot be set up.
    pub fn spawn(spec: &Spec, stdio: StdioSpec, init_exe: Option<PathBuf>) -> Result<Running, SandboxError> {
        let failed = |action: &str| SandboxError::setup::<io::Error>(action.to_owned());
        let (channel, theirs) = Channel::pair().map_err(failed("making a channel"))?;
        let StdioSpec { stdin, stdout, stderr } = stdio;
        let stdin = match stdin {
            Stream::Fd(fd) => fd,
            Stream::Inherit => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
                .map_err(SandboxError::setup("opening the standard input"))?,
            Stream::Null => rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(SandboxError::setup("opening /dev/null"))?,
        };
        let privilege = privilege();
        let group = Group::make(spec, privilege);
        let executable = Executable::of(init_exe.as_deref().unwrap_or(Path::new("/proc/self/exe")));
        let mut command = Command::new(executable.path());
        command.arg0(ARGV0).env_clear();
        // No more than this: with anything that takes code between fork and exec, all memory would be copied first.
        command.stdin(theirs.into_fd()).stdout(stdout).stderr(stderr);
        let mut child = start(command)?;
        let pid = Pid::from_child(&child);
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(SandboxError::setup("watching the sandbox's init")(error));
            }
        };
        let mut running = Running {
            child,
            handle: Handle { process: Arc::new(pidfd), network: network::Seen::Shared },
            channel,
            spec: spec.clone(),
            placeholders: Vec::new(),
            terminal: None,
            controlled: false,
            group,
            ended: None,
            waited: false,
        };
        let group = running.group.as_ref();
        let fds: Vec<_> =
            std::iter::once(stdin.as_fd()).chain(group.into_iter().flat_map(Group::fds)).collect();
        running
            .channel
            .send(&(spec, privilege, group.map(Group::kind)), &fds)
            .map_err(failed("telling the sandbox's init what to do"))?;
        drop(stdin);
        running.until_ready()?;
        Ok(running)
    }
}

/// Starts the init as the first process of a new pid namespace.
///
/// A thread asks the kernel that its next child be in a new one, and is gone afterwards; so no other child of this process
/// ends up there.
fn start(mut command: Command) -> Result<Child, SandboxError> {
    let start = move || {
        sys::unshare(UnshareFlags::NEWPID).map_err(SandboxError::not_supported(
            "making a pid namespace",
            "run as root, or allow user namespaces (sysctl user.max_user_namespaces)",
        ))?;
        command.spawn().map_err(SandboxError::setup("starting the sandbox's init"))
    };
    let started = thread::Builder::new().name("sandbox-start".into()).stack_size(128 << 10).spawn(start);
    let started = started.map_err(SandboxError::setup("starting a thread"))?;
    started.join().unwrap_or_else(|_| {
        Err(SandboxError::invalid("starting the sandbox's init", "the thread that starts it panicked"))
    })
}

/// The init's executable.
enum Executable {
    /// Through a mount of its own that cannot be written.
    ///
    /// Until the command starts, `/proc/self/exe` in the sandbox is this executable. An image whose program leads there
    /// would run it with the image's libraries, and could write to it afterwards; through this mount it cannot.
    Protected(Arc<OwnedFd>),
    Plain(PathBuf),
}

impl Executable {
    fn of(path: &Path) -> Self {
        static KNOWN: Mutex<Option<HashMap<PathBuf, Arc<OwnedFd>>>> = Mutex::new(None);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if let Some(mounted) = known.get(path) {
            return Self::Protected(Arc::clone(mounted));
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mounted = open_tree(CWD, path, flags).map_err(io::Error::from).and_then(|mounted| {
            sys::mount_setattr(mounted.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), false)?;
            Ok(Arc::new(mounted))
        });
        match mounted {
            Ok(mounted) => {
                known.insert(path.to_owned(), Arc::clone(&mounted));
                Self::Protected(mounted)
            }
            // Without the right to mount, nothing after this works either, and says better why.
            Err(_) => Self::Plain(path.to_owned()),
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Protected(mounted) => PathBuf::from(format!("/proc/self/fd/{}", mounted.as_raw_fd())),
            Self::Plain(path) => path.clone(),
        }
    }
}

impl Running {
    /// The process id of the sandbox's init, as this process sees it: a signal sent to it reaches the command, and SIGKILL
    /// ends the whole sandbox. See [`Running::handle`] for a way without a race.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A way to end or signal the sandbox from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the command and everything it started.
    pub fn kill(&self) {
        self.handle.kill();
    }

    /// Sends a signal to the command; see [`Handle::signal`].
    pub fn signal(&self, signal: i32) {
        self.handle.signal(signal);
    }

    /// The other end of the command's terminal, if the spec asked for one: what is written to it is typed, what is read
    /// from it is shown. Reading fails with EIO once the command has ended.
    pub fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// Whether a list says which devices the command can use: then those device files can be used that the command itself makes.
    pub fn controls_devices(&self) -> bool {
        self.controlled
    }

    /// Waits for the command, and for everything it started, to end.
    ///
    /// Fails where the sandbox says that it could not be set up after all, and where it cannot be waited for.
    pub fn wait(mut self) -> Result<ExitStatus, SandboxError> {
        let failed = SandboxError::setup("receiving from the sandbox");
        let heard = match self.ended {
            Some(status) => Ok(Some(status)),
            None => self.channel.receive::<Report>().map_err(failed).and_then(|report| match report {
                Some((Report::Ended(status), _)) => Ok(Some(status)),
                Some((Report::Failed(error), _)) => not_started(error).map(Some),
                // The init was killed, by us or by somebody else.
                Some((Report::Ready { .. }, _)) | None => Ok(None),
            }),
        };
        let ended = self.finish().map_err(SandboxError::setup("waiting for the sandbox"))?;
        Ok(heard?.unwrap_or(ExitStatus { code: None, signal: Some(ended.unwrap_or(libc::SIGKILL)) }))
    }

    fn until_ready(&mut self) -> Result<(), SandboxError> {
        let report = self.channel.receive().map_err(SandboxError::setup("receiving from the sandbox"))?;
        match report {
            Some((Report::Ready { placeholders, terminal, controlled }, fds)) => {
                self.placeholders = placeholders;
                self.controlled = controlled;
                let mut fds = fds.into_iter();
                self.terminal = if terminal { fds.next() } else { None };
                if let Some(namespace) = fds.next() {
                    self.handle.network = network::Seen::Namespace(Arc::new(namespace));
                }
                Ok(())
            }
            Some((Report::Failed(error), _)) => not_started(error).map(|status| self.ended = Some(status)),
            Some((Report::Ended(status), _)) => {
                let how = match status.signal {
                    Some(signal) => format!("it was killed by signal {signal}"),
                    None => "it ended by itself".to_owned(),
                };
                Err(SandboxError::invalid("preparing the sandbox", how))
            }
            None => Err(SandboxError::invalid("preparing the sandbox", "its init ended unexpectedly")),
        }
    }

    /// Waits for the init, and takes away what the sandbox made; gives the signal that ended it, if one did.
    fn finish(&mut self) -> io::Result<Option<i32>> {
        self.waited = true;
        let ended = self.child.wait()?;
        drop(self.group.take());
        placeholder::remove(&self.spec, &self.placeholders);
        Ok(ended.signal())
    }
}

/// A command that could not be started has an exit code all the same.
fn not_started(error: SandboxError) -> Result<ExitStatus, SandboxError> {
    match error {
        SandboxError::Exec { code, program, reason } => {
            tracing::debug!(%program, %reason, "could not start the command");
            Ok(ExitStatus { code: Some(code), signal: None })
        }
        error => Err(error),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            self.kill();
            let _ = self.finish();
        }
    }
}
