//! Asking one source: its release file, whether that may be trusted, and the indexes that it lists.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;
use std::thread;

use jiff::{SignedDuration, Timestamp};
use otoshi_http::{SafeUrl, Validators};
use otoshi_oci::layer::decoder;
use otoshi_oci::{Digest, Fields};

use super::available::{Available, Rules, SourceFailure, Suite};
use super::index::{self, Index, convert};
use super::kept::{Documents, Kept};
use super::keyring::{KeyFile, Keyring};
use super::phasing::Phasing;
use super::release::{Listed, Release};
use super::repositories::Repositories;
use super::signature::Signed;
use super::sources::Source;
use super::verifier::Verifier;
use crate::error::{Malformed, RepositoryError, Unreadable};
use crate::fetch::{Answer, Fetch, FetchError, Request};

/// The longest release file, in bytes; Debian's have some 200,000.
const RELEASE_LIMIT: u64 = 16 << 20;
/// The longest index, in bytes; that of all of Debian has some 50 million.
const INDEX_LIMIT: u64 = 256 << 20;
/// How far in the future a release may be dated, as clocks differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(10);

/// The most sources that are asked.
const MOST: usize = 400;
/// How many sources are asked at the same time.
const PARALLEL: usize = 8;

impl Repositories {
    /// Asks every source what it has now; what has not changed since is taken from what is kept.
    pub fn refresh(&self, kept: &Kept, fetch: &dyn Fetch, now: Timestamp) -> Available {
        let mut results = Vec::with_capacity(self.sources.len());
        let asked = &self.sources[..self.sources.len().min(MOST)];
        for some in asked.chunks(PARALLEL) {
            let one = |source| move || Refresh { of: self, source, kept, fetch, now }.run();
            results.extend(thread::scope(|scope| {
                let running: Vec<_> = some.iter().map(|source| scope.spawn(one(source))).collect();
                running.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
            }));
        }
        let mut suites: Vec<Suite> = Vec::new();
        let mut failures: Vec<SourceFailure> = self
            .problems
            .iter()
            .map(|error| SourceFailure {
                place: String::new(),
                url: SafeUrl::default(),
                error: error.clone(),
                kept: false,
            })
            .collect();
        if let Some(more) = self.sources.get(MOST) {
            let reason = format!("only the first {MOST} sources of an image are asked");
            failures.push(SourceFailure {
                place: more.place.clone(),
                url: SafeUrl::new(&more.uri),
                error: RepositoryError::Malformed { url: SafeUrl::new(&more.uri), reason },
                kept: false,
            });
        }
        let mut had = HashSet::new();
        for result in results {
            // A thread that panicked is a mistake of ours, which no source may cause: tell it as it is.
            let (some, failed) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // What two sources name alike counts once.
            suites.extend(some.into_iter().filter(|suite| {
                let Suite { directory, component, architecture, selection, .. } = suite;
                had.insert((directory.clone(), component.clone(), architecture.clone(), selection.clone()))
            }));
            failures.extend(failed);
        }
        let rules = Rules {
            preferences: self.preferences.clone(),
            phasing: Phasing::from_files(&self.files, &self.configuration, &self.edition),
            architecture: self.architectures[0].clone(),
        };
        Available::new(suites, failures, &self.configuration, rules)
    }
}

/// Reads keys from files; says what was tried when there is none.
fn keyring(url: &SafeUrl, files: &[KeyFile<'_>], verifier: &Verifier) -> Result<Keyring, RepositoryError> {
    Keyring::of(files, verifier).map_err(|reasons| {
        let reason =
            if reasons.is_empty() { "the image trusts no key".to_owned() } else { reasons.join("; ") };
        RepositoryError::Keyring { url: url.clone(), reason }
    })
}

/// One source, being asked.
#[derive(Clone, Copy)]
struct Refresh<'a> {
    of: &'a Repositories,
    source: &'a Source,
    kept: &'a Kept,
    fetch: &'a dyn Fetch,
    now: Timestamp,
}

