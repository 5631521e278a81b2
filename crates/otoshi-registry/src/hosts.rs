//! How a registry is reached: its address, mirrors, plain HTTP, certificate authorities of its own.
//!
//! The settings are those of the containers tools (`registries.conf`, version 2), as far as they are about reaching a
//! registry: `[[registry]]` with `prefix`, `location`, `insecure`, `blocked`, and `[[registry.mirror]]` with `location` and
//! `insecure`. `insecure` allows plain HTTP; it never turns the verification of certificates off.
//!
//! ```text
//! $CONTAINERS_REGISTRIES_CONF, else ~/.config/containers/registries.conf, else /etc/containers/registries.conf
//! /etc/containers/certs.d/HOST/*.crt, /etc/docker/certs.d/HOST/*.crt      authorities for one host
//! ```
//!
//! Format: <https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md>

use std::path::{Path, PathBuf};

use otoshi_explain::Remedy;
use otoshi_http::is_loopback;
use serde::Deserialize;

use crate::error::RegistryError;
use crate::repository::Repository;

/// Where Docker Hub answers.
const DOCKER_HUB: &str = "registry-1.docker.io";
const CERTIFICATES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// One place that has a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    /// Host, and port if there is one.
    pub(crate) host: String,
    /// The repository's name there.
    pub(crate) name: String,
    /// Whether plain HTTP is allowed.
    pub(crate) plain: bool,
    /// Where credentials for it are found: the registry's name as people write it.
    pub(crate) login: String,
}

/// The settings for all registries.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    registries: Vec<Entry>,
    certificates: Vec<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<Entry>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Entry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
}

impl Hosts {
    /// Reads this machine's settings; absent files say nothing.
    ///
    /// Fails where the file that counts cannot be read, or is malformed.
    pub fn load() -> Result<Self, RegistryError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let files = [
            set("CONTAINERS_REGISTRIES_CONF"),
            own.map(|directory| directory.join("containers/registries.conf")),
            Some("/etc/containers/registries.conf".into()),
        ];
        let mut hosts = match files.into_iter().flatten().find(|path| path.is_file()) {
            Some(path) => Self::read(&path)?,
            None => Self::default(),
        };
        hosts.certificates = CERTIFICATES.map(PathBuf::from).into();
        Ok(hosts)
    }

    /// Reads settings from one file.
    ///
    /// Fails where it cannot be read, or is malformed.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let wrong = |reason: String| RegistryError::Settings { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        Ok(Self { registries: file.registry, certificates: Vec::new() })
    }

    /// Looks for certificate authorities of single hosts in a directory as well.
    #[must_use]
    pub fn with_certificates(mut self, directory: impl Into<PathBuf>) -> Self {
        self.certificates.push(directory.into());
        self
    }

    /// The places that may have a repository for reading: mirrors first, the registry itself last.
    pub(crate) fn to_read(&self, repository: &Repository) -> Result<Vec<Endpoint>, RegistryError> {
        let Some((entry, rest)) = self.entry(repository)? else { return Ok(vec![plainly(repository)]) };
        let mut places: Vec<Endpoint> =
            entry.mirror.iter().map(|mirror| place(&mirror.location, &rest, mirror.insecure)).collect();
        places.push(self.itself(entry, &rest, repository));
        Ok(places)
    }

    /// The place that a repository is written to: the registry itself.
    pub(crate) fn to_write(&self, repository: &Repository) -> Result<Endpoint, RegistryError> {
        Ok(match self.entry(repository)? {
            Some((entry, rest)) => self.itself(entry, &rest, repository),
            None => plainly(repository),
        })
    }

    fn itself(&self, entry: &Entry, rest: &str, repository: &Repository) -> Endpoint {
        if let Some(location) = &entry.location {
            return place(location, rest, entry.insecure);
        }
        let own = plainly(repository);
        Endpoint { plain: own.plain || entry.insecure, ..own }
    }

    /// The entry with the longest matching prefix, and what follows the prefix.
    fn entry(&self, repository: &Repository) -> Result<Option<(&Entry, String)>, RegistryError> {
        if otoshi_oci::is_reserved(&repository.registry) {
            return Err(RegistryError::Unreachable {
                asked: repository.asked("for anything"),
                reason: "names under the domain `invalid` are not looked up in any registry".to_owned(),
                hint: Some(Remedy::BuildMakesReserved),
                source: None,
            });
        }
        let whole = repository.to_string();
        let matching = self.registries.iter().filter_map(|entry| {
            let prefix = entry.prefix.as_ref().or(entry.location.as_ref())?;
            let length = if let Some(domain) = prefix.strip_prefix("*.") {
                // Only a whole host can have any subdomain.
                let host = &repository.registry;
                let is_below = host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.'));
                is_below.then_some(host.len())?
            } else {
                let rest = whole.strip_prefix(prefix.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())?
            };
            Some((prefix.len(), entry, whole[length..].trim_start_matches('/').to_owned()))
        });
        let Some((_, entry, rest)) = matching.max_by_key(|(length, ..)| *length) else { return Ok(None) };
        if entry.blocked {
            return Err(RegistryError::Unreachable {
                asked: repository.asked("for anything"),
                reason: "it is blocked by registries.conf".to_owned(),
                hint: Some("remove `blocked` there".into()),
                source: None,
            });
        }
        Ok(Some((entry, rest)))
    }

    /// Certificate authorities to trust for one host, in PEM form, in addition to the machine's own.
    pub(crate) fn authorities(&self, host: &str) -> Vec<Vec<u8>> {
        let files = self.certificates.iter().flat_map(|directory| {
            std::fs::read_dir(directory.join(host)).into_iter().flatten().flatten().map(|entry| entry.path())
        });
        let certificates = files.filter(|path| path.extension().is_some_and(|e| e == "crt"));
        certificates.filter_map(|path| std::fs::read(path).ok()).collect()
    }
}

