//! Image references, as people type them and as they are meant.
//!
//! ```text
//! ubuntu                     docker.io/library/ubuntu:latest
//! team/app:1                 docker.io/team/app:1
//! localhost:5000/x           localhost:5000/x:latest
//! ghcr.io/a/b@sha256:…       ghcr.io/a/b@sha256:…            (a digest needs no tag)
//! ```
//!
//! A [`Reference`] is parsed once, at the edge, and from then on complete: registry, repository, and a tag or a digest or
//! both. `Display` gives the complete form, [`Reference::familiar`] the one that people know.
//!
//! Grammar: <https://pkg.go.dev/github.com/distribution/reference>
//!
//! Grammar: distribution-spec v1.1.0, "Pulling manifests", and what Docker's `distribution/reference` takes.

use std::fmt;
use std::str::FromStr;

use otoshi_explain::{Explain, Kind, Remedy};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// Says why a string is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text is empty.
    #[error("an image reference must not be empty")]
    Empty,
    /// The repository has uppercase letters.
    #[error("invalid reference {reference:?}: the repository name must be lowercase")]
    Uppercase {
        /// The whole text.
        reference: String,
    },
    /// The registry part is not a host name with an optional port.
    #[error("invalid reference {reference:?}: {registry:?} is not a registry host")]
    Registry {
        /// The whole text.
        reference: String,
        /// The part before the first slash.
        registry: String,
    },
    /// The repository is not made of valid components.
    #[error("invalid reference {reference:?}: {repository:?} is not a repository name")]
    Repository {
        /// The whole text.
        reference: String,
        /// The part between registry and tag.
        repository: String,
    },
    /// The repository is too long.
    #[error("invalid reference {reference:?}: a repository name has at most {MAX_REPOSITORY} characters")]
    TooLong {
        /// The whole text.
        reference: String,
    },
    /// The tag has characters that a tag cannot have, or too many.
    #[error(
        "invalid tag {tag:?}: a tag has 1 to {MAX_TAG} letters, digits, `_`, `.` and `-`, and does not start with `.` or `-`"
    )]
    Tag {
        /// The tag.
        tag: String,
    },
    /// The part after `@` is not a digest.
    #[error("invalid reference {reference:?}")]
    Digest {
        /// The whole text.
        reference: String,
        /// Why.
        source: DigestError,
    },
    /// What stands before the registry is a login.
    #[error("invalid reference {reference:?}: a login is no part of an image's name")]
    Login {
        /// The whole text, the login in stars.
        reference: String,
        /// The text without the login.
        without: String,
    },
    /// Sixty-four hexadecimal digits are an identifier, never a name.
    #[error("invalid reference {reference:?}: 64 hexadecimal digits cannot be a repository name")]
    Identifier {
        /// The whole text.
        reference: String,
    },
}

/// The host of names that Otoshi gives: of bases made of packages, and of the images of roles as Dockerfiles see them.
///
/// Nobody can have it, so that no such name is ever anybody's image.
pub const OWN_HOST: &str = "otoshi.invalid";

/// Says whether no resolver knows a host, with or without a port. Source: RFC 6761, section 6.4.
pub fn is_reserved(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let end = name.rsplit('.').next().unwrap_or_default();
    end.eq_ignore_ascii_case("invalid")
}

