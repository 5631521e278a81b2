//! Pushing: blobs first, then manifests, and all tags together at the end.
//!
//! Nobody ever sees a tag whose blobs are missing, and a push that fails moves no tag.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use otoshi_http::{Failure, Retries};
use otoshi_oci::{Descriptor, Digest, Layout, LayoutError, MediaType};
use serde_json::Value;

use crate::blob::WantedBlob;
use crate::error::RegistryError;
use crate::hosts::Endpoint;
use crate::listing::Listing;
use crate::manifest::{Manifests, Name, NewManifest};
use crate::progress::{Event, Tally};
use crate::pull::Abort;
use crate::repository::Repository;
use crate::transport::Transport;
use crate::upload::Upload;

/// How often a manifest is offered again to a registry that says it lacks what was just stored there.
const UNSEEN: u32 = 3;

/// Something to be pushed: a manifest or index of a layout, and the tag that it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it goes.
    pub repository: Repository,
    /// The tag; without one it is found by its digest only.
    pub tag: Option<String>,
    /// The manifest.
    pub digest: Digest,
}

/// Knows other repositories that hold a blob, which a layout may lack.
pub trait Origins: Send + Sync {
    /// The repositories that are known to hold a blob.
    fn of(&self, blob: &Digest) -> Vec<Repository>;
}

/// Knows nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoOrigins;

impl Origins for NoOrigins {
    fn of(&self, _: &Digest) -> Vec<Repository> {
        Vec::new()
    }
}

/// A manifest with its bytes.
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
    subject: Option<Digest>,
    /// As an index of referrers lists it.
    entry: Descriptor,
    pub(crate) blobs: Vec<Descriptor>,
    pub(crate) children: Vec<Digest>,
}

impl Manifest {
    pub(crate) fn read(layout: &Layout, digest: &Digest) -> Result<Self, RegistryError> {
        let bytes = layout.read(digest)?;
        let descriptor = layout.describe(digest)?;
        let json = |source| LayoutError::Json { what: format!("blob {digest}"), source };
        let value: Value = serde_json::from_slice(&bytes).map_err(json)?;
        let list = |field: &str| -> Result<Vec<Descriptor>, RegistryError> {
            value.get(field).map_or(Ok(Vec::new()), |list| {
                serde_json::from_value(list.clone()).map_err(|source| json(source).into())
            })
        };
        let mut blobs = list("layers")?;
        if let Some(config) = value.get("config") {
            blobs.push(serde_json::from_value(config.clone()).map_err(json)?);
        }
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let mut entry = descriptor.clone();
        // An artifact's type, as the specification has it: its own, else that of its config.
        let kind = text("/artifactType").or_else(|| text("/config/mediaType"));
        entry.set_artifact_type(kind.map(MediaType::from));
        let annotations = value.get("annotations").cloned().unwrap_or_default();
        entry.set_annotations(serde_json::from_value(annotations).unwrap_or_default());
        let children = list("manifests")?;
        let children =
            children.iter().map(Digest::of).collect::<Result<_, _>>().map_err(LayoutError::from)?;
        Ok(Self {
            digest: digest.clone(),
            media_type: descriptor.media_type().to_string(),
            subject: text("/subject/digest").and_then(|digest| digest.parse().ok()),
            bytes: bytes.into(),
            entry,
            blobs,
            children,
        })
    }
}

/// What the repositories of one push share.
struct Pass<'a> {
    layout: &'a Layout,
    origins: &'a Arc<dyn Origins>,
    tally: &'a Arc<Tally>,
    /// Those that are done, with the blobs that they hold: others take these over.
    done: Vec<(Repository, HashSet<Digest>)>,
    /// What the tally has counted already.
    counted: HashSet<String>,
}

