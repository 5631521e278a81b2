//! Tags that name another image now.

use otoshi_oci::{Digest, Image};
use otoshi_project::Lock;
use otoshi_registry::RegistryError;

use super::{BUILDER_SIDE, Check, Draft, Used, phases::Then};
use crate::{outside::Stop, report::FindingKind};

impl Check<'_> {
    /// Whether a tag names another image now, for the runner's side and the builder's.
    pub(super) fn moved(&self, base: &Used, lock: &Lock) -> Result<Vec<Draft>, Stop> {
        let mut drafts = Vec::new();
        if base.reference.digest().is_some() {
            return Ok(drafts);
        }
        let client = self.outside.remote.client()?;
        let Some(now) = client.resolve(&base.reference)? else {
            return Err(Stop::Registry(RegistryError::Wrong {
                asked: otoshi_registry::Asked {
                    repository: base.reference.name(),
                    what: format!("for the tag {}", base.reference.tag().unwrap_or("latest")),
                },
                reason: "there is none any more".to_owned(),
            }));
        };
        let platform = self.outside.platform.to_string();
        for builder_side in [false, true] {
            let roles: Vec<&'static str> = base
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
            let mut finding =
                base.subject(&roles).finding(FindingKind::BaseMoved, index, Some(now.to_string()));
            finding.command = Some(command.to_owned());
            finding.text = format!("{} moved, for the {side}", base.reference.familiar());
            self.outside.judge(&mut finding, &base.text, now.as_str(), None)?;
            drafts.push(Draft { finding, then: Then::Lock(then) });
        }
        Ok(drafts)
    }

    /// The manifest that an index has for this platform, where it is another image than the one in use.
    fn another(&self, base: &Used, index: &Digest, manifest: &str) -> Result<Option<Digest>, Stop> {
        let exact = base.reference.with_digest(index.clone());
        let Some(pulled) = self.outside.fetch(&exact)? else { return Ok(None) };
        if pulled.manifest.as_str() == manifest {
            return Ok(None);
        }
        let content = |digest: &Digest| {
            let image = Image::load(self.outside.home.layout(), digest, &self.outside.platform).ok()?;
            let mut config = image.config.config.clone();
            config.labels.clear();
            Some((image.diff_ids().to_vec(), config))
        };
        if let Ok(old) = manifest.parse::<Digest>() {
            // What its registry threw away cannot be compared, and then counts as another.
            let _ = self.outside.fetch(&base.reference.with_digest(old.clone()));
            let (old, new) = (content(&old), content(&pulled.manifest));
            if old.is_some() && old == new {
                return Ok(None);
            }
        }
        Ok(Some(pulled.manifest))
    }
}
