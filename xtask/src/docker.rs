//! A Docker daemon of this task's own: this machine's, or that of another root file system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    failure::{Failure, Result},
    process::{self, Running},
};

/// Makes another root file system's daemon see what it has to, in a mount namespace of its own, and becomes that daemon.
///
/// The root itself is shared with other daemons, and cannot be written.
const ENTER: &str = r#"set -e
root=$1 temporary=$2 repository=$3
shift 3
mount --bind "$root" "$root"
for directory in proc sys dev; do mount --rbind "/$directory" "$root/$directory"; done
mount -t tmpfs tmpfs "$root/run"
for directory in "$temporary" "$repository"; do
    mkdir -p "$root$directory"
    mount --bind "$directory" "$root$directory"
done
mount -o remount,bind,ro "$root"
exec chroot "$root" /usr/sbin/dockerd "$@""#;

/// Runs a command where the daemon is, in the same directory.
const BESIDE: &str = r#"exec nsenter --target "$0" --mount --root --wdns="$PWD" -- "$@""#;

/// A running daemon with a store of its own; it ends when this is dropped.
pub(crate) struct Daemon {
    // Before the directory, so that the daemon has ended when that is removed.
    daemon: Running,
    directory: TempDir,
    /// Where the daemon's programs are, if they are not this machine's.
    root: Option<PathBuf>,
    version: String,
}

impl Daemon {
    /// Starts this machine's daemon without a network of its own, and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        Self::start_in(None, "{}")
    }

    /// Starts the daemon that a root file system has.
    pub(crate) fn start_of(root: &Path) -> Result<Self> {
        Self::start_in(Some(root.to_owned()), "{}")
    }

    /// The same with images in containerd's store and not in the daemon's own.
    #[cfg(test)]
    fn start_with_containerd(root: &Path) -> Result<Self> {
        Self::start_in(Some(root.to_owned()), r#"{"features": {"containerd-snapshotter": true}}"#)
    }

    /// Starts a daemon with these settings, as in its file `daemon.json`.
    fn start_in(root: Option<PathBuf>, settings: &str) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("otoshi-docker-")
            .tempdir()
            .map_err(Failure::file("making", "a directory"))?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log =
            fs::File::create(directory.path().join("log")).map_err(Failure::file("making", path("log")))?;
        fs::write(path("daemon.json"), settings).map_err(Failure::file("writing", path("daemon.json")))?;
        // In a mount namespace of its own: it leaves mounts behind, which then end with it.
        let mut command = Command::new("unshare");
        command.arg("--mount");
        match &root {
            None => command.arg("/usr/sbin/dockerd"),
            Some(root) => {
                command.args(["sh", "-c", ENTER, "sh"]).arg(root).arg(std::env::temp_dir()).arg(crate::root())
            }
        };
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["--host", &format!("unix://{}", path("sock")), "--config-file", &path("daemon.json")]);
        if settings == "{}" {
            command.args(["--storage-driver", "overlay2"]);
        }
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = Running::start(&mut command)?;
        let mut daemon = Self { daemon, directory, root, version: String::new() };
        daemon.version = daemon.wait()?;
        Ok(daemon)
    }

    /// Waits until the daemon answers, and returns its version without Debian's ending.
    fn wait(&mut self) -> Result<String> {
        let started = Instant::now();
        loop {
            let asked = process::read(self.command().args(["version", "--format", "{{.Server.Version}}"]));
            let failure = match asked {
                Ok(version) => {
                    return Ok(version.trim().split('+').next().unwrap_or_default().to_owned());
                }
                Err(failure) => failure,
            };
            if started.elapsed() > Duration::from_secs(60) || self.daemon.still_there().is_err() {
                let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
                return Err(Failure::Wrong(format!("{failure}\n{log}")));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The version that the daemon says it has, as in `28.5.2`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The client of this daemon, with BuildKit on.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.beside("/usr/bin/docker");
        let socket = self.path().join("sock");
        command.env("DOCKER_HOST", format!("unix://{}", socket.display())).env("DOCKER_BUILDKIT", "1");
        command
    }

    /// A program of where the daemon's own is from; the paths that it is given are in the directory for temporary files
    /// or in the repository.
    pub(crate) fn beside(&self, program: &str) -> Command {
        if self.root.is_none() {
            return Command::new(program);
        }
        let mut command = Command::new("/bin/sh");
        command.args(["-c", BESIDE, &self.daemon.id().to_string(), program]);
        // What it keeps for its user goes with the daemon.
        command.env("HOME", self.path()).env("TMPDIR", self.path());
        command
    }

    /// The directory that goes when the daemon does.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[cfg(test)]
mod tests {
    use otoshi_test::{Need, given, require};

    use super::*;
    use crate::{bases, project::Project};

    /// What an image is called in a daemon: its own digest in containerd's store, its config's in the daemon's.
    fn loaded(daemon: &Daemon, project: &Project) -> String {
        let mut export = project.otoshi(&["export", bases::BASE, "docker-daemon:base:1"]);
        export.env("DOCKER_HOST", format!("unix://{}", daemon.path().join("sock").display()));
        let said = process::read(&mut export).unwrap();
        assert!(said.contains("Loaded image: base:1"), "{said}");
        process::read(daemon.command().args(["image", "inspect", "base:1", "--format", "{{.Id}}"])).unwrap()
    }

    #[test]
    fn an_image_keeps_its_digest_where_the_daemon_keeps_images_by_it() {
        given!(require(&[Need::Root]));
        let (otoshi, peers) = (given!(otoshi_test::program()), given!(otoshi_test::peers()));
        let base = given!(otoshi_test::base("debian-old"));
        let project = Project::empty(&otoshi).unwrap();
        project.import(&base, bases::BASE).unwrap();
        let image = process::read(&mut project.otoshi(&["inspect", bases::BASE])).unwrap();
        let image: serde_json::Value = serde_json::from_str(&image).unwrap();
        let digest = image["digest"].as_str().unwrap();

        let with_containerd = Daemon::start_with_containerd(&peers.canonicalize().unwrap()).unwrap();
        assert_eq!(loaded(&with_containerd, &project).trim_end(), digest);
        drop(with_containerd);
        let today = Daemon::start_of(&peers.canonicalize().unwrap()).unwrap();
        let id = loaded(&today, &project);
        drop(today);
        let of_debian_12 = Daemon::start().unwrap();
        assert_eq!(loaded(&of_debian_12, &project), id);
        assert_ne!(id.trim_end(), digest);
    }
}
