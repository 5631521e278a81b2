//! Packages as their managers have them on record.

use serde::{Deserialize, Serialize};

/// Names a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Debian's, with apt over it.
    Dpkg,
    /// Alpine's.
    Apk,
    /// That of Red Hat, Fedora and SUSE, with dnf, yum or zypper over it.
    Rpm,
}

/// Describes an installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name, without architecture.
    pub name: String,
    /// Its version, as the package manager writes it: with epoch (where it is not zero) and revision or release.
    pub version: String,
    /// The architecture, in the package manager's words (`amd64`, `x86_64`, `all`, `noarch`).
    pub architecture: String,
    /// The source package that it was built from, as repositories and advisories name it.
    pub source: String,
    /// The version of the source package.
    pub source_version: String,
    /// Says whether somebody asked that it stays at this version.
    pub held: bool,
    /// Says whether it was installed only because others need it; `false` where the package manager keeps no such mark.
    pub auto: bool,
    /// The module stream that it belongs to, as `NAME:STREAM`, with rpm.
    pub module: Option<String>,
}

/// The architecture of most packages, `neutral` aside.
pub(super) fn most_frequent_architecture(packages: &[Package], neutral: &str) -> Option<String> {
    let mut counts = std::collections::BTreeMap::new();
    for package in packages.iter().filter(|package| package.architecture != neutral) {
        *counts.entry(&package.architecture[..]).or_insert(0_usize) += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
}
