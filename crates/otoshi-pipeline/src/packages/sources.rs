//! Where the packages of a base come from: the mirror that the project names, this machine's apt sources of the release, or where
//! the distribution publishes it.

use std::collections::BTreeMap;
use std::path::Path;

use otoshi_http::SafeUrl;
use otoshi_packages::apt::{self, Available, Distribution, HttpFetcher, Kept, Repositories, Source};
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
    /// Finds the sources of a base's packages for an architecture, in Debian's words: at the mirror that the project names, else
    /// where this machine's apt has the release from, else where the distribution publishes it.
    pub(super) fn find(packages: &Packages, architecture: &str) -> Result<Self, PipelineError> {
        let (distribution, release) = packages
            .release()
            .ok_or_else(|| PipelineError::Fault("a base of packages has no release".to_owned()))?;
        let files = apt::read_root(Path::new("/")).map_err(|error| PipelineError::Invalid {
            message: format!("reading this machine's package sources: {error}"),
            hint: None,
        })?;
        let machine = Repositories::from_files(&files, architecture);
        let table = Distribution::of(distribution)
            .ok_or_else(|| PipelineError::Fault(format!("unknown distribution {distribution}")))?;
        let codename = table.codename(release).ok_or_else(|| {
            PipelineError::invalid(
                format!("{distribution} has no release {release}, as far as this program knows"),
                "name a newer one by its code name",
            )
        })?;
        let suites = packages.suites.clone().unwrap_or_else(|| table.suites(codename));
        let of = Release { table, codename, architecture };
        let sources = chosen(packages, of, &suites, &machine);
        let paths = sources.iter().flat_map(|source| &source.signed_by.paths);
        // Those of the distribution come with a package that apt depends on.
        let paths = paths.filter(|path| path.trim_start_matches('/') != table.keyring());
        let key = |path: &String| Some((path.clone(), files.get(path.trim_start_matches('/'))?.to_vec()));
        let keys = paths.filter_map(key).collect();
        let machine = machine.with_keys_of(table);
        let fetcher = HttpFetcher::new(machine.configuration()).map_err(PipelineError::fetching_packages)?;
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
            let during = format!("the packages of {distribution} {release}");
            return Err(PipelineError::Repository { during, source: failure.error.clone() });
        }
        let foreign = |origin: &str| !self.named && !origin.eq_ignore_ascii_case(distribution);
        if let Some(other) = available.suites().iter().find(|suite| foreign(&suite.release.origin)) {
            let origin = &other.release.origin;
            return Err(PipelineError::invalid(
                format!("{} is from {origin:?}, not from {distribution}", other.place),
                "use another name for the other distribution's release, or remove that source",
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
            let address = SafeUrl::new(&source.uri).without_login();
            lines += &format!("deb {options}{address} {} {}\n", source.suite, source.components.join(" "));
        }
        for (path, key) in &self.keys {
            files.insert(path.trim_start_matches('/').to_owned(), key.clone());
        }
        files.insert("etc/apt/sources.list".to_owned(), lines.into_bytes());
        files.into_iter().map(|(path, content)| (path, 0o644, content)).collect()
    }
}

/// A distribution's release, for an architecture.
#[derive(Clone, Copy)]
struct Release<'a> {
    table: &'a Distribution,
    codename: &'a str,
    architecture: &'a str,
}

/// The sources of suites. Where the project names a mirror and says nothing of security updates, and neither does this machine, these
/// come from the distribution: a base without them would look whole.
fn chosen(
    packages: &Packages,
    release: Release<'_>,
    suites: &[String],
    machine: &Repositories,
) -> Vec<Source> {
    let Release { table, codename, architecture } = release;
    let known =
        |name: &str| machine.sources().iter().filter(|one| one.suite == name).cloned().collect::<Vec<_>>();
    let is_mirrored = packages.mirror.is_some();
    let is_known = suites.iter().any(|suite| !known(suite).is_empty());
    let mut sources = Vec::new();
    for suite in suites {
        let is_security = suite.ends_with("-security") || suite.ends_with("/updates");
        let mirror = if is_security { &packages.security_mirror } else { &packages.mirror };
        let own = known(suite);
        match mirror {
            Some(address) => {
                // Signed by who signs it for this machine.
                let like = own.into_iter().next().or_else(|| known(codename).into_iter().next());
                let like = like.unwrap_or_else(|| table.source(suite, architecture));
                sources.push(at(address, suite, like));
            }
            None if !own.is_empty() => sources.extend(own),
            None if !is_known || is_mirrored => sources.push(table.source(suite, architecture)),
            None => {}
        }
    }
    sources
}

