//! What a root's repositories have: versions by name, and the one that apt would choose.
//!
//! Source of the rules: apt_preferences(5), and `apt-cache policy`, which the tests ask.

use std::cmp::Ordering;
use std::sync::Arc;

use otoshi_http::SafeUrl;

use super::configuration::Configuration;
use super::index::{Damaged, Index, Record};
use super::phasing::Phasing;
use super::preferences::{Facts, Matcher, NEVER, Preferences};
use super::release::Release;
use super::sources::Selection;
use crate::error::RepositoryError;
use crate::version::dpkg;

/// What is installed has this priority, if no pin says otherwise.
const INSTALLED: i32 = 100;
/// The priority of `APT::Default-Release`.
const DEFAULT_RELEASE: i32 = 990;
/// From this priority on, an older version is taken, too.
const DOWNGRADES: i32 = 1000;

/// One component of one suite for one architecture, as it is now.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Where its source stands: a file below the root and a line.
    pub place: String,
    /// The address of its release file's directory.
    pub(crate) directory: String,
    /// The repository's address, which paths of packages are relative to.
    pub uri: String,
    /// The repository's host.
    pub site: String,
    /// The suite, as its source names it.
    pub suite: String,
    /// The component; empty in a flat repository.
    pub component: String,
    /// The architecture of its index.
    pub architecture: String,
    /// Which of its packages count.
    pub selection: Selection,
    /// What its release file says.
    pub release: Arc<Release>,
    /// Its packages.
    pub index: Arc<Index>,
}

impl Suite {
    /// Says whether it is where security fixes are published.
    pub fn is_security(&self) -> bool {
        let name = self.suite.trim_end_matches('/');
        self.release.is_security() || name.ends_with("-security") || name.ends_with("/updates")
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            version: &self.release.version,
            origin: &self.release.origin,
            archive: &self.release.suite,
            codename: &self.release.codename,
            label: &self.release.label,
            component: &self.component,
            architecture: &self.architecture,
            site: &self.site,
        }
    }
}

/// A source that could not be asked, or part of one.
#[derive(Debug, Clone)]
pub struct SourceFailure {
    /// Where the source stands: a file below the root and a line; empty where the error names it.
    pub place: String,
    /// The repository's address; empty where the error names it.
    pub url: SafeUrl,
    /// Why.
    pub error: RepositoryError,
    /// Whether what was kept of it counts instead.
    pub kept: bool,
}

/// A version of a package that some suites have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The version.
    pub version: String,
    /// The priority that apt gives it.
    pub priority: i32,
    /// The suites that have it, as numbers into [`Available::suites`], in the order of the sources.
    pub suites: Vec<usize>,
    /// Whether one of them publishes security fixes.
    pub security: bool,
    /// How many machines in a hundred take it already, where it is taken step by step.
    pub phased: Option<u8>,
    /// Whether a pin names this package and means this version.
    pub pinned: bool,
    /// What the first of the suites says of it.
    pub record: Record,
}

/// The version that apt would choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version.
    pub version: String,
    /// The suite, as its source names it; empty where only what is installed has it.
    pub suite: String,
    /// Whether it is in a suite that publishes security fixes.
    pub security: bool,
    /// How many machines in a hundred take it already, where it is taken step by step.
    pub phased: Option<u8>,
    /// Whether apt waits with it, since it is taken step by step and this root's turn has not come.
    pub deferred: bool,
    /// Whether pins decided: one names this package, or a newer version is there and not taken.
    pub pinned: bool,
    /// The priority that apt gives it.
    pub priority: i32,
    /// The newest version that the repositories have, whether or not it is taken.
    pub newest: Option<String>,
    /// What the repository says of it; `None` where only what is installed has it.
    pub record: Option<Record>,
}

/// What a root's repositories have.
#[derive(Debug)]
pub struct Available {
    suites: Vec<Suite>,
    failures: Vec<SourceFailure>,
    priorities: Vec<i32>,
    installed: i32,
    rules: Rules,
}

/// What a root says of the versions that it takes.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) preferences: Preferences,
    pub(crate) phasing: Phasing,
    /// Its own architecture.
    pub(crate) architecture: String,
}

/// A package as pins name it.
#[derive(Clone, Copy)]
struct Pinned<'a> {
    name: &'a str,
    source: &'a str,
    architecture: &'a str,
}

