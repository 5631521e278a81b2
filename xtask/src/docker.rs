//! A Docker daemon of this task's own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    failure::{Failure, Result},
    process::{self, Running},
};

/// A running daemon with a store of its own; it ends when this is dropped.
pub(crate) struct Daemon {
    // Before the directory, so that the daemon has ended when that is removed.
    _daemon: Running,
    directory: TempDir,
}

impl Daemon {
    /// Starts a daemon without a network of its own, and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("otoshi-docker-")
            .tempdir()
            .map_err(Failure::file("making", "a directory"))?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log =
            fs::File::create(directory.path().join("log")).map_err(Failure::file("making", path("log")))?;
        // In a mount namespace of its own: it leaves mounts behind, which then end with it.
        let mut command = Command::new("unshare");
        command.args(["--mount", "/usr/sbin/dockerd"]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["--host", &format!("unix://{}", path("sock")), "--storage-driver", "overlay2"]);
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = Self { _daemon: Running::start(&mut command)?, directory };
        let started = Instant::now();
        while let Err(failure) = process::read(daemon.command().arg("version")) {
            if started.elapsed() > Duration::from_secs(60) {
                let log = fs::read_to_string(daemon.path().join("log")).unwrap_or_default();
                return Err(Failure::Wrong(format!("{failure}\n{log}")));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(daemon)
    }

    /// The client of this daemon, with BuildKit on.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        let socket = self.path().join("sock");
        command.env("DOCKER_HOST", format!("unix://{}", socket.display())).env("DOCKER_BUILDKIT", "1");
        command
    }

    /// The directory that goes when the daemon does.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}