/// A suite at another address.
fn at(address: &str, suite: &str, like: Source) -> Source {
    let slash = if address.ends_with('/') { "" } else { "/" };
    let (uri, suite, place) = (format!("{address}{slash}"), suite.to_owned(), "otoshi.toml".to_owned());
    Source { uri, suite, place, ..like }
}

#[cfg(test)]
mod tests {
    use otoshi_packages::Files;

    use super::*;

    #[test]
    fn an_image_has_each_key_once_and_keeps_no_password() {
        let machine = Repositories::from_files(&Files::new(), "amd64");
        let source = |address: &str, key: &str| {
            let debian = Distribution::of("debian").unwrap();
            let mut source = at(address, "bookworm", debian.source("bookworm", "amd64"));
            source.signed_by.paths.clear();
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
    fn packages(table: &str) -> Packages {
        let text = format!("packages = []\nvariant = \"apt\"\n{table}");
        toml::from_str(&text).unwrap()
    }

    /// Where the suites of a base come from, on a machine whose apt has one line.
    fn places(table: &str, line: &str) -> Vec<String> {
        let mut files = Files::new();
        files.insert("etc/apt/sources.list", line.as_bytes().to_vec());
        let machine = Repositories::from_files(&files, "amd64");
        let packages = packages(table);
        let (distribution, release) = packages.release().unwrap();
        let table = Distribution::of(distribution).unwrap();
        let codename = table.codename(release).unwrap();
        let suites = packages.suites.clone().unwrap_or_else(|| table.suites(codename));
        let of = Release { table, codename, architecture: "amd64" };
        let sources = chosen(&packages, of, &suites, &machine);
        sources
            .iter()
            .map(|source| format!("{}{} {:?}", source.uri, source.suite, source.signed_by.paths))
            .collect()
    }

    #[test]
    fn a_release_that_the_machine_does_not_know_comes_from_where_it_is_published() {
        let keys = "[\"/usr/share/keyrings/debian-archive-keyring.gpg\"]";
        let published = [
            format!("http://deb.debian.org/debian/trixie {keys}"),
            format!("http://deb.debian.org/debian/trixie-updates {keys}"),
            format!("http://deb.debian.org/debian-security/trixie-security {keys}"),
        ];
        let other = "deb http://own.test/debian bookworm main\n";
        for table in ["debian = \"trixie\"", "debian = \"13\""] {
            assert_eq!(places(table, other), published);
            assert_eq!(places(table, ""), published);
        }
        let ubuntu = places("ubuntu = \"26.04\"", other);
        assert_eq!(
            ubuntu[0],
            "http://archive.ubuntu.com/ubuntu/resolute [\"/usr/share/keyrings/ubuntu-archive-keyring.gpg\"]"
        );
        // The machine's own word counts, and a mirror before it.
        let own = "deb [signed-by=/own.gpg] http://own.test/debian trixie main\n";
        assert_eq!(places("debian = \"trixie\"", own), ["http://own.test/debian/trixie [\"/own.gpg\"]"]);
        let mirrored = places("debian = \"trixie\"\nmirror = \"http://m.test/d\"", own);
        assert_eq!(
            mirrored[..2],
            ["http://m.test/d/trixie [\"/own.gpg\"]", "http://m.test/d/trixie-updates [\"/own.gpg\"]"]
        );
        // Fixes of security are never left out without a word.
        assert_eq!(mirrored[2], published[2]);
        let both = places(
            "debian = \"trixie\"\nmirror = \"http://m.test/d\"\nsecurity-mirror = \"http://m.test/s/\"",
            "",
        );
        assert_eq!(
            both,
            ["trixie", "trixie-updates"]
                .map(|suite| format!("http://m.test/d/{suite} {keys}"))
                .into_iter()
                .chain([format!("http://m.test/s/trixie-security {keys}")])
                .collect::<Vec<_>>()
        );
    }
}
