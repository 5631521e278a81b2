//! What is installed in the bases and in the runner, beside what their own repositories have.

use std::collections::BTreeSet;

use otoshi_oci::{Digest, Image, Reference};
use otoshi_packages::{Installed, Package};
use otoshi_project::Lock;

use super::{Asked, BUILDER_SIDE, Check, Draft, Used, phases::Then};
use crate::{
    outside::{Stop, Subject},
    packages::{Compared, upgrade},
    report::{Finding, State},
};

impl Check<'_> {
    /// Looks into the images of a base, one for each manifest that its roles have; `moved` are the commands that move it.
    pub(super) fn packages(
        &self,
        base: &Used,
        lock: &Lock,
        moved: &[String],
        asked: &mut Asked,
    ) -> Result<Vec<Draft>, Stop> {
        let mut drafts = Vec::new();
        for (image, roles) in self.images(base, lock)? {
            let installed = self.outside.installed(&image, &base.reference)?;
            asked.held.installed(&installed);
            asked.held.environment(&image.config, &self.outside.cycles);
            let subject = base.subject(&roles);
            let digest = image.digest.to_string();
            let compared =
                self.outside.compare(&subject, &digest, &installed, &BTreeSet::new(), &mut asked.failed)?;
            if let Some(finding) = self.outside.package_finding(&subject, &compared) {
                let is_builder = roles.iter().all(|role| BUILDER_SIDE.contains(role));
                let moving = if is_builder { "otoshi refresh --builder" } else { "otoshi refresh" };
                let files = base.dockerfiles.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
                let command = if moved.iter().any(|command| command == moving) {
                    moving.to_owned()
                } else {
                    format!("add {:?} to {files}, then otoshi build", upgrade(installed.manager))
                };
                drafts.push(draft(finding, &compared, roles.iter().copied().collect(), command));
            }
            if roles.contains("runner") {
                asked.below.extend(installed.packages.iter().cloned());
            }
            asked.looked.extend((installed.manager.is_some()).then_some(compared.looked));
        }
        Ok(drafts)
    }

    /// The images that the roles of a base have, as the lock says; else as its name says now.
    fn images(&self, base: &Used, lock: &Lock) -> Result<Vec<(Image, BTreeSet<&'static str>)>, Stop> {
        let platform = self.outside.platform.to_string();
        let mut found: Vec<(Digest, BTreeSet<&'static str>)> = Vec::new();
        for role in base.roles.iter().filter(|role| **role != "args") {
            let locked = lock.get(role, &base.text, &platform).and_then(|digest| digest.parse().ok());
            let exact = locked.map(|digest: Digest| base.reference.with_digest(digest));
            let Some(manifest) = self.manifest(exact.as_ref().unwrap_or(&base.reference))? else { continue };
            match found.iter_mut().find(|(digest, _)| *digest == manifest) {
                Some((_, roles)) => {
                    roles.insert(role);
                }
                None => found.push((manifest, BTreeSet::from([*role]))),
            }
        }
        let load = |(digest, roles): (Digest, _)| {
            let image = Image::load(self.outside.home.layout(), &digest, &self.outside.platform);
            image.map(|image| (image, roles)).map_err(|error| Stop::Told(error.to_string(), error.hint()))
        };
        found.into_iter().map(load).collect()
    }

    /// The manifest of a reference, whose documents are in the store then.
    fn manifest(&self, reference: &Reference) -> Result<Option<Digest>, Stop> {
        let layout = self.outside.home.layout();
        let here = match reference.digest() {
            Some(digest) => layout.has(digest).then(|| digest.clone()),
            None if self.outside.remote.is_local(reference)? => {
                let found = layout.resolve(reference).map_err(otoshi_pipeline::PipelineError::from)?;
                found.and_then(|found| Digest::of(&found).ok())
            }
            None => None,
        };
        if let Some(digest) = here
            && let Ok(image) = Image::load(layout, &digest, &self.outside.platform)
        {
            return Ok(Some(image.digest));
        }
        Ok(self.outside.fetch(reference)?.map(|pulled| pulled.manifest))
    }

    /// Looks into the runner; `below` is what its bases have, `moves` says whether one of these moves.
    pub(super) fn runner(
        &self,
        name: &str,
        image: &Image,
        below: &BTreeSet<Package>,
        moves: bool,
        asked: &mut Asked,
    ) -> Result<(), Stop> {
        let subject = Subject {
            name: "runner".to_owned(),
            reference: name.to_owned(),
            roles: vec!["runner".to_owned()],
        };
        let repository = self.project.manifest.registry.as_ref().map(|registry| registry.repository.as_str());
        let place = Reference::parse(repository.unwrap_or(name))
            .map_err(|error| Stop::Told(error.to_string(), error.hint()))?;
        let installed: Installed = self.outside.installed(image, &place)?;
        if installed.manager.is_none() {
            return Ok(());
        }
        let digest = image.digest.to_string();
        let compared = self.outside.compare(&subject, &digest, &installed, below, &mut asked.failed)?;
        if let Some(finding) = self.outside.package_finding(&subject, &compared) {
            let own = compared.updates.iter().filter(|update| update.state == State::Found);
            let command = if moves {
                "otoshi refresh".to_owned()
            } else if own.into_iter().all(|update| !update.inherited) {
                "otoshi build --no-cache".to_owned()
            } else {
                let file = &self.project.manifest.runner.dockerfile;
                format!("add {:?} to {file}, then otoshi build", upgrade(installed.manager))
            };
            asked.drafts.push(draft(finding, &compared, vec!["runner"], command));
        }
        asked.looked.push(compared.looked);
        Ok(())
    }
}

/// A finding about packages, with what takes them in and which phases these would give something else.
fn draft(mut finding: Finding, compared: &Compared, phases: Vec<&'static str>, command: String) -> Draft {
    let count = compared.updates.iter().filter(|update| update.state == finding.state).count();
    let packages = if count == 1 { "1 package".to_owned() } else { format!("{count} packages") };
    let text = format!("{packages} of {} would be newer", finding.name);
    finding.command = Some(command);
    Draft { finding, then: Then::Again(phases, text) }
}
