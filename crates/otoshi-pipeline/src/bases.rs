//! Bases and `otoshi.lock`: which digest each role's bases have.
//!
//! A role's bases are all images from outside that its Dockerfile's targets reach: by FROM, by COPY `--from` or by a
//! mount's `from=`. The lock has an entry for each; an entry moves only when a refresh says so.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_explain::Remedy;
use otoshi_oci::{Digest, Image, Platform, Reference, find_manifest};
use otoshi_project::{BaseName, Lock, LockedBase, LockedDigests, Role, Upgrades};
use otoshi_registry::{RegistryError, Repository};
use otoshi_store::{Home, Kind, Record};
use serde::{Deserialize, Serialize};

use crate::{Moved, PipelineError, files::RoleFile};

/// Where bases come from.
pub(crate) trait BaseSource: Sync {
    /// Finds out what a reference names now; `None` when it names nothing.
    fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<LockedDigests>, PipelineError>;

    /// Finds the manifest for a platform in an index that is locked already; `None` when the index is not there.
    fn variant(
        &self,
        reference: &Reference,
        index: &Digest,
        platform: &Platform,
    ) -> Result<Option<Digest>, PipelineError>;

    /// Makes sure that an image is whole in the store, or can be fetched when it is needed; tells whether it is.
    fn ensure(
        &self,
        reference: &Reference,
        manifest: &Digest,
        platform: &Platform,
    ) -> Result<bool, PipelineError>;
}

/// Bases that were imported into the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreBases<'a> {
    home: &'a Home,
}

impl<'a> StoreBases<'a> {
    /// Takes bases from a store.
    pub(crate) fn new(home: &'a Home) -> Self {
        Self { home }
    }
}

impl BaseSource for StoreBases<'_> {
    fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<LockedDigests>, PipelineError> {
        let Some(found) = self.home.layout().names().resolve(reference)? else { return Ok(None) };
        let index = Digest::of(&found)?;
        let platform = find_manifest(self.home.layout(), &index, platform)?;
        Ok(Some(LockedDigests { index, platform }))
    }

    fn variant(
        &self,
        _: &Reference,
        index: &Digest,
        platform: &Platform,
    ) -> Result<Option<Digest>, PipelineError> {
        if !self.home.layout().has(index) {
            return Ok(None);
        }
        find_manifest(self.home.layout(), index, platform).map(Some).map_err(PipelineError::from)
    }

    fn ensure(&self, _: &Reference, manifest: &Digest, platform: &Platform) -> Result<bool, PipelineError> {
        Ok(is_whole(self.home, manifest, platform))
    }
}

/// Tells whether an image's manifest and config are in the store, and its layers there or in a registry that is known.
pub(crate) fn is_whole(home: &Home, manifest: &Digest, platform: &Platform) -> bool {
    let layout = home.layout();
    Image::load(layout, manifest, platform).is_ok_and(|image| {
        image
            .layers()
            .iter()
            .all(|layer| layout.holds(&layer.descriptor) || !origins(home, &layer.digest).is_empty())
    })
}

/// The repositories of registries that are known to hold a blob or manifest, as they are remembered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Holders(pub(crate) Vec<Repository>);

impl Record for Holders {
    const KIND: Kind = Kind::Origin;
}

/// The repositories of registries that are known to hold a blob or manifest.
pub(crate) fn origins(home: &Home, digest: &Digest) -> Vec<Repository> {
    home.records().get(digest.hex()).map(|Holders(repositories)| repositories).unwrap_or_default()
}

/// What may happen to the lock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules<'a> {
    /// A base that the lock lacks is an error.
    pub(crate) locked: bool,
    /// The roles whose bases move to what their references name now.
    pub(crate) move_roles: &'a [Role],
    /// Images get no names.
    pub(crate) hold: bool,
}

/// The digest of every base of every role.
#[derive(Debug, Default)]
pub(crate) struct Bases {
    digests: BTreeMap<(Role, BaseName), Digest>,
    pub(crate) moved: Vec<Moved>,
    /// The packages of the runner that a layer of its own makes newer.
    pub(crate) upgrades: Upgrades,
}

