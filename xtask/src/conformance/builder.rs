//! The programs that build: Otoshi, and the references. Each has a store of its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::image::Image;
use crate::{
    docker::Daemon,
    failure::{Failure, Result},
    process,
};

/// How many seconds a build may take.
const PATIENCE: &str = "60";

/// What there is to build, in the words of `docker build`.
pub(super) struct Order<'a> {
    /// The directory to build in, which is the context as well.
    pub(super) context: &'a Path,
    /// Flags, as a person would type them.
    pub(super) flags: &'a [String],
    /// A Dockerfile outside of the context, in place of the usual one.
    pub(super) file: Option<&'a Path>,
    /// Environment variables of the builder.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// A name for the image.
    pub(super) name: &'a str,
    /// Where the image is written to.
    pub(super) archive: &'a Path,
}

/// What came of an order.
pub(super) enum Built {
    /// An image, and what was printed on the way.
    Image(Image, String),
    /// The builder refused; this is what it printed.
    Refused(String),
}

/// A program that builds images from Dockerfiles.
pub(super) trait Builder: Sync {
    /// The program's name and version, for reports.
    fn name(&self) -> String;

    /// The command that builds.
    fn build(&self, order: &Order<'_>) -> Command;

    /// The command that writes the built image as `docker save` does.
    fn save(&self, order: &Order<'_>) -> Command;

    /// Whether this way to end means that the order was refused, as opposed to an accident.
    fn refuses(&self, code: Option<i32>) -> bool;

    /// Carries an order out.
    fn carry_out(&self, order: &Order<'_>) -> Result<Built> {
        let mut build = self.build(order);
        if let Some(file) = order.file {
            build.arg("-f").arg(file);
        }
        build.args(order.flags).arg(".").current_dir(order.context).envs(order.environment);
        let output = output(&mut build)?;
        let text = plain(&output.stderr);
        if !output.status.success() {
            if self.refuses(output.status.code()) {
                return Ok(Built::Refused(text));
            }
            return Err(Failure::Wrong(format!("{} ended with {}: {text}", self.name(), output.status)));
        }
        let saved = self.save(order);
        process::read(&mut { saved })?;
        Ok(Built::Image(Image::read(order.archive)?, text))
    }
}

fn output(command: &mut Command) -> Result<Output> {
    let started = command.stdin(Stdio::null()).output();
    started.map_err(|source| Failure::Start { command: process::shown(command), source })
}

/// What a program printed for people, without frames and line breaks.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(|c: char| c.is_whitespace() || "│╭╰─×·├".contains(c));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn patient(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(program);
    command
}

/// The program under test.
pub(super) struct Otoshi {
    pub(super) program: PathBuf,
    pub(super) home: PathBuf,
}

impl Otoshi {
    fn command(&self) -> Command {
        let mut command = patient(&self.program);
        command.env("OTOSHI_HOME", &self.home).env("NO_COLOR", "1");
        command
    }

    /// Takes in an archive's image by its name.
    pub(super) fn import(&self, archive: &Path) -> Result {
        process::read(self.command().arg("import").arg(archive)).map(drop)
    }
}

impl Builder for Otoshi {
    fn name(&self) -> String {
        "Otoshi".to_owned()
    }

    fn build(&self, order: &Order<'_>) -> Command {
        let mut command = self.command();
        command.args(["image", "build", "--tag", order.name]);
        command
    }

    fn save(&self, order: &Order<'_>) -> Command {
        let mut command = self.command();
        command.args(["export", order.name]).arg(order.archive).args(["--format", "docker-archive"]);
        command
    }

    fn refuses(&self, code: Option<i32>) -> bool {
        // A step failed, the arguments or files are wrong, or no registry has the image.
        matches!(code, Some(1..=3))
    }
}

impl Builder for Daemon {
    fn name(&self) -> String {
        format!("Docker {}", self.version())
    }

    fn build(&self, order: &Order<'_>) -> Command {
        let mut command = self.command();
        command.args(["build", "--network=host", "--progress=plain", "--tag", order.name]);
        command
    }

    fn save(&self, order: &Order<'_>) -> Command {
        let mut command = self.command();
        command.args(["save", order.name, "--output"]).arg(order.archive);
        command
    }

    fn refuses(&self, code: Option<i32>) -> bool {
        matches!(code, Some(1 | 125))
    }
}

/// buildah, which needs no daemon, but is from where one is.
pub(super) struct Buildah<'a> {
    pub(super) beside: &'a Daemon,
    pub(super) home: PathBuf,
}

impl Buildah<'_> {
    fn command(&self, verb: &str) -> Command {
        let mut command = self.beside.beside("/usr/bin/timeout");
        command.args([PATIENCE, "/usr/bin/buildah"]);
        command.arg("--root").arg(self.home.join("root")).arg("--runroot").arg(self.home.join("run"));
        command.args(["--storage-driver", "vfs", verb]);
        command
    }

    /// Takes in an archive's image.
    pub(super) fn import(&self, archive: &Path) -> Result {
        let source = format!("docker-archive:{}", archive.display());
        process::read(self.command("pull").arg(&source)).map(drop)
    }
}

impl Builder for Buildah<'_> {
    fn name(&self) -> String {
        "buildah".to_owned()
    }

    fn build(&self, order: &Order<'_>) -> Command {
        let mut command = self.command("build");
        command.args(["--isolation=chroot", "--network=host", "--identity-label=false", "--format=docker"]);
        command.args(["--pull=never", "--tag", order.name]);
        command
    }

    fn save(&self, order: &Order<'_>) -> Command {
        let mut command = self.command("push");
        command.arg(order.name).arg(format!("docker-archive:{}", order.archive.display()));
        command
    }

    fn refuses(&self, code: Option<i32>) -> bool {
        matches!(code, Some(1..=123 | 125))
    }
}
