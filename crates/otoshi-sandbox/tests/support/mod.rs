//! An image made of busybox, and commands that run in it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    fs::{self, File},
    io::Read,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use otoshi_sandbox::{
    ExitStatus, Limits, Mount, Root, Running, Sandbox, SandboxError, Spec, StdioSpec, Stream,
};
use otoshi_test::{Missing, Need, busybox, require};
use tempfile::TempDir;

/// The program that is the sandbox's init in tests.
pub(crate) const INIT: &str = env!("CARGO_BIN_EXE_otoshi-sandbox-init");

/// An image whose only layer has `/bin` with busybox, and what tests add; with a place for what commands write.
pub(crate) struct Image {
    dir: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Image {
    pub(crate) fn new() -> Result<Self, Missing> {
        require(&[Need::Root, Need::Tool("busybox")])?;
        let dir = tempfile::Builder::new().prefix("otoshi-sandbox-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let image = Self { dir };
        let applets = otoshi_test::run(Command::new("/bin/busybox").arg("--list"));
        let applets: Vec<_> = applets.lines().filter(|applet| *applet != "busybox").collect();
        busybox(&image.layer(), &applets);
        for name in ["upper", "work"] {
            fs::create_dir(image.path(name)).unwrap();
        }
        Ok(image)
    }

    /// A path beside the layers.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn layer(&self) -> PathBuf {
        self.path("layer")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.path("upper")
    }

    /// A command in the image, with its writes kept in `upper`.
    pub(crate) fn spec(&self, argv: &[&str]) -> Spec {
        Spec {
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            env: vec![("PATH".into(), "/bin".into())],
            ..Spec::new(Root::Overlay {
                lowers: vec![self.layer()],
                upper: self.upper(),
                work: self.path("work"),
                userxattr: false,
            })
        }
    }

    /// A shell script in the image.
    pub(crate) fn script(&self, script: &str) -> Spec {
        self.spec(&["sh", "-c", script])
    }

    /// Everything in `upper`, sorted, with a slash after directories.
    pub(crate) fn written(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.upper(), "", &mut found);
        found.sort();
        found
    }

    /// Makes another upper directory: overlays want their work directory unused.
    pub(crate) fn renew(&self) {
        for name in ["upper", "work"] {
            fs::remove_dir_all(self.path(name)).unwrap();
            fs::create_dir(self.path(name)).unwrap();
        }
    }
}

fn list(directory: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            found.push(format!("{name}/"));
            list(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push(name);
        }
    }
}

/// Starts a sandbox whose output comes through the returned pipes.
pub(crate) fn start(spec: &Spec) -> Result<(Running, File, File), SandboxError> {
    let (stdout, stdout_writer) = pipe();
    let (stderr, stderr_writer) = pipe();
    let stdio = StdioSpec {
        stdin: Stream::Null,
        stdout: Stream::Fd(stdout_writer),
        stderr: Stream::Fd(stderr_writer),
    };
    let running = Sandbox::spawn(spec, stdio, Some(INIT.into()))?;
    Ok((running, stdout, stderr))
}

fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (reader.into(), writer)
}

/// Runs a command to its end.
pub(crate) fn try_run(spec: &Spec) -> Result<Output, SandboxError> {
    let (running, stdout, stderr) = start(spec)?;
    let read = |mut file: File| {
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    let (stdout, stderr) = thread::scope(|scope| {
        let errors = scope.spawn(move || read(stderr));
        (read(stdout), errors.join().unwrap())
    });
    Ok(Output { status: running.wait()?, stdout, stderr })
}

/// Runs a command to its end; the sandbox itself must work.
pub(crate) fn run(spec: &Spec) -> Output {
    try_run(spec).unwrap()
}

/// The output of a command that must succeed.
pub(crate) fn output(spec: &Spec) -> String {
    let output = run(spec);
    assert_eq!(output.status, ExitStatus { code: Some(0), signal: None }, "{output:?}");
    output.stdout
}

/// A bind mount.
pub(crate) fn bind(source: impl AsRef<Path>, target: &str, read_only: bool) -> Mount {
    let limits = Limits { read_only, ..Limits::default() };
    Mount::Bind { source: source.as_ref().to_owned(), target: target.into(), limits }
}

/// A mount of a small file.
pub(crate) fn file(content: &str, target: &str) -> Mount {
    Mount::File { content: content.into(), target: target.into(), mode: 0o400, uid: 0, gid: 0 }
}

/// The host's libraries, for programs of the host.
pub(crate) fn host_libraries() -> Vec<Mount> {
    ["/lib", "/lib64"]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .map(|path| bind(path, path, true))
        .collect()
}
