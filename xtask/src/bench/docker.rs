//! The commands that do in Docker what Otoshi does.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::measure::quiet;
use crate::{
    bases,
    docker::Daemon,
    failure::{Failure, Result},
    process,
};

/// Where commands find this machine's certificate authorities; the same place as in Otoshi's sandbox.
const AUTHORITIES: &str = "run/otoshi/ca-certificates.crt";

/// A running daemon, and what is kept beside it.
pub(super) struct Docker {
    daemon: Daemon,
}

impl Docker {
    pub(super) fn start() -> Result<Self> {
        Ok(Self { daemon: Daemon::start()? })
    }

    fn command(&self) -> Command {
        self.daemon.command()
    }

    /// Runs any command of the client.
    pub(super) fn run(&self, arguments: &[&str]) -> Result {
        let network = if arguments.first() == Some(&"run") { &["--network=host"][..] } else { &[] };
        let (verb, rest) = arguments.split_at(1.min(arguments.len()));
        quiet(self.command().args(verb).args(network).args(rest))
    }

    /// Builds in a directory.
    pub(super) fn build(&self, directory: &Path, arguments: &[&str]) -> Result {
        let mut command = self.command();
        command.args(["build", "--network=host", "--quiet"]).args(arguments).arg(".").current_dir(directory);
        quiet(&mut command)
    }

    /// Makes an image of a root file system, with this machine's authorities for the commands that run in it.
    pub(super) fn import(&self, archive: &Path, name: &str) -> Result {
        let with = self.daemon.path().join("base.tar");
        fs::copy(archive, &with).map_err(Failure::file("copying", archive))?;
        let extra = self.daemon.path().join("extra");
        let file = extra.join(AUTHORITIES);
        fs::create_dir_all(file.parent().unwrap_or(&extra)).map_err(Failure::file("making", &extra))?;
        let own = "/etc/ssl/certs/ca-certificates.crt";
        fs::copy(own, &file).map_err(Failure::file("copying", own))?;
        let mut tar = Command::new("tar");
        quiet(tar.arg("-C").arg(&extra).arg("-rf").arg(&with).arg(format!("./{AUTHORITIES}")))?;
        let mut import = self.command();
        import.args(["import", "-c", &format!("ENV PATH={}", bases::PATH)]);
        for variable in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"] {
            import.args(["-c", &format!("ENV {variable}=/{AUTHORITIES}")]);
        }
        quiet(import.arg(&with).arg(name))
    }

    /// Builds the Ruby example from nothing but its base, as its team would without Otoshi; gives the time it took.
    pub(super) fn build_shop(&self, source: &Path) -> Result<Duration> {
        quiet(self.command().args(["builder", "prune", "--all", "--force"]))?;
        let shop = Shop::new(self, source, bases::BASE)?;
        // Neither side waits for what the other left to write.
        quiet(&mut Command::new("sync"))?;
        let started = Instant::now();
        shop.build_all()?;
        Ok(started.elapsed())
    }
}

/// The Ruby example in the hands of a team that has Docker alone: what it compiled is kept in a directory.
pub(super) struct Shop<'a> {
    docker: &'a Docker,
    source: &'a Path,
    base: &'a str,
    /// Which Ruby, as the example's `otoshi.toml` has it.
    ruby: String,
    compiled: TempDir,
}

impl<'a> Shop<'a> {
    const TARGETS: [&'static str; 2] = ["web", "cli"];

    pub(super) fn new(docker: &'a Docker, source: &'a Path, base: &'a str) -> Result<Self> {
        let compiled = tempfile::tempdir().map_err(Failure::file("making", "a directory"))?;
        let path = source.join("otoshi.toml");
        let text = fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
        let project: toml::Table =
            toml::from_str(&text).map_err(|error| Failure::Wrong(format!("{}: {error}", path.display())))?;
        let ruby =
            project.get("versions").and_then(|versions| versions.get("RUBY")).and_then(toml::Value::as_str);
        let missing = || Failure::Wrong(format!("{} has no version RUBY", path.display()));
        Ok(Self { docker, source, base, ruby: ruby.ok_or_else(missing)?.to_owned(), compiled })
    }

    fn build(&self, directory: &Path, more: &[&str]) -> Result {
        let base = format!("DEBIAN_BASE={}", self.base);
        let ruby = format!("RUBY={}", self.ruby);
        let common = ["--build-arg", &base, "--build-arg", &ruby];
        self.docker.build(directory, &[&common[..], more].concat())
    }

    /// All four phases.
    pub(super) fn build_all(&self) -> Result {
        self.build(self.source, &["-f", "docker/builder.Dockerfile", "-t", "shop/builder"])?;
        let compiled = self.compiled.path();
        process::read(Command::new("cp").arg("-r").arg(self.source.join(".")).arg(compiled))?;
        let mount = format!("{}:/srv/app", compiled.display());
        let run =
            "npm run build && cd ext/closeness && ruby extconf.rb && make install sitearchdir=/srv/app/lib";
        let shell = ["shop/builder", "sh", "-c", run];
        let options = ["run", "--rm", "-e", "NODE_ENV=production", "-v", &mount, "-w", "/srv/app"];
        self.docker.run(&[&options[..], &shell].concat())?;
        // What was compiled is left out of the builder's context, and wanted here.
        let ignore = compiled.join(".dockerignore");
        fs::remove_file(&ignore).map_err(Failure::file("removing", &ignore))?;
        self.build_runner_and_apps()
    }

    /// The last two, with what was compiled before.
    pub(super) fn build_runner_and_apps(&self) -> Result {
        self.build(self.source, &["-f", "docker/runner.Dockerfile", "-t", "shop/runner"])?;
        for target in Self::TARGETS {
            let tag = format!("shop/{target}");
            let options = ["-f", "docker/app.Dockerfile", "--target", target, "-t", &tag];
            self.build(
                self.compiled.path(),
                &[&options[..], &["--build-arg", "RUNNER=shop/runner"]].concat(),
            )?;
        }
        Ok(())
    }

    /// Pushes the app images.
    pub(super) fn push(&self, repository: &str) -> Result {
        for target in Self::TARGETS {
            let tag = format!("{repository}:{target}");
            self.docker.run(&["tag", &format!("shop/{target}"), &tag])?;
            self.docker.run(&["push", "--quiet", &tag])?;
        }
        Ok(())
    }
}
