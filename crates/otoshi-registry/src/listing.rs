//! What a repository lists: its tags, and what refers to a manifest.
//!
//! A registry without the referrers API has, by convention, an index under the tag `sha256-HEX` of what refers to that
//! manifest, which whoever pushes such a thing keeps.
//!
//! Spec: <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-referrers>

use std::collections::HashSet;
use std::sync::PoisonError;

use bytes::Bytes;
use otoshi_http::{Method, Response, Url};
use otoshi_oci::{Descriptor, Digest, ImageIndex, MediaType, json};
use serde::Deserialize;

use crate::answer::{bounded, refused};
use crate::call::{Call, Target};
use crate::error::{Asked, RegistryError};
use crate::link::next_page;
use crate::manifest::{MAX_MANIFEST, Manifests, Name, NewManifest};
use crate::progress::Tally;
use crate::repository::Repository;
use crate::transport::Transport;

const MAX_PAGES: usize = 1000;
/// A list with more entries than this is no honest one.
const MAX_ENTRIES: usize = 500_000;
const PAGE: usize = 1000;
/// How often the index is written again when somebody else wrote it at the same time.
const RACES: usize = 5;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// The pages of one list: it is whole, or an error.
struct Pages<'a> {
    /// The page to ask for now.
    next: Option<Target>,
    asked: &'a Asked,
    seen: HashSet<Url>,
}

impl<'a> Pages<'a> {
    fn new(path: String, asked: &'a Asked) -> Self {
        Self { next: Some(Target::Path(path)), asked, seen: HashSet::new() }
    }

    fn wrong(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Wrong { asked: self.asked.clone(), reason: reason.into() }
    }

    /// Reads where the list goes on after this page.
    fn read(&mut self, page: &Response) -> Result<Option<Url>, RegistryError> {
        self.seen.insert(page.url().clone());
        next_page(page.headers(), page.url()).map_err(|reason| self.wrong(reason))
    }

    /// Goes on to the next page, after one that had something or not, when so much was found.
    fn turn(&mut self, next: Option<Url>, is_empty: bool, found: usize) -> Result<(), RegistryError> {
        if found > MAX_ENTRIES {
            return Err(self.wrong(format!("there are more than {MAX_ENTRIES}")));
        }
        let Some(next) = next else { return Ok(()) };
        if self.seen.contains(&next) {
            // Some registries' last page leads to itself, with nothing on it.
            return if is_empty { Ok(()) } else { Err(self.wrong("its pages go round in a circle")) };
        }
        if self.seen.len() >= MAX_PAGES {
            return Err(self.wrong(format!("there are more than {MAX_PAGES} pages")));
        }
        self.next = Some(Target::Url(next));
        Ok(())
    }
}

/// What repositories list.
#[derive(Clone, Copy)]
pub(crate) struct Listing<'t>(pub(crate) &'t Transport);