impl Available {
    pub(crate) fn new(
        suites: Vec<Suite>,
        failures: Vec<SourceFailure>,
        configuration: &Configuration,
        rules: Rules,
    ) -> Self {
        let default = configuration.get("APT::Default-Release").filter(|release| !release.is_empty());
        let default = default.map(|release| (Matcher::release(release), DEFAULT_RELEASE));
        let general: Vec<_> = default
            .into_iter()
            .chain(
                rules
                    .preferences
                    .pins
                    .iter()
                    .filter(|pin| pin.packages.is_none())
                    .map(|pin| (pin.matcher.clone(), pin.priority)),
            )
            .collect();
        let priority = |facts: &Facts<'_>, otherwise: i32| {
            let mut found = None;
            for (_, priority) in general.iter().filter(|(matcher, _)| matcher.matches_suite(facts)) {
                // The first pin counts, and one that says never counts more.
                if *priority == NEVER {
                    return NEVER;
                }
                found = found.or(Some(*priority));
            }
            found.unwrap_or(otherwise)
        };
        let priorities = suites
            .iter()
            .map(|suite| {
                let release = &suite.release;
                let otherwise = match (release.not_automatic, release.but_automatic_upgrades) {
                    (true, true) => 100,
                    (true, false) => 1,
                    (false, _) => 500,
                };
                priority(&suite.facts(), otherwise)
            })
            .collect();
        let installed = priority(&Facts { archive: "now", ..Facts::default() }, INSTALLED);
        Self { suites, failures, priorities, installed, rules }
    }

    /// Returns the components of suites that could be read, in the order of the sources.
    pub fn suites(&self) -> &[Suite] {
        &self.suites
    }

    /// Returns what could not be read.
    pub fn failures(&self) -> &[SourceFailure] {
        &self.failures
    }

    /// Returns the root's own architecture.
    pub fn architecture(&self) -> &str {
        &self.rules.architecture
    }

    /// Returns apt's priority of a suite by its number, for packages that no pin names.
    pub fn priority(&self, suite: usize) -> Option<i32> {
        self.priorities.get(suite).copied()
    }

    /// Returns all versions of a package for an architecture, newest first. Packages for `all` belong to the root's own.
    ///
    /// Fails where what is kept of an index is damaged.
    pub fn versions(&self, name: &str, architecture: &str) -> Result<Vec<Version>, Damaged> {
        let architecture = if architecture == "all" { &self.rules.architecture } else { architecture };
        let native = architecture == self.rules.architecture;
        let mut versions: Vec<Version> = Vec::new();
        let suites = self.suites.iter().enumerate().filter(|(_, suite)| suite.selection.has(name));
        for (number, suite) in suites {
            for at in suite.index.find(name) {
                let record = suite.index.record(at)?;
                if record.architecture != architecture && !(native && record.architecture == "all") {
                    continue;
                }
                match versions.iter_mut().find(|known| known.version == record.version) {
                    Some(known) => {
                        known.suites.push(number);
                        known.security |= suite.is_security();
                    }
                    None => versions.push(Version {
                        version: record.version.clone(),
                        priority: 0,
                        suites: vec![number],
                        security: suite.is_security(),
                        phased: record.phased,
                        pinned: false,
                        record,
                    }),
                }
            }
        }
        versions.sort_by(|left, right| dpkg::compare(&right.version, &left.version));
        for version in &mut versions {
            version.suites.dedup();
            let most = version.suites.iter().map(|suite| self.priorities[*suite]).max().unwrap_or_default();
            let facts = version.suites.iter().map(|suite| self.suites[*suite].facts());
            let package = Pinned { name, source: &version.record.source, architecture };
            let pin = self.pin(package, &version.version, facts);
            // A pin on the package counts, unless nothing but suites that are never taken has it.
            version.pinned = pin.is_some();
            version.priority = match pin {
                Some(NEVER) => NEVER,
                Some(pin) if most != NEVER => pin,
                _ => most,
            };
        }
        Ok(versions)
    }

    /// The priority by which a pin names a version of a package.
    fn pin<'a>(
        &self,
        Pinned { name, source, architecture }: Pinned<'_>,
        version: &str,
        facts: impl Iterator<Item = Facts<'a>> + Clone,
    ) -> Option<i32> {
        let native = architecture == self.rules.architecture;
        let named = self.rules.preferences.pins.iter().filter(|pin| {
            pin.packages.as_ref().is_some_and(|packages| packages.matches(name, source, architecture, native))
        });
        let mut meant = named.filter(|pin| match &pin.matcher {
            Matcher::Version(expression) => expression.matches(version),
            matcher => facts.clone().any(|facts| matcher.matches_suite(&facts)),
        });
        meant.next().map(|pin| pin.priority)
    }

    /// Returns the version of a package that apt would choose, given the one that is installed; `None` where there is none.
    ///
    /// Phased updates are returned as such; whether this root takes part is told beside.
    ///
    /// Fails where what is kept of an index is damaged.
    pub fn candidate(
        &self,
        name: &str,
        architecture: &str,
        installed: Option<&str>,
    ) -> Result<Option<Candidate>, Damaged> {
        let versions = self.versions(name, architecture)?;
        let newest = versions.first().map(|version| version.version.clone());
        let own = installed.map(|installed| {
            let known = versions.iter().find(|version| version.version == installed);
            let source = known.map_or(name, |known| &known.record.source);
            let now = Facts { archive: "now", ..Facts::default() };
            let pin = self.pin(Pinned { name, source, architecture }, installed, std::iter::once(now));
            let suites = known.map_or(i32::MIN, |known| known.priority);
            // Where a pin names the version by itself, it counts for what is installed as well.
            let priority = match known {
                Some(known) if known.pinned => known.priority,
                _ => pin.unwrap_or(self.installed).max(suites),
            };
            (installed, priority, known)
        });
        let mut best: Option<(&str, i32, Option<&Version>)> = None;
        let others = versions.iter().filter(|version| Some(version.version.as_str()) != installed);
        let mut all: Vec<_> =
            others.map(|known| (known.version.as_str(), known.priority, Some(known))).collect();
        all.extend(own);
        all.sort_by(|left, right| dpkg::compare(right.0, left.0));
        for (version, priority, known) in all {
            let not_better =
                best.is_some_and(|(_, best, _)| priority <= best) || priority < 0 || priority == 0;
            let older = installed.is_some_and(|installed| {
                priority < DOWNGRADES && dpkg::compare(version, installed) == Ordering::Less
            });
            if !not_better && !older {
                best = Some((version, priority, known));
            }
        }
        Ok(best.map(|(version, priority, known)| {
            let is_newest =
                newest.as_ref().is_none_or(|newest| dpkg::compare(version, newest) != Ordering::Less);
            // Of the suites that have it, the one with the security fixes says most.
            let suites = known.map_or(&[][..], |known| &known.suites);
            let suite = suites.iter().find(|suite| self.suites[**suite].is_security()).or(suites.first());
            Candidate {
                version: version.to_owned(),
                suite: suite.map(|suite| self.suites[*suite].suite.clone()).unwrap_or_default(),
                security: known.is_some_and(|known| known.security),
                phased: known.and_then(|known| known.phased),
                deferred: known.is_some_and(|known| self.defers(known, &versions, installed)),
                pinned: known.is_some_and(|known| known.pinned) || !is_newest,
                priority,
                newest: newest.clone(),
                record: known.map(|known| known.record.clone()),
            }
        }))
    }

    /// Whether apt waits with a version until its turn comes. It never waits where a security fix lies on the way there; since
    /// 2.7.11 not where the version itself is one, either.
    fn defers(&self, version: &Version, versions: &[Version], installed: Option<&str>) -> bool {
        let Some(share) = version.phased else { return false };
        if self.rules.phasing.takes(&version.record.source, &version.record.source_version, share) {
            return false;
        }
        let is_newer = |than: Option<&str>, version: &str| {
            than.is_none_or(|than| dpkg::compare(version, than) == Ordering::Greater)
        };
        let between = versions.iter().filter(|other| {
            let is_on_the_way = is_newer(Some(&other.version), &version.version);
            let is_itself = self.rules.phasing.counts_own_fix && other.version == version.version;
            is_newer(installed, &other.version) && (is_on_the_way || is_itself)
        });
        let mut suites = between.flat_map(|other| &other.suites).map(|suite| &self.suites[*suite]);
        !suites.any(|suite| suite.release.suite.ends_with("-security"))
    }
}