impl Refresh<'_> {
    /// Asks it; what fails is told, and hides nothing else of it.
    fn run(self) -> (Vec<Suite>, Vec<SourceFailure>) {
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
    fn release(self, directory: &str) -> Result<Arc<Release>, RepositoryError> {
        if !(directory.starts_with("http://") || directory.starts_with("https://")) {
            return Err(RepositoryError::Method { url: SafeUrl::new(directory) });
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

    fn fetch_release(self, directory: &str) -> Result<Documents, RepositoryError> {
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
                return old.ok_or_else(|| RepositoryError::Fetch {
                    url: SafeUrl::new(&url),
                    reason: FetchError::Unasked,
                });
            }
            (Answer::Missing, _) => {}
        }
        // Older repositories have the signature beside the file.
        let url = format!("{directory}Release");
        let (answer, release) = self.get(&url, Validators::default(), RELEASE_LIMIT)?;
        if answer == Answer::Missing {
            return Err(RepositoryError::Missing { url: SafeUrl::new(format!("{directory}InRelease")) });
        }
        let (answer, signature) =
            self.get(&format!("{directory}Release.gpg"), Validators::default(), RELEASE_LIMIT)?;
        let signature = (answer != Answer::Missing).then_some(signature);
        Ok(Documents { release, signature, validators: Validators::default() })
    }

    fn get(self, url: &str, known: Validators, limit: u64) -> Result<(Answer, Vec<u8>), RepositoryError> {
        let mut bytes = Vec::new();
        let request = Request { url: url.into(), known, limit };
        let failed = |reason| RepositoryError::Fetch { url: SafeUrl::new(url), reason };
        let answer = self.fetch.get(&request, &mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(failed(FetchError::TooLong(limit)));
        }
        Ok((answer, bytes))
    }

    /// Checks signature, dates and replay.
    fn check(self, directory: &str, documents: &Documents) -> Result<Arc<Release>, RepositoryError> {
        let url = SafeUrl::new(directory);
        let keys = self.of.key_files(self.source);
        // Many images have the same keys: what was found out for one in this run holds for all.
        let mut same = Fields::new("verified 1")
            .text(directory)
            .text(&documents.release)
            .option(documents.signature.as_deref())
            .number(keys.len() as u64);
        for KeyFile { name, content, .. } in &keys {
            same = same.text(name).option(*content);
        }
        let trusted = self.source.trusted.map(|trusted| if trusted { "yes" } else { "no" });
        let same = same.list(&self.source.signed_by.fingerprints).option(trusted);
        let same = self.of.verifier.fields(same).number(self.now.as_second()).digest();
        let (release, signer) = self.kept.verified(&same, || {
            self.verify(&url, documents, &keys).map(|(release, signer)| (Arc::new(release), signer))
        })?;
        self.check_dates(&url, &release)?;
        if let Some(date) = release.date {
            match self.kept.seen(directory, &signer) {
                Some(seen) if date < seen => return Err(RepositoryError::Replayed { url, date, seen }),
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
    ) -> Result<(Release, String), RepositoryError> {
        let unreadable =
            |error: Unreadable| RepositoryError::Tampered { url: url.clone(), reason: error.to_string() };
        let signed = match &documents.signature {
            Some(signature) => Some(Signed::detached(&documents.release, signature).map_err(unreadable)?),
            None => Signed::in_clear(&documents.release).map_err(unreadable)?,
        };
        let trusted = self.source.trusted == Some(true);
        let (text, signer) = match signed {
            None if trusted => {
                (String::from_utf8_lossy(&documents.release).into_owned(), "nobody".to_owned())
            }
            None => return Err(RepositoryError::Unsigned { url: url.clone() }),
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
        let malformed = |reason| RepositoryError::Malformed { url: url.clone(), reason };
        let release = Release::parse(&text).map_err(|error| malformed(error.to_string()))?;
        if !release.lists_files() && text.contains("MD5Sum:") {
            return Err(malformed("it lists its files without SHA-256".to_owned()));
        }
        Ok((release, signer))
    }

    /// Checks a release's date and end as apt does: where dates do not matter, neither does the end.
    fn check_dates(self, url: &SafeUrl, release: &Release) -> Result<(), RepositoryError> {
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
            return Err(RepositoryError::NotYetValid { url: url.clone(), date });
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
            Some(since) if since < self.now => Err(RepositoryError::Expired { url: url.clone(), since }),
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
    ) -> Result<Option<Arc<Index>>, RepositoryError> {
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
                return Err(RepositoryError::Malformed { url: SafeUrl::new(directory), reason });
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
                    Err(RepositoryError::Missing { url }) => {
                        missing = missing.or(Some(RepositoryError::Missing { url }));
                        continue;
                    }
                    other => other?,
                };
                let text = decompress(&bytes, plain, &url)?;
                let malformed =
                    |error: Malformed| RepositoryError::Malformed { url, reason: error.to_string() };
                return convert(&text).map_err(malformed);
            }
            Err(missing.unwrap_or(RepositoryError::Missing { url: SafeUrl::new(directory) }))
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
    ) -> Result<Vec<u8>, RepositoryError> {
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
            return Err(RepositoryError::Missing { url: SafeUrl::new(&url) });
        }
        verify(&found.1, listed, &SafeUrl::new(&url))?;
        Ok(found.1)
    }

    fn get_listed(self, url: &str, limit: u64) -> Result<(Answer, Vec<u8>), RepositoryError> {
        let mut bytes = Vec::new();
        let request = Request { url: url.into(), known: Validators::default(), limit };
        let failed = |reason| RepositoryError::Fetch { url: SafeUrl::new(url), reason };
        Ok((self.fetch.get(&request, &mut bytes).map_err(failed)?, bytes))
    }
}

