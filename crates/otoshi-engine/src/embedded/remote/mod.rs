//! Sources of ADD that lie elsewhere: files by HTTP, and git repositories.
//!
//! ```text
//! http://HOST/PATH, https://…            a file, mode 0600; kept by content, asked for again by ETag or Last-Modified
//! https://HOST/PATH.git[#REF[:SUBDIR]]   a repository, as is git@…, ssh://… and git://…; kept by commit
//! ```
//!
//! What a source holds now counts for the step and for the plan; a checksum or a whole commit id says it without the network.

mod auth;
mod git;
mod http;
mod wanted;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use otoshi_http::SafeUrl;
use otoshi_oci::{Digest, Fields};

pub(crate) use self::wanted::Wanted;
use self::{git::Repository, wanted::decoded};
use super::{
    EmbeddedEngine, archive,
    copy::Source,
    rootfs,
    source::{Pick, pick_in_tree},
};
use crate::{EngineError, Secret, Ssh, records::CommitTime};

/// A source that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    File { url: SafeUrl, checksum: Option<Digest> },
    Git(Repository),
}

/// A source that is here now.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The directory that holds it.
    root: PathBuf,
    /// What of it is meant.
    path: String,
    /// The name in a destination directory.
    name: String,
    /// Stands for the content.
    pub(crate) key: String,
}

impl Remote {
    /// Reads a source; `None` when it is a path.
    pub(crate) fn parse(source: &str, wanted: Wanted<'_>) -> Result<Option<Self>, EngineError> {
        if let Some(repository) = Repository::parse(source, wanted)? {
            return Ok(Some(Self::Git(repository)));
        }
        if !source.starts_with("http://") && !source.starts_with("https://") {
            return Ok(None);
        }
        let checksum =
            wanted.checksum.map(str::parse).transpose().map_err(|error: otoshi_oci::DigestError| {
                EngineError::Invalid {
                    message: format!("--checksum: {error}"),
                    hint: Some("as in sha256:24454f83…".into()),
                }
            })?;
        Ok(Some(Self::File { url: SafeUrl::new(source), checksum }))
    }

    /// Brings the source here, unless it is.
    pub(crate) fn fetch(
        &self,
        engine: &EmbeddedEngine,
        wanted: Wanted<'_>,
        no_cache: bool,
    ) -> Result<Fetched, EngineError> {
        match self {
            Self::File { url, checksum } => {
                let auth =
                    wanted.secrets.map(|secrets| auth::of_file(secrets, url.expose())).transpose()?.flatten();
                let file = http::fetch(engine, url, checksum.as_ref(), auth.as_ref(), no_cache)?;
                let name = file_name(url.expose());
                let key = format!("file {name} {}", file.digest);
                let root = engine.home().snapshots().path(&file.snapshot);
                Ok(Fetched { root, path: http::NAME.to_owned(), name, key })
            }
            Self::Git(repository) => {
                let commit = repository.resolve(wanted)?;
                let snapshot = repository.checkout(engine, &commit, wanted)?;
                Ok(Fetched {
                    root: engine.home().snapshots().path(&snapshot),
                    path: repository.subdirectory.clone(),
                    name: String::new(),
                    key: repository.key(&commit),
                })
            }
        }
    }

    /// What the source holds now, as a text; fetches a file when nothing else says it.
    pub(crate) fn state(&self, engine: &EmbeddedEngine) -> Result<String, EngineError> {
        match self {
            Self::File { checksum: Some(checksum), .. } => Ok(checksum.to_string()),
            Self::File { url, checksum: None } => {
                http::fetch(engine, url, None, None, false).map(|file| file.digest.to_string())
            }
            Self::Git(repository) => {
                repository.resolve(Wanted::default()).map(|commit| repository.key(&commit))
            }
        }
    }
}

