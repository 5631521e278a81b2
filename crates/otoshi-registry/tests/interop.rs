//! Docker and buildah read what was pushed, and what they push is read.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use otoshi_oci::layer::Compression;
use otoshi_oci::{Image, Platform};
use otoshi_registry_test::Registry;
use rustix::process::{Pid, Signal, kill_process};
use support::{Store, client, item, pull, push};

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A Docker daemon with everything of its own.
struct Docker {
    child: Child,
    directory: tempfile::TempDir,
}

impl Docker {
    fn start() -> Option<Self> {
        let program = Path::new("/usr/sbin/dockerd");
        if !program.exists() || !is_root() {
            eprintln!("passed over: needs {} and root", program.display());
            return None;
        }
        let directory = tempfile::Builder::new().prefix("otoshi-docker-").tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(program)
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
        Some(docker)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        let socket = self.directory.path().join("sock");
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
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

#[test]
fn docker_pulls_what_was_pushed_and_what_it_pushes_is_pulled() {
    let (Some(registry), Some(docker)) = (Registry::start(), Docker::start()) else { return };
    let (store, client) = (Store::new(), client());
    let digest = store.image(&[(1, 50_000), (2, 10)], Compression::Gzip);
    let image = Image::load(&store.layout, &digest, &Platform::host()).unwrap();
    let ours = format!("{}/team/ours:1", registry.host());
    push(&client, &store, &[item(&ours, &digest)]).unwrap();
    run(docker.command().args(["pull", "--quiet", &ours]));
    let id = run(docker.command().args(["image", "inspect", "--format", "{{.Id}}", &ours]));
    assert_eq!(id, image.id().to_string());

    let theirs = format!("{}/team/theirs:1", registry.host());
    run(docker.command().args(["tag", &ours, &theirs]));
    run(docker.command().args(["push", "--quiet", &theirs]));
    let there = Store::new();
    let (pulled, _) = pull(&client, &there, &theirs).unwrap();
    let back = Image::load(&there.layout, &pulled.unwrap().manifest, &Platform::host()).unwrap();
    assert_eq!(back.config.rootfs, image.config.rootfs);
    there.check();
}

#[test]
fn what_buildah_pushes_is_pulled() {
    if !Path::new("/usr/bin/buildah").exists() || !is_root() {
        eprintln!("passed over: needs /usr/bin/buildah and root");
        return;
    }
    let Some(registry) = Registry::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| -> PathBuf { directory.path().join(name) };
    fs::write(place("hello"), "hello").unwrap();
    let buildah = || {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(place("root")).arg("--runroot").arg(place("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let container = run(buildah().args(["from", "scratch"]));
    run(buildah().args(["copy", &container]).arg(place("hello")).arg("/hello"));
    let name = format!("{}/built:1", registry.host());
    let target = format!("docker://{name}");
    run(buildah().args(["commit", "--quiet", "--tls-verify=false", &container, &target]));
    let there = Store::new();
    let (pulled, _) = pull(&client(), &there, &name).unwrap();
    let image = Image::load(&there.layout, &pulled.unwrap().manifest, &Platform::host()).unwrap();
    assert_eq!(image.layers().len(), 1);
    there.check();
}