impl Transport {
    /// Pushes items; those whose tag stands for them already cost one request.
    pub(crate) async fn push(
        self: &Arc<Self>,
        layout: &Layout,
        items: &[Item],
        origins: &Arc<dyn Origins>,
        tally: &Arc<Tally>,
    ) -> Result<(), RegistryError> {
        let items: BTreeSet<(&Repository, &Option<String>, &Digest)> =
            items.iter().map(|item| (&item.repository, &item.tag, &item.digest)).collect();
        let stale: Vec<_> = stream::iter(items)
            .map(|(repository, tag, digest)| async move {
                let name =
                    tag.as_ref().map_or_else(|| Name::Digest(digest.clone()), |t| Name::Tag(t.clone()));
                let endpoint = self.settings.hosts.to_write(repository)?;
                let found = Manifests(self).head_at(&endpoint, repository, &name, tally).await?;
                let is_there = found.as_ref() == Some(digest);
                Ok::<_, RegistryError>((repository, tag, digest, is_there))
            })
            .buffered(self.settings.parallel.max(1))
            .try_collect()
            .await?;

        let (done, counted) = Default::default();
        let mut pass = Pass { layout, origins, tally, done, counted };
        let mut manifests: BTreeMap<&Repository, Vec<Manifest>> = BTreeMap::new();
        for (repository, _, digest, is_there) in &stale {
            let known = manifests.entry(*repository).or_default();
            if *is_there {
                count_as_there(layout, digest, &mut pass.counted, tally);
            } else {
                collect(layout, digest, known)?;
            }
        }
        for (repository, manifests) in &mut manifests {
            let endpoint = self.settings.hosts.to_write(repository)?;
            let held = self.push_blobs(&endpoint, repository, manifests, &mut pass).await?;
            self.push_manifests(&endpoint, repository, manifests, tally).await?;
            pass.done.push(((*repository).clone(), held));
        }
        // All at once, when everything that they stand for is there.
        let mut tags = Vec::new();
        for (repository, tag, digest, is_there) in &stale {
            if let (Some(tag), false) = (*tag, *is_there) {
                tags.push((*repository, tag.clone(), Manifest::read(layout, digest)?));
            }
        }
        // Those that name other manifests last: some registries look at these while they write them.
        let (indexes, others): (Vec<_>, Vec<_>) =
            tags.into_iter().partition(|(.., manifest)| !manifest.children.is_empty());
        for round in [others, indexes] {
            stream::iter(round)
                .map(|(repository, tag, manifest)| async move {
                    let endpoint = self.settings.hosts.to_write(repository)?;
                    let (name, bytes) = (Name::Tag(tag), manifest.bytes);
                    let document = NewManifest { name: &name, media_type: &manifest.media_type, bytes };
                    Manifests(self).put(&endpoint, repository, document, tally).await.map(drop)
                })
                .buffer_unordered(self.settings.parallel.max(1))
                .try_collect::<()>()
                .await?;
        }
        Ok(())
    }

    /// Stores the blobs of manifests, and leaves of the manifests those that are not there. Gives the blobs that are there.
    async fn push_blobs(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        repository: &Repository,
        manifests: &mut Vec<Manifest>,
        pass: &mut Pass<'_>,
    ) -> Result<HashSet<Digest>, RegistryError> {
        let Pass { layout, origins, tally, done, counted } = pass;
        let (layout, origins, tally): (&Layout, _, &Arc<Tally>) = (layout, *origins, tally);
        let there: Vec<bool> = stream::iter(manifests.iter().map(|manifest| manifest.digest.clone()))
            .map(|digest| async move {
                let name = Name::Digest(digest);
                Manifests(self).head_at(endpoint, repository, &name, tally).await.map(|found| found.is_some())
            })
            .buffered(self.settings.parallel.max(1))
            .try_collect()
            .await?;
        let mut held = HashSet::new();
        let mut wanted = BTreeMap::new();
        for (manifest, is_there) in manifests.iter().zip(&there) {
            if counted.insert(manifest.digest.to_string()) {
                tally.tell(Event::Planned { bytes: manifest.bytes.len() as u64 });
            }
            for blob in &manifest.blobs {
                let digest = Digest::of(blob).map_err(LayoutError::from)?;
                held.insert(digest.clone());
                if counted.insert(digest.to_string()) {
                    tally.tell(Event::Planned { bytes: blob.size() });
                }
                if *is_there {
                    continue;
                }
                wanted.insert(digest, blob.size());
            }
        }
        let mut there = there.into_iter();
        manifests.retain(|_| !there.next().unwrap_or_default());
        let near: HashSet<&Repository> = done.iter().map(|(repository, _)| repository).collect();
        let store = |(digest, size): (Digest, u64)| {
            let beside = done.iter().filter(|(_, held)| held.contains(&digest)).map(|(r, _)| r.clone());
            let known = origins.of(&digest).into_iter().filter(|other| !near.contains(other));
            let others: Vec<Repository> = beside.chain(known).filter(|other| other != repository).collect();
            let upload = Upload::new((endpoint, repository), (digest, size), &others, tally);
            let (transport, layout) = (Arc::clone(self), layout.clone());
            Abort(tokio::spawn(async move { transport.store_blob(&layout, &upload, &others).await }))
        };
        let tasks = stream::iter(wanted).map(|blob| async { store(blob).join().await });
        tasks.buffer_unordered(self.settings.parallel.max(1)).try_collect::<()>().await?;
        Ok(held)
    }

