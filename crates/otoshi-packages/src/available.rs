//! What an image's own repositories have for what is installed in it, whichever package manager it has.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::allowance::Allowance;
use crate::apt::{self, index::Damaged};
use crate::documents::Documents;
use crate::fetch::Fetch;
use crate::installed::{Installed, Manager, OsRelease, Package};
use crate::standing::{Failure, Newer, Standing, Withheld};
use crate::version::{compare, dpkg};
use crate::{apk, rpm};

/// Holds what is kept of repositories, for all images of a run and between runs.
#[derive(Debug)]
pub struct Cache {
    apt: apt::Kept,
    documents: Documents,
}

impl Cache {
    /// Uses a directory, which is made when something is written. All in it can be removed at any time.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let allowance = Arc::<Allowance>::default();
        Self {
            apt: apt::Kept::within(directory.join("apt"), Arc::clone(&allowance)),
            documents: Documents::within(directory.join("repositories"), allowance),
        }
    }
}

/// Holds what an image's repositories have.
#[derive(Debug)]
pub enum Available {
    /// Those of apt.
    Apt(apt::Available),
    /// Those of apk.
    Apk(apk::Available),
    /// Those of dnf, yum or zypper.
    Rpm(rpm::Available),
    /// There is no package manager, and so no repository.
    Nothing,
}

impl Available {
    /// Asks all repositories that an image is configured to use.
    ///
    /// One that fails hides no other; see [`Available::failures`].
    pub fn refresh(installed: &Installed, cache: &Cache, fetch: &dyn Fetch, now: Timestamp) -> Self {
        let files = &installed.files;
        let architecture = installed.architecture.as_deref().unwrap_or_default();
        match installed.manager {
            Some(Manager::Dpkg) => {
                let mut repositories = apt::Repositories::from_files(files, architecture);
                if repositories.says_nothing() {
                    repositories = of_distribution(repositories, installed.os.as_ref(), architecture);
                }
                Self::Apt(repositories.refresh(&cache.apt, fetch, now))
            }
            Some(Manager::Apk) => {
                Self::Apk(apk::Available::refresh(files, architecture, &cache.documents, fetch))
            }
            Some(Manager::Rpm) => Self::Rpm(rpm::Available::refresh(installed, &cache.documents, fetch, now)),
            None => Self::Nothing,
        }
    }

    /// Returns the repositories that could not be asked.
    pub fn failures(&self) -> Vec<Failure> {
        match self {
            Self::Apt(available) => available
                .failures()
                .iter()
                .map(|failure| Failure {
                    place: failure.place.clone(),
                    error: failure.error.clone(),
                    kept: failure.kept,
                })
                .collect(),
            Self::Apk(available) => available.failures.clone(),
            Self::Rpm(available) => available.failures.clone(),
            Self::Nothing => Vec::new(),
        }
    }

    /// Says whether there is any repository that answered, or of which something is kept.
    pub fn has_any(&self) -> bool {
        match self {
            Self::Apt(available) => !available.suites().is_empty(),
            Self::Apk(available) => available.has_any(),
            Self::Rpm(available) => available.has_any(),
            Self::Nothing => false,
        }
    }

    /// Says whether a repository has a package in a version, whatever would choose it; fails where what is kept is damaged.
    pub fn has(&self, package: &Package, version: &str) -> Result<bool, Damaged> {
        Ok(self.versions(package)?.iter().any(|(known, _)| known == version))
    }

    /// Says whether going from an installed package to a newer version of it fixes a security problem; `None` where the
    /// repositories do not say so: they do not have the package any more, or are Alpine's. Fails where what is kept is damaged.
    pub fn fixes(&self, package: &Package, newer: &str) -> Result<Option<bool>, Damaged> {
        let passed = self.passed(package, newer)?;
        Ok(if passed.is_empty() { None } else { Some(passed.iter().any(|(_, security)| *security)) })
    }

    /// Returns the newest version of an installed package, up to a given one, that is published as a security fix; fails where
    /// what is kept is damaged.
    pub fn newest_fix(&self, package: &Package, up_to: &str) -> Result<Option<String>, Damaged> {
        let passed = self.passed(package, up_to)?;
        Ok(passed.into_iter().find(|(_, security)| *security).map(|(version, _)| version))
    }

    /// The versions that are newer than the installed one and not newer than another, newest first; none where repositories do
    /// not say what fixes something.
    fn passed(&self, package: &Package, up_to: &str) -> Result<Vec<(String, bool)>, Damaged> {
        let manager = match self {
            Self::Apt(_) => Manager::Dpkg,
            Self::Rpm(_) => Manager::Rpm,
            Self::Apk(_) | Self::Nothing => return Ok(Vec::new()),
        };
        let mut versions = self.versions(package)?;
        versions.retain(|(version, _)| {
            compare(manager, version, &package.version).is_gt() && !compare(manager, version, up_to).is_gt()
        });
        Ok(versions)
    }

