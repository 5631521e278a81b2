//! A root's repositories: what its files say, and fetching what they have now.

use super::configuration::Configuration;
use super::distributions::Distribution;
use super::edition::Edition;
use super::files::{parts, parts_of_any_name};

use super::keyring::{KeyFile, KeyKind, Keyring};

use super::preferences::Preferences;
use super::sources::{Selection, Source, parse_deb822, parse_list};
use super::verifier::Verifier;
use crate::error::{Malformed, RepositoryError};

use crate::files::Files;

/// A root's sources, keys, pins and settings.
#[derive(Debug, Clone)]
pub struct Repositories {
    pub(super) sources: Vec<Source>,
    pub(super) problems: Vec<RepositoryError>,
    pub(super) configuration: Configuration,
    pub(super) preferences: Preferences,
    pub(super) architectures: Vec<String>,
    pub(super) edition: Edition,
    pub(super) verifier: Verifier,
    pub(super) files: Files,
}

impl Repositories {
    /// Reads a root's files; `architecture` is its own, in Debian's words, as in `amd64`.
    ///
    /// What cannot be understood becomes a failure of [`Repositories::refresh`] and hides nothing else.
    pub fn from_files(files: &Files, architecture: &str) -> Self {
        let (configuration, mut problems) = Configuration::from_files(files);
        let (preferences, more) = Preferences::from_files(files);
        problems.extend(more);
        let edition = Edition::of(files);
        let mut sources = Vec::new();
        let main =
            files.get("etc/apt/sources.list").map(|content| ("etc/apt/sources.list".to_owned(), content));
        let all = main.into_iter().chain(parts(files, "etc/apt/sources.list.d", &["list", "sources"]));
        for (file, content) in all {
            let text = String::from_utf8_lossy(content);
            let paragraphs = file.ends_with(".sources");
            let read = if paragraphs { parse_deb822 } else { parse_list };
            for source in read(&text, architecture, &file) {
                match source.and_then(|source| selected(source, &edition)) {
                    Ok(source) => sources.push(source),
                    Err(reason) => {
                        problems.push(RepositoryError::Configuration { file: file.clone(), reason });
                    }
                }
            }
        }
        let mut architectures = vec![architecture.to_owned()];
        let configured = configuration.list("APT::Architectures").iter().map(String::as_str);
        let foreign = files.text("var/lib/dpkg/arch").unwrap_or_default();
        for other in configured.chain(foreign.lines().map(str::trim)) {
            if !other.is_empty() && !architectures.iter().any(|known| known == other) {
                architectures.push(other.to_owned());
            }
        }
        let verifier = Verifier::of(files, &configuration, &edition);
        let files = files.clone();
        Self { sources, problems, configuration, preferences, architectures, edition, verifier, files }
    }

    /// Returns the sources, in the order that apt reads them in.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the settings.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Says whether nothing is said of where packages come from: there is no source, and none that cannot be understood.
    pub(crate) fn says_nothing(&self) -> bool {
        self.sources.is_empty() && self.problems.is_empty()
    }

    /// Has a distribution's keys: those of the program, unless the root has them in a file of its own that is no older.
    #[must_use]
    pub fn with_keys_of(mut self, distribution: &Distribution) -> Self {
        let fingerprints = |bytes: &[u8]| {
            let mut keyring = Keyring::default();
            keyring.add(bytes).map(|()| keyring.fingerprints()).unwrap_or_default()
        };
        let (own, keys) = (self.files.get(distribution.keyring()).map(fingerprints), distribution.keys());
        let ours = fingerprints(keys);
        // One that has a key which the program lacks is newer; one that lacks a key besides is older.
        let is_newer = own.is_some_and(|own| {
            own.iter().any(|key| !ours.contains(key)) || ours.iter().all(|key| own.contains(key))
        });
        if !is_newer {
            self.files.insert(distribution.keyring(), keys);
        }
        self
    }

    /// Replaces the sources, for a root that is still to be made.
    #[must_use]
    pub fn with_sources(mut self, sources: Vec<Source>) -> Self {
        self.sources = sources;
        self
    }

    /// Forgets pins and the default release, for a root that is still to be made.
    #[must_use]
    pub fn without_preferences(mut self) -> Self {
        self.preferences = Preferences::default();
        self.configuration.forget("APT::Default-Release");
        // What is wrong elsewhere in a machine's configuration is of no concern to another root.
        self.problems.clear();
        self.architectures.truncate(1);
        self
    }

    /// The files of keys that a source's signature is checked with.
    pub(super) fn key_files<'a>(&'a self, source: &'a Source) -> Vec<KeyFile<'a>> {
        let signed_by = &source.signed_by;
        let mut found = Vec::new();
        let named = |path: &str| KeyFile {
            name: path.to_owned(),
            content: self.files.get(path),
            kind: KeyKind::Named,
        };
        if let Some(embedded) = &signed_by.embedded {
            let name = "the key in the source itself".to_owned();
            found.push(KeyFile { name, content: Some(embedded.as_bytes()), kind: KeyKind::Embedded });
        }
        found.extend(signed_by.paths.iter().map(|path| named(path)));
        if !found.is_empty() {
            return found;
        }
        // Without a word on keys, every key counts that the root trusts.
        let old = self.configuration.get("Dir::Etc::Trusted").map(str::to_owned);
        let old = old.or_else(|| self.edition.is_before("2.9.24").then(|| "/etc/apt/trusted.gpg".to_owned()));
        let old = old.or_else(|| self.edition.is_unknown().then(|| "/etc/apt/trusted.gpg".to_owned()));
        found.extend(
            old.map(|path| named(&path)).filter(|file| file.content.is_some_and(|all| !all.is_empty())),
        );
        let endings = &["gpg", "asc"];
        // The script of old looks at endings alone.
        let parts = if self.edition.is_before("2.9.15") {
            parts_of_any_name(&self.files, "etc/apt/trusted.gpg.d", endings)
        } else {
            parts(&self.files, "etc/apt/trusted.gpg.d", endings)
        };
        let part = |(path, content)| KeyFile {
            name: format!("/{path}"),
            content: Some(content),
            kind: KeyKind::Part,
        };
        found.extend(parts.into_iter().map(part));
        found
    }
}

/// A source as its apt looks at what it includes and excludes: an old one passes over that, and a newer one refuses both at once.
fn selected(mut source: Source, edition: &Edition) -> Result<Source, Malformed> {
    if edition.is_before("3.1.0") {
        source.selection = Selection::default();
    }
    if source.selection.is_contradictory() {
        let line = source.place.rsplit(':').next().and_then(|line| line.parse().ok()).unwrap_or_default();
        return Err(Malformed::new(line, "Include and Exclude cannot both be given"));
    }
    Ok(source)
}
