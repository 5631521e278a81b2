//! What a base of packages would be made of now.

use otoshi_oci::Platform;
use otoshi_packages::apt::Available;
use otoshi_packages::roots::Chosen;
use otoshi_packages::version::dpkg;
use otoshi_packages::{Newer, Package};
use otoshi_project::Packages;
use otoshi_store::Home;

use super::image::{choose, sources};
use crate::PipelineError;

/// What a base of packages would be made of now.
#[derive(Debug)]
pub struct PackagesNow {
    chosen: Vec<Chosen>,
    available: Available,
    /// How many requests it took to know.
    pub requests: u64,
}

impl PackagesNow {
    /// Asks the sources of a base's packages; nothing but indexes is fetched.
    ///
    /// Fails where there are no packages for the platform, where a source cannot be used, and where a dependency cannot be met.
    pub fn ask(home: &Home, packages: &Packages, platform: &Platform) -> Result<Self, PipelineError> {
        let (_, sources) = sources(packages, platform)?;
        let available = sources.available(home)?;
        let chosen = choose(packages, &available)?.all();
        Ok(Self { chosen, available, requests: sources.fetcher().requests() })
    }

    /// The packages by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.chosen.iter().map(|chosen| chosen.record.name.as_str())
    }

    /// The version that a package would have, where that is another one; with what is fixed by it and by those between.
    ///
    /// Fails where what is kept of an index is damaged.
    pub fn instead_of(&self, package: &Package) -> Result<Option<Newer>, PipelineError> {
        let Some(chosen) = self.chosen.iter().find(|chosen| chosen.record.name == package.name) else {
            return Ok(None);
        };
        let (own, version) = (&package.version, &chosen.record.version);
        if own == version {
            return Ok(None);
        }
        let passed = |other: &str| dpkg::compare(other, own).is_gt() && dpkg::compare(other, version).is_le();
        let all = self.available.versions(&package.name, &package.architecture);
        let all = all?;
        let security = all.iter().any(|other| other.security && passed(&other.version));
        let suite = self.available.suites().get(chosen.suite);
        let repository = suite.map(|suite| suite.suite.clone()).unwrap_or_default();
        Ok(Some(Newer { version: version.clone(), repository, security, withheld: None }))
    }
}
