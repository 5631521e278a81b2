//! Asking one source: its release file, whether that may be trusted, and the indexes that it lists.

use std::io::Read;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use otoshi_http::{SafeUrl, Validators};
use otoshi_oci::layer::decoder;
use otoshi_oci::{Digest, Hasher};

use super::available::{SourceFailure, Suite};
use super::error::AptError;
use super::fetch::{Answer, Fetch, Request};
use super::index::{self, Index, convert};
use super::kept::{Documents, Kept};
use super::keyring::{KeyFile, Keyring};
use super::release::{Listed, Release};
use super::repositories::Repositories;
use super::signature::Signed;
use super::sources::Source;
use super::verifier::Verifier;

/// The longest release file, in bytes; Debian's have some 200,000.
const RELEASE_LIMIT: u64 = 16 << 20;
/// The longest index, in bytes; that of all of Debian has some 50 million.
const INDEX_LIMIT: u64 = 256 << 20;
/// How far in the future a release may be dated, as clocks differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(10);

/// Reads keys from files; says what was tried when there is none.
fn keyring(url: &SafeUrl, files: &[KeyFile<'_>], verifier: &Verifier) -> Result<Keyring, AptError> {
    Keyring::of(files, verifier).map_err(|reasons| {
        let reason =
            if reasons.is_empty() { "the image trusts no key".to_owned() } else { reasons.join("; ") };
        AptError::Keyring { url: url.clone(), reason }
    })
}

/// One source, being asked.
#[derive(Clone, Copy)]
pub(super) struct Refresh<'a> {
    pub(super) of: &'a Repositories,
    pub(super) source: &'a Source,
    pub(super) kept: &'a Kept,
    pub(super) fetch: &'a dyn Fetch,
    pub(super) now: Timestamp,
}