impl Listing<'_> {
    /// Lists all tags, in the registry's order.
    pub(crate) async fn tags(
        self,
        repository: &Repository,
        tally: &Tally,
    ) -> Result<Vec<String>, RegistryError> {
        let asked = repository.asked("for its tags");
        let places = self.0.settings.hosts.to_read(repository)?;
        let Some(endpoint) = places.last() else { return Ok(Vec::new()) };
        let mut pages = Pages::new(format!("{}/tags/list?n={PAGE}", endpoint.name), &asked);
        let mut found = Vec::new();
        while let Some(target) = pages.next.take() {
            let call = Call::new(Method::GET, target, "pull");
            let response = self.0.send(endpoint, &call, &asked, tally).await?;
            if response.status().as_u16() != 200 {
                return Err(refused(&asked, response).await);
            }
            let next = pages.read(&response)?;
            let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
            let bytes = bounded(response, MAX_MANIFEST).await.map_err(wrong)?;
            let tags: Tags = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            let tags = tags.tags.unwrap_or_default();
            pages.turn(next, tags.is_empty(), found.len() + tags.len())?;
            found.extend(tags);
        }
        Ok(found)
    }

    /// Lists what refers to a manifest; only artifacts of one type where it is given.
    pub(crate) async fn referrers(
        self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
        tally: &Tally,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let mut found = match self.referrers_by_api(repository, subject, tally).await? {
            Some(found) => found,
            None => self.referrers_by_tag(repository, subject, tally).await?,
        };
        if let Some(wanted) = artifact_type {
            found.retain(|entry| entry.artifact_type().as_ref().is_some_and(|kind| kind.as_ref() == wanted));
        }
        Ok(found)
    }

    /// By the referrers API; `None` where there is none, which is found out once for each host.
    pub(crate) async fn referrers_by_api(
        self,
        repository: &Repository,
        subject: &Digest,
        tally: &Tally,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let places = self.0.settings.hosts.to_read(repository)?;
        let Some(endpoint) = places.last() else { return Ok(None) };
        let without = || self.0.without_referrers.lock().unwrap_or_else(PoisonError::into_inner);
        if without().contains(&endpoint.host) {
            return Ok(None);
        }
        let asked = repository.asked(format!("for what refers to {subject}"));
        let mut pages = Pages::new(format!("{}/referrers/{subject}", endpoint.name), &asked);
        let mut found = Vec::new();
        while let Some(target) = pages.next.take() {
            let call = Call::new(Method::GET, target, "pull");
            let call = call.header("accept", MediaType::ImageIndex.to_string());
            let response = self.0.send(endpoint, &call, &asked, tally).await?;
            match response.status().as_u16() {
                200 => {}
                // Not known at all, or not allowed: a registry of the time before. One that has the API answers in the form
                // of the specification where it does not know the repository.
                400 | 404 | 405 => {
                    if !is_error_document(response).await {
                        without().insert(endpoint.host.clone());
                    }
                    return Ok(None);
                }
                _ => return Err(refused(&asked, response).await),
            }
            let next = pages.read(&response)?;
            let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
            let bytes = bounded(response, MAX_MANIFEST).await.map_err(wrong)?;
            let index: ImageIndex =
                serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            let new = index.manifests();
            pages.turn(next, new.is_empty(), found.len() + new.len())?;
            found.extend(new.iter().cloned());
        }
        Ok(Some(found))
    }

    /// By the tag that registries without the API keep by convention.
    pub(crate) async fn referrers_by_tag(
        self,
        repository: &Repository,
        subject: &Digest,
        tally: &Tally,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let found = Manifests(self.0).get(repository, &Name::Tag(fallback_tag(subject)), tally).await?;
        let Some(document) = found else { return Ok(Vec::new()) };
        let index: ImageIndex =
            serde_json::from_slice(&document.bytes).map_err(|error| RegistryError::Wrong {
                asked: repository.asked(format!("for the tag {}", fallback_tag(subject))),
                reason: error.to_string(),
            })?;
        Ok(index.manifests().clone())
    }

    /// Adds to the index under the fallback tag what is not in it.
    pub(crate) async fn refer(
        self,
        repository: &Repository,
        subject: &Digest,
        new: &[Descriptor],
        tally: &Tally,
    ) -> Result<(), RegistryError> {
        let endpoint = self.0.settings.hosts.to_write(repository)?;
        for _ in 0..RACES {
            let mut manifests = self.referrers_by_tag(repository, subject, tally).await?;
            let before = manifests.len();
            for entry in new {
                if !manifests.iter().any(|known| known.digest() == entry.digest()) {
                    manifests.push(entry.clone());
                }
            }
            if manifests.len() == before {
                return Ok(());
            }
            let index = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": MediaType::ImageIndex.to_string(),
                "manifests": manifests,
            });
            let bytes = json::canonical(&index).unwrap_or_default();
            let name = Name::Tag(fallback_tag(subject));
            let media_type = MediaType::ImageIndex.to_string();
            let document = NewManifest { name: &name, media_type: &media_type, bytes: Bytes::from(bytes) };
            Manifests(self.0).put(&endpoint, repository, document, tally).await?;
            // Looked at again: nothing keeps two writers apart.
        }
        Ok(())
    }
}

/// Whether a refusal is a registry's, and not that of a server that does not know the path.
async fn is_error_document(response: Response) -> bool {
    let Ok(bytes) = bounded(response, MAX_MANIFEST).await else { return false };
    serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|document| document["errors"].is_array())
}

/// Gives the tag under which registries without the API keep what refers to a manifest: `sha256-HEX`.
///
/// Spec: <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#referrers-tag-schema>
pub fn fallback_tag(subject: &Digest) -> String {
    format!("{}-{}", subject.algorithm(), subject.hex()).chars().take(128).collect()
}
