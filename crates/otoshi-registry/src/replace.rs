//! Replacing an image by one whose layers are in registries already: documents move, and layers are taken over.
//!
//! ```text
//! POST  blobs/uploads/?mount=DIGEST&from=…   each layer that the repository lacks
//! POST  blobs/uploads/, PUT LOCATION         the config
//! PUT   manifests/DIGEST                     each manifest of an index
//! PUT   manifests/TAG                        last, and only where the tag still stands for what was replaced
//! ```
//!
//! What is known to be there is not asked for: a replacement costs few requests, so that many images can be replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use otoshi_oci::{Digest, Layout, LayoutError};

use crate::error::RegistryError;
use crate::hosts::Endpoint;
use crate::manifest::{Manifests, Name, NewManifest};
use crate::progress::{Event, Tally};
use crate::pull::{Abort, is_foreign};
use crate::push::Manifest;
use crate::repository::Repository;
use crate::transport::Transport;
use crate::upload::Upload;

/// After so long, a tag is looked at again before it moves: somebody else may have moved it meanwhile.
const LONG: Duration = Duration::from_secs(2);

/// An image that takes the place of another one.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// Where it goes.
    pub repository: Repository,
    /// The tag that moves; without one the image is found by its digest only.
    pub tag: Option<String>,
    /// The new manifest or index, which is in the layout.
    pub digest: Digest,
    /// What the tag stood for when the new image was made of it.
    pub instead_of: Digest,
    /// When that was.
    pub since: Instant,
    /// Blobs and manifests that the repository is known to hold: those of the old image.
    pub held: BTreeSet<Digest>,
    /// Where the other blobs are.
    pub origins: BTreeMap<Digest, Vec<Repository>>,
}

impl Transport {
    pub(crate) async fn replace(
        self: &Arc<Self>,
        layout: &Layout,
        replacement: &Replacement,
        tally: &Arc<Tally>,
    ) -> Result<(), RegistryError> {
        let repository = &replacement.repository;
        let endpoint = self.settings.hosts.to_write(repository)?;
        let named = Manifest::read(layout, &replacement.digest)?;
        let mut manifests = Vec::new();
        gather(layout, &named, &replacement.held, &mut manifests)?;
        let mut wanted = BTreeMap::new();
        for blob in manifests.iter().chain([&named]).flat_map(|manifest| &manifest.blobs) {
            let digest = Digest::of(blob).map_err(LayoutError::from)?;
            tally.tell(Event::Planned { bytes: blob.size() });
            if replacement.held.contains(&digest) {
                tally.tell(Event::Skipped { digest, size: blob.size() });
            } else if !is_foreign(blob) {
                wanted.insert(digest, blob.size());
            }
        }
        let store = |(digest, size): (Digest, u64)| {
            let others = replacement.origins.get(&digest).cloned().unwrap_or_default();
            let others: Vec<_> = others.into_iter().filter(|other| other != repository).collect();
            let upload = Upload::new((&endpoint, repository), (digest, size), &others, tally);
            let (transport, layout) = (Arc::clone(self), layout.clone());
            Abort(tokio::spawn(async move { transport.take_over(&layout, &upload, &others).await }))
        };
        let tasks = stream::iter(wanted).map(|blob| async { store(blob).join().await });
        tasks.buffer_unordered(self.settings.parallel.max(1)).try_collect::<()>().await?;
        self.push_manifests(&endpoint, repository, &manifests, tally).await?;
        self.move_tag(&endpoint, replacement, named, tally).await
    }

    /// Stores a blob that the repository is not known to hold.
    async fn take_over(
        self: &Arc<Self>,
        layout: &Layout,
        upload: &Upload,
        others: &[Repository],
    ) -> Result<(), RegistryError> {
        if upload.from.is_empty() && layout.size(&upload.digest).is_ok_and(|size| size == upload.size) {
            let file = layout.open_blob(&upload.digest)?;
            return upload.send(self, file, None).await;
        }
        match upload.mount(self).await? {
            Ok(()) => Ok(()),
            // It may be there all the same, here or in another registry.
            Err(_) => self.store_blob(layout, upload, others).await,
        }
    }

    async fn move_tag(
        &self,
        endpoint: &Endpoint,
        replacement: &Replacement,
        named: Manifest,
        tally: &Tally,
    ) -> Result<(), RegistryError> {
        let repository = &replacement.repository;
        let name = match &replacement.tag {
            Some(tag) => Name::Tag(tag.clone()),
            None => Name::Digest(replacement.digest.clone()),
        };
        if replacement.tag.is_some() && replacement.since.elapsed() > LONG {
            let now = Manifests(self).head_at(endpoint, repository, &name, tally).await?;
            if now.as_ref().is_some_and(|now| *now != replacement.instead_of) {
                return Err(RegistryError::Moved {
                    repository: repository.to_string(),
                    tag: replacement.tag.clone().unwrap_or_default(),
                });
            }
        }
        let size = named.bytes.len() as u64;
        let document = NewManifest { name: &name, media_type: &named.media_type, bytes: named.bytes };
        Manifests(self).put(endpoint, repository, document, tally).await?;
        tally.tell(Event::Moved { bytes: size });
        Ok(())
    }
}

/// Adds what a manifest names and the repository does not hold, each after all that it names itself.
fn gather(
    layout: &Layout,
    named: &Manifest,
    held: &BTreeSet<Digest>,
    found: &mut Vec<Manifest>,
) -> Result<(), RegistryError> {
    for child in named.children.iter().filter(|child| !held.contains(*child)) {
        if found.iter().any(|known| known.digest == *child) {
            continue;
        }
        let child = Manifest::read(layout, child)?;
        gather(layout, &child, held, found)?;
        found.push(child);
    }
    Ok(())
}
