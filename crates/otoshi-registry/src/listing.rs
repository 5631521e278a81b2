//! What a repository lists: its tags, and what refers to a manifest.
//!
//! A registry without the referrers API has, by convention, an index under the tag `sha256-HEX` of what refers to that
//! manifest, which whoever pushes such a thing keeps.
//!
//! Spec: <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-referrers>

use std::sync::PoisonError;

use bytes::Bytes;
use otoshi_oci::{Descriptor, Digest, ImageIndex, MediaType, json};
use reqwest::header::LINK;
use reqwest::{Method, Response};
use serde::Deserialize;

use crate::answer::{bounded, refused};
use crate::call::Call;
use crate::error::RegistryError;
use crate::hosts::Endpoint;
use crate::manifest::{MAX_MANIFEST, Name};
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

impl Transport {
    /// Lists all tags, in the registry's order.
    pub(crate) async fn tags(
        &self,
        repository: &Repository,
        tally: &Tally,
    ) -> Result<Vec<String>, RegistryError> {
        let asked = repository.asked("for its tags");
        let places = self.settings.hosts.to_read(repository)?;
        let Some(endpoint) = places.last() else { return Ok(Vec::new()) };
        let mut path = format!("{}/tags/list?n={PAGE}", endpoint.name);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let response = self.send(endpoint, &Call::read(Method::GET, path.clone()), &asked, tally).await?;
            if response.status().as_u16() != 200 {
                return Err(refused(&asked, response).await);
            }
            let next = next_page(&response);
            let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
            let bytes = bounded(response, MAX_MANIFEST).await.map_err(wrong)?;
            let tags: Tags = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            let tags = tags.tags.unwrap_or_default();
            let is_empty = tags.is_empty();
            found.extend(tags);
            if found.len() > MAX_ENTRIES {
                return Err(wrong(format!("there are more than {MAX_ENTRIES}")));
            }
            match next.filter(|next| !is_empty && *next != path) {
                Some(next) => path = next,
                None => break,
            }
        }
        Ok(found)
    }

    /// Lists what refers to a manifest; only artifacts of one type where it is given.
    pub(crate) async fn referrers(
        &self,
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
        &self,
        repository: &Repository,
        subject: &Digest,
        tally: &Tally,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let places = self.settings.hosts.to_read(repository)?;
        let Some(endpoint) = places.last() else { return Ok(None) };
        let without = || self.without_referrers.lock().unwrap_or_else(PoisonError::into_inner);
        if without().contains(&endpoint.host) {
            return Ok(None);
        }
        let asked = repository.asked(format!("for what refers to {subject}"));
        let mut path = format!("{}/referrers/{subject}", endpoint.name);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let call =
                Call::read(Method::GET, path.clone()).header("accept", MediaType::ImageIndex.to_string());
            let response = self.send(endpoint, &call, &asked, tally).await?;
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
            let next = next_page(&response);
            let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
            let bytes = bounded(response, MAX_MANIFEST).await.map_err(wrong)?;
            let index: ImageIndex =
                serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            found.extend(index.manifests().iter().cloned());
            if found.len() > MAX_ENTRIES {
                return Err(wrong(format!("there are more than {MAX_ENTRIES}")));
            }
            match next.filter(|next| *next != path) {
                Some(next) => path = next,
                None => break,
            }
        }
        Ok(Some(found))
    }

    /// By the tag that registries without the API keep by convention.
    pub(crate) async fn referrers_by_tag(
        &self,
        repository: &Repository,
        subject: &Digest,
        tally: &Tally,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let found = self.get_manifest(repository, &Name::Tag(fallback_tag(subject)), tally).await?;
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
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        subject: &Digest,
        new: &[Descriptor],
        tally: &Tally,
    ) -> Result<(), RegistryError> {
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
            self.put_manifest(endpoint, repository, &name, &media_type, Bytes::from(bytes), tally).await?;
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

/// `Link: </v2/…>; rel="next"`, as a path below `/v2/`.
fn next_page(response: &Response) -> Option<String> {
    let text = response.headers().get(LINK)?.to_str().ok()?;
    let link = text.split(',').find(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))?;
    let address = link.split_once('<')?.1.split_once('>')?.0;
    let path = address.split_once("/v2/").map_or(address, |(_, path)| path);
    Some(path.trim_start_matches('/').to_owned())
}
