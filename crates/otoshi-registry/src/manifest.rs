//! Manifests and indexes: small documents, by tag or by digest.
//!
//! Spec: <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests>

use bytes::Bytes;
use otoshi_http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use otoshi_http::{Method, Response};
use otoshi_oci::{Descriptor, Digest, Hasher, MediaType, Reference};
use serde_json::Value;

use crate::answer::{bounded, knows_no_head, refused};
use crate::call::{Body, Call, Target};
use crate::error::{Asked, RegistryError};
use crate::hosts::Endpoint;
use crate::progress::Tally;
use crate::repository::Repository;
use crate::transport::Transport;

/// The largest manifest that is read; registries take no larger ones.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

/// What can be a manifest, in the order in which it is liked.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or index as the registry has it.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its media type, size and digest.
    pub descriptor: Descriptor,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes; their digest was verified.
    pub bytes: Bytes,
}

/// The name of a manifest: a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Tag(String),
    Digest(Digest),
}

impl Name {
    pub(crate) fn of(reference: &Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(digest.clone()),
            (None, tag) => Self::Tag(tag.unwrap_or("latest").to_owned()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }

    fn asked(&self, repository: &Repository) -> Asked {
        match self {
            Self::Tag(tag) => repository.asked(format!("for the tag {tag}")),
            Self::Digest(digest) => repository.asked(format!("for the manifest {digest}")),
        }
    }
}

/// A manifest that is to be stored, and the name for it.
pub(crate) struct NewManifest<'a> {
    pub(crate) name: &'a Name,
    pub(crate) media_type: &'a str,
    pub(crate) bytes: Bytes,
}

/// The manifests of registries.
#[derive(Clone, Copy)]
pub(crate) struct Manifests<'t>(pub(crate) &'t Transport);

impl Manifests<'_> {
    /// Fetches a manifest; `None` where no place has it.
    pub(crate) async fn get(
        self,
        repository: &Repository,
        name: &Name,
        tally: &Tally,
    ) -> Result<Option<Document>, RegistryError> {
        let asked = name.asked(repository);
        let places = self.0.settings.hosts.to_read(repository)?;
        let (mut failed, count) = (None, places.len());
        for (index, endpoint) in places.into_iter().enumerate() {
            match self.get_at(&endpoint, name, &asked, tally).await {
                Ok(Some(document)) => return Ok(Some(document)),
                Ok(None) => failed = None,
                // A mirror that fails is one that does not have it.
                Err(error) if index + 1 < count => {
                    tracing::warn!(host = endpoint.host, %error, "a mirror failed");
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn get_at(
        self,
        endpoint: &Endpoint,
        name: &Name,
        asked: &Asked,
        tally: &Tally,
    ) -> Result<Option<Document>, RegistryError> {
        let path = format!("{}/manifests/{}", endpoint.name, name.text());
        let call = Call::read(Method::GET, path).header("accept", ACCEPT);
        let response = self.0.send(endpoint, &call, asked, tally).await?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            _ => return Err(refused(asked, response).await),
        }
        let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
        let (said_type, said_digest) = (media_type(&response), content_digest(&response));
        let bytes = bounded(response, MAX_MANIFEST).await.map_err(wrong)?;
        let expected = match name {
            Name::Digest(digest) => Some(digest.clone()),
            Name::Tag(_) => said_digest,
        };
        let digest = digest_of(&bytes, expected.as_ref());
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(wrong(format!("its content has the digest {digest}, not {expected}")));
        }
        let own = serde_json::from_slice::<Value>(&bytes)
            .map_err(|error| wrong(format!("it is not JSON: {error}")))?
            .get("mediaType")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let media_type = own.or(said_type).unwrap_or_else(|| MediaType::ImageManifest.to_string());
        if media_type.contains("manifest.v1+") && media_type.contains("docker") {
            let reason = "it is a manifest of Docker's schema 1, which is deprecated and not supported";
            return Err(wrong(reason.to_owned()));
        }
        let descriptor = Descriptor::new(media_type.as_str().into(), bytes.len() as u64, digest.to_oci());
        Ok(Some(Document { descriptor, digest, bytes }))
    }

    /// Asks what a name stands for, without fetching it where the registry says so.
    pub(crate) async fn head(
        self,
        repository: &Repository,
        name: &Name,
        tally: &Tally,
    ) -> Result<Option<Digest>, RegistryError> {
        let places = self.0.settings.hosts.to_read(repository)?;
        // A mirror may lag behind: what a tag stands for now only the registry itself knows.
        let Some(endpoint) = places.last() else { return Ok(None) };
        self.head_at(endpoint, repository, name, tally).await
    }

    pub(crate) async fn head_at(
        self,
        endpoint: &Endpoint,
        repository: &Repository,
        name: &Name,
        tally: &Tally,
    ) -> Result<Option<Digest>, RegistryError> {
        let asked = name.asked(repository);
        let path = format!("{}/manifests/{}", endpoint.name, name.text());
        let call = Call::read(Method::HEAD, path).header("accept", ACCEPT);
        let response = self.0.send(endpoint, &call, &asked, tally).await?;
        let whole = || async {
            let document = self.get_at(endpoint, name, &asked, tally).await?;
            Ok(document.map(|document| document.digest))
        };
        if knows_no_head(&response) {
            return whole().await;
        }
        match response.status().as_u16() {
            200 => match (content_digest(&response), name) {
                (Some(digest), _) => Ok(Some(digest)),
                (None, Name::Digest(digest)) => Ok(Some(digest.clone())),
                (None, Name::Tag(_)) => whole().await,
            },
            404 => Ok(None),
            _ => Err(refused(&asked, response).await),
        }
    }

    /// Stores a manifest under a name; says whether the registry took note of the manifest's subject.
    pub(crate) async fn put(
        self,
        endpoint: &Endpoint,
        repository: &Repository,
        document: NewManifest<'_>,
        tally: &Tally,
    ) -> Result<bool, RegistryError> {
        let NewManifest { name, media_type, bytes } = document;
        let asked = match name {
            Name::Tag(tag) => repository.asked(format!("to store the tag {tag}")),
            Name::Digest(digest) => repository.asked(format!("to store the manifest {digest}")),
        };
        let path = format!("{}/manifests/{}", endpoint.name, name.text());
        let call = Call::write(Method::PUT, Target::Path(path))
            .header("content-type", media_type)
            .body(Body::Bytes(bytes));
        let response = self.0.send(endpoint, &call, &asked, tally).await?;
        if !response.status().is_success() {
            return Err(refused(&asked, response).await);
        }
        if let (Some(found), Name::Digest(digest)) = (content_digest(&response), name)
            && found != *digest
        {
            let reason = format!("it stored {found}");
            return Err(RegistryError::Wrong { asked, reason });
        }
        Ok(response.headers().contains_key("oci-subject"))
    }
}

fn media_type(response: &Response) -> Option<String> {
    let text = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let text = text.split(';').next()?.trim();
    text.starts_with("application/vnd.").then(|| text.to_owned())
}

pub(crate) fn content_digest(response: &Response) -> Option<Digest> {
    response.headers().get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

/// How long a body says that it is.
pub(crate) fn content_length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The digest of bytes, by the algorithm of the one expected.
fn digest_of(bytes: &[u8], expected: Option<&Digest>) -> Digest {
    let mut hasher = expected.map_or_else(Hasher::sha256, |digest| Hasher::new(digest.algorithm()));
    hasher.update(bytes);
    hasher.finish()
}
