//! The new manifests and the index, written and put where the old ones are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use otoshi_oci::{Descriptor, Digest};
use otoshi_once::hold;
use otoshi_rebase::{
    index::{self, LeftBehind, NewBase, Replaced},
    seam,
};
use otoshi_registry::{Progress, Replacement, Repository};

use super::{
    Rebaser,
    images::{Named, Nested},
    moved::{Moved, layers},
};
use crate::{PipelineError, bases};

/// Writes an image on its new bases.
pub(super) struct Writer<'a> {
    pub(super) by: &'a Rebaser<'a>,
    pub(super) named: &'a Named,
    pub(super) moved: &'a [Moved],
    /// When the image was looked up.
    pub(super) since: Instant,
}

/// What was written.
#[derive(Default)]
pub(super) struct Done {
    /// What takes the image's place.
    pub(super) new: Option<Digest>,
    /// The manifests and indexes that take others' places.
    pub(super) replaced: BTreeMap<String, Replaced>,
    pub(super) left_behind: Vec<LeftBehind>,
    /// Layers that are where they are needed already, of how many.
    pub(super) layers: [usize; 2],
    /// In bytes.
    pub(super) moved: u64,
}

impl Writer<'_> {
    /// Writes the new manifests, and the index that lists them.
    pub(super) fn write(&self) -> Result<Done, PipelineError> {
        let left_behind = self.by.left_behind(self.named, self.moved)?;
        let mut replaced = BTreeMap::new();
        let new = self.manifests(&mut replaced)?;
        Ok(Done { new: Some(new), replaced, left_behind, layers: layers(self.moved), moved: 0 })
    }

    /// The same, and puts the new image where the old one is.
    pub(super) fn write_and_put(&self, progress: Arc<dyn Progress>) -> Result<Done, PipelineError> {
        let done = self.write()?;
        let moved = match &done.new {
            Some(new) => self.put(new, progress)?,
            None => 0,
        };
        Ok(Done { moved, ..done })
    }

    /// Writes the manifests, and gives the one that takes the image's place.
    fn manifests(&self, replaced: &mut BTreeMap<String, Replaced>) -> Result<Digest, PipelineError> {
        let (layout, named, moved) = (self.by.home.layout(), self.named, self.moved);
        let (mut name, mut created) = (None, None);
        for one in moved {
            let Some(composed) = one.composed() else { continue };
            let descriptor = composed.write(layout, &one.app)?;
            let old = Some(index::Facts::new(one.app.annotations(), &one.app.config));
            let new = Some(index::Facts::new(composed.annotations.clone(), &composed.config));
            replaced.insert(one.before().to_owned(), Replaced { descriptor, old, new });
            name = composed.annotations.get(seam::BASE_NAME).cloned();
            created = created.max(composed.config.created.clone());
        }
        let Some(nested) = named.index.as_ref().filter(|_| !replaced.is_empty()) else {
            let only = replaced.values().next();
            return only.map_or(Ok(named.digest.clone()), |new| {
                Digest::of(&new.descriptor).map_err(PipelineError::from)
            });
        };
        // What an index says of the base is true where all that it lists stands on it.
        let is_whole =
            named.images.iter().all(|(_, digest)| moved.iter().any(|one| one.before() == digest.as_str()));
        let base = moved.first().map(|one| &one.base).filter(|_| is_whole);
        let base = base.map(|digest| NewBase { name: name.as_deref(), digest, created: created.as_deref() });
        Digest::of(&self.write_index(nested, replaced, base)?).map_err(PipelineError::from)
    }

    /// Writes an index, after those that it lists.
    fn write_index(
        &self,
        nested: &Nested,
        replaced: &mut BTreeMap<String, Replaced>,
        base: Option<NewBase<'_>>,
    ) -> Result<Descriptor, PipelineError> {
        for (digest, below) in &nested.below {
            let descriptor = self.write_index(below, replaced, base)?;
            if descriptor.digest().as_ref() != digest {
                let of_index = Replaced { descriptor, old: None, new: None };
                replaced.insert(digest.clone(), of_index);
            }
        }
        let written = index::replace(self.by.home.layout(), &nested.document, replaced, base);
        written.map_err(PipelineError::from)
    }

    /// Puts the new image where the old one is. Gives how many bytes moved.
    fn put(&self, new: &Digest, progress: Arc<dyn Progress>) -> Result<u64, PipelineError> {
        let (layout, named) = (self.by.home.layout(), self.named);
        if named.is_local {
            layout.names().tag(&named.reference, layout.describe(new)?)?;
            return Ok(0);
        }
        let repository = Repository::of(&named.reference);
        let mut held: BTreeSet<Digest> = named.images.iter().map(|(_, digest)| digest.clone()).collect();
        let mut origins: BTreeMap<Digest, Vec<Repository>> = BTreeMap::new();
        for one in self.moved {
            held.extend(one.app.layers().iter().map(|layer| layer.digest.clone()));
            held.insert(one.app.id());
            for layer in one.new.layers() {
                origins.insert(layer.digest.clone(), bases::origins(self.by.home, &layer.digest));
            }
        }
        held.extend(named.index.iter().flat_map(Nested::listed));
        let wanted: BTreeSet<Digest> = origins.keys().cloned().collect();
        // One takes a base's layers over for all images of the repository: a registry that takes over the same layer twice at
        // the same time may lose it for a moment.
        let taken = self.by.taken.of(repository.clone());
        let taken = hold(&taken);
        held.extend(taken.iter().cloned());
        let first = (!wanted.is_subset(&taken)).then_some(taken);
        let replacement = Replacement {
            repository: repository.clone(),
            tag: named
                .reference
                .digest()
                .is_none()
                .then(|| named.reference.tag().unwrap_or("latest").to_owned()),
            digest: new.clone(),
            instead_of: named.digest.clone(),
            since: self.since,
            held,
            origins,
        };
        let summary = self.by.remote.client()?.replace(layout, &replacement, progress)?;
        if let Some(mut taken) = first {
            taken.extend(wanted);
        }
        Ok(summary.moved)
    }
}
