//! Packages installed into a directory, as dpkg would leave it, without a dpkg of the host's.
//!
//! 1. The core is unpacked: files, and dpkg's records of them. From then on there is a shell and a dpkg.
//! 2. The `preinst` scripts of the core run, then `dpkg --configure --pending`, in the sandbox.
//! 3. For each stage of the others: `preinst` scripts, unpacking, `dpkg --configure --pending`.
//! 4. What differs each time is taken out.
//!
//! Nothing is unpacked by dpkg: that is the part that can be done on all cores. The scripts see what they would see; dpkg writes its
//! records itself. Every file's time is up to whoever makes a layer of the directory.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::database::{DIRECTORY, Files, Triggers, Unpacked, control, status};
use super::deb::Deb;
use super::depends::Chosen;
use super::error::{RootError, named};
use super::inside::Inside;
use super::leftovers::{self, MACHINE_ID, SHADOW};
use super::scripts::Scripts;
use super::stages::Selection;
use super::stages::{ordered, stages};
use super::unpack::{DOCUMENTATION, Diversions, LEFT_OUT, There, Unpacking, diversions};

/// What is installed, and where.
#[derive(Debug)]
pub struct Installation<'a> {
    /// An empty directory, which becomes the root.
    pub root: &'a Path,
    /// An empty directory on the same file system.
    pub work: &'a Path,
    /// The packages.
    pub selection: &'a Selection,
    /// The packages' files: of the core, then of the others, in the same order.
    pub files: &'a [PathBuf],
    /// Debian's word for the root's architecture.
    pub architecture: &'a str,
    /// Whether documentation, manuals and translations are left out, licences kept; dpkg does so later on as well.
    pub slim: bool,
    /// Files that the root gets when all is installed, unless they are there: path, mode and content.
    pub more: &'a [(String, u32, Vec<u8>)],
}

/// Installs packages into a directory.
///
/// Call it in a mount namespace of this process's own ([`otoshi_sandbox::enter_namespace`]). If this fails, the directory holds a part
/// of a root; nothing outside of it was touched.
pub fn install(installation: &Installation<'_>) -> Result<(), RootError> {
    let Installation { root, work, selection, files, .. } = installation;
    rustix::fs::chmod(*root, rustix::fs::Mode::from_raw_mode(0o755)).map_err(|error| RootError::Inside {
        action: "setting the mode of",
        path: String::new(),
        source: error.into(),
    })?;
    let at: HashMap<&str, &PathBuf> =
        selection.all().zip(*files).map(|(one, file)| (one.record.name.as_str(), file)).collect();
    let with_file = |packages: Vec<Chosen>| -> Vec<(Chosen, PathBuf)> {
        let file = |one: Chosen| at.get(one.record.name.as_str()).map(|&file| (one.clone(), file.clone()));
        packages.into_iter().filter_map(file).collect()
    };
    let mut installer = Installer {
        inside: Inside::open(root)?,
        unpacking: Unpacking::new(root, installation.slim),
        scripts: Scripts::new(root, work),
        triggers: Triggers::default(),
        dpkg: selection
            .all()
            .find(|one| one.record.name == "dpkg")
            .map(|one| one.record.version.clone())
            .unwrap_or_default(),
        lists: HashMap::new(),
    };
    installer.prepare(installation)?;
    installer.core(&with_file(ordered(selection.core.clone())))?;
    for stage in stages(selection.others.clone()) {
        installer.stage(&with_file(stage))?;
    }
    installer.finish(installation)
}

struct Installer<'a> {
    inside: Inside,
    unpacking: Unpacking<'a>,
    scripts: Scripts<'a>,
    triggers: Triggers,
    /// The version of the root's own dpkg, as it tells scripts.
    dpkg: String,
    /// What each package has.
    lists: HashMap<String, Unpacked>,
}