impl Refresh<'_> {
    /// Asks it; what fails is told, and hides nothing else of it.
    pub(super) fn run(self) -> (Vec<Suite>, Vec<SourceFailure>) {
        let mut failures = Vec::new();
        let directory = self.source.directory();
        let failure = |error, kept| SourceFailure {
            place: self.source.place.clone(),
            url: SafeUrl::new(&directory),
            error,
            kept,
        };
        let release = match self.release(&directory) {
            Ok(release) => release,
            Err(error) => {
                // What is kept may still hold, and is better than nothing; that it is old is told.
                let old = self
                    .kept
                    .release(&directory)
                    .and_then(|documents| self.check(&directory, &documents).ok());
                failures.push(failure(error, old.is_some()));
                let Some(release) = old else { return (Vec::new(), failures) };
                release
            }
        };
        let mut suites = Vec::new();
        let mut architectures = self.source.architectures_of(&self.of.architectures);
        if release.index_of_all {
            architectures.push("all".to_owned());
        }
        // A flat repository has one index, for all architectures.
        let flat = [String::new()];
        let components = if self.source.is_flat() { &flat[..] } else { &self.source.components[..] };
        if self.source.is_flat() {
            architectures.truncate(1);
        }
        for component in components {
            for architecture in &architectures {
                match self.index(&directory, &release, component, architecture) {
                    Ok(Some(index)) => suites.push(Suite {
                        place: self.source.place.clone(),
                        directory: directory.clone(),
                        uri: self.source.uri.clone(),
                        site: self.source.site().to_owned(),
                        suite: self.source.suite.clone(),
                        component: component.clone(),
                        architecture: architecture.clone(),
                        selection: self.source.selection.clone(),
                        release: Arc::clone(&release),
                        index,
                    }),
                    Ok(None) => {}
                    Err(error) => failures.push(failure(error, false)),
                }
            }
        }
        (suites, failures)
    }

    /// Fetches the release, checks it and keeps it.
    fn release(self, directory: &str) -> Result<Arc<Release>, AptError> {
        if !(directory.starts_with("http://") || directory.starts_with("https://")) {
            return Err(AptError::Method { url: SafeUrl::new(directory) });
        }
        let documents = self.kept.fetched(&format!("{}{directory}", self.fetch.realm()), || {
            let documents = self.fetch_release(directory)?;
            let size = documents.release.len() + documents.signature.as_ref().map_or(0, Vec::len);
            self.kept.allowance().stay(size as u64, &SafeUrl::new(directory))?;
            Ok(Arc::new(documents))
        })?;
        let release = self.check(directory, &documents)?;
        self.kept.keep_release_once(directory, &documents)?;
        Ok(release)
    }

    fn fetch_release(self, directory: &str) -> Result<Documents, AptError> {
        let old = self.kept.release(directory);
        let known = old.as_ref().map(|documents| documents.validators.clone()).unwrap_or_default();
        let in_clear = old.as_ref().is_none_or(|old| old.signature.is_none());
        let known = if in_clear { known } else { Validators::default() };
        let url = format!("{directory}InRelease");
        match self.get(&url, known, RELEASE_LIMIT)? {
            (Answer::Sent(validators), release) => {
                return Ok(Documents { release, signature: None, validators });
            }
            (Answer::NotModified, _) => {
                return old.ok_or_else(|| AptError::Fetch {
                    url: SafeUrl::new(&url),
                    reason: "it answered that nothing changed, but nothing was there".to_owned(),
                });
            }
            (Answer::Missing, _) => {}
        }
        // Older repositories have the signature beside the file.
        let url = format!("{directory}Release");
        let (answer, release) = self.get(&url, Validators::default(), RELEASE_LIMIT)?;
        if answer == Answer::Missing {
            return Err(AptError::Missing { url: SafeUrl::new(format!("{directory}InRelease")) });
        }
        let (answer, signature) =
            self.get(&format!("{directory}Release.gpg"), Validators::default(), RELEASE_LIMIT)?;
        let signature = (answer != Answer::Missing).then_some(signature);
        Ok(Documents { release, signature, validators: Validators::default() })
    }

    fn get(self, url: &str, known: Validators, limit: u64) -> Result<(Answer, Vec<u8>), AptError> {
        let mut bytes = Vec::new();
        let request = Request { url: url.into(), known, limit };
        let failed = |reason| AptError::Fetch { url: SafeUrl::new(url), reason };
        let answer = self.fetch.get(&request, &mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(failed(format!("it is longer than {limit} bytes")));
        }
        Ok((answer, bytes))
    }

    /// Checks signature, dates and replay.
    fn check(self, directory: &str, documents: &Documents) -> Result<Arc<Release>, AptError> {
        let url = SafeUrl::new(directory);
        let keys = self.of.key_files(self.source);
        // Many images have the same keys: what was found out for one in this run holds for all.
        let mut same = Hasher::sha256();
        for part in
            [directory.as_bytes(), &documents.release, documents.signature.as_deref().unwrap_or_default()]
        {
            same.update(&part.len().to_le_bytes());
            same.update(part);
        }
        for KeyFile { name, content, .. } in &keys {
            let content = content.unwrap_or(b"none");
            same.update(&[name.len().to_le_bytes(), content.len().to_le_bytes()].concat());
            same.update(&[name.as_bytes(), content].concat());
        }
        let rest = (&self.source.signed_by.fingerprints, self.source.trusted, documents.signature.is_some());
        let verifier = &self.of.verifier;
        same.update(format!("{rest:?} {verifier:?} {}", self.now.as_second()).as_bytes());
        let (release, signer) = self.kept.verified(&same.finish(), || {
            self.verify(&url, documents, &keys).map(|(release, signer)| (Arc::new(release), signer))
        })?;
        self.check_dates(&url, &release)?;
        if let Some(date) = release.date {
            match self.kept.seen(directory, &signer) {
                Some(seen) if date < seen => return Err(AptError::Replayed { url, date, seen }),
                Some(seen) if date == seen => {}
                _ => self.kept.note_seen(directory, &signer, date)?,
            }
        }
        Ok(release)
    }

    /// Checks the signature, and returns what was signed and by whom.
    fn verify(
        self,
        url: &SafeUrl,
        documents: &Documents,
        keys: &[KeyFile<'_>],
    ) -> Result<(Release, String), AptError> {
        let unreadable = |reason| AptError::Tampered { url: url.clone(), reason };
        let signed = match &documents.signature {
            Some(signature) => Some(Signed::detached(&documents.release, signature).map_err(unreadable)?),
            None => Signed::in_clear(&documents.release).map_err(unreadable)?,
        };
        let trusted = self.source.trusted == Some(true);
        let (text, signer) = match signed {
            None if trusted => {
                (String::from_utf8_lossy(&documents.release).into_owned(), "nobody".to_owned())
            }
            None => return Err(AptError::Unsigned { url: url.clone() }),
            Some(signed) => {
                let fingerprints = &self.source.signed_by.fingerprints;
                let verified = keyring(url, keys, &self.of.verifier)
                    .and_then(|keyring| signed.verify(url.expose(), &keyring, fingerprints, self.now));
                let signer = match verified {
                    Err(_) if trusted => "nobody".to_owned(),
                    other => other?,
                };
                (signed.text, signer)
            }
        };
        let malformed = |reason| AptError::Malformed { url: url.clone(), reason };
        let release = Release::parse(&text).map_err(malformed)?;
        if !release.lists_files() && text.contains("MD5Sum:") {
            return Err(malformed("it lists its files without SHA-256".to_owned()));
        }
        Ok((release, signer))
    }

    /// Checks a release's date and end as apt does: where dates do not matter, neither does the end.
    fn check_dates(self, url: &SafeUrl, release: &Release) -> Result<(), AptError> {
        let configuration = &self.of.configuration;
        let flag = |own: Option<bool>, name: &str| own.or(configuration.flag(name)).unwrap_or(true);
        // What the source says counts first, then what is said of its label.
        let seconds = |own: Option<u64>, name: &str| {
            let of_label = || configuration.get(&format!("{name}::{}", release.label));
            own.filter(|own| *own > 0)
                .or_else(|| of_label().or_else(|| configuration.get(name))?.parse().ok())
                .map(|seconds| SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
        };
        let some = |span: Option<SignedDuration>| span.filter(|span| !span.is_zero());
        let Some(date) = release.date else { return Ok(()) };
        if !flag(self.source.check_date, "Acquire::Check-Date") {
            return Ok(());
        }
        let differ = seconds(self.source.date_max_future, "Acquire::Max-FutureTime").unwrap_or(CLOCKS_DIFFER);
        if date > later(self.now, differ) {
            return Err(AptError::NotYetValid { url: url.clone(), date });
        }
        if !flag(self.source.check_valid_until, "Acquire::Check-Valid-Until") {
            return Ok(());
        }
        let shortest = some(seconds(self.source.valid_until_min, "Acquire::Min-ValidTime"));
        let longest = some(seconds(self.source.valid_until_max, "Acquire::Max-ValidTime"));
        let end = release.valid_until.map(|end| shortest.map_or(end, |least| end.max(later(date, least))));
        let longest = longest.map(|most| later(date, most));
        let end = end.map(|end| longest.map_or(end, |longest| end.min(longest))).or(longest);
        match end {
            Some(since) if since < self.now => Err(AptError::Expired { url: url.clone(), since }),
            _ => Ok(()),
        }
    }

    /// Returns the index of a component for an architecture; `None` where the release has none for it.
    fn index(
        self,
        directory: &str,
        release: &Release,
        component: &str,
        architecture: &str,
    ) -> Result<Option<Arc<Index>>, AptError> {
        let base = if component.is_empty() {
            "Packages".to_owned()
        } else {
            format!("{component}/binary-{architecture}/Packages")
        };
        let plain = release.file(&base);
        let compressed = [".xz", ".zst", ".gz"].map(|ending| format!("{base}{ending}"));
        let mut forms: Vec<_> =
            compressed.into_iter().filter_map(|path| Some((release.file(&path)?, path))).collect();
        forms.sort_by_key(|(listed, _)| listed.size);
        // Mirrors seldom have the plain form, though it is listed.
        forms.extend(plain.map(|listed| (listed, base)));
        let Some((first, _)) = forms.first() else {
            let has_component = release.has_below(&format!("{component}/"));
            if !component.is_empty() && !has_component {
                let reason = format!("it has no component {component}");
                return Err(AptError::Malformed { url: SafeUrl::new(directory), reason });
            }
            return Ok(None);
        };
        let key = plain.unwrap_or(first).sha256.clone();
        let make = || {
            if plain.is_some_and(|plain| plain.size == 0) {
                return Ok(index::write(&[]));
            }
            let mut missing = None;
            for (listed, path) in &forms {
                let url = SafeUrl::new(format!("{directory}{path}"));
                // The file, its text, and what is made of that.
                let text = plain.map_or(INDEX_LIMIT, |plain| plain.size);
                let room = listed.size.saturating_add(text.saturating_mul(2));
                let _working = self.kept.allowance().work(room, &url)?;
                let bytes = match self.fetch_listed(directory, path, listed, release) {
                    Err(AptError::Missing { url }) => {
                        missing = missing.or(Some(AptError::Missing { url }));
                        continue;
                    }
                    other => other?,
                };
                let text = decompress(&bytes, plain, &url)?;
                let malformed =
                    |error: super::Malformed| AptError::Malformed { url, reason: error.to_string() };
                return convert(&text).map_err(malformed);
            }
            Err(missing.unwrap_or(AptError::Missing { url: SafeUrl::new(directory) }))
        };
        self.kept.index(&key, make).map(Some)
    }

    /// Fetches what the release lists, by its hash where that can be, and checks it.
    fn fetch_listed(
        self,
        directory: &str,
        path: &str,
        listed: &Listed,
        release: &Release,
    ) -> Result<Vec<u8>, AptError> {
        let url = format!("{directory}{path}");
        let limit = listed.size.min(INDEX_LIMIT);
        let mut found = (Answer::Missing, Vec::new());
        if self.source.by_hash.unwrap_or(release.by_hash) {
            let parent = path.rfind('/').map_or("", |end| &path[..=end]);
            let by_hash = format!("{directory}{parent}by-hash/SHA256/{}", listed.sha256);
            found = self.get_listed(&by_hash, limit)?;
        }
        if found.0 == Answer::Missing {
            found = self.get_listed(&url, limit)?;
        }
        if found.0 == Answer::Missing {
            return Err(AptError::Missing { url: SafeUrl::new(&url) });
        }
        verify(&found.1, listed, &SafeUrl::new(&url))?;
        Ok(found.1)
    }

    fn get_listed(self, url: &str, limit: u64) -> Result<(Answer, Vec<u8>), AptError> {
        let mut bytes = Vec::new();
        let request = Request { url: url.into(), known: Validators::default(), limit };
        let failed = |reason| AptError::Fetch { url: SafeUrl::new(url), reason };
        Ok((self.fetch.get(&request, &mut bytes).map_err(failed)?, bytes))
    }
}

/// A time that is this much later, or the end of time.
fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Checks bytes against what a release lists.
fn verify(bytes: &[u8], listed: &Listed, url: &SafeUrl) -> Result<(), AptError> {
    let found = bytes.len() as u64;
    if found < listed.size {
        return Err(AptError::Truncated { url: url.clone(), expected: listed.size, found });
    }
    let sum = Digest::sha256_of(bytes);
    if found > listed.size || sum.hex() != listed.sha256 {
        let reason = if found > listed.size {
            format!("it has more than the {} bytes that were signed", listed.size)
        } else {
            format!("its SHA-256 is {}, and {} was signed", sum.hex(), listed.sha256)
        };
        return Err(AptError::Tampered { url: url.clone(), reason });
    }
    Ok(())
}

/// Undoes the compression of an index, and checks what comes of it where the release lists that, too.
fn decompress(bytes: &[u8], plain: Option<&Listed>, url: &SafeUrl) -> Result<Vec<u8>, AptError> {
    let limit = plain.map_or(INDEX_LIMIT, |plain| plain.size.min(INDEX_LIMIT));
    // What is listed is a promise that nobody need keep.
    let mut text = Vec::with_capacity(usize::try_from(limit.min(64 << 20)).unwrap_or_default());
    let malformed = |error: std::io::Error| AptError::Malformed {
        url: url.clone(),
        reason: format!("it cannot be decompressed: {error}"),
    };
    let (_, mut reader) = decoder(bytes).map_err(malformed)?;
    reader.by_ref().take(limit + 1).read_to_end(&mut text).map_err(malformed)?;
    if let Some(plain) = plain {
        verify(&text, plain, url)?;
    } else if text.len() as u64 > limit {
        return Err(malformed(std::io::Error::other("it is too long")));
    }
    Ok(text)
}
