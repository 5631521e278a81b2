//! The packages that are installed in an image, as its own package manager has them on record.

pub mod apk;
mod changes;
mod chisel;
pub mod dpkg;
mod error;
mod layers;
mod manifest;
mod os_release;
mod package;
mod room;
pub mod rpm;
mod tree;
mod unread;
mod wanted;

use std::path::Path;

use otoshi_oci::Image;
use otoshi_store::Home;

pub use self::changes::{Changed, changes};
pub use self::error::InstalledError;
pub use self::layers::Fetch;
pub use self::os_release::OsRelease;
pub use self::package::{Manager, Package};
pub use self::unread::Unread;
use crate::files::Files;

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
    /// Records of packages that nobody here reads, or compares.
    pub unread: Vec<Unread>,
    /// The files that this was read from, and those that say where packages come from: sources, preferences, keys.
    pub files: Files,
}

/// Reads one form of record; `None` where there is none.
type Reader = fn(&Files) -> Result<Option<Vec<Package>>, InstalledError>;

/// The forms of records: whose they are, what the record is called, and who reads it.
const READERS: [(Manager, &str, Reader); 5] = [
    (Manager::Dpkg, "dpkg", dpkg::packages),
    (Manager::Dpkg, "chisel", chisel::packages),
    (Manager::Apk, "apk", apk::packages),
    (Manager::Rpm, "rpm", rpm::packages),
    (Manager::Rpm, "rpm", manifest::packages),
];

impl Installed {
    /// Reads what is installed in an image out of its layers, the topmost first. Nothing of the image is run.
    ///
    /// What matters of a layer is remembered by its diff id. `fetch` brings the blob of a layer that is neither remembered,
    /// nor unpacked, nor in the layout.
    ///
    /// Fails where a layer is missing, a package database is damaged or of an unknown format, or a limit is exceeded.
    pub fn of_image(home: &Home, image: &Image, fetch: &Fetch<'_>) -> Result<Self, InstalledError> {
        Self::of(layers::files(home, image, fetch)?)
    }

    /// Reads what is installed in an unpacked root file system; links in it lead nowhere outside of it.
    ///
    /// Fails where a layer is missing, a package database is damaged or of an unknown format, or a limit is exceeded.
    pub fn of_root(root: &Path) -> Result<Self, InstalledError> {
        Self::of(layers::files_of_root(root)?)
    }

    /// Reads what is installed out of an image's files.
    ///
    /// Of several databases the one with packages counts: dpkg's first, then apk's, then rpm's; others are named in `unread`.
    ///
    /// Fails where a database is damaged.
    pub fn of(files: Files) -> Result<Self, InstalledError> {
        let os = OsRelease::of(&files);
        let mut unread = unread::found(&files);
        let mut found: (Option<Manager>, Vec<Package>) = (None, Vec::new());
        for (manager, name, read) in READERS {
            let Some(packages) = read(&files)? else { continue };
            if found.0.is_none() || found.1.is_empty() || found.0 == Some(manager) && packages.is_empty() {
                found = (Some(manager), [found.1, packages].concat());
            } else if found.0 == Some(manager) {
                let known = |package: &Package| {
                    found
                        .1
                        .iter()
                        .any(|one| one.name == package.name && one.architecture == package.architecture)
                };
                let more: Vec<_> = packages.into_iter().filter(|package| !known(package)).collect();
                found.1.extend(more);
            } else if !packages.is_empty() {
                unread.push(Unread { manager: name, path: None });
            }
        }
        let (manager, mut packages) = found;
        packages.sort_unstable();
        packages.dedup();
        let architecture = match manager {
            Some(Manager::Dpkg) => dpkg::architecture(&files, &packages),
            Some(Manager::Apk) => apk::architecture(&files, &packages),
            Some(Manager::Rpm) => rpm::architecture(&packages),
            None => None,
        };
        Ok(Self { manager, packages, architecture, os, unread, files })
    }

    /// Returns the path of the loader of programs, without leading slash: an image that has one has the C library of some package.
    pub fn loader(&self) -> Option<String> {
        unread::loader(&self.files)
    }

    /// Returns the packages of a name, one for each architecture.
    pub fn named(&self, name: &str) -> &[Package] {
        let start = self.packages.partition_point(|package| &package.name[..] < name);
        let length = self.packages[start..].iter().take_while(|package| package.name == name).count();
        &self.packages[start..start + length]
    }
}