impl Installer<'_> {
    /// What is there before any package.
    fn prepare(&mut self, installation: &Installation<'_>) -> Result<(), RootError> {
        let mut files = Files::default();
        files.directory("usr");
        let wide: &[&str] = match installation.architecture {
            "amd64" => &["lib32", "lib64", "libx32"],
            "i386" => &["lib64", "libx32"],
            "ppc64el" => &["lib64"],
            "s390x" => &["lib32"],
            _ => &[],
        };
        for name in ["bin", "lib", "sbin"].iter().chain(wide) {
            files.directory(&format!("usr/{name}"));
            files.link(name, &format!("usr/{name}"));
        }
        for directory in ["etc", "etc/dpkg", "etc/dpkg/dpkg.cfg.d", "var", "var/lib", DIRECTORY] {
            files.directory(directory);
        }
        for directory in ["info", "triggers", "updates"] {
            files.directory(&format!("{DIRECTORY}/{directory}"));
        }
        files.file(&format!("{DIRECTORY}/info/format"), 0o644, b"1\n");
        files.file(
            &format!("{DIRECTORY}/arch"),
            0o644,
            format!("{}\n", installation.architecture).as_bytes(),
        );
        files.file(&format!("{DIRECTORY}/diversions"), 0o644, b"");
        files.file(&format!("{DIRECTORY}/status"), 0o644, b"");
        if installation.slim {
            files.file("etc/dpkg/dpkg.cfg.d/slim", 0o644, slim().as_bytes());
        }
        self.unpacking.files("the directories of a root", &files.finish())
    }

    fn core(&mut self, packages: &[(Chosen, PathBuf)]) -> Result<(), RootError> {
        let there = There { inside: &self.inside, diversions: &Diversions::new(), first: true };
        let unpacked = self.unpacking.packages(packages, there)?;
        self.record(unpacked)?;
        for (chosen, file) in packages {
            self.preinst(chosen, file)?;
        }
        self.configure()
    }

    fn stage(&mut self, packages: &[(Chosen, PathBuf)]) -> Result<(), RootError> {
        for (chosen, file) in packages {
            self.preinst(chosen, file)?;
        }
        let diverted = diversions(&self.inside.text(&format!("{DIRECTORY}/diversions"))?);
        let there = There { inside: &self.inside, diversions: &diverted, first: false };
        let unpacked = self.unpacking.packages(packages, there)?;
        let mut touched: BTreeSet<String> = BTreeSet::new();
        // Of packages that are configured: the new ones are added below.
        for (path, _) in &self.triggers.paths {
            let below = |one: &Vec<u8>| {
                let rest = one.strip_prefix(&path.as_bytes()[1..]);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            };
            if unpacked.iter().any(|(_, one)| one.paths.iter().any(below)) {
                touched.insert(path.clone());
            }
        }
        self.record(unpacked)?;
        for path in touched {
            let by = format!("--by-package={}", packages[0].0.record.name);
            let argv = ["dpkg-trigger", &by, "--no-await", &path];
            self.scripts.run(&format!("noting that {path} has new files"), &argv, &[])?;
        }
        self.configure()
    }

    /// Puts packages that were unpacked on record.
    fn record(&mut self, unpacked: Vec<(String, Unpacked)>) -> Result<(), RootError> {
        let mut text = self.inside.text(&format!("{DIRECTORY}/status"))?;
        let mut files = Files::default();
        let mut paragraphs = Vec::new();
        for (paragraph, one) in unpacked {
            self.triggers.add(&one.name, &one.control);
            paragraphs.push((one.name.clone(), paragraph));
            self.lists.insert(one.name.clone(), one);
        }
        // What a script did to the records of a package that is configured stays, unless the package lost a file.
        let mut changed: BTreeSet<String> = paragraphs.iter().map(|(name, _)| name.clone()).collect();
        for (name, path) in std::mem::take(&mut self.unpacking.taken) {
            if let Some(one) = self.lists.get_mut(&name) {
                one.paths.retain(|known| *known != path);
                one.conffiles.retain(|file| file.path.as_bytes() != [b"/", &path[..]].concat());
                changed.insert(name);
            }
        }
        for (name, paragraph) in paragraphs {
            if !text.is_empty() && !text.ends_with("\n\n") {
                text.push('\n');
            }
            text += &status(&paragraph, &self.lists[&name]);
        }
        for name in changed {
            files.info(&self.lists[&name]);
        }
        for (name, lines) in self.triggers.files() {
            files.file(&format!("{DIRECTORY}/triggers/{name}"), 0o644, lines.as_bytes());
        }
        files.file(&format!("{DIRECTORY}/status"), 0o644, text.as_bytes());
        self.unpacking.files("dpkg's records", &files.finish())
    }

    /// Runs what a package wants to be run before it is unpacked, where dpkg runs it, with the variables that dpkg sets.
    fn preinst(&mut self, chosen: &Chosen, file: &Path) -> Result<(), RootError> {
        let bytes = fs::read(file).map_err(|source| RootError::Kept { path: file.to_owned(), source })?;
        let package = named(&chosen.record);
        let of_package = |reason| RootError::Package { package: package.clone(), reason };
        let members = Deb::parse(&bytes).and_then(|deb| deb.control_files()).map_err(of_package)?;
        if control(&members, "preinst").is_none() {
            return Ok(());
        }
        let place = format!("{DIRECTORY}/tmp.ci");
        let mut files = Files::default();
        files.directory(&place);
        for member in &members {
            files.file(&format!("{place}/{}", member.name), member.mode, &member.content);
        }
        self.unpacking.files(&package, &files.finish())?;
        let record = &chosen.record;
        let dpkg = self.dpkg.clone();
        self.scripts.run(
            &format!("running the preinst script of {package}"),
            &[&format!("/{place}/preinst"), "install"],
            &[
                ("DPKG_ADMINDIR", "/var/lib/dpkg"),
                ("DPKG_MAINTSCRIPT_ARCH", &record.architecture),
                ("DPKG_MAINTSCRIPT_NAME", "preinst"),
                ("DPKG_MAINTSCRIPT_PACKAGE", &record.name),
                ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
                ("DPKG_ROOT", ""),
                ("DPKG_RUNNING_VERSION", &dpkg),
            ],
        )?;
        self.inside.remove(&place)
    }

    fn configure(&mut self) -> Result<(), RootError> {
        let argv = ["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"];
        self.scripts.run("configuring packages", &argv, &[])
    }

    fn finish(self, installation: &Installation<'_>) -> Result<(), RootError> {
        leftovers::remove(&self.inside)?;
        let mut files = Files::default();
        if self.inside.has(MACHINE_ID.as_bytes()) {
            files.file(MACHINE_ID, 0o444, b"");
        }
        if let Some(attributes) = self.inside.attributes(SHADOW) {
            let text = leftovers::undated(&self.inside.text(SHADOW)?);
            files.owned(SHADOW, attributes, text.as_bytes());
        }
        for (path, mode, content) in installation.more {
            if !self.inside.has(path.as_bytes()) {
                files.file(path, *mode, content);
            }
        }
        self.unpacking.files("the files of a root", &files.finish())?;
        // A directory that a script made in the overlay's root hides what is below; nothing is.
        for name in self.inside.names(".")? {
            for attribute in ["trusted.overlay.opaque", "user.overlay.opaque"] {
                self.inside.without_attribute(&name, attribute);
            }
        }
        Ok(())
    }
}

/// What dpkg is told, so that packages that are installed later are as slim.
fn slim() -> String {
    let mut text = format!("path-exclude=/{DOCUMENTATION}*\npath-include=/{DOCUMENTATION}*/copyright\n");
    for directory in LEFT_OUT {
        let _ = writeln!(text, "path-exclude=/{directory}*");
    }
    text
}
