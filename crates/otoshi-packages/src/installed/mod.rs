//! The packages that are installed in an image, as its own package manager has them on record.

pub mod apk;
pub mod dpkg;
mod os_release;

use serde::{Deserialize, Serialize};

pub use self::os_release::OsRelease;
use crate::files::Files;

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

/// Holds what is installed in an image, and the files that say where newer versions come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// The package manager; `None` where there is no database.
    pub manager: Option<Manager>,
    /// The packages, sorted by name and architecture.
    pub packages: Vec<Package>,
    /// The architecture that the package manager takes for its own; `None` where nothing says so.
    pub architecture: Option<String>,
    /// The release of the distribution; `None` where the image does not say.
    pub os: Option<OsRelease>,
    /// The files that this was read from, and those that say where packages come from: sources, preferences, keys.
    pub files: Files,
}

/// Says why the packages of an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// A database is not what its name says, or is damaged.
    #[error("cannot read the packages in /{path}: {reason}")]
    Database {
        /// The file, without leading slash.
        path: String,
        /// Why.
        reason: String,
    },
}

impl Installed {
    /// Reads what is installed out of an image's files.
    ///
    /// Of several databases the one with packages counts: dpkg's first, then apk's, then rpm's.
    pub fn of(files: Files) -> Result<Self, InstalledError> {
        let os = OsRelease::of(&files);
        let readers: [(Manager, fn(&Files) -> Result<Option<Vec<Package>>, InstalledError>); 2] =
            [(Manager::Dpkg, dpkg::packages), (Manager::Apk, apk::packages)];
        let mut found = (None, Vec::new());
        for (manager, read) in readers {
            if let Some(packages) = read(&files)?
                && (found.0.is_none() || found.1.is_empty())
            {
                found = (Some(manager), packages);
            }
        }
        let (manager, mut packages) = found;
        packages.sort_unstable();
        packages.dedup();
        let architecture = match manager {
            Some(Manager::Dpkg) => dpkg::architecture(&files, &packages),
            Some(Manager::Apk) => apk::architecture(&files, &packages),
            Some(Manager::Rpm) | None => None,
        };
        Ok(Self { manager, packages, architecture, os, files })
    }

    /// Returns the packages of a name, one for each architecture.
    pub fn named(&self, name: &str) -> &[Package] {
        let start = self.packages.partition_point(|package| &package.name[..] < name);
        let length = self.packages[start..].iter().take_while(|package| package.name == name).count();
        &self.packages[start..start + length]
    }
}

/// The architecture of most packages, `neutral` aside.
fn most_frequent_architecture(packages: &[Package], neutral: &str) -> Option<String> {
    let mut counts = std::collections::BTreeMap::new();
    for package in packages.iter().filter(|package| package.architecture != neutral) {
        *counts.entry(&package.architecture[..]).or_insert(0_usize) += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
}
