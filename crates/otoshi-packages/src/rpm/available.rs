//! What an image's repositories have, and which version dnf would choose.

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read};
use std::sync::Arc;

use jiff::Timestamp;
use otoshi_http::SafeUrl;
use rayon::prelude::*;

use super::modules::{Filter, Modules};
use super::primary::{self, Record};
use super::repomd::{Checksum, Listed, Repomd};
use super::settings::{Repository, Settings};
use super::{mirrors, updateinfo};
use crate::apt::{Keyring, Signed};
use crate::documents::Documents;
use crate::error::RepositoryError;
use crate::fetch::Fetch;
use crate::files::Files;
use crate::installed::Installed;
use crate::pattern::matches;
use crate::standing::{Failure, Withheld};
use crate::version::rpm::compare;

/// The largest list of a repository's files, signature, or list of mirrors, in bytes.
const SMALL: u64 = 8 << 20;
/// The largest file of metadata, as it is sent.
const LARGEST: u64 = 128 << 20;
/// The largest file of metadata, decompressed; none is ever in memory as a whole.
const DECOMPRESSED: u64 = 4 << 30;
/// The most repositories that are asked.
const MOST: usize = 200;
/// The form of what is kept; another one makes it anew.
const FORM: &str = "2";

/// Holds what an image's repositories have.
#[derive(Debug, Default)]
pub struct Available {
    repositories: Vec<Held>,
    /// Repositories that could not be asked, or files of theirs, by id.
    pub failures: Vec<Failure>,
    filter: Filter,
    /// Names, architectures and versions that fix a security problem.
    security: Vec<Arc<Security>>,
}

/// What one repository has.
#[derive(Debug)]
struct Held {
    repository: Repository,
    packages: Arc<Packages>,
}

/// The packages of a repository, a line each.
#[derive(Debug)]
struct Packages {
    lines: String,
    /// For each name, where its lines begin.
    names: HashMap<String, Vec<usize>>,
}

/// A version of a package in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Epoch (where it is not zero), version and release.
    pub version: String,
    /// The architecture.
    pub architecture: String,
    /// The repository's id.
    pub repository: String,
    /// Says whether a security notice names it.
    pub security: bool,
    /// Why it is never chosen, where that is so.
    pub kept_away: Option<Withheld>,
}

/// The version that dnf would choose for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version.
    pub version: String,
    /// The repository's id; empty for what is installed and not newer anywhere.
    pub repository: String,
    /// Says whether it, or a version between it and the installed one, fixes a security problem.
    pub security: bool,
    /// A newer version that is kept away.
    pub newer: Option<Version>,
}

impl Available {
    /// Says whether there is any repository that answered, or of which something is kept.
    pub fn has_any(&self) -> bool {
        !self.repositories.is_empty()
    }

    /// Asks all repositories that an image's files name for what they have for an architecture in rpm's words.
    pub fn refresh(installed: &Installed, documents: &Documents, fetch: &dyn Fetch, now: Timestamp) -> Self {
        let (files, architecture) = (&installed.files, installed.architecture.as_deref().unwrap_or_default());
        let settings = Settings::of(files, installed.os.as_ref(), architecture);
        let ask = |repository: &Repository| Asking { repository, files, documents, fetch, now }.ask();
        let answers: Vec<_> = settings.repositories.par_iter().take(MOST).map(ask).collect();
        let (mut available, mut modules) = (Self::default(), Vec::new());
        if let Some(more) = settings.repositories.get(MOST) {
            let (place, kept) = (more.id.clone(), false);
            let reason = format!("only the first {MOST} repositories of an image are asked");
            let error = RepositoryError::Malformed { url: place.as_str().into(), reason };
            available.failures.push(Failure { place, error, kept });
        }
        for (repository, (answer, failures)) in settings.repositories.into_iter().zip(answers) {
            let (place, kept) = (&repository.id, answer.is_some());
            let failure = |error| Failure { place: place.clone(), error, kept };
            available.failures.extend(failures.into_iter().map(failure));
            let Some(answer) = answer else { continue };
            available.security.push(answer.security);
            modules.push(answer.modules);
            available.repositories.push(Held { repository, packages: answer.packages });
        }
        available.filter = Filter::new(&modules, files);
        available
    }

