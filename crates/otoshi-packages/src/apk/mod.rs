//! What the repositories have that an Alpine root is configured to use, and which version apk would choose.
//!
//! ```text
//! sources      etc/apk/repositories, {etc,lib}/apk/repositories.d/*.list → addresses of indexes
//! signature    APKINDEX.tar.gz: a signature by a key in etc/apk/keys or usr/share/apk/keys, and the index it signs
//! index        the packages of an index
//! adb          Packages.adb, the form of apk 3: signature and packages in one
//! keys         the public keys
//! world        etc/apk/world: what was asked for, at which versions, from which tagged repositories
//! ```
//!
//! Nothing of an index counts that is not signed by a key of the image. One repository that fails hides no other. Alpine has
//! no suites for security: every newer version in a stable release is a fix.

pub(crate) mod adb;
mod index;
mod keys;
mod signature;
mod sources;
mod world;

use std::sync::Arc;

use otoshi_http::SafeUrl;
use otoshi_oci::Digest;

pub use self::index::{Index, Record};
pub use self::keys::Keys;
pub use self::signature::Signed;
pub use self::sources::{Source, sources};
pub use self::world::{Asked, World};
use crate::documents::Documents;
use crate::error::RepositoryError;
use crate::fetch::Fetch;
use crate::files::Files;
use crate::standing::Failure;
use crate::version::apk::compare;

/// The largest index that is fetched, in bytes.
const LARGEST: u64 = 64 << 20;

/// Holds what an image's repositories have.
#[derive(Debug, Default)]
pub struct Available {
    repositories: Vec<(Source, Arc<Index>)>,
    /// Repositories that could not be asked, by address.
    pub failures: Vec<Failure>,
    world: World,
}

/// The version that apk would choose for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version.
    pub version: String,
    /// The repository that has it; empty for what is installed and in no repository.
    pub repository: String,
    /// A newer version that `world` keeps away, and the repository that has it.
    pub newer: Option<(String, String)>,
}

impl Available {
    /// Says whether there is any repository that answered, or of which something is kept.
    pub fn has_any(&self) -> bool {
        !self.repositories.is_empty()
    }

    /// Asks all repositories that an image's files name for what they have for an architecture.
    pub fn refresh(files: &Files, architecture: &str, documents: &Documents, fetch: &dyn Fetch) -> Self {
        let keys = Keys::of(files);
        let world = files.text("etc/apk/world").map(|text| World::parse(&text)).unwrap_or_default();
        let mut available = Self { world, ..Self::default() };
        for source in sources(files, architecture) {
            let source = match source {
                Ok(source) => source,
                Err(error) => {
                    let place = "etc/apk/repositories".to_owned();
                    available.failures.push(Failure { place, error, kept: false });
                    continue;
                }
            };
            if !source.url.starts_with("http://") && !source.url.starts_with("https://") {
                let error = RepositoryError::Method { url: SafeUrl::new(&source.url) };
                let place = SafeUrl::new(&source.url).to_string();
                available.failures.push(Failure { place, error, kept: false });
                continue;
            }
            let place = SafeUrl::new(&source.url).to_string();
            match index(&source, &keys, documents, fetch) {
                Ok((index, stale)) => {
                    available.failures.extend(stale.map(|error| Failure { place, error, kept: true }));
                    available.repositories.push((source, index));
                }
                Err(error) => available.failures.push(Failure { place, error, kept: false }),
            }
        }
        available
    }

    /// Returns every version of a package, newest first, with the repository that has it and whether `world` allows it.
    pub fn versions(&self, name: &str) -> Vec<(&Record, &Source, bool)> {
        let mut found = Vec::new();
        for (source, index) in &self.repositories {
            found.extend(index.named(name).iter().map(|record| {
                let allowed = self.world.allows(name, &record.version, source.tag.as_deref());
                (record, source, allowed)
            }));
        }
        found.sort_by(|left, right| compare(&right.0.version, &left.0.version));
        found
    }

    /// Returns the version that apk would choose, given the one that is installed; `None` where no repository has the package.
    pub fn candidate(&self, name: &str, installed: Option<&str>) -> Option<Candidate> {
        let versions = self.versions(name);
        let newest = versions
            .iter()
            .find(|(_, source, _)| source.tag.is_none() || self.world.tag(name) == source.tag.as_deref());
        let chosen = versions.iter().find(|(_, _, allowed)| *allowed);
        let is_newer = |left: &str, right: &str| compare(left, right).is_gt();
        let (version, repository) = match (chosen, installed) {
            (Some((record, source, _)), None) => {
                (record.version.clone(), SafeUrl::new(&source.url).to_string())
            }
            (Some((record, source, _)), Some(installed)) if !is_newer(installed, &record.version) => {
                (record.version.clone(), SafeUrl::new(&source.url).to_string())
            }
            (_, Some(installed)) if !versions.is_empty() => (installed.to_owned(), String::new()),
            _ => return None,
        };
        let newer = newest.filter(|(record, ..)| is_newer(&record.version, &version));
        let newer =
            newer.map(|(record, source, _)| (record.version.clone(), SafeUrl::new(&source.url).to_string()));
        Some(Candidate { version, repository, newer })
    }
}

/// Fetches the index of a repository and reads it, once it is known to be signed; says why it is an earlier one, where it is.
fn index(
    source: &Source,
    keys: &Keys,
    documents: &Documents,
    fetch: &dyn Fetch,
) -> Result<(Arc<Index>, Option<RepositoryError>), RepositoryError> {
    let url = SafeUrl::new(&source.index);
    let document = documents.get(url.expose(), LARGEST, fetch)?;
    let read = if source.is_adb() { read_adb } else { read_text };
    Ok((read(&url, &document.bytes, keys, documents)?, document.stale))
}

/// Reads an index of a text in an archive, once for all images that have the same.
fn read_text(
    url: &SafeUrl,
    bytes: &[u8],
    keys: &Keys,
    documents: &Documents,
) -> Result<Arc<Index>, RepositoryError> {
    let signed = Signed::check(url, bytes, keys)?;
    documents.shared(Digest::sha256_of(signed.bytes()).hex(), || {
        // The archive, and the text in it.
        let _working = documents.allowance().work(2 * signature::LARGEST, url)?;
        Ok(Index::parse(&signed.index()?))
    })
}

/// Reads an index in the form of apk 3.
fn read_adb(
    url: &SafeUrl,
    bytes: &[u8],
    keys: &Keys,
    documents: &Documents,
) -> Result<Arc<Index>, RepositoryError> {
    let malformed = |reason| RepositoryError::Malformed { url: url.clone(), reason };
    // What it becomes, and names.
    let _working = documents.allowance().work(2 * adb::LARGEST, url)?;
    let adb = adb::Adb::open(bytes).map_err(malformed)?;
    adb.check(url, keys)?;
    documents.shared(Digest::sha256_of(bytes).hex(), || adb.index().map_err(malformed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowance::Allowance;

    #[test]
    fn an_index_is_read_within_the_allowance_of_all() {
        let (directory, url) = (tempfile::tempdir().unwrap(), SafeUrl::new("http://one.test/APKINDEX.adb"));
        let kind = |working| {
            let documents = Documents::within(directory.path(), Arc::new(Allowance::new(working, 0)));
            read_adb(&url, b"no index", &Keys::of(&Files::new()), &documents).unwrap_err().code()
        };
        assert_eq!(kind(2 * adb::LARGEST - 1), "too-much");
        assert_eq!(kind(2 * adb::LARGEST), "malformed");
    }
}
