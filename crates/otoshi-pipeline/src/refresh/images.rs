//! The images of a project, by the names that they have in the store.

use std::collections::BTreeMap;

use otoshi_oci::{Descriptor, Digest, Reference};
use otoshi_project::Role;

use super::report::ImageChange;
use crate::{PipelineError, bases::Rules, job::Settled, locked::Locked, walker::Walker, world::World};

/// Images by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Images(pub(super) BTreeMap<String, Digest>);

impl Images {
    /// Those that the project has now; with `by_lock`, and where nothing has their names, those that its lock stands for.
    pub(super) fn now(on: &Locked<'_>, by_lock: bool) -> Result<Self, PipelineError> {
        let world = &on.world;
        let parts = world.project.processes.iter().map(|process| process.name.as_str());
        let mut found = BTreeMap::new();
        for part in parts.chain([Role::Builder, Role::Runner].map(Role::as_str)).filter(|_| !by_lock) {
            let name = world.image_name(part);
            let reference = Reference::parse(&name)?;
            if let Some(descriptor) = world.home.layout().names().resolve(&reference)? {
                found.insert(name, Digest::of(&descriptor)?);
            }
        }
        if found.is_empty() {
            // Another machine made them: what the lock says now is what they are.
            return Ok(Self::of(world, &Walker(on).walk(None, Rules::default())?.settled));
        }
        Ok(Self(found))
    }

    /// Those that phases made.
    pub(super) fn of(world: &World<'_>, settled: &[Settled]) -> Self {
        let images = settled.iter().flat_map(|settled| &settled.made.images);
        Self(images.map(|(part, digest)| (world.image_name(part), digest.clone())).collect())
    }

    /// The image of the runner.
    pub(super) fn runner(&self, world: &World<'_>) -> Option<&Digest> {
        self.0.get(&world.image_name(Role::Runner.as_str()))
    }

    /// The images of processes, by name.
    pub(super) fn apps<'i>(&'i self, world: &'i World<'_>) -> impl Iterator<Item = (&'i String, &'i Digest)> {
        let is_app =
            |name: &str| world.project.processes.iter().any(|one| world.image_name(&one.name) == *name);
        self.0.iter().filter(move |(name, _)| is_app(name))
    }

    /// Each with what it was before.
    pub(super) fn changes(&self, before: &Self) -> Vec<ImageChange> {
        let change = |(name, digest): (&String, &Digest)| ImageChange {
            name: name.clone(),
            old: before.0.get(name).map(ToString::to_string),
            new: digest.to_string(),
        };
        self.0.iter().map(change).collect()
    }

    /// Gives them their names in the store, all at once.
    pub(super) fn tag(&self, world: &World<'_>) -> Result<(), PipelineError> {
        let layout = world.home.layout();
        let mut named: Vec<(Reference, Descriptor)> = Vec::new();
        for (name, digest) in &self.0 {
            named.push((Reference::parse(name)?, layout.describe(digest)?));
        }
        layout.names().tag_all(&named)?;
        Ok(())
    }
}
