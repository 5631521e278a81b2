//! The packages in an image, beside what the image's own repositories have.
//!
//! What is installed is read from layers, and what is newer is what the image's package manager would say of it. Repositories
//! are asked once in a run for all images, and one that fails hides no other.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use otoshi_explain::Explain;
use otoshi_packages::{
    Available, Installed, Manager, Newer, Package, Standing, Withheld, apt::Reach, version::compare,
};
use otoshi_pipeline::PackagesNow;
use otoshi_project::Packages;

use crate::{
    found::{Found, Judged, Step},
    kind::{FindingKind, Hold, State, Verdict},
    outside::Outside,
    report::{Failed, Looked, PackageUpdate},
    stop::Stop,
    subject::Subject,
    unknown,
};

/// How many packages a sentence names.
const NAMED: usize = 3;

/// What an image has installed, and what of it is newer outside.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) looked: Looked,
    /// The security updates first.
    pub(crate) updates: Vec<PackageUpdate>,
    /// Whether the image is configured to use any repository.
    pub(crate) is_configured: bool,
}

/// What an image stands on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    /// The packages of the image below it.
    pub(crate) below: &'a BTreeSet<Package>,
    /// Whose word it is where its packages come from.
    pub(crate) reach: Reach,
}

/// What an image has installed, and which image that is.
#[derive(Clone, Copy)]
pub(crate) struct Inventory<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) digest: &'a str,
    pub(crate) installed: &'a Installed,
}