    /// Returns every version of a package, newest first.
    pub fn versions(&self, name: &str) -> Vec<Version> {
        let mut found = Vec::new();
        for held in &self.repositories {
            for record in held.packages.named(name) {
                let excluded = held.repository.excludes(&record);
                let off = !held.repository.module_hotfixes
                    && !self.filter.allows(name, record.version, record.architecture);
                let version = Version {
                    version: record.version.to_owned(),
                    architecture: record.architecture.to_owned(),
                    repository: held.repository.id.clone(),
                    security: self.fixes(name, record.architecture, record.version),
                    kept_away: if excluded {
                        Some(Withheld::Excluded)
                    } else if off {
                        Some(Withheld::Module)
                    } else {
                        None
                    },
                };
                found.push((held.repository.priority, version));
            }
        }
        // Of the repositories that have a package, the others than those with the least number do not count.
        let counting = found.iter().filter(|(_, version)| version.kept_away.is_none());
        let best = counting.map(|(priority, _)| *priority).min();
        for (priority, version) in &mut found {
            if version.kept_away.is_none() && Some(*priority) != best {
                version.kept_away = Some(Withheld::Priority);
            }
        }
        let mut versions: Vec<Version> = found.into_iter().map(|(_, version)| version).collect();
        versions.sort_by(|left, right| compare(&right.version, &left.version));
        versions
    }

    /// Returns the version that dnf would choose, given what is installed; `None` where no repository has the package.
    pub fn candidate(&self, name: &str, architecture: &str, installed: Option<&str>) -> Option<Candidate> {
        let mut versions = self.versions(name);
        // A package may become one for any architecture, or cease to be.
        versions.retain(|version| {
            version.architecture == architecture
                || version.architecture == "noarch"
                || architecture == "noarch"
        });
        if versions.is_empty() {
            return None;
        }
        let is_newer = |left: &str, right: &str| compare(left, right).is_gt();
        let chosen = versions.iter().find(|version| version.kept_away.is_none());
        let chosen =
            chosen.filter(|version| installed.is_none_or(|installed| is_newer(&version.version, installed)));
        let (version, repository) = match (chosen, installed) {
            (Some(version), _) => (version.version.clone(), version.repository.clone()),
            (None, Some(installed)) => (installed.to_owned(), String::new()),
            (None, None) => return None,
        };
        let passed = |other: &&Version| {
            other.kept_away.is_none()
                && !is_newer(&other.version, &version)
                && installed.is_some_and(|installed| is_newer(&other.version, installed))
        };
        let security = versions.iter().filter(passed).any(|other| other.security);
        let newer = versions.iter().find(|other| is_newer(&other.version, &version));
        let newer = newer.filter(|other| other.kept_away.is_some()).cloned();
        Some(Candidate { version, repository, security, newer })
    }

    /// Says whether no repository was of use.
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty()
    }

    fn fixes(&self, name: &str, architecture: &str, version: &str) -> bool {
        let line = format!("{name}\t{architecture}\t{version}");
        self.security.iter().any(|security| security.0.contains(&line))
    }
}

impl Packages {
    fn new(lines: String) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        let mut start = 0;
        for line in lines.split_inclusive('\n') {
            if let Some((name, _)) = line.split_once('\t') {
                match names.get_mut(name) {
                    Some(places) => places.push(start),
                    None => drop(names.insert(name.to_owned(), vec![start])),
                }
            }
            start += line.len();
        }
        Self { lines, names }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = Record<'_>> {
        let places = self.names.get(name).map(|places| &places[..]).unwrap_or_default();
        places.iter().filter_map(|place| primary::record(self.lines[*place..].lines().next()?))
    }
}

impl Repository {
    /// Says whether a package never comes from here.
    fn excludes(&self, record: &Record<'_>) -> bool {
        let Record { name, version, architecture } = record;
        let short = version.split_once(':').map_or(*version, |(_, short)| short);
        let number = short.split_once('-').map_or(short, |(number, _)| number);
        let forms = [
            (*name).to_owned(),
            format!("{name}.{architecture}"),
            format!("{name}-{number}"),
            format!("{name}-{short}"),
            format!("{name}-{short}.{architecture}"),
            format!("{name}-{version}"),
            format!("{name}-{version}.{architecture}"),
        ];
        let named = |patterns: &[String]| {
            patterns.iter().any(|pattern| forms.iter().any(|form| matches(pattern, form)))
        };
        named(&self.excluded) || (!self.included.is_empty() && !named(&self.included))
    }
}

/// What one repository answered, in short forms.
#[derive(Debug)]
struct Answered {
    packages: Arc<Packages>,
    security: Arc<Security>,
    modules: Arc<Modules>,
}

/// What security notices name, a line each.
#[derive(Debug, Default)]
struct Security(HashSet<String>);

