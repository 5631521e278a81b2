//! A suite's release file: what it is, until when it holds, and the hashes of its indexes.
//!
//! Spec: <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>

use std::collections::HashMap;

use jiff::Timestamp;

use super::{date, deb822};
use crate::error::Unreadable;

/// What a release file says. Texts that it lacks are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// Who makes it, as in `Debian`.
    pub origin: String,
    /// What it is called, as in `Debian-Security`.
    pub label: String,
    /// Its suite, as in `stable-security`; apt calls it the archive.
    pub suite: String,
    /// Its code name, as in `bookworm-security`.
    pub codename: String,
    /// Its version, as in `12.11`.
    pub version: String,
    /// When it was made; `None` where it does not say so in a form that apt reads.
    pub date: Option<Timestamp>,
    /// Until when it holds, where it says so.
    pub valid_until: Option<Timestamp>,
    /// The architectures it has.
    pub architectures: Vec<String>,
    /// Whether packages for all architectures have an index of their own that counts.
    pub index_of_all: bool,
    /// Whether its packages are taken only when asked for by its name.
    pub not_automatic: bool,
    /// Whether packages taken from it are kept up to date all the same.
    pub but_automatic_upgrades: bool,
    /// Whether its files can be fetched by their hash.
    pub by_hash: bool,
    files: HashMap<String, Listed>,
}

/// A file that a release lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in lower case.
    pub sha256: String,
}

impl Release {
    /// Reads a release file's text.
    ///
    /// Fails where a field has a form that apt does not read.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let paragraphs = deb822::paragraphs(text).map_err(|error| error.to_string())?;
        let fields = paragraphs.first().ok_or("it is empty")?;
        let text = |name| fields.get(name).unwrap_or_default().to_owned();
        let until = |value| {
            date::parse(value).ok_or_else(|| format!("Valid-Until has {value:?}, which is not a date"))
        };
        let mut files = HashMap::new();
        for line in fields.get("SHA256").unwrap_or_default().lines().filter(|line| !line.is_empty()) {
            let bad = || format!("SHA256 has the line {line:?}, which is not a hash, a size and a path");
            let words: Vec<_> = line.split_whitespace().collect();
            let [sha256, size, path] = words.as_slice() else { return Err(bad().into()) };
            if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad().into());
            }
            let listed =
                Listed { size: size.parse().map_err(|_| bad())?, sha256: sha256.to_ascii_lowercase() };
            files.insert((*path).to_owned(), listed);
        }
        let architectures = fields.words("Architectures");
        let unsupported =
            fields.words("No-Support-for-Architecture-all").iter().any(|kind| kind == "Packages");
        Ok(Self {
            origin: text("Origin"),
            label: text("Label"),
            suite: text("Suite"),
            codename: text("Codename"),
            version: text("Version"),
            // A date that nobody can read is none: so it is for apt, which warns of it.
            date: fields.get("Date").and_then(date::parse),
            valid_until: fields.get("Valid-Until").map(until).transpose()?,
            index_of_all: !unsupported && architectures.iter().any(|architecture| architecture == "all"),
            architectures,
            not_automatic: fields.flag("NotAutomatic").unwrap_or(false),
            but_automatic_upgrades: fields.flag("ButAutomaticUpgrades").unwrap_or(false),
            by_hash: fields.flag("Acquire-By-Hash").unwrap_or(false),
            files,
        })
    }

    /// Returns what is listed under a path relative to the release file.
    pub fn file(&self, path: &str) -> Option<&Listed> {
        self.files.get(path)
    }

    /// Says whether anything is listed below a directory.
    pub(crate) fn has_below(&self, directory: &str) -> bool {
        self.files.keys().any(|path| path.starts_with(directory))
    }

    /// Says whether anything is listed with a hash that counts.
    pub(crate) fn lists_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Says whether it is where security fixes are published: by its suite, its code name or its label.
    pub fn is_security(&self) -> bool {
        let name = |name: &str| name.ends_with("-security") || name.ends_with("/updates");
        name(&self.suite) || name(&self.codename) || self.label.to_ascii_lowercase().contains("security")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_release_says_what_it_is_and_what_it_has() {
        let text = format!(
            "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: bookworm-security\n\
             Date: Sat,  1 Jun 2024 08:09:10 UTC\nValid-Until: Sat, 08 Jun 2024 08:09:10 +0000\nAcquire-By-Hash: yes\n\
             Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\nNotAutomatic: yes\n\
             SHA256:\n {HASH} 0 main/binary-amd64/Packages\n"
        );
        let release = Release::parse(&text).unwrap();
        assert_eq!(release.date.unwrap().to_string(), "2024-06-01T08:09:10Z");
        assert_eq!(release.valid_until.unwrap().to_string(), "2024-06-08T08:09:10Z");
        assert!(release.by_hash && release.not_automatic && !release.index_of_all && release.is_security());
        assert_eq!(release.file("main/binary-amd64/Packages").unwrap().sha256, HASH);
        assert_eq!(release.file("other"), None);
    }

    #[test]
    fn the_first_paragraph_counts_and_a_date_that_is_none_is_none() {
        let release = Release::parse("Suite: a\nDate: yesterday\n\nSuite: b\n").unwrap();
        assert_eq!((&*release.suite, release.date), ("a", None));
    }

    #[test]
    fn damage_is_told() {
        for text in [
            "",
            "Valid-Until: yesterday\n",
            "SHA256:\n abc 1 x\n",
            &format!("SHA256:\n {HASH} -1 x\n"),
            &format!("SHA256:\n {HASH} 1 x y\n"),
        ] {
            assert!(Release::parse(text).is_err(), "{text}");
        }
    }
}
