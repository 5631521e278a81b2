//! Where Debian and Ubuntu publish their packages, and whose signatures count: part of the program, dated, for those whose own apt
//! does not say it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::sources::{Selection, SignedBy, Source};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // A test reads it.
    toml::from_str(include_str!("distributions.toml")).unwrap_or_default()
});
const DEBIANS_KEYS: &[u8] = include_bytes!("keys/debian-archive-keyring.pgp");
const UBUNTUS_KEYS: &[u8] = include_bytes!("keys/ubuntu-archive-keyring.gpg");

#[derive(Debug, Default, Deserialize)]
struct Table {
    date: String,
    #[serde(flatten)]
    distributions: BTreeMap<String, Distribution>,
}

/// A distribution whose packages are found without a word from anybody.
#[derive(Debug, Deserialize)]
pub struct Distribution {
    address: String,
    security: String,
    components: Vec<String>,
    keyring: String,
    #[serde(default)]
    rolling: Vec<String>,
    ports: Option<Ports>,
    keys: Keys,
    releases: BTreeMap<String, String>,
}

/// Where packages for other architectures are.
#[derive(Debug, Deserialize)]
struct Ports {
    not: Vec<String>,
    address: String,
    security: String,
}

/// Where the program has its keys from.
#[derive(Debug, Deserialize)]
struct Keys {
    file: String,
    package: String,
    date: String,
    sha256: String,
}

impl Distribution {
    /// Finds one by its id, as in `debian`.
    pub fn of(id: &str) -> Option<&'static Self> {
        TABLE.distributions.get(id)
    }

    /// Returns the code name of a release that is named by its number or by that name, as suites are called; `None` for a number
    /// that is not known.
    pub fn codename<'a>(&'a self, release: &'a str) -> Option<&'a str> {
        let is_number = release.starts_with(|c: char| c.is_ascii_digit());
        if !is_number {
            return Some(release);
        }
        // Of Debian's `12.5`, the first number is the release.
        let whole = self.releases.get(release);
        let first = || self.releases.get(release.split('.').next()?);
        whole.or_else(first).map(String::as_str)
    }

    /// Returns the suites that a release's packages come from: its own, its updates, and its security fixes.
    pub fn suites(&self, codename: &str) -> Vec<String> {
        if self.rolling.iter().any(|name| name == codename) {
            return vec![codename.to_owned()];
        }
        vec![codename.to_owned(), format!("{codename}-updates"), format!("{codename}-security")]
    }

    /// Returns the source of a suite for an architecture in Debian's words, signed by the keys of [`Distribution::keyring`].
    pub fn source(&self, suite: &str, architecture: &str) -> Source {
        let ports = self.ports.as_ref().filter(|ports| !ports.not.iter().any(|one| one == architecture));
        let (address, security) =
            ports.map_or((&self.address, &self.security), |ports| (&ports.address, &ports.security));
        let is_security = suite.ends_with("-security") || suite.ends_with("/updates");
        Source {
            uri: format!("{}/", if is_security { security } else { address }),
            suite: suite.to_owned(),
            components: self.components.clone(),
            architectures: None,
            architectures_added: Vec::new(),
            architectures_removed: Vec::new(),
            selection: Selection::default(),
            signed_by: SignedBy { paths: vec![format!("/{}", self.keyring)], ..SignedBy::default() },
            trusted: None,
            check_valid_until: None,
            valid_until_max: None,
            valid_until_min: None,
            check_date: None,
            date_max_future: None,
            by_hash: None,
            place: format!("the sources of {}", TABLE.date),
        }
    }

    /// Returns where a root has its keys, relative to the root.
    pub fn keyring(&self) -> &str {
        &self.keyring
    }

    /// Returns the keys that the program has.
    pub fn keys(&self) -> &'static [u8] {
        if self.keys.file.starts_with("debian") { DEBIANS_KEYS } else { UBUNTUS_KEYS }
    }

    /// Says where the program's keys are from: a package, its version and its date, and the sum of its file.
    pub fn keys_from(&self) -> String {
        let Keys { package, date, sha256, .. } = &self.keys;
        format!("{package} of {date}, SHA-256 {sha256}")
    }
}

#[cfg(test)]
mod tests {
    use otoshi_oci::Digest;

    use super::*;
    use crate::apt::Keyring;

    #[test]
    fn the_keys_are_those_of_the_distributions_own_packages() {
        for (id, fingerprint) in [
            ("debian", "04B54C3CDCA79751B16BC6B5225629DF75B188BD"),
            ("ubuntu", "F6ECB3762474EDA9D21B7022871920D1991BC93C"),
        ] {
            let distribution = Distribution::of(id).unwrap();
            assert_eq!(Digest::sha256_of(distribution.keys()).hex(), distribution.keys.sha256);
            let mut keyring = Keyring::default();
            keyring.add(distribution.keys()).unwrap();
            assert!(keyring.fingerprints().iter().any(|known| known == fingerprint), "{id}");
            assert!(distribution.keys_from().contains(&distribution.keys.date));
        }
        assert!(Distribution::of("fedora").is_none());
    }

    #[test]
    fn a_release_has_a_number_or_a_name_and_three_suites() {
        let (debian, ubuntu) = (Distribution::of("debian").unwrap(), Distribution::of("ubuntu").unwrap());
        assert_eq!((debian.codename("13"), debian.codename("12.5")), (Some("trixie"), Some("bookworm")));
        assert_eq!((debian.codename("trixie"), debian.codename("99")), (Some("trixie"), None));
        assert_eq!((ubuntu.codename("26.04"), ubuntu.codename("24.04.1")), (Some("resolute"), None));
        assert_eq!(debian.suites("sid"), ["sid"]);
        assert_eq!(ubuntu.suites("noble"), ["noble", "noble-updates", "noble-security"]);
        let place =
            |of: &Distribution, suite: &str, architecture: &str| of.source(suite, architecture).directory();
        assert_eq!(place(debian, "trixie", "arm64"), "http://deb.debian.org/debian/dists/trixie/");
        assert_eq!(
            place(debian, "trixie-security", "amd64"),
            "http://deb.debian.org/debian-security/dists/trixie-security/"
        );
        assert_eq!(
            place(ubuntu, "noble-security", "amd64"),
            "http://security.ubuntu.com/ubuntu/dists/noble-security/"
        );
        assert_eq!(
            place(ubuntu, "noble-security", "arm64"),
            "http://ports.ubuntu.com/ubuntu-ports/dists/noble-security/"
        );
    }
}
