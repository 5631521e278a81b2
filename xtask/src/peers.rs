//! A root file system with the tools of today: `target/peers/DIGEST`, and `target/peers/today`, which leads there.
//!
//! This machine's own Debian has the tools of some years ago. These are the packages of the next one, made into a root by Otoshi as
//! any base of packages is, and named by the digest of its image: the same packages give the same root, which is made once.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    deps,
    failure::{Failure, Result},
    process,
    project::{self, Project},
    root,
};

/// The release of Debian that they are from.
const RELEASE: &str = "forky";

/// The tools, and what they want at hand: git and ssh are for sources of ADD.
const PACKAGES: [&str; 16] = [
    "docker.io",
    "docker-cli",
    "docker-buildx",
    "buildah",
    "podman",
    "skopeo",
    "umoci",
    "crane",
    "cosign",
    "oras",
    "rpm",
    "dnf5",
    "git",
    "openssh-client",
    "ca-certificates",
    "xz-utils",
];

/// The commands that are there to be run, for the list of versions.
const TOOLS: [&str; 11] = [
    "docker.io",
    "docker-buildx",
    "buildah",
    "podman",
    "skopeo",
    "umoci",
    "crane",
    "cosign",
    "oras",
    "rpm",
    "dnf5",
];

/// Make a root file system with the container tools of Debian's next release, in target/peers, and name their versions.
#[derive(Debug, Args)]
pub(crate) struct Peers {
    /// Ask what is newest, and make the root again where that is something else
    #[arg(long)]
    again: bool,
}

impl Peers {
    pub(crate) fn run(self) -> Result {
        let otoshi = project::build_otoshi()?;
        let place = make(&otoshi, self.again)?;
        println!("{}", place.display());
        for (name, version) in versions(&place)? {
            println!("{name} {version}");
        }
        Ok(())
    }
}

/// Makes the root, unless it is there and was made in the same way; returns where it is.
pub(crate) fn make(otoshi: &Path, again: bool) -> Result<PathBuf> {
    deps::install(&[deps::BASES])?;
    let directory = root().join("target/peers");
    fs::create_dir_all(&directory).map_err(Failure::file("making", &directory))?;
    let list: Vec<String> = PACKAGES.iter().map(|name| format!("{name:?}")).collect();
    let manifest = format!(
        "[project]\nname = \"peers\"\n[bases]\nPEERS = {{ debian = \"{RELEASE}\", packages = [{}], variant = \"minimal\", \
         slim = true }}\n[runner]\ndockerfile = \"Dockerfile\"\n[processes]\nshell = [\"sh\"]\n",
        list.join(", ")
    );
    let recipe_file = directory.join("recipe");
    let today = directory.join("today");
    let same = fs::read_to_string(&recipe_file).is_ok_and(|text| text == manifest);
    if same && !again && today.is_dir() {
        return fs::canonicalize(&today).map_err(Failure::file("finding", &today));
    }
    eprintln!("making {} (some minutes)", today.display());
    let project = Project::empty(otoshi)?;
    project.write("otoshi.toml", &manifest)?;
    project.write("Dockerfile", "ARG PEERS\nFROM ${PEERS}\n")?;
    // Packages that were fetched once are kept beside the bases.
    let store = root().join("target/bases/store");
    process::read(project.otoshi(&["build"]).env("OTOSHI_HOME", &store))?;
    let place = directory.join(locked(&project)?);
    if !place.is_dir() {
        unpack(&project, &store, &place)?;
    }
    lead(&today, &place)?;
    fs::write(&recipe_file, manifest).map_err(Failure::file("writing", recipe_file))?;
    Ok(place)
}

/// The digest of the base in the project's lock, as a name of a directory.
fn locked(project: &Project) -> Result<String> {
    let path = project.path().join("otoshi.lock");
    let text = fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
    let digest = text.split(|c: char| c.is_whitespace() || c == '"').find(|word| word.starts_with("sha256:"));
    let digest = digest.ok_or_else(|| Failure::Wrong(format!("otoshi.lock names no digest:\n{text}")))?;
    Ok(digest.trim_start_matches("sha256:").to_owned())
}

/// Unpacks the runner's root file system into a directory that is there only when it is whole.
fn unpack(project: &Project, store: &Path, place: &Path) -> Result {
    let partial = place.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(Failure::file("removing", &partial))?;
    }
    fs::create_dir(&partial).map_err(Failure::file("making", &partial))?;
    let archive = place.with_extension("tar");
    let mut export = project.otoshi(&["export", "peers/runner"]);
    process::read(export.arg(&archive).args(["--format", "rootfs"]).env("OTOSHI_HOME", store))?;
    let mut tar = std::process::Command::new("tar");
    process::read(tar.arg("-C").arg(&partial).args(["--numeric-owner", "-xpf"]).arg(&archive))?;
    fs::remove_file(&archive).map_err(Failure::file("removing", archive))?;
    fs::rename(&partial, place).map_err(Failure::file("naming", place))
}

/// Makes a link lead to a place.
fn lead(link: &Path, place: &Path) -> Result {
    let new = link.with_extension("new");
    let _ = fs::remove_file(&new);
    symlink(place.file_name().unwrap_or_default(), &new).map_err(Failure::file("linking", &new))?;
    fs::rename(&new, link).map_err(Failure::file("naming", link))
}

/// The versions of the tools, out of dpkg's own record in the root.
fn versions(place: &Path) -> Result<Vec<(&'static str, String)>> {
    let path = place.join("var/lib/dpkg/status");
    let text = fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
    let version = |name: &str| {
        let wanted = format!("Package: {name}");
        let mut paragraphs = text.split("\n\n");
        let found = paragraphs.find(|paragraph| paragraph.lines().next() == Some(&wanted))?;
        found.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
    };
    let found = |name: &'static str| {
        let version = version(name);
        version
            .map(|version| (name, version))
            .ok_or_else(|| Failure::Wrong(format!("{}: {name} is not in the root", path.display())))
    };
    TOOLS.into_iter().map(found).collect()
}
