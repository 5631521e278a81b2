//! Root file systems made of Debian's packages: `target/bases/debian-old.tar` and `debian-patched.tar`.
//!
//! The old one has the packages of the release alone; the patched one those of its updates and security updates, too. Each
//! keeps its package sources, so that what a Dockerfile installs is as old or as new. Where packages come from is read
//! from this machine's own apt. The same packages give the same bytes.

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
    process, root,
};

/// The Debian release that the examples name.
const RELEASE: &str = "bookworm";

/// The name that the examples have for their base.
pub(crate) const BASE: &str = "otoshi.test/debian:bookworm-slim";

/// 2023-11-14T22:13:20Z: every file's time is this at most.
const EPOCH: &str = "1700000000";

/// Files that a small image does without, for as long as packages are installed in it.
const LEFT_OUT: [&str; 5] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
];

/// Makes the base root file systems that the examples start from, in target/bases.
#[derive(Debug, Args)]
pub(crate) struct Bases {
    /// Make them again
    #[arg(long)]
    again: bool,
}

impl Bases {
    pub(crate) fn run(self) -> Result {
        let bases = make(self.again)?;
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
pub(crate) fn make(again: bool) -> Result<Made> {
    deps::install(&[deps::BASES])?;
    let directory = root().join("target/bases");
    fs::create_dir_all(&directory).map_err(Failure::file("making", &directory))?;
    let made = Made { old: directory.join("debian-old.tar"), patched: directory.join("debian-patched.tar") };
    let sources = Sources::of_this_machine()?;
    let settings = proxies()?;
    thread::scope(|scope| {
        let old = scope.spawn(|| base(&made.old, &sources.old(), &settings, again));
        let patched = base(&made.patched, &sources.patched(), &settings, again);
        let old = old.join().unwrap_or_else(|_| Err(Failure::Wrong("making the old base panicked".into())));
        old.and(patched)
    })?;
    Ok(made)
}

/// Makes one archive, unless it is there and was made by the same command.
fn base(archive: &Path, sources: &[String], settings: &[String], again: bool) -> Result {
    let partial = archive.with_extension("partial.tar");
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--format=tar", "--quiet"]);
    command.arg(if process::is_root() { "--mode=root" } else { "--mode=unshare" });
    // Nobody boots this machine again halfway through a build: syncing every file would be for nothing.
    command.arg("--dpkgopt=force-unsafe-io");
    command.args(LEFT_OUT.iter().map(|option| format!("--dpkgopt={option}")));
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    command.args(settings.iter().map(|setting| format!("--aptopt={setting}")));
    command.arg(RELEASE).arg(&partial).args(sources);
    command.env("SOURCE_DATE_EPOCH", EPOCH);

    let recipe = process::shown(&command);
    let recipe_file = archive.with_extension("recipe");
    let same = fs::read_to_string(&recipe_file).is_ok_and(|text| text == recipe);
    if same && archive.exists() && !again {
        return Ok(());
    }
    eprintln!("making {} (half a minute)", archive.display());
    process::read(&mut command)?;
    fs::rename(&partial, archive).map_err(Failure::file("naming", archive))?;
    fs::write(&recipe_file, recipe).map_err(Failure::file("writing", recipe_file))
}

/// Where this machine gets Debian's packages from.
#[derive(Debug, PartialEq, Eq)]
struct Sources {
    archive: String,
    security: String,
}

impl Sources {
    fn of_this_machine() -> Result<Self> {
        let format = "$(LABEL)|$(REPO_URI)|$(COMPONENT)";
        let listed = process::read(Command::new("apt-get").args([
            "indextargets",
            "--format",
            format,
            "Created-By: Packages",
        ]))?;
        Self::parse(&listed).ok_or_else(|| {
            Failure::Wrong(
                "apt on this machine knows no source of Debian's main archive with security updates\n\
                 hint: look at /etc/apt/sources.list and run apt-get update"
                    .into(),
            )
        })
    }

    /// Reads lines of label, address and component.
    fn parse(listed: &str) -> Option<Self> {
        let of = |label: &str| {
            let mut rows = listed.lines().map(|line| line.split('|').collect::<Vec<_>>());
            let row = rows.find(|row| row.len() == 3 && row[0] == label && row[2] == "main")?;
            Some(row[1].to_owned())
        };
        Some(Self { archive: of("Debian")?, security: of("Debian-Security")? })
    }

    fn old(&self) -> Vec<String> {
        vec![format!("deb {} {RELEASE} main", self.archive)]
    }

    fn patched(&self) -> Vec<String> {
        let mut lines = self.old();
        lines.push(format!("deb {} {RELEASE}-updates main", self.archive));
        lines.push(format!("deb {} {RELEASE}-security main", self.security));
        lines
    }
}

/// This machine's proxies for packages, as lines of apt's configuration.
fn proxies() -> Result<Vec<String>> {
    let dump = process::read(Command::new("apt-config").args(["dump", "--no-empty"]))?;
    let wanted =
        |line: &&str| line.starts_with("Acquire::http::Proxy ") || line.starts_with("Acquire::https::Proxy ");
    Ok(dump.lines().filter(wanted).map(|line| line.trim_end_matches(';').to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::Sources;

    #[test]
    fn sources_are_found_by_label() {
        let listed = "Other|http://one.test/|main\nDebian|http://two.test/|contrib\nDebian|http://two.test/|main\n\
                      Debian-Security|http://three.test/|main\n";
        let found = Sources::parse(listed).unwrap();
        assert_eq!(found.old(), ["deb http://two.test/ bookworm main"]);
        assert_eq!(found.patched()[2], "deb http://three.test/ bookworm-security main");
        assert_eq!(Sources::parse("Debian|http://two.test/|main"), None);
    }
}
