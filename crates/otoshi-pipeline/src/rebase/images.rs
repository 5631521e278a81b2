//! Images by name, for a rebase: those of the store, and those of registries, of which only documents come here.

use std::collections::BTreeMap;

use otoshi_oci::{Descriptor, Digest, Image, ImageIndex, ImageLayer, Platform, Reference};
use otoshi_rebase::index::{LeftBehind, entries};
use otoshi_registry::{Depth, Repository};
use otoshi_store::Home;

use crate::{PipelineError, Remote, bases::origins};

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) reference: Reference,
    /// Whether the name was given in the store, and not in a registry.
    pub(super) is_local: bool,
    pub(super) digest: Digest,
    pub(super) index: Option<ImageIndex>,
    /// The images: of one that is for a single platform, that.
    pub(super) images: Vec<(Option<Platform>, Digest)>,
    pub(super) about: Vec<LeftBehind>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Named {
    /// The manifest for a platform.
    pub(super) fn of(&self, platform: &Platform) -> Option<&Digest> {
        let exact = self.images.iter().filter_map(|(known, digest)| match known {
            Some(known) => Some((platform.rank(known)?, digest)),
            None => Some((0, digest)),
        });
        exact.min_by_key(|(rank, _)| *rank).map(|(_, digest)| digest)
    }
}

/// Finds images.
#[derive(Debug, Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) home: &'a Home,
    pub(super) remote: &'a Remote,
}

impl Images<'_> {
    /// Finds what a name stands for now; one that was given in the store stands for that.
    pub(super) fn named(&self, reference: &Reference) -> Result<Option<Named>, PipelineError> {
        let layout = self.home.layout();
        let (digest, is_local) = match self.remote.local(reference)? {
            Some(digest) => (digest, true),
            None => match self.remote.client()?.fetch_manifest(layout, reference)? {
                Some(found) => (Digest::of(&found).map_err(PipelineError::plain)?, false),
                None => return Ok(None),
            },
        };
        if !is_local {
            self.remote.note(&digest, &Repository::of(reference));
        }
        let descriptor = layout.describe(&digest)?;
        let mut named = Named {
            reference: reference.clone(),
            is_local,
            digest: digest.clone(),
            index: None,
            images: vec![(None, digest.clone())],
            about: Vec::new(),
            annotations: BTreeMap::new(),
        };
        if is_index(&descriptor) {
            let index: ImageIndex = layout.read_json(&digest)?;
            let found = entries(&index);
            let images = found.images.iter().map(|(platform, entry)| {
                Ok((Some(platform.clone()), Digest::of(entry).map_err(PipelineError::plain)?))
            });
            named.images = images.collect::<Result<_, PipelineError>>()?;
            (named.about, named.annotations, named.index) = (found.about, found.annotations, Some(index));
        }
        Ok(Some(named))
    }

    /// Loads an image, fetching manifest and config where they are not here; `None` where there is none.
    pub(super) fn image(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<Option<Image>, PipelineError> {
        let layout = self.home.layout();
        // One with layers that nobody knows the place of is asked for again: its documents may be here because another image
        // has the same, as where layers were compressed anew.
        let found = |layer: &ImageLayer| {
            layout.holds(&layer.descriptor) || !origins(self.home, &layer.digest).is_empty()
        };
        if let Ok(image) = Image::load(layout, digest, platform)
            && image.layers().iter().all(found)
        {
            return Ok(Some(image));
        }
        let exact = reference.with_digest(digest.clone());
        match self.remote.pull(&exact, platform, Depth::Documents) {
            Ok(Some((pulled, _))) => {
                Ok(Some(Image::load(layout, &pulled.manifest, platform).map_err(PipelineError::plain)?))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_index(descriptor: &Descriptor) -> bool {
    let kind = descriptor.media_type().as_ref();
    kind.contains("image.index") || kind.contains("manifest.list")
}