/// A repository where its registry's name says.
fn plainly(repository: &Repository) -> Endpoint {
    let host = if repository.registry == "docker.io" { DOCKER_HUB } else { &repository.registry };
    Endpoint {
        host: host.to_owned(),
        name: repository.name.clone(),
        plain: is_loopback(host),
        login: repository.registry.clone(),
    }
}

/// `HOST[/PATH]` and the rest of a repository's name.
fn place(location: &str, rest: &str, insecure: bool) -> Endpoint {
    let (host, path) = location.split_once('/').unwrap_or((location, ""));
    let name = [path, rest].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let plain = insecure || is_loopback(host);
    let address = if host == "docker.io" { DOCKER_HUB } else { host };
    Endpoint { host: address.to_owned(), name, plain, login: host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Hosts {
        let file: File = toml::from_str(text).unwrap();
        Hosts { registries: file.registry, certificates: Vec::new() }
    }

    fn repository(registry: &str, name: &str) -> Repository {
        Repository { registry: registry.into(), name: name.into() }
    }

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_wins() {
        let hosts = hosts(
            "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"mirror.test/hub\"\n\
             [[registry]]\nprefix = \"docker.io/team\"\nlocation = \"own.test:5000/t\"\ninsecure = true\n",
        );
        let places = hosts.to_read(&repository("docker.io", "library/ruby")).unwrap();
        let shown: Vec<_> = places.iter().map(|p| (p.host.as_str(), p.name.as_str(), p.plain)).collect();
        assert_eq!(shown, [("mirror.test", "hub/library/ruby", false), (DOCKER_HUB, "library/ruby", false)]);
        let place = hosts.to_write(&repository("docker.io", "team/app")).unwrap();
        assert_eq!((place.host.as_str(), place.name.as_str(), place.plain), ("own.test:5000", "t/app", true));
        let other = hosts.to_write(&repository("docker.io", "teams/app")).unwrap();
        assert_eq!(other.host, DOCKER_HUB, "a prefix ends at a slash");
    }

    #[test]
    fn plain_http_is_for_loopback_or_where_it_is_allowed() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.test", "10.0.0.1", "registry.test:5000", "[::2]", "127.0.0.1.test"] {
            assert!(!is_loopback(host), "{host}");
        }
        assert!(!Hosts::default().to_write(&repository("registry.test:5000", "a")).unwrap().plain);
    }

    #[test]
    fn a_blocked_registry_is_not_asked() {
        let hosts = hosts("[[registry]]\nprefix = \"*.bad.test\"\nblocked = true\n");
        let error = hosts.to_read(&repository("a.bad.test", "x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.bad.test/x: asked for anything, and got no answer: it is blocked by registries.conf"
        );
        assert!(hosts.to_read(&repository("bad.test", "x")).is_ok());
    }
}