impl Bases {
    /// Settles every base by the lock, and adds to the lock what it lacks.
    ///
    /// When the lock changed, entries that no Dockerfile uses any more are dropped.
    pub(crate) fn settle(
        files: &[&RoleFile],
        lock: &mut Lock,
        source: &dyn BaseSource,
        platform: &Platform,
        rules: Rules<'_>,
    ) -> Result<Self, PipelineError> {
        let (before, mut bases) = (lock.clone(), Self::default());
        let mut used: BTreeSet<(Role, &BaseName)> = BTreeSet::new();
        let mut missing: Vec<String> = Vec::new();
        for file in files {
            for base in &file.bases {
                used.insert((file.role, base));
                let old = lock.get(file.role, base.as_str(), platform).cloned();
                let digest = match old.clone() {
                    Some(digest) if !rules.move_roles.contains(&file.role) => digest,
                    None if rules.locked => {
                        missing.push(format!("{base} for the {}", file.role));
                        continue;
                    }
                    _ => {
                        let moves = rules.move_roles.contains(&file.role);
                        let known = lock.base(file.role, base.as_str()).filter(|_| !moves);
                        let found = Self::find(source, file.role, base, platform, known)?;
                        let digest = found.platform.clone();
                        lock.set(file.role, base, platform, found);
                        digest
                    }
                };
                if rules.move_roles.contains(&file.role) && old.as_ref() != Some(&digest) {
                    bases.moved.push(Moved {
                        role: file.role,
                        reference: base.to_string(),
                        old,
                        new: digest.clone(),
                    });
                }
                bases.digests.insert((file.role, base.clone()), digest);
            }
        }
        if !missing.is_empty() {
            return Err(PipelineError::invalid(
                format!("otoshi.lock has no {}", missing.join(", and no ")),
                Remedy::BuildUnlocked,
            ));
        }
        bases.upgrades = lock.upgrades(Role::Runner, platform);
        if *lock != before {
            lock.roles.retain(|role, bases| {
                // The bases of computed arguments are in no Dockerfile.
                bases.retain(|base, _| *role == Role::Arguments || used.contains(&(*role, base)));
                !bases.is_empty()
            });
        }
        Ok(bases)
    }

    /// What a base is to be locked at: the index that is locked for other platforms, else what the reference names.
    fn find(
        source: &dyn BaseSource,
        role: Role,
        base: &BaseName,
        platform: &Platform,
        known: Option<&LockedBase>,
    ) -> Result<LockedDigests, PipelineError> {
        let reference = base.reference();
        if let Some(known) = known {
            let index = known.index.clone();
            return match source.variant(reference, &index, platform)? {
                Some(platform) => Ok(LockedDigests { index, platform }),
                None => Err(PipelineError::invalid(
                    format!(
                        "otoshi.lock has {base} for the {role} at {index}, which is not in the store, or not for {platform}"
                    ),
                    refresh_hint(role),
                )),
            };
        }
        let found = source.resolve(reference, platform).map_err(|error| match error {
            PipelineError::Registry(source @ RegistryError::Unreachable { .. }) => {
                PipelineError::BaseOutOfReach { role, reference: base.to_string(), source }
            }
            other => other,
        })?;
        found.ok_or_else(|| PipelineError::NoBase { role, reference: base.to_string() })
    }

    /// The digest of a base of a role.
    pub(crate) fn get(&self, role: Role, base: &str) -> Option<&Digest> {
        self.of(role).find(|(name, _)| name.as_str() == base).map(|(_, digest)| digest)
    }

    /// Every base with its role.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Role, &BaseName, &Digest)> {
        self.digests.iter().map(|((role, base), digest)| (*role, base, digest))
    }

    /// Every base of a role.
    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = (&BaseName, &Digest)> {
        self.all().filter(move |(of, ..)| *of == role).map(|(_, base, digest)| (base, digest))
    }
}

/// Makes sure that a phase finds its bases in the store.
pub(crate) fn ensure(
    source: &dyn BaseSource,
    role: Role,
    base: &BaseName,
    manifest: &Digest,
    platform: &Platform,
) -> Result<(), PipelineError> {
    let reference = base.reference();
    if source.ensure(reference, manifest, platform)? {
        return Ok(());
    }
    let message = format!(
        "the {role} starts from {base} at {manifest}, as otoshi.lock says, which is not in the store"
    );
    let there = source.resolve(reference, platform).ok().flatten();
    Err(PipelineError::invalid(
        message,
        if there.is_some() { refresh_hint(role) } else { Remedy::Import { name: base.to_string() } },
    ))
}

fn refresh_hint(role: Role) -> Remedy {
    // Arguments move with the builder.
    Remedy::RefreshBase { builder: matches!(role, Role::Builder | Role::Arguments) }
}