/// A file of metadata, decompressed.
type Source<'a> = Box<dyn Read + Send + 'a>;

/// What a repository need not have, or nothing and a failure.
fn take<T: Default>(
    found: Option<Result<Arc<T>, RepositoryError>>,
    failures: &mut Vec<RepositoryError>,
) -> Arc<T> {
    match found {
        Some(Ok(found)) => found,
        None => Arc::default(),
        Some(Err(error)) => {
            failures.push(error);
            Arc::default()
        }
    }
}

/// One repository, being asked.
#[derive(Clone, Copy)]
struct Asking<'a> {
    repository: &'a Repository,
    files: &'a Files,
    documents: &'a Documents,
    fetch: &'a dyn Fetch,
    now: Timestamp,
}

impl Asking<'_> {
    /// Everything that it has, and what went wrong: with all of it, or with a part.
    fn ask(self) -> (Option<Answered>, Vec<RepositoryError>) {
        let mut failures = Vec::new();
        let (addresses, checksums) = match self.addresses() {
            Ok(found) => found,
            Err(error) => return (None, vec![error]),
        };
        for address in addresses {
            match self.at(&address, &checksums) {
                // What an address before it failed with is of no use any more.
                Ok((answered, failures)) => return (Some(answered), failures),
                Err(error) => failures.push(error),
            }
        }
        failures.truncate(1);
        (None, failures)
    }

    /// Its addresses, and what a metalink says its list of files may be.
    fn addresses(self) -> Result<(Vec<String>, Vec<Checksum>), RepositoryError> {
        let Repository { addresses, mirrors, metalink, .. } = self.repository;
        let get = |url: &str| Ok(self.documents.get(url, SMALL, self.fetch)?.bytes);
        let malformed =
            |url: &str, reason: String| RepositoryError::Malformed { url: SafeUrl::new(url), reason };
        let (mut found, mut checksums) = (addresses.clone(), Vec::new());
        if let Some(url) = metalink.as_ref().filter(|_| found.is_empty()) {
            let read = mirrors::metalink(&get(url)?).map_err(|reason| malformed(url, reason))?;
            if read.checksums.is_empty() {
                return Err(malformed(url, "it has no hash of repomd.xml that can be relied on".to_owned()));
            }
            (found, checksums) = (read.addresses, read.checksums);
        } else if let Some(url) = mirrors.as_ref().filter(|_| found.is_empty()) {
            let bytes = get(url)?;
            // Some lists of mirrors are metalinks.
            if bytes.trim_ascii_start().starts_with(b"<") {
                let read = mirrors::metalink(&bytes).map_err(|reason| malformed(url, reason))?;
                (found, checksums) = (read.addresses, read.checksums);
            } else {
                found = mirrors::list(&String::from_utf8_lossy(&bytes));
            }
        }
        if found.is_empty() {
            let reason = format!("the repository {} has no address", self.repository.id);
            let url = mirrors.as_ref().or(metalink.as_ref()).map(SafeUrl::from).unwrap_or_default();
            return Err(RepositoryError::Malformed { url, reason });
        }
        if let Some(other) =
            found.iter().find(|url| !url.starts_with("http://") && !url.starts_with("https://"))
        {
            return Err(RepositoryError::Method { url: SafeUrl::new(other) });
        }
        Ok((found, checksums))
    }

    fn at(
        self,
        address: &str,
        checksums: &[Checksum],
    ) -> Result<(Answered, Vec<RepositoryError>), RepositoryError> {
        let url = format!("{address}/repodata/repomd.xml");
        let document = self.documents.get(&url, SMALL, self.fetch)?;
        let mut failures: Vec<RepositoryError> = document.stale.into_iter().collect();
        if !checksums.is_empty() && !checksums.iter().any(|checksum| checksum.is_of(&document.bytes)) {
            let reason = "its hash is not one that the metalink lists".to_owned();
            return Err(RepositoryError::Tampered { url: SafeUrl::new(&url), reason });
        }
        if self.repository.signed {
            let beside = self.documents.get(&format!("{url}.asc"), SMALL, self.fetch);
            let signature = beside.map_err(|error| match error {
                RepositoryError::Missing { .. } => RepositoryError::Unsigned { url: SafeUrl::new(&url) },
                error => error,
            })?;
            let signed = Signed::detached(&document.bytes, &signature.bytes);
            let signed = signed.map_err(|error| RepositoryError::Malformed {
                url: SafeUrl::new(&url),
                reason: error.to_string(),
            })?;
            signed.verify(&url, &self.keyring()?, &[], self.now)?;
        }
        let repomd = Repomd::parse(&document.bytes)
            .map_err(|reason| RepositoryError::Malformed { url: SafeUrl::new(&url), reason })?;
        let primary = repomd.files.get("primary").ok_or_else(|| {
            let reason = "it lists no primary, the file with the packages".to_owned();
            RepositoryError::Malformed { url: SafeUrl::new(&url), reason }
        })?;
        let packages = self.documents.shared(primary.checksum.0.hex(), || {
            let reduce = |source: Source<'_>| primary::reduce(BufReader::new(source));
            self.file(address, "primary", primary, reduce).map(Packages::new)
        })?;
        // Without these, more counts than should, or less is known of it: that is told, and the packages are there.
        let security = repomd.files.get("updateinfo").map(|listed| {
            self.documents.shared(listed.checksum.0.hex(), || {
                let reduce = |source: Source<'_>| updateinfo::reduce(BufReader::new(source));
                let lines = self.file(address, "updateinfo", listed, reduce)?;
                Ok(Security(lines.lines().map(str::to_owned).collect()))
            })
        });
        let modules = repomd.files.get("modules").map(|listed| {
            self.documents.shared(listed.checksum.0.hex(), || {
                let reduce = |source: Source<'_>| {
                    let modules = Modules::read(BufReader::new(source))?;
                    serde_json::to_string(&modules).map_err(|error| error.to_string())
                };
                let text = self.file(address, "modules", listed, reduce)?;
                Ok(serde_json::from_str::<Modules>(&text).unwrap_or_default())
            })
        });
        let security = take(security, &mut failures);
        let modules = take(modules, &mut failures);
        Ok((Answered { packages, security, modules }, failures))
    }

    /// A file in its short form, which is kept by the hash of the file; fails where it is not what is listed.
    fn file(
        self,
        address: &str,
        kind: &str,
        listed: &Listed,
        reduce: impl FnOnce(Source<'_>) -> Result<String, String>,
    ) -> Result<String, RepositoryError> {
        let key = format!("{kind}-{FORM}-{}", listed.checksum.0.hex());
        let url = SafeUrl::new(format!("{address}/{}", listed.href));
        let allowance = self.documents.allowance();
        let kept = self.documents.content(&key).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(kept) = kept {
            allowance.stay(kept.len() as u64, &url)?;
            return Ok(kept);
        }
        let limit = listed.size.unwrap_or(LARGEST).min(LARGEST);
        let _working = allowance.work(limit, &url)?;
        let bytes = self.documents.get_once(url.expose(), limit, self.fetch)?;
        if let Some(expected) = listed.size.filter(|size| *size != bytes.len() as u64) {
            return Err(RepositoryError::Truncated { url: url.clone(), expected, found: bytes.len() as u64 });
        }
        if !listed.checksum.is_of(&bytes) {
            let reason = format!("its hash is not {}", listed.checksum.0);
            return Err(RepositoryError::Tampered { url: url.clone(), reason });
        }
        let malformed = |reason: String| RepositoryError::Malformed { url: url.clone(), reason };
        let (_, decoder) =
            otoshi_oci::layer::decoder(&bytes[..]).map_err(|error| malformed(error.to_string()))?;
        let short = reduce(Box::new(decoder.take(DECOMPRESSED))).map_err(malformed)?;
        allowance.stay(short.len() as u64, &url)?;
        self.documents.keep_content(&key, short.as_bytes());
        Ok(short)
    }

    /// The keys that its settings name, out of the image; what the image does not have is not fetched.
    fn keyring(self) -> Result<Keyring, RepositoryError> {
        let (mut keyring, mut reasons) = (Keyring::default(), Vec::new());
        for key in &self.repository.keys {
            let path = key.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path));
            match path.map(|path| self.files.get(path)) {
                Some(Some(content)) => {
                    reasons.extend(keyring.add(content).err().map(|reason| format!("{key}: {reason}")));
                }
                Some(None) => reasons.push(format!("{key} does not exist")),
                None => reasons
                    .push(format!("{} is not in the image, and keys are not fetched", SafeUrl::new(key))),
            }
        }
        if keyring.is_empty() {
            let reason = if reasons.is_empty() { "gpgkey names none".to_owned() } else { reasons.join("; ") };
            return Err(RepositoryError::Keyring { url: self.repository.id.as_str().into(), reason });
        }
        Ok(keyring)
    }
}
