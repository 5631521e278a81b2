//! Where the packages of a base come from: this machine's apt sources of the release, or the mirror that the project names.

use std::collections::BTreeMap;
use std::path::Path;

use otoshi_packages::apt::{self, Available, HttpFetcher, Kept, Repositories, Source};
use otoshi_project::Packages;
use otoshi_store::Home;

use crate::PipelineError;

/// The suites of a base, and what this machine knows of them.
pub(super) struct Sources {
    distribution: &'static str,
    release: String,
    sources: Vec<Source>,
    machine: Repositories,
    fetcher: HttpFetcher,
    /// Whether the project says itself where packages come from.
    named: bool,
    /// The keys that sources name, by path.
    keys: BTreeMap<String, Vec<u8>>,
}

impl Sources {
    /// Finds the sources of a base's packages for an architecture, in Debian's words.
    pub(super) fn find(packages: &Packages, architecture: &str) -> Result<Self, PipelineError> {
        let (distribution, release) =
            packages.release().ok_or_else(|| PipelineError::plain("a base of packages has no release"))?;
        let files = apt::read_root(Path::new("/")).map_err(|error| {
            PipelineError::plain(format!("reading this machine's package sources: {error}"))
        })?;
        let machine = Repositories::from_files(&files, architecture);
        let suites = packages.suites();
        let mut sources: Vec<Source> = Vec::new();
        for suite in &suites {
            let is_security = suite.ends_with("-security") || suite.ends_with("/updates");
            let mirror = if is_security { &packages.security_mirror } else { &packages.mirror };
            match mirror {
                Some(address) => sources.push(at(address, suite, release, &machine)),
                None => sources.extend(machine.sources().iter().filter(|one| one.suite == *suite).cloned()),
            }
        }
        if sources.is_empty() {
            return Err(PipelineError::invalid(
                format!("this machine's apt has no source of {distribution}'s release {release}"),
                format!(
                    "add one to /etc/apt/sources.list.d, with Signed-By, for the suites {}, or name a `mirror`",
                    suites.join(", ")
                ),
            ));
        }
        let paths = sources.iter().flat_map(|source| &source.signed_by.paths);
        let key = |path: &String| Some((path.clone(), files.get(path.trim_start_matches('/'))?.to_vec()));
        let keys = paths.filter_map(key).collect();
        let fetcher = HttpFetcher::new(machine.configuration()).map_err(PipelineError::plain)?;
        Ok(Self {
            distribution,
            release: release.to_owned(),
            sources,
            machine,
            fetcher,
            named: packages.mirror.is_some() || packages.security_mirror.is_some(),
            keys,
        })
    }

    /// Fetches what the sources have now, and verifies it.
    pub(super) fn available(&self, home: &Home) -> Result<Available, PipelineError> {
        let (distribution, release) = (self.distribution, &self.release);
        // What this machine itself favours is of no concern here.
        let machine = self.machine.clone().without_preferences();
        let available = machine.with_sources(self.sources.clone()).refresh(
            &Kept::new(home.root().join("packages/apt")),
            &self.fetcher,
            jiff::Timestamp::now(),
        );
        if let Some(failure) = available.failures().first() {
            let message = format!("the packages of {distribution} {release}: {}", failure.error);
            return Err(PipelineError::Invalid { message, hint: failure.error.hint().map(str::to_owned) });
        }
        let foreign = |origin: &str| !self.named && !origin.eq_ignore_ascii_case(distribution);
        if let Some(other) = available.suites().iter().find(|suite| foreign(&suite.release.origin)) {
            let origin = &other.release.origin;
            return Err(PipelineError::invalid(
                format!("{} is of {origin:?}, not of {distribution}", other.place),
                "name the release of the other distribution otherwise, or remove that source",
            ));
        }
        Ok(available)
    }

    /// Fetches files.
    pub(super) fn fetcher(&self) -> &HttpFetcher {
        &self.fetcher
    }

