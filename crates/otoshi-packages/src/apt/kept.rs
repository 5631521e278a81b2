//! What is kept of repositories between runs, for all images alike.
//!
//! ```text
//! DIRECTORY/
//! ├── release/HASH        a release file as it came, by the hash of its address: what the server tells it by, and its bytes
//! ├── seen/HASH           the newest date that a signer signed for an address
//! └── index/HASH          an index in our form, by the SHA-256 that the release file lists
//! ```
//!
//! Files are written under a temporary name and renamed; one that is damaged is the same as one that is not there. Everything
//! here can be removed at any time, at the price of fetching it again and of not noticing a replay.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use otoshi_http::Validators;
use otoshi_oci::Digest;
use otoshi_once::OnceMap;
use otoshi_tree::{Lasting, write_whole};

use super::index::Index;
use super::release::Release;
use crate::allowance::Allowance;
use crate::error::RepositoryError;

/// What is kept of repositories; shared by all images of a run, and by runs.
#[derive(Debug)]
pub struct Kept {
    directory: PathBuf,
    /// What was fetched in this run, by address: nothing is asked for twice.
    fetched: OnceMap<String, Fetched>,
    /// What was verified in this run: what was signed, and by whom.
    verified: OnceMap<Digest, Verified>,
    /// The addresses whose release is kept as it came in this run.
    written: OnceMap<String, ()>,
    open: OnceMap<String, Arc<Index>>,
    allowance: Arc<Allowance>,
}

/// What came of verifying a release.
pub(crate) type Verified = Result<(Arc<Release>, String), RepositoryError>;

/// What came of fetching a release.
pub(crate) type Fetched = Result<Arc<Documents>, RepositoryError>;

/// A release file as it came, and its signature where that is a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Documents {
    pub(crate) release: Vec<u8>,
    /// The signature beside it; `None` where the file is signed in clear, or not at all.
    pub(crate) signature: Option<Vec<u8>>,
    pub(crate) validators: Validators,
}

impl Kept {
    /// Uses a directory, which is made when something is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::within(directory, Arc::default())
    }

    /// Returns how much memory may still be taken.
    pub(crate) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Uses a directory, and shares an allowance of memory.
    pub(crate) fn within(directory: impl Into<PathBuf>, allowance: Arc<Allowance>) -> Self {
        Self {
            directory: directory.into(),
            fetched: OnceMap::default(),
            verified: OnceMap::default(),
            written: OnceMap::default(),
            open: OnceMap::default(),
            allowance,
        }
    }

    /// Fetches a release at most once in this run.
    pub(crate) fn fetched(&self, url: &str, fetch: impl FnOnce() -> Fetched) -> Fetched {
        self.fetched.get(url.to_owned(), fetch)
    }

    /// Verifies the same with the same keys at most once in this run.
    pub(crate) fn verified(&self, same: &Digest, verify: impl FnOnce() -> Verified) -> Verified {
        self.verified.get(same.clone(), verify)
    }

    /// Keeps a release that was fetched in this run, unless that was done already.
    pub(crate) fn keep_release_once(&self, url: &str, documents: &Documents) -> Result<(), RepositoryError> {
        self.written.try_get(url.to_owned(), || {
            if self.release(url).as_ref() == Some(documents) {
                Ok(())
            } else {
                self.keep_release(url, documents)
            }
        })
    }

    /// Reads the release that was last kept of an address.
    pub(crate) fn release(&self, url: &str) -> Option<Documents> {
        let bytes = fs::read(self.path("release", url)).ok()?;
        let (head, rest) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'\n')? + 1)?;
        let (sizes, validators): ((usize, Option<usize>, String), Validators) =
            serde_json::from_slice(head).ok()?;
        if Digest::sha256_of(rest).hex() != sizes.2 {
            return None;
        }
        let (release, signature) = rest.split_at_checked(sizes.0)?;
        Some(Documents {
            release: release.to_vec(),
            signature: sizes.1.map(|_| signature.to_vec()),
            validators,
        })
    }

    /// Keeps a release.
    pub(crate) fn keep_release(&self, url: &str, documents: &Documents) -> Result<(), RepositoryError> {
        let mut rest = documents.release.clone();
        rest.extend_from_slice(documents.signature.as_deref().unwrap_or_default());
        let sizes = (
            documents.release.len(),
            documents.signature.as_ref().map(Vec::len),
            Digest::sha256_of(&rest).hex().to_owned(),
        );
        let mut bytes = serde_json::to_vec(&(sizes, &documents.validators)).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&rest);
        write(&self.path("release", url), &bytes)
    }

    /// The newest date that a signer signed for an address.
    pub(crate) fn seen(&self, url: &str, signer: &str) -> Option<Timestamp> {
        fs::read_to_string(self.path("seen", &format!("{signer} {url}"))).ok()?.trim().parse().ok()
    }

    /// Takes note of a date.
    pub(crate) fn note_seen(&self, url: &str, signer: &str, date: Timestamp) -> Result<(), RepositoryError> {
        write(&self.path("seen", &format!("{signer} {url}")), format!("{date}\n").as_bytes())
    }

    /// Returns the index with a hash: one that is open, one that is kept, or one that is made now.
    pub(crate) fn index(
        &self,
        sha256: &str,
        make: impl FnOnce() -> Result<Vec<u8>, RepositoryError>,
    ) -> Result<Arc<Index>, RepositoryError> {
        // Whoever wants the same index waits here; if this one fails, the next tries its own mirror.
        self.open.try_get(sha256.to_owned(), || {
            let path = self.directory.join("index").join(sha256);
            if let Ok(index) = Index::open(&path) {
                // Its time says when it was last of use.
                if let Ok(file) = fs::File::options().append(true).open(&path) {
                    let _ = file.set_modified(std::time::SystemTime::now());
                }
                return Ok(Arc::new(index));
            }
            write(&path, &make()?)?;
            let damaged = |error: super::index::Damaged| RepositoryError::Kept {
                doing: "reading",
                path: path.clone(),
                reason: error.to_string(),
            };
            Index::open(&path).map(Arc::new).map_err(damaged)
        })
    }

    fn path(&self, kind: &str, name: &str) -> PathBuf {
        self.directory.join(kind).join(Digest::sha256_of(name.as_bytes()).hex())
    }
}

/// Writes a file whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    write_whole(path, bytes, Lasting::Cached).map_err(|error| RepositoryError::Kept {
        doing: "writing",
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_kept_with_what_it_is_told_by() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::new(directory.path());
        let validators = Validators { etag: Some("\"x\"".into()), last_modified: None };
        let documents = Documents { release: b"a\nb".to_vec(), signature: Some(b"c".to_vec()), validators };
        assert_eq!(kept.release("http://one.test/"), None);
        kept.keep_release("http://one.test/", &documents).unwrap();
        assert_eq!(kept.release("http://one.test/"), Some(documents));
        let path = kept.path("release", "http://one.test/");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(kept.release("http://one.test/"), None);
    }
}