    /// Stores one blob, fetching it first where only another registry has it.
    pub(crate) async fn store_blob(
        self: &Arc<Self>,
        layout: &Layout,
        upload: &Upload,
        others: &[Repository],
    ) -> Result<(), RegistryError> {
        let begun = match upload.find_or_mount(self).await? {
            Ok(()) => return Ok(()),
            Err(begun) => begun,
        };
        let (digest, size) = (&upload.digest, upload.size);
        if !layout.has(digest) {
            let mut outcome = Err(RegistryError::Gone {
                repository: upload.repository.to_string(),
                digest: digest.clone(),
            });
            for other in others {
                let wanted = WantedBlob { digest, size, follower: None, tally: &upload.tally };
                outcome = self.fetch_blob(layout, other, wanted).await;
                if outcome.is_ok() {
                    break;
                }
            }
            outcome?;
        }
        let here = layout.size(digest)?;
        if here != size {
            let root = layout.root().to_owned();
            // Whatever it is, it is not the blob.
            let found = Digest::sha256_of(&[]);
            return Err(LayoutError::Corrupt { digest: digest.clone(), root, found }.into());
        }
        let file = layout.open_blob(digest)?;
        let outcome = upload.send(self, file, begun).await;
        if matches!(&outcome, Err(RegistryError::Refused { status: 400, .. })) {
            // A registry that finds other content than the digest says may be right.
            layout.verify(digest)?;
        }
        outcome
    }

    /// Stores manifests, those that others name first, and notes what refers to what.
    pub(crate) async fn push_manifests(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        manifests: &[Manifest],
        tally: &Tally,
    ) -> Result<(), RegistryError> {
        let mut unnoticed: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
        for manifest in manifests {
            let (name, size) = (Name::Digest(manifest.digest.clone()), manifest.bytes.len() as u64);
            let mut backoff = Retries { attempts: UNSEEN + 1, ..self.settings.retries }.backoff();
            let noticed = loop {
                let (media_type, bytes) = (&manifest.media_type[..], manifest.bytes.clone());
                let document = NewManifest { name: &name, media_type, bytes };
                let outcome = Manifests(self).put(endpoint, repository, document, tally).await;
                // All that it names is there. Where others push the same at this moment, some registries do not see that.
                let is_unseen = matches!(&outcome, Err(RegistryError::Refused { status: 400 | 404, .. }));
                let failure = is_unseen.then(|| Failure::broken("it does not find what the manifest names"));
                let Some((wait, _)) = backoff.after(failure) else { break outcome? };
                tokio::time::sleep(wait).await;
            };
            tally.tell(Event::Moved { bytes: size });
            if let Some(subject) = manifest.subject.clone().filter(|_| !noticed) {
                unnoticed.entry(subject).or_default().push(manifest.entry.clone());
            }
        }
        for (subject, entries) in unnoticed {
            Listing(self).refer(repository, &subject, &entries, tally).await?;
        }
        Ok(())
    }
}

/// Adds a manifest after everything that it names.
fn collect(layout: &Layout, digest: &Digest, found: &mut Vec<Manifest>) -> Result<(), RegistryError> {
    fn visit(
        layout: &Layout,
        digest: &Digest,
        depth: usize,
        found: &mut Vec<Manifest>,
    ) -> Result<(), RegistryError> {
        if found.iter().any(|known| known.digest == *digest) {
            return Ok(());
        }
        let manifest = Manifest::read(layout, digest)?;
        if depth < 8 {
            for child in &manifest.children {
                visit(layout, child, depth + 1, found)?;
            }
        }
        found.push(manifest);
        Ok(())
    }
    visit(layout, digest, 0, found)
}

/// Counts the bytes of something that the registry has whole, each blob once.
fn count_as_there(layout: &Layout, digest: &Digest, counted: &mut HashSet<String>, tally: &Tally) {
    let mut manifests = Vec::new();
    if collect(layout, digest, &mut manifests).is_err() {
        return;
    }
    for manifest in &manifests {
        let own = (manifest.digest.to_string(), manifest.bytes.len() as u64);
        let blobs = manifest.blobs.iter().map(|blob| (blob.digest().to_string(), blob.size()));
        for (_, bytes) in blobs.chain([own]).filter(|(name, _)| counted.insert(name.clone())) {
            tally.tell(Event::Planned { bytes });
        }
    }
}
