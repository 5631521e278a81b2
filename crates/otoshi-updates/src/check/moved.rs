//! Tags that name another image now.

use otoshi_oci::{Digest, Image};
use otoshi_pipeline::{Outlook, Pipeline};
use otoshi_project::Lock;
use otoshi_registry::{Depth, RegistryError, Repository};

use super::{BUILDER_SIDE, Check, Stop, Used};
use crate::report::{Finding, FindingKind};

/// How few requests may be left before no image is fetched, where the project does not say.
const BUDGET_FLOOR: u64 = 10;

impl Check<'_> {
    /// Whether a tag names another image now, for the runner's side and the builder's.
    pub(super) fn moved(
        &self,
        base: &Used,
        lock: &Lock,
        pipeline: &Pipeline<'_>,
        before: &mut Option<Outlook>,
    ) -> Result<Vec<Finding>, Stop> {
        let mut findings = Vec::new();
        if base.reference.digest().is_some() {
            return Ok(findings);
        }
        let client = self.remote.client()?;
        let Some(now) = client.resolve(&base.reference)? else {
            return Err(Stop::Registry(RegistryError::Wrong {
                asked: otoshi_registry::Asked {
                    repository: base.reference.name(),
                    what: format!("for the tag {}", base.reference.tag().unwrap_or("latest")),
                },
                reason: "there is none any more".to_owned(),
            }));
        };
        let platform = self.platform.to_string();
        for builder_side in [false, true] {
            let roles: Vec<&str> = base
                .roles
                .iter()
                .copied()
                .filter(|role| BUILDER_SIDE.contains(role) == builder_side)
                .collect();
            let locked = roles.iter().find_map(|role| {
                let entry = lock.roles.get(*role)?.get(&base.text)?;
                Some((entry.index.clone(), entry.platforms.get(&platform)?.clone()))
            });
            let Some((index, manifest)) = locked.filter(|(index, _)| index != now.as_str()) else { continue };
            let Some(new) = self.another(base, &now, &manifest)? else { continue };
            let mut then = lock.clone();
            for role in &roles {
                then.set(role, &base.text, &platform, now.as_str(), new.as_str());
            }
            let (command, side) = if builder_side {
                ("otoshi refresh --builder", "builder")
            } else {
                ("otoshi refresh", "runner")
            };
            let mut finding = self.finding(FindingKind::BaseMoved, base, index, Some(now.to_string()));
            finding.roles = roles.iter().map(ToString::to_string).collect();
            finding.command = Some(command.to_owned());
            finding.text = format!("{} moved, for the {side}", base.reference.familiar());
            self.judge(&mut finding, &base.text, now.as_str(), None)?;
            self.tell_phases(&mut finding, pipeline, before, self.project, then)?;
            findings.push(finding);
        }
        Ok(findings)
    }

    /// The manifest that an index has for this platform, where it is another image than the one in use.
    fn another(&self, base: &Used, index: &Digest, manifest: &str) -> Result<Option<Digest>, Stop> {
        let repository = Repository::of(&base.reference);
        let floor = self.project.manifest.check.budget_floor.unwrap_or(BUDGET_FLOOR);
        if let Some(left) = self.remote.client()?.remaining(&repository).filter(|left| *left <= floor)
            && !self.home.layout().has(index)
        {
            return Err(Stop::Budget(left));
        }
        let exact = base.reference.with_digest(index.clone());
        let Some((pulled, _)) = self.remote.pull(&exact, &self.platform, Depth::Config)? else {
            return Ok(None);
        };
        if pulled.manifest.as_str() == manifest {
            return Ok(None);
        }
        let content = |digest: &Digest| {
            let image = Image::load(self.home.layout(), digest, &self.platform).ok()?;
            let mut config = image.config.config.clone();
            config.labels.clear();
            Some((image.diff_ids().to_vec(), config))
        };
        if let Ok(old) = manifest.parse::<Digest>() {
            if !self.home.layout().has(&old) {
                // What its registry threw away cannot be compared, and then counts as another.
                let _ =
                    self.remote.pull(&base.reference.with_digest(old.clone()), &self.platform, Depth::Config);
            }
            let (old, new) = (content(&old), content(&pulled.manifest));
            if old.is_some() && old == new {
                return Ok(None);
            }
        }
        Ok(Some(pulled.manifest))
    }
}