impl EmbeddedEngine {
    /// Says when the commit was made that a context in a git repository is at, in seconds since 1970, after it was brought here;
    /// `None` where the source is not a repository.
    ///
    /// Fails where the source is malformed, its server cannot be asked, or the checksum is another commit's.
    pub fn remote_time(&self, source: &str, ssh: Option<&Ssh>) -> Result<Option<i64>, EngineError> {
        let wanted = Wanted { ssh, ..Wanted::default() };
        let Some(Remote::Git(repository)) = Remote::parse(source, wanted)? else { return Ok(None) };
        let commit = repository.resolve(wanted)?;
        let known = self.home().records().get(git::time_key(&commit).hex());
        Ok(known.map(|CommitTime(time)| time))
    }

    /// Brings a build context here that lies elsewhere, a git repository or an archive by HTTP, and says which directory holds
    /// it; `None` for a path.
    ///
    /// Fails where the address cannot be fetched, or what it holds is not an archive.
    pub fn remote_directory(
        &self,
        source: &str,
        ssh: Option<&Ssh>,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Option<PathBuf>, EngineError> {
        let wanted = Wanted { ssh, secrets: Some(secrets), ..Wanted::default() };
        let Some(remote) = Remote::parse(source, wanted)? else { return Ok(None) };
        let fetched = remote.fetch(self, wanted, false)?;
        let place = fetched.root.join(rootfs::resolve(&fetched.root, Path::new(&fetched.path))?);
        if matches!(remote, Remote::Git(_)) {
            if place.is_dir() {
                return Ok(Some(place));
            }
            return Err(EngineError::invalid(format!(
                "{}: the repository has no directory {}",
                SafeUrl::new(source),
                fetched.path
            )));
        }
        if !archive::is_archive(&place) {
            return Err(EngineError::Invalid {
                message: format!("{} is not an archive", SafeUrl::new(source)),
                hint: Some("a context is a directory, a git repository or a tar".into()),
            });
        }
        let key = Fields::new("context 1").text(fetched.key.as_str()).digest();
        if let Some(snapshot) = self.recall(&key) {
            return Ok(Some(self.home().snapshots().path(&snapshot)));
        }
        let draft = self.home().snapshots().draft()?;
        archive::unpack(self, &place, &draft.tree(), Some((0, 0)))?;
        let snapshot = self.keep(draft, &key, &[&key])?;
        Ok(Some(self.home().snapshots().path(&snapshot)))
    }
}

impl Fetched {
    /// The source as COPY has it.
    pub(crate) fn sources(&self, exclude: &[String]) -> Result<Vec<Source>, EngineError> {
        let mut found = pick_in_tree(&self.root, Pick { source: &self.path, parents: false, exclude })?;
        if found.is_empty() {
            return Err(EngineError::invalid(format!("the repository has no {}", self.path)));
        }
        for source in &mut found {
            source.name = self.name.clone().into();
        }
        Ok(found)
    }
}

/// The last name of a URL's path.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let name = path.split_once('/').and_then(|(_, path)| path.trim_end_matches('/').rsplit('/').next());
    let name = name.map(decoded).unwrap_or_default();
    let is_name = !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
    if is_name { name } else { "__unnamed__".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_last_name_of_the_url() {
        for (url, name) in [
            ("https://a/b/c.tar.gz", "c.tar.gz"),
            ("https://a/b/c?d=/e#f", "c"),
            ("https://a/b%20c/", "b c"),
            ("https://a", "__unnamed__"),
            ("https://a/", "__unnamed__"),
            ("https://a/b%2Fc", "__unnamed__"),
            ("https://a/..", "__unnamed__"),
            ("https://a/%ff", "%ff"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }

    #[test]
    fn sources_are_told_apart() {
        let parse = |text: &str| Remote::parse(text, Wanted::default()).unwrap();
        for path in ["a", "./a.git", "a/b:c", "http:/a", "github.com/a/b", "a@b/c"] {
            assert_eq!(parse(path), None, "{path}");
        }
        assert!(matches!(parse("https://a/b.tar"), Some(Remote::File { .. })));
        for url in ["https://a/b.git", "http://a/b.git#main:dir", "git@a:b", "ssh://git@a/b", "git://a/b"] {
            assert!(matches!(parse(url), Some(Remote::Git(_))), "{url}");
        }
        assert!(
            Remote::parse("https://a/b", Wanted { checksum: Some("md5:x"), ..Wanted::default() }).is_err()
        );
    }
}