/// Names an image: registry, repository, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses a reference and completes it by Docker's rules.
    ///
    /// The registry defaults to `docker.io`, one-word repositories there live under `library/`, and the tag defaults to
    /// `latest` where neither tag nor digest is given.
    ///
    /// Fails where host, repository, tag or digest do not have the form that the distribution specification and
    /// Docker demand.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let reference = || text.to_owned();
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier { reference: reference() });
        }

        if let Some(error) = login_in(text) {
            return Err(error);
        }
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ReferenceError::Digest { reference: reference(), source })?;
                (name, Some(digest))
            }
        };
        let (registry, remainder) = split_registry(name);
        let (repository, tag) = match remainder.split_once(':') {
            None => (remainder, None),
            Some((repository, tag)) => (repository, Some(tag)),
        };
        if !is_registry(registry) {
            return Err(ReferenceError::Registry { reference: reference(), registry: registry.to_owned() });
        }
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase { reference: reference() });
        }
        if !is_repository(repository) {
            return Err(ReferenceError::Repository {
                reference: reference(),
                repository: repository.to_owned(),
            });
        }
        if let Some(tag) = tag {
            check_tag(tag)?;
        }

        let registry = if registry == LEGACY_REGISTRY { DEFAULT_REGISTRY } else { registry };
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("{OFFICIAL_PREFIX}{repository}")
        } else {
            repository.to_owned()
        };
        if repository.len() > MAX_REPOSITORY {
            return Err(ReferenceError::TooLong { reference: reference() });
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// Says whether the name is one of ours, or any other under a host that no resolver knows: no registry is ever asked for it.
    ///
    /// Source: RFC 6761, section 6.4, the domain `invalid`.
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.registry)
    }

    /// Returns the registry host, with its port if it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository inside the registry, such as `library/ubuntu`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the short form that people know: no `docker.io/`, no `library/`; the tag stays.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// Returns the short form of registry and repository.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        match self.repository.strip_prefix(OFFICIAL_PREFIX) {
            Some(short) if !short.contains('/') => short.to_owned(),
            // A first component such as `localhost` would be read back as a registry.
            _ if split_registry(&self.repository).0 != DEFAULT_REGISTRY => self.name(),
            _ => self.repository.clone(),
        }
    }

    /// Returns this reference with another tag, and without a digest.
    ///
    /// Fails where the tag is not a valid one.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Returns this reference with a digest; the tag stays.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Returns this reference without its digest; a reference without a tag gets `latest`.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        let tag = self.tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned());
        Self { tag: Some(tag), digest: None, ..self.clone() }
    }

    /// Returns the name under which a layout files this image: with a tag, the tag alone.
    #[must_use]
    pub(crate) fn filed(&self) -> Self {
        if self.tag.is_some() { self.without_digest() } else { self.clone() }
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// The error of a text in which a login stands before the registry, as in an address; its password is in stars.
fn login_in(text: &str) -> Option<ReferenceError> {
    let start = text.find("://").map_or(0, |end| end + 3);
    let (scheme, rest) = text.split_at(start);
    let digest = ["@sha256:", "@sha512:"].iter().filter_map(|sign| rest.find(sign)).min();
    let (login, place) = rest[..digest.unwrap_or(rest.len())].rsplit_once('@')?;
    // What is after the name may be a digest by another algorithm, which is an error of its own.
    let is_digest = place.split_once(':').is_none_or(|(algorithm, hex)| {
        !algorithm.contains(['.', '/'])
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && !hex.bytes().all(|b| b.is_ascii_digit())
    });
    if is_digest && !place.contains(['/', '.']) && !login.contains(':') {
        return None;
    }
    let user = login.split(':').next().unwrap_or_default();
    let password = if login.contains(':') { ":******" } else { "" };
    let without = format!("{place}{}", digest.map_or("", |at| &rest[at..]));
    Some(ReferenceError::Login { reference: format!("{scheme}{user}{password}@{without}"), without })
}

/// Splits off the registry: the first component counts as one if it looks like a host (a dot, a port, `localhost`, or an
/// uppercase letter, which no repository can have).
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let valid =
                    !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                return valid && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_repository(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// `[a-z0-9]+` runs, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = text.bytes().peekable();
    loop {
        let mut run = 0;
        while bytes.next_if(|&b| alphanumeric(b)).is_some() {
            run += 1;
        }
        if run == 0 {
            return false;
        }
        match bytes.next() {
            None => return true,
            Some(b'.') => {}
            Some(b'_') => {
                bytes.next_if_eq(&b'_');
            }
            Some(b'-') => while bytes.next_if_eq(&b'-').is_some() {},
            Some(_) => return false,
        }
    }
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if valid { Ok(()) } else { Err(ReferenceError::Tag { tag: tag.to_owned() }) }
}

impl Explain for ReferenceError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Uppercase { reference } => {
                let lower = reference.to_lowercase();
                Reference::parse(&lower).is_ok().then(|| format!("try {lower:?}").into())
            }
            Self::Login { without, .. } => Some(
                format!("log in with docker login or skopeo login, and name the image as {without:?}").into(),
            ),
            Self::Identifier { reference } => {
                Some(format!("write a digest as \"name@sha256:{reference}\"").into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn completes_what_people_type() {
        let at = format!("@sha256:{HEX}");
        for (typed, complete, familiar) in [
            ("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("ubuntu:22.04", "docker.io/library/ubuntu:22.04", "ubuntu:22.04"),
            ("library/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("team/app", "docker.io/team/app:latest", "team/app:latest"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("local/x", "docker.io/local/x:latest", "local/x:latest"),
            ("LOCAL/x", "LOCAL/x:latest", "LOCAL/x:latest"),
            ("host:80/a/b:v1.0-rc_1", "host:80/a/b:v1.0-rc_1", "host:80/a/b:v1.0-rc_1"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("ghcr.io/a__b/c--d/e.f", "ghcr.io/a__b/c--d/e.f:latest", "ghcr.io/a__b/c--d/e.f:latest"),
            ("docker.io/localhost/x", "docker.io/localhost/x:latest", "docker.io/localhost/x:latest"),
            ("app:5000", "docker.io/library/app:5000", "app:5000"),
        ] {
            let reference = Reference::parse(typed).unwrap();
            assert_eq!(reference.to_string(), complete, "{typed}");
            assert_eq!(reference.familiar(), familiar, "{typed}");
        }
        let pinned = Reference::parse(&format!("ubuntu{at}")).unwrap();
        assert_eq!(pinned.to_string(), format!("docker.io/library/ubuntu{at}"));
        assert_eq!(pinned.tag(), None);
        let both = Reference::parse(&format!("localhost:5000/x:1{at}")).unwrap();
        assert_eq!((both.tag(), both.digest().unwrap().hex()), (Some("1"), HEX));
        assert_eq!(both.to_string(), format!("localhost:5000/x:1{at}"));
        assert_eq!(both.without_digest().to_string(), "localhost:5000/x:1");
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for typed in [
            "",
            ":tag",
            "Ubuntu",
            "docker.io/Ubuntu",
            "a//b",
            "/a",
            "a/",
            "a_/b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a:",
            "a:.x",
            "a:-x",
            "a: x",
            "a b",
            "a@",
            "a@sha256:00",
            "a:1:2",
            "host:port/x",
            "-host.io/x",
            "http://a.io/x",
            "a/é",
            "..",
            "../x",
            "[::1/x",
            HEX,
        ] {
            assert!(Reference::parse(typed).is_err(), "{typed:?} was accepted");
        }
        assert!(Reference::parse(&format!("a:{}", "x".repeat(129))).is_err());
        assert!(Reference::parse(&format!("a.io/{}", "x".repeat(256))).is_err());
        let error = Reference::parse("Team/App").unwrap_err();
        assert_eq!(error, ReferenceError::Uppercase { reference: "Team/App".into() });
        assert_eq!(error.hint().unwrap(), "try \"team/app\"");
    }

    #[test]
    fn a_login_is_no_part_of_a_name_and_its_password_is_not_shown() {
        let digest = format!("h.test/x@sha256:{HEX}");
        for (typed, shown, without) in [
            ("me:geheim@h.test/x", "me:******@h.test/x", "h.test/x"),
            ("me:geheim@localhost:5000/x:1", "me:******@localhost:5000/x:1", "localhost:5000/x:1"),
            ("me:geheim@localhost:5000", "me:******@localhost:5000", "localhost:5000"),
            ("me:geheim@host", "me:******@host", "host"),
            ("me:ge:he@im/x@h.test/x", "me:******@h.test/x", "h.test/x"),
            ("https://me:geheim@h.test/x", "https://me:******@h.test/x", "h.test/x"),
            ("git@h.test/x", "git@h.test/x", "h.test/x"),
            (&format!("me:geheim@{digest}"), &format!("me:******@{digest}"), &digest),
        ] {
            let error = Reference::parse(typed).unwrap_err();
            let expected = format!("invalid reference {shown:?}: a login is no part of an image's name");
            assert_eq!(error.to_string(), expected);
            assert!(error.hint().unwrap().ends_with(&format!("{without:?}")), "{typed}");
            assert!(!format!("{error:?}").contains("geheim"), "{typed}");
        }
        for digest in ["ruby@", "ruby@md5:abcd", "ruby@sha256:00", "a/b@sha256:00"] {
            assert!(matches!(Reference::parse(digest), Err(ReferenceError::Digest { .. })), "{digest}");
        }
    }

    proptest! {
        #[test]
        fn display_parses_back(
            host in prop::option::of("[a-z]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{1,3})?"),
            path in prop::collection::vec("[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?", 1..4),
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in prop::option::of("[0-9a-f]{64}"),
        ) {
            let mut text = host.map(|h| format!("{h}/")).unwrap_or_default();
            text.push_str(&path.join("/"));
            if let Some(tag) = &tag { text.push(':'); text.push_str(tag); }
            if let Some(digest) = &digest { text.push_str("@sha256:"); text.push_str(digest); }
            let reference = Reference::parse(&text).unwrap();
            prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
            prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
        }

        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }
    }
}
