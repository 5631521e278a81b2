//! Tags that name another image now.

use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Image, Reference};
use otoshi_project::{Lock, LockedDigests, Role};
use otoshi_registry::RegistryError;

use super::{
    newer::taking,
    project::Check,
    used::{BUILDER_SIDE, Draft, Then, Used},
};
use crate::{
    found::{Found, Step},
    kind::FindingKind,
    stop::Stop,
};

impl Check<'_> {
    /// Whether a name stands for another image now, for the runner's side and the builder's; `local` is what it stands for in
    /// the store, where it is a name of the store's.
    pub(super) fn moved(&self, base: &Used, lock: &Lock, local: Option<&Digest>) -> Result<Vec<Draft>, Stop> {
        if let Some(digest) = base.reference().digest() {
            return self.pinned(base, digest);
        }
        let mut drafts = Vec::new();
        let now = match local {
            Some(digest) => digest.clone(),
            None => self.named(base.reference())?,
        };
        let platform = &self.outside.platform;
        for builder_side in [false, true] {
            let roles: Vec<Role> = base
                .roles
                .iter()
                .copied()
                .filter(|role| BUILDER_SIDE.contains(role) == builder_side)
                .collect();
            let locked = roles.iter().find_map(|role| {
                let entry = lock.base(*role, base.text.as_str())?;
                Some((entry.index.clone(), entry.platforms.get(platform)?.clone()))
            });
            let Some((index, manifest)) = locked.filter(|(index, _)| *index != now) else { continue };
            let new = match local {
                Some(_) => self.another_here(&now, &manifest)?,
                None => self.another(base, &now, &manifest)?,
            };
            let Some(new) = new else { continue };
            let mut then = lock.clone();
            let digests = LockedDigests { index: now.clone(), platform: new };
            for role in &roles {
                then.set(*role, &base.text, platform, digests.clone());
            }
            let side = if builder_side { Role::Builder } else { Role::Runner };
            let text = format!("{} moved, for the {side}", base.reference().familiar());
            let step = Step::new(FindingKind::BaseMoved, index.to_string(), text).to(now.to_string());
            let judged = self.outside.judge(base.text.as_str(), now.as_str(), &base.names())?;
            let remedy = Some(Remedy::Refresh { builder: builder_side });
            let found = Found::new(base.subject(&roles), step, judged, remedy);
            drafts.push(Draft { found, then: Then::Lock(then) });
        }
        Ok(drafts)
    }

    /// What a tag stands for in its registry; an error where there is none.
    fn named(&self, reference: &Reference) -> Result<Digest, Stop> {
        self.outside.remote.client()?.resolve(reference)?.ok_or_else(|| {
            Stop::Registry(RegistryError::Wrong {
                asked: otoshi_registry::Asked {
                    repository: reference.name(),
                    what: format!("for the tag {}", reference.tag().unwrap_or("latest")),
                },
                reason: "the tag no longer exists".to_owned(),
            })
        })
    }

    /// Whether the tag beside a digest stands for another image now. The lock never moves such a base: `otoshi.toml` has to.
    fn pinned(&self, base: &Used, digest: &Digest) -> Result<Vec<Draft>, Stop> {
        if base.reference().tag().is_none() {
            return Ok(Vec::new());
        }
        let named = base.reference().without_digest();
        let local = self.outside.remote.local(&named)?;
        let now = local.clone().map_or_else(|| self.named(&named), Ok)?;
        if now == *digest {
            return Ok(Vec::new());
        }
        let Some(manifest) = self.manifest(base.reference())? else { return Ok(Vec::new()) };
        let new = match local {
            Some(_) => self.another_here(&now, &manifest)?,
            None => self.another(base, &now, &manifest)?,
        };
        if new.is_none() {
            return Ok(Vec::new());
        }
        let wanted = named.with_digest(now.clone());
        let settings = self.settings(base, &wanted);
        let text = format!("{} moved, and {} names the image that it was", named.familiar(), base.name);
        let remedy = Some(taking(&settings, &wanted.familiar()));
        let step = Step::new(FindingKind::BaseMoved, digest.to_string(), text).to(now.to_string());
        let judged = self.outside.judge(base.text.as_str(), now.as_str(), &base.names())?;
        let step = Step { set: settings, ..step };
        let found = Found::new(base.subject(&base.roles), step, judged, remedy);
        Ok(vec![Draft { found, then: Then::Nothing }])
    }

    /// The manifest that an index of the store has for this platform, where it is another image than the one in use.
    fn another_here(&self, index: &Digest, manifest: &Digest) -> Result<Option<Digest>, Stop> {
        let found =
            Image::load(self.outside.home.layout(), index, &self.outside.platform).map_err(Stop::told)?;
        Ok(Some(found.digest).filter(|digest| digest != manifest))
    }

    /// The manifest that an index has for this platform, where it is another image than the one in use.
    fn another(&self, base: &Used, index: &Digest, manifest: &Digest) -> Result<Option<Digest>, Stop> {
        let exact = base.reference().with_digest(index.clone());
        let Some(pulled) = self.outside.fetch(&exact)? else { return Ok(None) };
        if pulled.manifest == *manifest {
            return Ok(None);
        }
        let content = |digest: &Digest| {
            let image = Image::load(self.outside.home.layout(), digest, &self.outside.platform).ok()?;
            let mut config = image.config.config.clone();
            config.labels.clear();
            Some((image.diff_ids().to_vec(), config))
        };
        // What its registry threw away cannot be compared, and then counts as another.
        let _ = self.outside.fetch(&base.reference().with_digest(manifest.clone()));
        let (old, new) = (content(manifest), content(&pulled.manifest));
        if old.is_some() && old == new {
            return Ok(None);
        }
        Ok(Some(pulled.manifest))
    }
}
