//! Debian packages that the tasks use: finds what is missing, says so, installs it.

use std::{path::Path, process::Command};

use crate::{
    failure::{Failure, Result},
    process,
};

/// A program (or file), and the package that has it.
type Needed = (&'static str, &'static str);

/// What making bases takes.
pub(crate) const BASES: &[Needed] = &[
    ("/usr/bin/newuidmap", "uidmap"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
];

/// What bases of packages are compared with.
pub(crate) const BOOTSTRAP: &[Needed] = &[("/usr/bin/mmdebstrap", "mmdebstrap")];

/// What the tests take, besides bases.
pub(crate) const TESTS: &[Needed] = otoshi_test::TOOLS;

/// What the conformance suite takes.
pub(crate) const CONFORMANCE: &[Needed] = &[
    ("/bin/busybox", "busybox-static"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/bzip2", "bzip2"),
    ("/usr/bin/xz", "xz-utils"),
    ("/usr/bin/ssh-keygen", "openssh-client"),
];

/// What the benchmarks take, besides bases.
pub(crate) const BENCH: &[Needed] = &[
    ("/usr/bin/buildah", "buildah"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/skopeo", "skopeo"),
];

/// What building the fuzz targets takes: libFuzzer is compiled from its source.
pub(crate) const FUZZ: &[Needed] = &[("/usr/bin/g++", "g++")];

/// Installs what is missing.
pub(crate) fn install(groups: &[&[Needed]]) -> Result {
    let needed = groups.iter().flat_map(|group| group.iter());
    let mut missing: Vec<&str> =
        needed.filter(|(path, _)| !Path::new(path).exists()).map(|(_, package)| *package).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        let missing = missing.join(", ");
        return Err(Failure::Wrong(format!(
            "this is not Debian; install what these packages have: {missing}"
        )));
    }
    eprintln!("installing {}", missing.join(", "));
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], &missing[..]].concat())
}

/// Runs apt-get; what it prints is shown only when it fails.
fn apt(arguments: &[&str]) -> Result {
    let mut command = if process::is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    process::read(&mut command).map(drop)
}
