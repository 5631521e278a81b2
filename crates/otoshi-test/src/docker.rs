//! Debian's Docker daemon, with everything of its own.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Missing, Need, require};

const PROGRAM: &str = "/usr/sbin/dockerd";

/// A running daemon without a network for containers; it ends when this is dropped.
#[derive(Debug)]
pub struct Docker {
    child: Child,
    directory: TempDir,
}

impl Docker {
    /// Starts a daemon; this needs root and Debian's package.
    ///
    /// Fails where this process is not root, or the daemon is not installed.
    pub fn start() -> Result<Self, Missing> {
        require(&[Need::Root, Need::Tool("dockerd")])?;
        let directory = tempfile::Builder::new().prefix("otoshi-docker-").tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        // In a mount namespace of its own: what it leaves mounted ends with it.
        let child = Command::new("unshare")
            .args(["--mount", PROGRAM])
            .args(["--data-root", &place("data"), "--exec-root", &place("exec"), "--pidfile", &place("pid")])
            .args(["--host", &format!("unix://{}", place("sock")), "--storage-driver", "vfs"])
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self { child, directory };
        let started = Instant::now();
        while !docker.command().arg("version").output().unwrap().status.success() {
            let log = || fs::read_to_string(docker.directory.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(60), "{}", log());
            sleep(Duration::from_millis(100));
        }
        Ok(docker)
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// The client of this daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.directory.path());
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Asked, so that it takes its helpers with it.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
