//! The same with buildah, which needs no daemon.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::measure::quiet;
use crate::{
    bases,
    failure::{Failure, Result},
};

/// A storage of buildah's own, which goes when this does.
pub(super) struct Buildah {
    directory: TempDir,
}

impl Buildah {
    pub(super) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("otoshi-buildah-").tempdir();
        Ok(Self { directory: directory.map_err(Failure::file("making", "a directory"))? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("/usr/bin/buildah");
        command.arg("--root").arg(self.path("root")).arg("--runroot").arg(self.path("run"));
        command.args(["--storage-driver", "overlay", verb]);
        command
    }

    /// Makes an image of a root file system.
    pub(super) fn import(&self, archive: &Path, name: &str) -> Result {
        let context = self.path("import");
        std::fs::create_dir_all(&context).map_err(Failure::file("making", &context))?;
        let file = context.join("root.tar");
        std::fs::copy(archive, &file).map_err(Failure::file("copying", archive))?;
        let text = format!("FROM scratch\nADD root.tar /\nENV PATH={}\n", bases::PATH);
        let dockerfile = context.join("Dockerfile");
        std::fs::write(&dockerfile, text).map_err(Failure::file("writing", &dockerfile))?;
        let mut build = self.command("build");
        quiet(build.args(["--quiet", "--tag", name]).arg(&context))
    }

    /// Builds in a directory, keeping each step as Docker does.
    pub(super) fn build(&self, directory: &Path, arguments: &[&str]) -> Result {
        let mut command = self.command("build");
        command.args(["--isolation=chroot", "--network=host", "--pull=never", "--layers", "--quiet"]);
        quiet(command.args(arguments).arg(".").current_dir(directory))
    }

    /// Pushes to a registry on loopback.
    pub(super) fn push(&self, name: &str) -> Result {
        quiet(
            self.command("push")
                .args(["--quiet", "--tls-verify=false", name])
                .arg(format!("docker://{name}")),
        )
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // What it still has mounted would keep the directory.
        let _ = self.command("rm").arg("--all").output();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = self.directory.path().display().to_string();
        for place in
            mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|place| place.starts_with(&own))
        {
            let _ = Command::new("umount").arg(place).output();
        }
    }
}