    /// The versions of a package, newest first, and whether each fixes a security problem.
    fn versions(&self, package: &Package) -> Result<Vec<(String, bool)>, Damaged> {
        let Package { name, architecture, .. } = package;
        Ok(match self {
            Self::Apt(available) => {
                let versions = available.versions(name, architecture)?;
                versions.into_iter().map(|version| (version.version, version.security)).collect()
            }
            Self::Apk(available) => {
                let versions = available.versions(name).into_iter();
                versions.map(|(record, ..)| (record.version.clone(), false)).collect()
            }
            Self::Rpm(available) => {
                let mut versions = available.versions(name);
                versions.retain(|version| version.architecture == *architecture);
                versions.into_iter().map(|version| (version.version, version.security)).collect()
            }
            Self::Nothing => Vec::new(),
        })
    }

    /// Says how an installed package stands to the repositories; fails where what is kept of them is damaged.
    pub fn standing(&self, package: &Package) -> Result<Standing, Damaged> {
        let standing = match self {
            Self::Apt(available) => of_apt(available, package)?,
            Self::Apk(available) => of_apk(available, package),
            Self::Rpm(available) => of_rpm(available, package),
            Self::Nothing => Standing::Foreign,
        };
        let all_answered = || self.failures().iter().all(|failure| failure.kept);
        Ok(if standing == Standing::Foreign && !all_answered() { Standing::Unknown } else { standing })
    }
}

/// The repositories of the distribution that an image says it is made of, for one that has no sources of its own, as those have that
/// are made of files alone.
fn of_distribution(
    repositories: apt::Repositories,
    os: Option<&OsRelease>,
    architecture: &str,
) -> apt::Repositories {
    let Some((os, distribution)) = os.and_then(|os| Some((os, apt::Distribution::of(&os.id)?))) else {
        return repositories;
    };
    let named = os.codename.as_deref().or(os.version_id.as_deref());
    let Some(codename) = named.and_then(|release| distribution.codename(release)) else {
        return repositories;
    };
    let suites = distribution.suites(codename).into_iter();
    let sources = suites.map(|suite| distribution.source(&suite, architecture)).collect();
    repositories.with_keys_of(distribution).with_sources(sources)
}

fn of_apt(available: &apt::Available, package: &Package) -> Result<Standing, Damaged> {
    let Package { name, architecture, version: own, .. } = package;
    let versions = available.versions(name, architecture)?;
    if versions.is_empty() {
        return Ok(Standing::Foreign);
    }
    let is_newer = |version: &str, than: &str| dpkg::compare(version, than).is_gt();
    let candidate = available.candidate(name, architecture, Some(own))?;
    if let Some(candidate) = candidate.filter(|candidate| is_newer(&candidate.version, own)) {
        let passed = |version: &&apt::Version| {
            is_newer(&version.version, own) && !is_newer(&version.version, &candidate.version)
        };
        let security = versions.iter().filter(passed).any(|version| version.security);
        let phased = candidate.phased.filter(|_| candidate.deferred).map(Withheld::Phased);
        let withheld = if package.held { Some(Withheld::Held) } else { phased };
        let (version, repository) = (candidate.version, candidate.suite);
        return Ok(Standing::Newer(Newer { version, repository, security, withheld }));
    }
    let newest = versions.first().filter(|newest| is_newer(&newest.version, own));
    Ok(newest.map_or(Standing::Fresh, |newest| {
        let suite = newest.suites.first().and_then(|suite| available.suites().get(*suite));
        Standing::Newer(Newer {
            version: newest.version.clone(),
            repository: suite.map(|suite| suite.suite.clone()).unwrap_or_default(),
            security: newest.security,
            withheld: Some(Withheld::Pinned),
        })
    }))
}

fn of_apk(available: &apk::Available, package: &Package) -> Standing {
    let Some(candidate) = available.candidate(&package.name, Some(&package.version)) else {
        return Standing::Foreign;
    };
    if compare(Manager::Apk, &candidate.version, &package.version).is_gt() {
        let (version, repository) = (candidate.version, candidate.repository);
        return Standing::Newer(Newer { version, repository, security: false, withheld: None });
    }
    candidate.newer.map_or(Standing::Fresh, |(version, repository)| {
        let withheld = Some(Withheld::Pinned);
        Standing::Newer(Newer { version, repository, security: false, withheld })
    })
}

fn of_rpm(available: &rpm::Available, package: &Package) -> Standing {
    let Package { name, architecture, version: own, .. } = package;
    let Some(candidate) = available.candidate(name, architecture, Some(own)) else {
        return Standing::Foreign;
    };
    if compare(Manager::Rpm, &candidate.version, own).is_gt() {
        let withheld = package.held.then_some(Withheld::Held);
        let rpm::Candidate { version, repository, security, .. } = candidate;
        return Standing::Newer(Newer { version, repository, security, withheld });
    }
    candidate.newer.map_or(Standing::Fresh, |newer| {
        let rpm::Version { version, repository, security, kept_away, .. } = newer;
        Standing::Newer(Newer { version, repository, security, withheld: kept_away })
    })
}