impl Inventory<'_> {
    /// An image whose packages were looked at, of which nothing else is known yet.
    fn looked(&self) -> Looked {
        let os = self.installed.os.as_ref();
        Looked {
            name: self.subject.name.clone(),
            reference: self.subject.reference.clone(),
            digest: self.digest.to_owned(),
            roles: self.subject.roles.clone(),
            base: None,
            distribution: os.map(|os| os.pretty_name.clone().unwrap_or_else(|| os.id.clone())),
            packages: self.installed.packages.len(),
            foreign: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

impl Outside<'_> {
    /// Compares what is installed in an image with what its own repositories have now; notes in `failed` those that fail.
    pub(crate) fn compare(
        &self,
        inventory: Inventory<'_>,
        ground: Ground<'_>,
        failed: &mut Vec<Failed>,
    ) -> Result<Compared, Stop> {
        let installed = inventory.installed;
        let mut looked = inventory.looked();
        let mut updates = Vec::new();
        let mut is_configured = false;
        if !installed.packages.is_empty() {
            let fetcher = self.repositories.guarded(ground.reach, self.settings)?;
            let available = Available::refresh(installed, &self.repositories.cache, &fetcher, self.now);
            is_configured = unknown::is_configured(&available);
            failed.extend(available.failures().into_iter().map(|failure| {
                let kept = if failure.kept { "; what was kept of it is used" } else { "" };
                Failed {
                    reference: failure.place,
                    message: format!("{}{kept}", failure.error),
                    hint: failure.error.remedy().as_ref().map(self.words),
                }
            }));
            for package in &installed.packages {
                let standing =
                    available.standing(package).map_err(|error| Stop::Told(error.to_string(), None))?;
                match standing {
                    Standing::Fresh => {}
                    Standing::Foreign => looked.foreign.push(package.name.clone()),
                    Standing::Unknown => looked.unknown.push(package.name.clone()),
                    Standing::Newer(newer) => {
                        updates.push(self.update(
                            inventory,
                            package,
                            newer,
                            ground.below.contains(package),
                        )?);
                    }
                }
            }
        }
        updates.sort_by_key(|update| (!update.security, update.name.clone()));
        Ok(Compared { looked, updates, is_configured })
    }

    /// Compares what is installed in a base that is made of packages with what would be now.
    pub(crate) fn compare_made(
        &self,
        inventory: Inventory<'_>,
        packages: &Packages,
    ) -> Result<(Compared, Vec<String>), Stop> {
        let now = PackagesNow::ask(self.home, packages, &self.platform).map_err(Stop::told)?;
        self.repositories.others.fetch_add(now.requests, Ordering::Relaxed);
        let (installed, mut updates) = (inventory.installed, Vec::new());
        for package in &installed.packages {
            if let Some(newer) = now.instead_of(package)? {
                updates.push(self.update(inventory, package, newer, false)?);
            }
        }
        updates.sort_by_key(|update| (!update.security, update.name.clone()));
        let before: BTreeSet<&str> = installed.packages.iter().map(|package| package.name.as_str()).collect();
        let after: BTreeSet<&str> = now.names().collect();
        let changed = after.difference(&before).map(|name| format!("+{name}"));
        let changed = changed.chain(before.difference(&after).map(|name| format!("-{name}"))).collect();
        let looked = inventory.looked();
        Ok((Compared { looked, updates, is_configured: true }, changed))
    }

    fn update(
        &self,
        Inventory { subject, installed, .. }: Inventory<'_>,
        package: &Package,
        newer: Newer,
        inherited: bool,
    ) -> Result<PackageUpdate, Stop> {
        let release = installed.os.as_ref().map(|os| {
            let version = os.version_id.as_ref().or(os.codename.as_ref());
            format!("{} {}", os.id, version.map_or("", String::as_str))
        });
        let key = (
            format!("{} package {}", release.unwrap_or_default(), package.name),
            format!("{} {}", newer.version, newer.repository),
        );
        let (first, age) = self.first_seen(key)?;
        let names = [
            format!("package:{}", package.name),
            package.name.clone(),
            format!("package:{}", package.source),
            package.source.clone(),
        ];
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.extend([subject.name.as_str(), subject.reference.as_str()]);
        let mut verdict = self.verdict(&names);
        let withheld = newer.withheld.map(withheld);
        if verdict.state == State::Found {
            if let Some((_, because)) = &withheld {
                verdict = Verdict::held(Hold::Image, because.clone());
            } else if let (false, Some(young)) = (newer.security, self.too_young(first, age)) {
                verdict = young;
            }
        }
        Ok(PackageUpdate {
            name: package.name.clone(),
            architecture: package.architecture.clone(),
            source: package.source.clone(),
            from: package.version.clone(),
            to: newer.version,
            repository: newer.repository,
            security: newer.security,
            withheld: withheld.map(|(word, _)| word.to_owned()),
            inherited,
            state: verdict.state,
            first_seen: Self::time(first),
            because: verdict.because,
            until: verdict.until,
        })
    }

    /// When a newer package was first seen, and how long ago that is; read once in a run for all images that have it.
    fn first_seen(&self, key: (String, String)) -> Result<(u64, u64), Stop> {
        Ok(self.repositories.seen.try_get(key.clone(), || self.ledger().see(&key.0, &key.1))?)
    }

    /// The one finding about an image's packages.
    pub(crate) fn package_finding(
        &self,
        subject: &Subject,
        looked: &Looked,
        updates: &[PackageUpdate],
    ) -> Option<Found> {
        let states = [State::Found, State::Held, State::Ignored];
        let state = states.into_iter().find(|state| updates.iter().any(|update| update.state == *state))?;
        let told: Vec<&PackageUpdate> = updates.iter().filter(|update| update.state == state).collect();
        let (of_security, others): (Vec<&PackageUpdate>, Vec<_>) =
            told.iter().partition(|update| update.security);
        let kind =
            if of_security.is_empty() { FindingKind::PackageUpdates } else { FindingKind::SecurityUpdates };
        let most = if of_security.is_empty() { &others } else { &of_security };
        let named = most.iter().map(|update| format!("{} {} → {}", update.name, update.from, update.to));
        let named = named.take(NAMED).collect::<Vec<_>>().join(", ");
        let more = if most.len() > NAMED { ", …" } else { "" };
        let all = looked.packages;
        let text = match (of_security.len(), others.len()) {
            (0, others) => format!("{others} of {all} packages have newer versions: {named}{more}"),
            (security, 0) => format!("{security} of {all} packages have security updates: {named}{more}"),
            (security, others) => {
                format!(
                    "{security} of {all} packages have security updates, {others} more have newer versions: {named}{more}"
                )
            }
        };
        let waiting = told.iter().filter(|_| state != State::Found);
        let verdict = Verdict {
            state,
            held: None,
            because: waiting.clone().next().and_then(|update| update.because.clone()),
            until: waiting.filter_map(|update| update.until.clone()).min(),
        };
        let first_seen = told.iter().filter_map(|update| update.first_seen.clone()).min();
        Some(Found {
            subject: subject.clone(),
            step: Step::new(kind, looked.digest.clone(), text),
            judged: Judged { verdict, first_seen },
            packages: updates.to_vec(),
            remedy: None,
        })
    }
}

/// What keeps a package manager from taking something, in a word and in words.
fn withheld(withheld: Withheld) -> (&'static str, String) {
    let (word, because) = match withheld {
        Withheld::Held => ("held", "the image marks it as held"),
        Withheld::Pinned => ("pinned", "a pin in the image keeps its package manager from installing it"),
        Withheld::Phased(share) => {
            return ("phased", format!("it is a phased update, which {share}% of machines get so far"));
        }
        Withheld::Excluded => ("excluded", "the image's settings exclude it"),
        Withheld::Module => ("module", "it belongs to a module stream that is not enabled"),
        Withheld::Priority => ("priority", "a repository with a higher priority has the package as well"),
    };
    (word, because.to_owned())
}

/// How all packages of an image are upgraded with its own package manager, in a Dockerfile.
pub(crate) fn upgrade(manager: Manager) -> &'static str {
    match manager {
        Manager::Dpkg => "RUN apt-get update && apt-get -y upgrade",
        Manager::Apk => "RUN apk upgrade --no-cache",
        Manager::Rpm => "RUN dnf -y upgrade",
    }
}

/// Whether a version is newer than another, as a package manager has it.
pub(crate) fn is_newer(manager: Manager, version: &str, than: &str) -> bool {
    compare(manager, version, than).is_gt()
}
