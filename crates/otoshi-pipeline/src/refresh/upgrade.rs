//! Which packages of the runner are to be newer than its base and its Dockerfile make them: decided from what is installed
//! and from what its own repositories have, before any package manager runs.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_engine::Events;
use otoshi_oci::{Digest, Image};
use otoshi_packages::{Available, Newer, Package, Standing, apt::index::Damaged};
use otoshi_project::{PackageName, PackageVersion, Phase, Role, Upgrade};

use crate::{
    PhasePlan, PipelineError, bases::Rules, image_packages::ImagePackages, locked::Locked, walker::Walker,
};

/// How many names a note lists.
const NAMED: usize = 5;

/// What was decided, and what had to run for that.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    /// What people should know.
    pub(super) notes: Vec<String>,
    /// The phases that were looked at, where the runner had to be built to know its packages.
    pub(super) ran: Vec<PhasePlan>,
    /// Whether only building the runner can tell.
    pub(super) unknown: bool,
}

/// The packages to be newer, and those that stay behind although there is something newer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    packages: otoshi_project::Upgrades,
    withheld: BTreeSet<String>,
    is_known: bool,
}

/// What a runner is without newer packages.
struct Below {
    /// None where it would have to be built and nothing may run.
    image: Option<Image>,
    /// The phases that were looked at to have it.
    ran: Vec<PhasePlan>,
}

/// What is to be newer in the runner of a project on a lock.
#[derive(Clone, Copy)]
pub(super) struct RunnerUpgrades<'w>(pub(super) &'w Locked<'w>);

impl RunnerUpgrades<'_> {
    /// Decides on the newer packages of the runner and puts them into the lock. `events` are there where phases may run.
    pub(super) fn settle(self, events: Option<&dyn Events>) -> Result<Upgrades, PipelineError> {
        let wanted = self.0.world.project.manifest.refresh.upgrade;
        let (packages, upgrades) = if wanted == Upgrade::Off {
            (BTreeMap::new(), Upgrades::default())
        } else {
            let Below { image, ran } = self.below(events)?;
            let Some(image) = image else {
                let note = "which packages will be upgraded is known once the runner is built".to_owned();
                return Ok(Upgrades { notes: vec![note], ran, unknown: true });
            };
            let (packages, notes) = self.newer_packages(&image, wanted)?;
            (packages, Upgrades { notes, ran, unknown: false })
        };
        self.0.lock.change(true, |lock| {
            lock.set_upgrades(Role::Runner, &self.0.world.platform, packages);
            Ok(upgrades)
        })
    }

    /// The newer packages for a runner, and what people should know.
    fn newer_packages(
        self,
        below: &Image,
        wanted: Upgrade,
    ) -> Result<(otoshi_project::Upgrades, Vec<String>), PipelineError> {
        let packages = ImagePackages(&self.0.world);
        let installed = packages.installed(below)?;
        let Some(manager) = installed.manager else {
            let note =
                "[refresh] upgrade: the runner has no distribution packages, so it is as new as its base";
            return Ok((BTreeMap::new(), vec![note.to_owned()]));
        };
        let available = packages.repositories(&installed)?;
        if let Some(failure) = available.failures().into_iter().find(|failure| !failure.kept) {
            let place = if failure.place.is_empty() { String::new() } else { format!(": {}", failure.place) };
            let during = format!("looking for newer packages for the runner{place}");
            return Err(PipelineError::Repository { during, source: failure.error });
        }
        let choice =
            choose(&installed.packages, &available, wanted).map_err(PipelineError::fetching_packages)?;
        let mut notes = Vec::new();
        if !choice.is_known {
            notes.push(
                "[refresh] upgrade: the runner has no repository that knows its packages; a base made of packages moves \
                 together with them, any other must keep its package sources in the image"
                    .to_owned(),
            );
        }
        if !choice.withheld.is_empty() {
            let names = few(&choice.withheld);
            notes.push(format!("held back by the runner's own settings: {names}"));
        }
        if !choice.packages.is_empty() && packages.tool(&below.digest, manager)?.is_none() {
            let names = few(&choice.packages.keys().map(ToString::to_string).collect());
            notes.push(format!(
                "[refresh] upgrade: there are newer versions of {names}, and the runner has no package manager to install them: \
                 they come with a newer base, or with one in [bases] that is made of `packages`, which is upgraded by itself"
            ));
            return Ok((BTreeMap::new(), notes));
        }
        Ok((choice.packages, notes))
    }

    /// The runner without newer packages.
    fn below(self, events: Option<&dyn Events>) -> Result<Below, PipelineError> {
        let world = &self.0.world;
        // As the lock has it now: of a runner that is there, the layers below are known without another build.
        if let Some(digest) = planned_runner(self.0)? {
            let image = ImagePackages(world).below_upgrades(world.load_image(&digest)?)?;
            return Ok(Below { image: Some(image), ran: Vec::new() });
        }
        let mut lock = self.0.lock.load()?;
        lock.set_upgrades(Role::Runner, &world.platform, BTreeMap::new());
        let bare = self.0.on_lock(lock);
        let (digest, ran) = match events {
            Some(events) => Walker(&bare).to_runner(events)?,
            None => (planned_runner(&bare)?, Vec::new()),
        };
        Ok(Below { image: digest.map(|digest| world.load_image(&digest)).transpose()?, ran })
    }
}