    /// Returns what the image's own apt is told: `sources.list`, and the keys that it names. No password is among it.
    pub(super) fn files(&self) -> Vec<(String, u32, Vec<u8>)> {
        let mut files = BTreeMap::new();
        let mut lines = String::new();
        for source in &self.sources {
            let mut keys: Vec<String> = source.signed_by.paths.clone();
            if let Some(key) = &source.signed_by.embedded {
                // Sources may have keys of their own; one that they share is one file.
                let names = (1..).map(|number| match number {
                    1 => format!("etc/apt/keyrings/{}.asc", self.distribution),
                    _ => format!("etc/apt/keyrings/{}-{number}.asc", self.distribution),
                });
                let is_free = |path: &String| files.get(path).is_none_or(|other| other == key.as_bytes());
                if let Some(path) = names.into_iter().find(is_free) {
                    keys.push(format!("/{path}"));
                    files.insert(path, key.clone().into_bytes());
                }
            }
            keys.extend(source.signed_by.fingerprints.iter().cloned());
            let mut options = Vec::new();
            if !keys.is_empty() {
                options.push(format!("signed-by={}", keys.join(",")));
            }
            if source.trusted == Some(true) {
                options.push("trusted=yes".to_owned());
            }
            let options =
                if options.is_empty() { String::new() } else { format!("[{}] ", options.join(" ")) };
            let address = apt::shown(&source.uri);
            lines += &format!("deb {options}{address} {} {}\n", source.suite, source.components.join(" "));
        }
        for (path, key) in &self.keys {
            files.insert(path.trim_start_matches('/').to_owned(), key.clone());
        }
        files.insert("etc/apt/sources.list".to_owned(), lines.into_bytes());
        files.into_iter().map(|(path, content)| (path, 0o644, content)).collect()
    }
}

/// A suite at another address, signed by who signs it for this machine.
fn at(address: &str, suite: &str, release: &str, machine: &Repositories) -> Source {
    let known = |name: &str| machine.sources().iter().find(|source| source.suite == name).cloned();
    let slash = if address.ends_with('/') { "" } else { "/" };
    let mut source = known(suite).or_else(|| known(release)).unwrap_or_else(|| Source {
        uri: String::new(),
        suite: String::new(),
        components: vec!["main".to_owned()],
        architectures: None,
        architectures_added: Vec::new(),
        architectures_removed: Vec::new(),
        selection: apt::Selection::default(),
        signed_by: apt::SignedBy::default(),
        trusted: None,
        check_valid_until: None,
        valid_until_max: None,
        valid_until_min: None,
        check_date: None,
        date_max_future: None,
        by_hash: None,
        place: String::new(),
    });
    source.uri = format!("{address}{slash}");
    suite.clone_into(&mut source.suite);
    "otoshi.toml".clone_into(&mut source.place);
    source
}

#[cfg(test)]
mod tests {
    use otoshi_packages::Files;

    use super::*;

    #[test]
    fn an_image_has_each_key_once_and_keeps_no_password() {
        let machine = Repositories::from_files(&Files::new(), "amd64");
        let source = |address: &str, key: &str| {
            let mut source = at(address, "bookworm", "bookworm", &machine);
            source.signed_by.embedded = Some(key.to_owned());
            source
        };
        let sources = vec![
            source("https://a:secret@b.test/debian", "one"),
            source("http://b.test/more/", "two"),
            source("http://c.test/debian/", "one"),
        ];
        let fetcher = HttpFetcher::new(machine.configuration()).unwrap();
        let (release, keys) = ("bookworm".to_owned(), BTreeMap::new());
        let all = Sources { distribution: "debian", release, sources, machine, fetcher, named: false, keys };
        let files: Vec<(String, String)> =
            all.files().into_iter().map(|(path, _, text)| (path, String::from_utf8(text).unwrap())).collect();
        let lines = "deb [signed-by=/etc/apt/keyrings/debian.asc] https://b.test/debian/ bookworm main\n\
             deb [signed-by=/etc/apt/keyrings/debian-2.asc] http://b.test/more/ bookworm main\n\
             deb [signed-by=/etc/apt/keyrings/debian.asc] http://c.test/debian/ bookworm main\n";
        let expected = [
            ("etc/apt/keyrings/debian-2.asc", "two"),
            ("etc/apt/keyrings/debian.asc", "one"),
            ("etc/apt/sources.list", lines),
        ];
        assert_eq!(files, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }
}
