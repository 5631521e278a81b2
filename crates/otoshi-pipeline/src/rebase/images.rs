//! Images by name, for a rebase: those of the store, and those of registries, of which only documents come here.

use std::collections::BTreeMap;

use otoshi_oci::{
    Descriptor, Digest, Image, ImageIndex, ImageLayer, ImageManifest, Platform, Reference, features,
};
use otoshi_rebase::index::{Entry, LeftBehind, entry};
use otoshi_registry::{Depth, Repository};
use otoshi_store::Home;
use serde_json::Value;

use crate::{PipelineError, Remote, bases::origins};

/// How deep indexes may list indexes.
const MAX_DEPTH: usize = 4;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) reference: Reference,
    /// Whether the name was given in the store, and not in a registry.
    pub(super) is_local: bool,
    pub(super) digest: Digest,
    pub(super) index: Option<Nested>,
    /// The images: of one that is for a single platform, that.
    pub(super) images: Vec<(Option<Platform>, Digest)>,
    pub(super) about: Vec<LeftBehind>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// An index, and those that it lists.
#[derive(Debug, Clone)]
pub(super) struct Nested {
    pub(super) index: ImageIndex,
    /// The document itself, with all that is not known here.
    pub(super) document: Value,
    /// By digest.
    pub(super) below: BTreeMap<String, Nested>,
}

impl Nested {
    /// All that the index and those in it list.
    pub(super) fn listed(&self) -> Vec<Digest> {
        let own = self.index.manifests().iter().filter_map(|entry| Digest::of(entry).ok());
        own.chain(self.below.values().flat_map(Self::listed)).collect()
    }
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

    /// The platforms that it has, for people.
    pub(super) fn platforms(&self) -> String {
        let named = self.images.iter().filter_map(|(platform, _)| platform.as_ref().map(ToString::to_string));
        named.collect::<Vec<_>>().join(", ")
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
                Some(found) => (Digest::of(&found)?, false),
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
            named.images.clear();
            let index = self.nested(&mut named, &digest, 0)?;
            named.annotations = index.index.annotations().clone().unwrap_or_default().into_iter().collect();
            named.index = Some(index);
        }
        Ok(Some(named))
    }

    /// Reads an index and those in it, and notes what they list.
    fn nested(&self, named: &mut Named, digest: &Digest, depth: usize) -> Result<Nested, PipelineError> {
        let wrong = |what: String| PipelineError::Invalid {
            message: format!("{}: {what}", named.reference.familiar()),
            hint: None,
        };
        if depth >= MAX_DEPTH {
            return Err(wrong(format!("its indexes nest deeper than {MAX_DEPTH}")));
        }
        let layout = self.home.layout();
        let index: ImageIndex = layout.read_json(digest)?;
        let document = layout.read_json(digest)?;
        let needed = features(&document);
        let mut below = BTreeMap::new();
        for (listed, needed) in index.manifests().iter().zip(&needed) {
            let digest = Digest::of(listed)?;
            if is_index(listed) {
                self.fetch(&named.reference, &digest)?;
                below.insert(digest.to_string(), self.nested(named, &digest, depth + 1)?);
                continue;
            }
            let platform = match entry(listed, needed) {
                Entry::Image(platform) => platform,
                Entry::About(about) => {
                    named.about.push(about);
                    continue;
                }
                Entry::Other => continue,
                // What it is only its own documents say.
                Entry::Unsaid => match self.unsaid(&named.reference, &digest)? {
                    Some(platform) => platform,
                    None => continue,
                },
            };
            if !named.images.iter().any(|(_, known)| *known == digest) {
                named.images.push((Some(platform), digest));
            }
        }
        Ok(Nested { index, document, below })
    }

    /// The platform of an entry that names none, by its config; `None` where it is no image.
    fn unsaid(&self, reference: &Reference, digest: &Digest) -> Result<Option<Platform>, PipelineError> {
        self.fetch(reference, digest)?;
        let manifest: ImageManifest = self.home.layout().read_json(digest)?;
        if !is_image_config(manifest.config()) {
            return Ok(None);
        }
        let image = self.image(reference, digest, &Platform::host())?;
        let image = image.ok_or_else(|| PipelineError::Missing { reference: reference.familiar() })?;
        let platform = image.platform();
        match (platform.os.as_str(), platform.architecture.as_str()) {
            ("unknown", _) => Ok(None),
            ("", _) | (_, "") => {
                let text = format!(
                    "{}: neither its index nor its config says which platform {digest} is for",
                    reference.familiar()
                );
                Err(PipelineError::invalid(text, "build the image again with a tool that writes it"))
            }
            _ => Ok(Some(platform)),
        }
    }

    /// Fetches a manifest or index, where it is not here.
    fn fetch(&self, reference: &Reference, digest: &Digest) -> Result<(), PipelineError> {
        let layout = self.home.layout();
        if layout.has(digest) {
            return Ok(());
        }
        let exact = reference.with_digest(digest.clone());
        let found = self.remote.client()?.fetch_manifest(layout, &exact)?;
        found.map(drop).ok_or_else(|| PipelineError::Missing { reference: exact.familiar() })
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
            Ok(Some((pulled, _))) => Ok(Some(Image::load(layout, &pulled.manifest, platform)?)),
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_index(descriptor: &Descriptor) -> bool {
    let kind = descriptor.media_type().as_ref();
    kind.contains("image.index") || kind.contains("manifest.list")
}

fn is_image_config(config: &Descriptor) -> bool {
    let kind = config.media_type().as_ref();
    kind.contains("oci.image.config") || kind.contains("docker.container.image")
}
