//! What is installed in the bases and in the runner, beside what their own repositories have.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Image, Reference};
use otoshi_packages::{Installed, Manager};
use otoshi_project::{Lock, Packages, Phase, Role, Upgrade};

use super::{
    project::Check,
    used::{Asked, BUILDER_SIDE, Draft, Inside, Then, Used},
};
use crate::{
    found::{Found, Judged, Step},
    kind::{FindingKind, State},
    packages::{Compared, Ground, Inventory, upgrade},
    report::{Failed, PackageUpdate},
    stop::Stop,
    subject::Subject,
    unknown,
};

/// An image of a base, or the runner's, and what is installed in it.
struct Opened {
    subject: Subject,
    roles: BTreeSet<Role>,
    digest: String,
    installed: Installed,
}

impl Opened {
    fn inventory(&self) -> Inventory<'_> {
        Inventory { subject: &self.subject, digest: &self.digest, installed: &self.installed }
    }

    fn inside(self, manager: Manager, compared: Compared, changed: Option<Vec<String>>) -> Inside {
        let Self { subject, roles, installed, .. } = self;
        let Compared { looked, updates, is_configured } = compared;
        let packages = installed.packages;
        Inside { subject, roles, manager, packages, looked, updates, is_configured, changed }
    }
}

impl Check<'_> {
    /// Looks into the images of a base, one for each manifest that its roles have.
    pub(super) fn packages(&self, base: &Used, lock: &Lock, asked: &mut Asked) -> Result<(), Stop> {
        for (image, roles) in self.images(base, lock)? {
            let installed = self.outside.installed(&image, base.reference())?;
            asked.held.installed(&installed);
            asked.held.environment(&image.config, &self.outside.cycles);
            let reasons = unknown::of_packages(&installed).into_iter();
            asked.unknown.extend(reasons.map(|reason| self.outside.unknown(&base.subject(&roles), reason)));
            let ground = Ground { below: &BTreeSet::new(), reach: base.reach };
            let opened =
                Opened { subject: base.subject(&roles), roles, digest: image.digest.to_string(), installed };
            asked.inside.extend(self.inside(opened, ground, &mut asked.failed)?);
        }
        Ok(())
    }

    /// Looks into the runner.
    pub(super) fn runner(
        &self,
        name: &str,
        image: &Image,
        ground: Ground<'_>,
        asked: &mut Asked,
    ) -> Result<Option<Inside>, Stop> {
        let subject =
            Subject { name: "runner".to_owned(), reference: name.to_owned(), roles: vec![Role::Runner] };
        let repository = self.project.manifest.registry.as_ref().map(|registry| registry.repository.as_str());
        let place = Reference::parse(repository.unwrap_or(name)).map_err(Stop::told)?;
        let installed = self.outside.installed(image, &place)?;
        let reasons = unknown::of_packages(&installed).into_iter();
        asked.unknown.extend(reasons.map(|reason| self.outside.unknown(&subject, reason)));
        asked.is_bare = unknown::is_bare(&installed);
        let (roles, digest) = (BTreeSet::from([Role::Runner]), image.digest.to_string());
        self.inside(Opened { subject, roles, digest, installed }, ground, &mut asked.failed)
    }

    fn inside(
        &self,
        opened: Opened,
        ground: Ground<'_>,
        failed: &mut Vec<Failed>,
    ) -> Result<Option<Inside>, Stop> {
        let Some(manager) = opened.installed.manager else { return Ok(None) };
        let compared = self.outside.compare(opened.inventory(), ground, failed)?;
        Ok(Some(opened.inside(manager, compared, None)))
    }

    /// Looks into the images of a base that is made here of packages, which are those that the lock has and this store, too.
    pub(super) fn made(
        &self,
        base: &Used,
        packages: &Packages,
        lock: &Lock,
        asked: &mut Asked,
    ) -> Result<(), Stop> {
        let mut images: BTreeMap<Digest, BTreeSet<Role>> = BTreeMap::new();
        for role in base.roles.iter().filter(|role| **role != Role::Arguments) {
            if let Some(digest) = lock.get(*role, base.text.as_str(), &self.outside.platform) {
                images.entry(digest.clone()).or_default().insert(*role);
            }
        }
        for (digest, roles) in images {
            // One that another machine made is made here by the next build, and not by a check.
            let Ok(image) = Image::load(self.outside.home.layout(), &digest, &self.outside.platform) else {
                return Err(Stop::Told(
                    "its packages are not compared: the image that otoshi.lock has is not in the store"
                        .to_owned(),
                    Some(Remedy::BuildMakesImage),
                ));
            };
            let installed = self.outside.installed(&image, base.reference())?;
            asked.held.installed(&installed);
            let subject = base.subject(&roles);
            let reasons = unknown::of_packages(&installed).into_iter();
            asked.unknown.extend(reasons.map(|reason| self.outside.unknown(&subject, reason)));
            let Some(manager) = installed.manager else { continue };
            let opened = Opened { subject, roles, digest: digest.to_string(), installed };
            let (compared, changed) = self.outside.compare_made(opened.inventory(), packages)?;
            asked.inside.push(opened.inside(manager, compared, Some(changed)));
        }
        Ok(())
    }

    /// The finding about a base's packages. What the runner has taken in by other means is none of a base that only it uses.
    pub(super) fn base_draft(
        &self,
        base: &Used,
        inside: &Inside,
        drafts: &[Draft],
        runner: Option<&Inside>,
    ) -> Option<Draft> {
        let only_runner = inside.roles.iter().all(|role| *role == Role::Runner);
        let taken_in =
            |update: &&PackageUpdate| only_runner && runner.is_some_and(|runner| runner.has(update));
        let updates: Vec<_> = inside.updates.iter().filter(|update| !taken_in(update)).cloned().collect();
        let is_builder = inside.roles.iter().all(|role| BUILDER_SIDE.contains(role));
        let changed = inside.changed.as_ref().filter(|changed| !changed.is_empty());
        let found = match (self.outside.package_finding(&inside.subject, &inside.looked, &updates), changed) {
            (Some(found), Some(changed)) => {
                let text = format!("{}; packages: {}", found.step.text, changed.join(", "));
                Found { step: Step { text, ..found.step }, ..found }
            }
            (Some(found), None) => found,
            (None, changed) => {
                let Subject { name, reference, .. } = &inside.subject;
                let text = format!("{name} would be made of other packages: {}", changed?.join(", "));
                let step = Step::new(FindingKind::BaseMoved, inside.looked.digest.clone(), text);
                let verdict = self.outside.verdict(&[name, reference]);
                Found::new(inside.subject.clone(), step, Judged { verdict, first_seen: None }, None)
            }
        };
        let moves = inside.is_made()
            || drafts.iter().map(|draft| &draft.found).any(|found| {
                let same_side = found.subject.roles.iter().any(|role| inside.roles.contains(role));
                found.kind() == FindingKind::BaseMoved && same_side
            });
        let remedy = match (moves, is_builder) {
            (true, builder) => Remedy::Refresh { builder },
            (false, false) => self.upgrade(&found),
            (false, true) => Remedy::AddToDockerfiles {
                line: upgrade(inside.manager).to_owned(),
                files: base.dockerfiles.iter().cloned().collect(),
            },
        };
        Some(draft(found, inside.roles.iter().copied(), remedy))
    }

    /// The finding about the runner's packages; `moves` says whether one of its bases moves.
    pub(super) fn runner_draft(&self, inside: &Inside, moves: bool) -> Option<Draft> {
        let found = self.outside.package_finding(&inside.subject, &inside.looked, &inside.updates)?;
        let remedy = if moves { Remedy::Refresh { builder: false } } else { self.upgrade(&found) };
        Some(draft(found, [Role::Runner], remedy))
    }

    /// What takes newer packages of the runner in: a refresh, where it is told to, or else would be if it were.
    fn upgrade(&self, found: &Found) -> Remedy {
        let security = found.kind() == FindingKind::SecurityUpdates;
        match (self.project.manifest.refresh.upgrade, security) {
            (Upgrade::All, _) | (Upgrade::Security, true) => Remedy::Refresh { builder: false },
            (_, security) => Remedy::RefreshUpgrading { security },
        }
    }

    /// The images that the roles of a base have, as the lock says; else as its name says now.
    fn images(&self, base: &Used, lock: &Lock) -> Result<Vec<(Image, BTreeSet<Role>)>, Stop> {
        let mut found: Vec<(Digest, BTreeSet<Role>)> = Vec::new();
        for role in base.roles.iter().filter(|role| **role != Role::Arguments) {
            let locked = lock.get(*role, base.text.as_str(), &self.outside.platform);
            let exact = locked.map(|digest| base.reference().with_digest(digest.clone()));
            let Some(manifest) = self.manifest(exact.as_ref().unwrap_or(base.reference()))? else { continue };
            match found.iter_mut().find(|(digest, _)| *digest == manifest) {
                Some((_, roles)) => {
                    roles.insert(*role);
                }
                None => found.push((manifest, BTreeSet::from([*role]))),
            }
        }
        let load = |(digest, roles): (Digest, _)| {
            let image = Image::load(self.outside.home.layout(), &digest, &self.outside.platform);
            image.map(|image| (image, roles)).map_err(Stop::told)
        };
        found.into_iter().map(load).collect()
    }

    /// The manifest of a reference, whose documents are in the store then.
    pub(super) fn manifest(&self, reference: &Reference) -> Result<Option<Digest>, Stop> {
        let layout = self.outside.home.layout();
        let here = match reference.digest() {
            Some(digest) => layout.has(digest).then(|| digest.clone()),
            None => self.outside.remote.local(reference)?,
        };
        if let Some(digest) = here
            && let Ok(image) = Image::load(layout, &digest, &self.outside.platform)
        {
            return Ok(Some(image.digest));
        }
        Ok(self.outside.fetch(reference)?.map(|pulled| pulled.manifest))
    }
}

/// What was found about packages, with what takes them in and which phases these would give something else.
fn draft(found: Found, roles: impl IntoIterator<Item = Role>, remedy: Remedy) -> Draft {
    let state = found.state();
    let count = found.packages.iter().filter(|update| update.state == state).count();
    let packages = if count == 1 { "1 package".to_owned() } else { format!("{count} packages") };
    let text = format!("{packages} of {} would be newer", found.subject.name);
    let phases: Vec<Phase> = roles.into_iter().filter_map(Role::phase).collect();
    let remedy = Some(remedy).filter(|_| state == State::Found);
    Draft { found: Found { remedy, ..found }, then: Then::Again(phases, text) }
}