/// The runner of a project on a lock, where it is there.
fn planned_runner(on: &Locked<'_>) -> Result<Option<Digest>, PipelineError> {
    let walked = Walker(on).walk(None, Rules::default())?;
    let runner = walked.settled.iter().find(|settled| settled.phase == Phase::Runner);
    Ok(runner.and_then(|settled| settled.made.image(Phase::Runner)).cloned())
}

/// What repositories say of a package.
trait Repository {
    fn standing(&self, package: &Package) -> Result<Standing, Damaged>;

    /// The newest version up to another that is a security fix.
    fn newest_fix(&self, package: &Package, up_to: &str) -> Result<Option<String>, Damaged>;
}

impl Repository for Available {
    fn standing(&self, package: &Package) -> Result<Standing, Damaged> {
        self.standing(package)
    }

    fn newest_fix(&self, package: &Package, up_to: &str) -> Result<Option<String>, Damaged> {
        self.newest_fix(package, up_to)
    }
}

/// Chooses, for each package, what its package manager would take and what is wanted of that: all of it, or no more than the
/// newest security fix.
fn choose(packages: &[Package], repository: &dyn Repository, wanted: Upgrade) -> Result<Choice, Damaged> {
    let mut choice = Choice::default();
    for package in packages {
        let newer = match repository.standing(package)? {
            Standing::Newer(newer) => newer,
            standing => {
                choice.is_known |= standing == Standing::Fresh;
                continue;
            }
        };
        choice.is_known = true;
        if wanted == Upgrade::Off || (wanted == Upgrade::Security && !newer.security) {
            continue;
        }
        let fix = match wanted {
            Upgrade::Security => repository.newest_fix(package, &newer.version)?,
            _ => None,
        };
        let newer = Newer { version: fix.unwrap_or(newer.version), ..newer };
        let Package { name, architecture, .. } = package;
        match (PackageName::new(name, architecture), PackageVersion::new(&newer.version)) {
            (Ok(package), Ok(version)) if newer.withheld.is_none() => {
                choice.packages.insert(package, version);
            }
            _ => {
                choice.withheld.insert(name.clone());
            }
        }
    }
    Ok(choice)
}

/// The first few names, and how many more there are.
fn few(names: &BTreeSet<String>) -> String {
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} (+{more} more)"),
    }
}

#[cfg(test)]
mod tests {
    use otoshi_packages::Withheld;

    use super::*;

    fn package(name: &str) -> Package {
        Package { name: name.into(), architecture: "amd64".into(), version: "1".into(), ..Package::default() }
    }

    fn newer(version: &str, security: bool, withheld: Option<Withheld>) -> Standing {
        Standing::Newer(Newer { version: version.into(), repository: "r".into(), security, withheld })
    }

    struct Fixed;

    impl Repository for Fixed {
        fn standing(&self, package: &Package) -> Result<Standing, Damaged> {
            Ok(match package.name.as_str() {
                "fixed" => newer("1.1", true, None),
                "grown" => newer("2", false, None),
                "both" => newer("2", true, None),
                "held" => newer("1.2", true, Some(Withheld::Held)),
                "odd" => newer("1.3;reboot", true, None),
                "own" => Standing::Foreign,
                _ => Standing::Fresh,
            })
        }

        fn newest_fix(&self, package: &Package, _: &str) -> Result<Option<String>, Damaged> {
            Ok((package.name == "both").then(|| "1.5".to_owned()))
        }
    }

    #[test]
    fn security_takes_fixes_and_all_takes_what_the_package_manager_would() {
        let installed: Vec<_> = ["both", "fixed", "grown", "held", "new", "odd", "own"].map(package).into();
        let chosen = |wanted| choose(&installed, &Fixed, wanted).unwrap();
        let security = chosen(Upgrade::Security);
        let fixes = [("both", "1.5"), ("fixed", "1.1")];
        let owned = |pairs: &[(&str, &str)]| -> otoshi_project::Upgrades {
            let typed = pairs.iter().map(|(name, version)| {
                (PackageName::new(name, "amd64").unwrap(), PackageVersion::new(version).unwrap())
            });
            typed.collect()
        };
        assert_eq!(security.packages, owned(&fixes));
        assert_eq!(security.withheld, BTreeSet::from(["held".into(), "odd".into()]));
        let everything = chosen(Upgrade::All);
        let all = [("both", "2"), ("fixed", "1.1"), ("grown", "2")];
        assert_eq!(everything.packages, owned(&all));
        assert!(everything.is_known);
        assert!(!choose(&[package("own")], &Fixed, Upgrade::All).unwrap().is_known);
    }
}