/// A time that is this much later, or the end of time.
fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Checks bytes against what a release lists.
fn verify(bytes: &[u8], listed: &Listed, url: &SafeUrl) -> Result<(), RepositoryError> {
    let found = bytes.len() as u64;
    if found < listed.size {
        return Err(RepositoryError::Truncated { url: url.clone(), expected: listed.size, found });
    }
    let sum = Digest::sha256_of(bytes);
    if found > listed.size || sum.hex() != listed.sha256 {
        let reason = if found > listed.size {
            format!("it has more than the {} bytes that were signed", listed.size)
        } else {
            format!("its SHA-256 is {}, but {} was signed", sum.hex(), listed.sha256)
        };
        return Err(RepositoryError::Tampered { url: url.clone(), reason });
    }
    Ok(())
}

/// Undoes the compression of an index, and checks what comes of it where the release lists that, too.
fn decompress(bytes: &[u8], plain: Option<&Listed>, url: &SafeUrl) -> Result<Vec<u8>, RepositoryError> {
    let limit = plain.map_or(INDEX_LIMIT, |plain| plain.size.min(INDEX_LIMIT));
    // What is listed is a promise that nobody need keep.
    let mut text = Vec::with_capacity(usize::try_from(limit.min(64 << 20)).unwrap_or_default());
    let malformed = |error: std::io::Error| RepositoryError::Malformed {
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::Files;
    use crate::allowance::Allowance;

    /// Repositories that trust nobody's signature, each with an index of so many bytes and one more package than the one before.
    struct Many {
        bytes: usize,
        now: AtomicU64,
        most: AtomicU64,
    }

    impl Many {
        fn index(&self, host: &str) -> String {
            let head = format!("Package: of-{host}\nVersion: 1\nArchitecture: all\nDescription: ");
            format!("{head}{}\n", "x".repeat(self.bytes - head.len() - 1))
        }

        /// What a refresh of so many of them comes to, with an allowance.
        fn refresh(&self, count: usize, allowance: Allowance) -> Available {
            let directory = tempfile::tempdir().unwrap();
            let lines: String =
                (0..count).map(|number| format!("deb [trusted=yes] http://r{number}.test/ ./\n")).collect();
            let mut files = Files::new();
            files.insert("etc/apt/sources.list", lines.into_bytes());
            let kept = Kept::within(directory.path(), Arc::new(allowance));
            Repositories::from_files(&files, "amd64").refresh(&kept, self, Timestamp::now())
        }
    }

    impl Fetch for Many {
        fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, FetchError> {
            let url = request.url.expose().strip_prefix("http://").unwrap();
            let (host, path) = url.split_once('/').unwrap();
            let index = self.index(host);
            let answer = match path.trim_start_matches("./") {
                "InRelease" => {
                    format!(
                        "SHA256:\n {} {} Packages\n",
                        Digest::sha256_of(index.as_bytes()).hex(),
                        index.len()
                    )
                }
                "Packages" => {
                    // The file, its text, and what is made of that.
                    let room = 3 * index.len() as u64;
                    self.most.fetch_max(self.now.fetch_add(room, Ordering::SeqCst) + room, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    self.now.fetch_sub(room, Ordering::SeqCst);
                    index
                }
                _ => return Ok(Answer::Missing),
            };
            sink.write_all(answer.as_bytes()).unwrap();
            Ok(Answer::Sent(Validators::default()))
        }
    }

    #[test]
    fn many_repositories_are_read_within_one_allowance() {
        let many = Many { bytes: 10_000, now: AtomicU64::new(0), most: AtomicU64::new(0) };
        let available = many.refresh(24, Allowance::new(70_000, 1 << 20));
        assert!(available.failures().is_empty(), "{:?}", available.failures());
        assert_eq!(available.suites().len(), 24);
        let most = many.most.load(Ordering::SeqCst);
        assert!((30_000..=70_000).contains(&most), "{most}");

        let kinds = |available: &Available| {
            available.failures().iter().map(|failure| failure.error.code()).collect::<Vec<_>>()
        };
        // One that is too much alone is told, and so is what stays of too many.
        assert_eq!(kinds(&many.refresh(2, Allowance::new(29_999, 1 << 20))), ["too-much", "too-much"]);
        let available = many.refresh(24, Allowance::new(70_000, 500));
        assert!(kinds(&available).iter().all(|kind| *kind == "too-much"), "{:?}", available.failures());
        assert!((1..24).contains(&available.suites().len()), "{}", available.suites().len());
    }
}
