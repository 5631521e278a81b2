//! Files of repositories that are fetched by address: at most once in a run, with a conditional request where one was kept.
//!
//! ```text
//! DIRECTORY/
//! ├── document/HASH    a file as it came, by the hash of its address: what the server tells it by, and its bytes
//! └── content/HASH     a file, or what was made of it, by the hash that a signed file lists
//! ```
//!
//! Files are written under a temporary name and renamed; one that is damaged is the same as one that is not there. Whether a
//! file may be trusted is not decided here.

use std::any::{Any, TypeId};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use otoshi_http::{SafeUrl, Validators};
use otoshi_oci::Digest;
use otoshi_once::OnceMap;
use otoshi_tree::{Lasting, write_whole};

use crate::allowance::Allowance;
use crate::error::RepositoryError;
use crate::fetch::{Answer, Fetch, FetchError, Request};

/// Holds what was fetched; shared by all images of a run, and by runs.
#[derive(Debug)]
pub struct Documents {
    directory: PathBuf,
    fetched: OnceMap<String, Result<Document, RepositoryError>>,
    /// What was made of files in this run, by the kind of thing and the file's hash.
    made: OnceMap<(TypeId, String), Arc<dyn Any + Send + Sync>>,
    allowance: Arc<Allowance>,
}

/// A file of a repository.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) bytes: Arc<[u8]>,
    /// Why this is one that was kept and not what the server has now, where that is so.
    pub(crate) stale: Option<RepositoryError>,
}

impl Documents {
    /// Uses a directory, which is made when something is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::within(directory, Arc::default())
    }

    /// Uses a directory, and shares an allowance of memory.
    pub(crate) fn within(directory: impl Into<PathBuf>, allowance: Arc<Allowance>) -> Self {
        Self { directory: directory.into(), fetched: OnceMap::default(), made: OnceMap::default(), allowance }
    }

    /// Returns how much memory may still be taken.
    pub(crate) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Fetches a file of at most `limit` bytes; where that fails, what was kept of it is returned and says so.
    pub(crate) fn get(&self, url: &str, limit: u64, fetch: &dyn Fetch) -> Result<Document, RepositoryError> {
        self.fetched.get(format!("{}{url}", fetch.realm()), || {
            // What comes is kept for as long as the check lasts.
            let document = self.fetch(url, limit, fetch)?;
            self.allowance.stay(document.bytes.len() as u64, &SafeUrl::new(url))?;
            Ok(document)
        })
    }

    fn fetch(&self, url: &str, limit: u64, fetch: &dyn Fetch) -> Result<Document, RepositoryError> {
        let path = self.directory.join("document").join(Digest::sha256_of(url.as_bytes()).hex());
        let kept = read_document(&path);
        let known = kept.as_ref().map(|(validators, _)| validators.clone()).unwrap_or_default();
        let mut bytes = Vec::new();
        let failed = match fetch.get(&Request { url: url.into(), known, limit }, &mut bytes) {
            Ok(Answer::Sent(validators)) if bytes.len() as u64 <= limit => {
                if let Err(error) = write_document(&path, &validators, &bytes) {
                    tracing::debug!(%error, url = %SafeUrl::new(url), "a file of a repository was not kept");
                }
                return Ok(Document { bytes: bytes.into(), stale: None });
            }
            Ok(Answer::Sent(_)) => {
                let reason = format!("it is larger than {} MiB", limit >> 20);
                RepositoryError::Malformed { url: SafeUrl::new(url), reason }
            }
            Ok(Answer::NotModified) => match kept {
                Some((_, bytes)) => return Ok(Document { bytes: bytes.into(), stale: None }),
                None => RepositoryError::Fetch { url: SafeUrl::new(url), reason: FetchError::Unasked },
            },
            Ok(Answer::Missing) => RepositoryError::Missing { url: SafeUrl::new(url) },
            Err(reason) => RepositoryError::Fetch { url: SafeUrl::new(url), reason },
        };
        match kept {
            Some((_, bytes)) => Ok(Document { bytes: bytes.into(), stale: Some(failed) }),
            None => Err(failed),
        }
    }

    /// Makes something of a file of a hash, once in this run for all images that use it.
    pub(crate) fn shared<T: Any + Send + Sync, E>(
        &self,
        hash: &str,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let key = (TypeId::of::<T>(), hash.to_owned());
        let made = self.made.try_get(key, || {
            let made: Arc<dyn Any + Send + Sync> = Arc::new(make()?);
            Ok(made)
        })?;
        Ok(made.downcast().unwrap_or_else(|_| unreachable!("the key names the type")))
    }

    /// Fetches a file that nobody asks for twice, since what is made of it is kept.
    pub(crate) fn get_once(
        &self,
        url: &str,
        limit: u64,
        fetch: &dyn Fetch,
    ) -> Result<Vec<u8>, RepositoryError> {
        let mut bytes = Vec::new();
        let request = Request { url: url.into(), known: Validators::default(), limit };
        match fetch.get(&request, &mut bytes) {
            Ok(Answer::Sent(_)) => Ok(bytes),
            Ok(Answer::Missing) => Err(RepositoryError::Missing { url: SafeUrl::new(url) }),
            Ok(Answer::NotModified) => {
                Err(RepositoryError::Fetch { url: SafeUrl::new(url), reason: FetchError::Unasked })
            }
            Err(reason) => Err(RepositoryError::Fetch { url: SafeUrl::new(url), reason }),
        }
    }

    /// Reads what was made of content of a hash.
    pub(crate) fn content(&self, hash: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.directory.join("content").join(hash)).ok()?;
        let (sum, body) = bytes.split_at_checked(64)?;
        (Digest::sha256_of(body).hex().as_bytes() == sum).then(|| body.to_vec())
    }

    /// Keeps what was made of content of a hash.
    pub(crate) fn keep_content(&self, hash: &str, body: &[u8]) {
        let bytes = [Digest::sha256_of(body).hex().as_bytes(), body].concat();
        if let Err(error) = write_whole(&self.directory.join("content").join(hash), &bytes, Lasting::Cached) {
            tracing::debug!(%error, "an index of a repository was not kept");
        }
    }
}

fn read_document(path: &Path) -> Option<(Validators, Vec<u8>)> {
    let mut bytes = fs::read(path).ok()?;
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (validators, sum): (Validators, String) = serde_json::from_slice(&bytes[..end]).ok()?;
    bytes.drain(..=end);
    (Digest::sha256_of(&bytes).hex() == sum).then_some((validators, bytes))
}

fn write_document(path: &Path, validators: &Validators, body: &[u8]) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(&(validators, Digest::sha256_of(body).hex()))?;
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    write_whole(path, &bytes, Lasting::Cached)
}
