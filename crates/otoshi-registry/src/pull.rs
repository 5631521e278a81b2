//! Pulling: a manifest and what it names, into a layout, each blob once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use otoshi_oci::layout::MAX_JSON;
use otoshi_oci::{
    Descriptor, Digest, Image, ImageError, ImageManifest, Layout, LayoutError, Platform, Reference,
    find_manifest,
};

use crate::blob::WantedBlob;
use crate::error::RegistryError;
use crate::manifest::{Document, Manifests, Name};
use crate::progress::{Event, Tally};
use crate::repository::Repository;
use crate::transport::Transport;

/// What a reference stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What the registry has under the name: an index, or a manifest.
    pub named: Descriptor,
    /// Its digest.
    pub digest: Digest,
    /// The manifest for the platform.
    pub manifest: Digest,
}

/// How much of an image is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Index, manifest and config: what says all about it, in a few kilobytes.
    Config,
    /// The same, of an image whose layers nobody is going to ask the registry for.
    Documents,
    /// The layers as well.
    Layers,
}

/// An image that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct WantedImage<'a> {
    /// Its name.
    pub reference: &'a Reference,
    /// For which platform.
    pub platform: &'a Platform,
    /// How much of it.
    pub depth: Depth,
}

/// What is taken out of a repository into a layout.
#[derive(Clone, Copy)]
pub(crate) struct Pulling<'a> {
    pub(crate) transport: &'a Arc<Transport>,
    pub(crate) layout: &'a Layout,
    pub(crate) repository: &'a Repository,
    pub(crate) tally: &'a Arc<Tally>,
}

impl Pulling<'_> {
    /// Pulls an image of the repository; `None` where there is no such name.
    pub(crate) async fn pull(self, wanted: WantedImage<'_>) -> Result<Option<Pulled>, RegistryError> {
        let Self { layout, repository, tally, .. } = self;
        let WantedImage { reference, platform, depth } = wanted;
        let known = reference.digest().filter(|digest| layout.has(digest));
        let (digest, named) = match known {
            Some(digest) => (digest.clone(), layout.describe(digest)?),
            None => match Manifests(self.transport).get(repository, &Name::of(reference), tally).await? {
                Some(document) => (document.digest.clone(), keep(layout, &document)?),
                None => return Ok(None),
            },
        };
        let manifest = self.variant(&digest, platform).await?;
        let document: ImageManifest = layout.read_json(&manifest)?;
        let config = document.config();
        if config.size() > MAX_JSON {
            return Err(RegistryError::Wrong {
                asked: repository.asked(format!("for the manifest {manifest}")),
                reason: format!("its config has {} bytes; at most {MAX_JSON} are read", config.size()),
            });
        }
        self.fetch_all(std::slice::from_ref(config)).await?;
        // Says what is wrong with manifest and config, if anything is.
        Image::load(layout, &manifest, platform)?;
        if depth != Depth::Documents {
            refuse_foreign(repository, document.layers())?;
        }
        if depth == Depth::Layers {
            self.fetch_all(document.layers()).await?;
        }
        Ok(Some(Pulled { named, digest, manifest }))
    }

    /// Finds the manifest for a platform, fetching what leads to it.
    async fn variant(self, digest: &Digest, platform: &Platform) -> Result<Digest, RegistryError> {
        let Self { layout, repository, tally, .. } = self;
        loop {
            let missing = match find_manifest(layout, digest, platform) {
                Ok(manifest) => return Ok(manifest),
                Err(ImageError::Layout(LayoutError::Missing { digest, .. })) => digest,
                Err(error) => return Err(error.into()),
            };
            let document =
                Manifests(self.transport).get(repository, &Name::Digest(missing.clone()), tally).await?;
            let document = document.ok_or_else(|| RegistryError::Wrong {
                asked: repository.asked(format!("for the manifest {missing}")),
                reason: "its index names a manifest that it does not have".to_owned(),
            })?;
            keep(layout, &document)?;
        }
    }

    /// Fetches blobs, several at the same time, and none that is here.
    pub(crate) async fn fetch_all(self, blobs: &[Descriptor]) -> Result<(), RegistryError> {
        let Self { transport, layout, repository, tally } = self;
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for blob in blobs {
            let digest = Digest::of(blob).map_err(|error| RegistryError::Wrong {
                asked: repository.asked(format!("for the blob {}", blob.digest())),
                reason: error.to_string(),
            })?;
            if !seen.insert(digest.clone()) {
                continue;
            }
            tally.tell(Event::Planned { bytes: blob.size() });
            if layout.size(&digest).is_ok_and(|size| size == blob.size()) && layout.reuse(&digest)? {
                tally.tell(Event::Skipped { digest, size: blob.size() });
            } else {
                wanted.push((digest, blob.size()));
            }
        }
        let fetch = |(digest, size): (Digest, u64)| {
            let (transport, tally) = (Arc::clone(transport), Arc::clone(tally));
            let (layout, repository) = (layout.clone(), repository.clone());
            let task = tokio::spawn(async move {
                let wanted = WantedBlob { digest: &digest, size, follower: None, tally: &tally };
                transport.fetch_blob(&layout, &repository, wanted).await
            });
            Abort(task)
        };
        let tasks = stream::iter(wanted).map(|blob| async { fetch(blob).join().await });
        tasks.buffer_unordered(transport.settings.parallel.max(1)).try_collect::<()>().await
    }
}

/// A task that ends when nobody waits for it any more.
pub(crate) struct Abort<T>(pub(crate) tokio::task::JoinHandle<T>);

impl<T> Abort<Result<T, RegistryError>> {
    pub(crate) async fn join(mut self) -> Result<T, RegistryError> {
        (&mut self.0).await.unwrap_or_else(|_| Err(RegistryError::Setup("a transfer was stopped".to_owned())))
    }
}

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a document in a layout.
pub(crate) fn keep(layout: &Layout, document: &Document) -> Result<Descriptor, RegistryError> {
    let mut writer = layout.blob_writer_with(document.digest.algorithm())?;
    writer.put(&document.bytes)?;
    writer.commit_expecting(&document.digest)?;
    Ok(document.descriptor.clone())
}

/// Says whether a registry need not hold a layer.
pub(crate) fn is_foreign(layer: &Descriptor) -> bool {
    let kind = layer.media_type().as_ref();
    layer.urls().as_ref().is_some_and(|urls| !urls.is_empty())
        || kind.contains("foreign")
        || kind.contains("nondistributable")
}

/// Refuses layers that a registry does not hold.
pub(crate) fn refuse_foreign(repository: &Repository, layers: &[Descriptor]) -> Result<(), RegistryError> {
    for layer in layers {
        if is_foreign(layer) {
            let kind = layer.media_type().to_string();
            return Err(RegistryError::Foreign {
                repository: repository.to_string(),
                digest: Digest::of(layer).map_err(LayoutError::from)?,
                media_type: kind,
            });
        }
    }
    Ok(())
}
