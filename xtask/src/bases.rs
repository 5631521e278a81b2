//! Root file systems made of Debian's packages: `target/bases/debian-old.tar` and `debian-patched.tar`, and for tests the same two of
//! the release before, `bookworm-old.tar` and `bookworm-patched.tar`.
//!
//! The old one has the packages of the release alone; the patched one those of its updates and security updates, too. Each
//! keeps its package sources, so that what a Dockerfile installs is as old or as new. They are bases of packages as any project has
//! them: Otoshi makes them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use clap::Args;

use crate::{
    deps,
    failure::{Failure, Result},
    process,
    project::{self, Project},
    root,
};

/// The name that the examples have for their base.
pub(crate) const BASE: &str = "otoshi.test/debian:trixie-slim";

/// The `PATH` of commands in them, which an archive cannot say.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The release of Debian that they are of.
const RELEASE: &str = "trixie";
/// The release before, which tests have as the old one.
const BEFORE: &str = "bookworm";

/// Make the base root file systems that the examples start from, in target/bases.
#[derive(Debug, Args)]
pub(crate) struct Bases {
    /// Make them again
    #[arg(long)]
    again: bool,
}

impl Bases {
    pub(crate) fn run(self) -> Result {
        let otoshi = project::build_otoshi()?;
        let bases = make(&otoshi, self.again)?;
        make_for_tests(&otoshi, self.again)?;
        println!("{}\n{}", bases.old.display(), bases.patched.display());
        Ok(())
    }
}

/// The archives.
pub(crate) struct Made {
    /// The release as it was.
    pub(crate) old: PathBuf,
    /// With every update of today.
    pub(crate) patched: PathBuf,
}

/// Makes what is not there yet.
pub(crate) fn make(otoshi: &Path, again: bool) -> Result<Made> {
    pair(otoshi, RELEASE, "debian", again)
}

/// Makes those of the release before.
pub(crate) fn make_for_tests(otoshi: &Path, again: bool) -> Result {
    pair(otoshi, BEFORE, BEFORE, again).map(drop)
}

/// Makes both of a release, side by side.
fn pair(otoshi: &Path, release: &str, name: &str, again: bool) -> Result<Made> {
    deps::install(&[deps::BASES])?;
    let directory = root().join("target/bases");
    fs::create_dir_all(&directory).map_err(Failure::file("making", &directory))?;
    let archive = |form: &str| directory.join(format!("{name}-{form}.tar"));
    let made = Made { old: archive("old"), patched: archive("patched") };
    let settings = settings()?;
    let suites = format!(", suites = [{release:?}]");
    thread::scope(|scope| {
        let old = Base { archive: &made.old, release, suites: &suites, settings: &settings };
        let patched = Base { archive: &made.patched, suites: "", ..old };
        let old = scope.spawn(move || base(otoshi, old, again));
        let patched = base(otoshi, patched, again);
        let old = old.join().unwrap_or_else(|_| Err(Failure::Wrong("making the old base panicked".into())));
        old.and(patched)
    })?;
    Ok(made)
}

/// What a base is made of, and where it goes.
#[derive(Clone, Copy)]
struct Base<'a> {
    archive: &'a Path,
    release: &'a str,
    /// The key of a base of packages that says which suites count; all where it is empty.
    suites: &'a str,
    /// What its own apt is told.
    settings: &'a str,
}

/// Makes one archive, unless it is there and was made in the same way.
fn base(otoshi: &Path, base: Base<'_>, again: bool) -> Result {
    let Base { archive, release, suites, settings } = base;
    // Both are in one store.
    let name = archive.file_stem().unwrap_or_default().to_string_lossy();
    let manifest = format!(
        "[project]\nname = \"{name}\"\n[bases]\n\
         DEBIAN = {{ debian = {release:?}, packages = [\"mount\", \"passwd\", \"tzdata\"], variant = \"apt\", slim = true{suites} }}\n\
         [runner]\ndockerfile = \"Dockerfile\"\n[processes]\nshell = [\"bash\"]\n"
    );
    let recipe = format!("{manifest}{settings}");
    let recipe_file = archive.with_extension("recipe");
    let same = fs::read_to_string(&recipe_file).is_ok_and(|text| text == recipe);
    if same && archive.exists() && !again {
        return Ok(());
    }
    eprintln!("making {} (some ten seconds)", archive.display());
    let project = Project::empty(otoshi)?;
    project.write("otoshi.toml", &manifest)?;
    project.write("apt.conf", settings)?;
    project.write(
        "Dockerfile",
        "ARG DEBIAN\nFROM ${DEBIAN}\nCOPY --chmod=644 apt.conf /etc/apt/apt.conf.d/99settings\n",
    )?;
    let partial = archive.with_extension("partial.tar");
    // Packages that were fetched once are kept here.
    let store = archive.with_file_name("store");
    process::read(project.otoshi(&["build"]).env("OTOSHI_HOME", &store))?;
    let mut export = project.otoshi(&["export", &format!("{name}/runner")]);
    export.arg(&partial).args(["--format", "rootfs"]).env("OTOSHI_HOME", &store);
    process::read(&mut export)?;
    fs::rename(&partial, archive).map_err(Failure::file("naming", archive))?;
    fs::write(&recipe_file, recipe).map_err(Failure::file("writing", recipe_file))
}

/// What the bases' own apt is told: to take no recommended packages, and this machine's proxies for packages.
fn settings() -> Result<String> {
    let dump = process::read(Command::new("apt-config").args(["dump", "--no-empty"]))?;
    let wanted =
        |line: &&str| line.starts_with("Acquire::http::Proxy ") || line.starts_with("Acquire::https::Proxy ");
    let mut settings = "APT::Install-Recommends \"false\";\n".to_owned();
    for line in dump.lines().filter(wanted) {
        settings += line;
        settings.push('\n');
    }
    Ok(settings)
}
