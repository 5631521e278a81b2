//! Packages of a distribution by name, as `otoshi.lock` has them: each can be a package manager's argument as it is.

use std::fmt;

use otoshi_explain::{Explain, Kind, Remedy};
use serde::{Deserialize, Serialize};

/// A package of one architecture, written as `NAME:ARCHITECTURE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName {
    text: String,
    /// Where the architecture begins in it.
    at: usize,
}

/// A version of a package, as its package manager writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageVersion(String);

/// A text that is no package's name, architecture or version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// It is not `NAME:ARCHITECTURE`.
    #[error("{0:?} is not a package's name and architecture")]
    Name(String),
    /// It is not a version.
    #[error("{0:?} is not a package's version")]
    Version(String),
}

impl PackageName {
    /// Takes a name and an architecture; fails where one of them could not be a package manager's argument as it is.
    pub fn new(name: &str, architecture: &str) -> Result<Self, PackageError> {
        Self::try_from(format!("{name}:{architecture}"))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.text[..self.at - 1]
    }

    /// The architecture, as the package manager calls it.
    pub fn architecture(&self) -> &str {
        &self.text[self.at..]
    }

    /// `NAME:ARCHITECTURE`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PackageVersion {
    /// Takes a version; fails where it could not be part of a package manager's argument as it is.
    pub fn new(text: &str) -> Result<Self, PackageError> {
        Self::try_from(text.to_owned())
    }

    /// The version.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text has only what names and versions of packages have. Nothing of it means anything to a shell, and it is no option.
fn is_plain(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || ".+:~^_-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inside)
}

impl TryFrom<String> for PackageName {
    type Error = PackageError;

    fn try_from(text: String) -> Result<Self, PackageError> {
        let parts = text.rsplit_once(':');
        let parts = parts.filter(|(name, architecture)| is_plain(name) && is_plain(architecture));
        match parts.map(|(name, _)| name.len() + 1) {
            Some(at) => Ok(Self { text, at }),
            None => Err(PackageError::Name(text)),
        }
    }
}

impl From<PackageName> for String {
    fn from(package: PackageName) -> Self {
        package.text
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl TryFrom<String> for PackageVersion {
    type Error = PackageError;

    fn try_from(text: String) -> Result<Self, PackageError> {
        if is_plain(&text) { Ok(Self(text)) } else { Err(PackageError::Version(text)) }
    }
}

impl From<PackageVersion> for String {
    fn from(version: PackageVersion) -> Self {
        version.0
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Explain for PackageError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::Name(_) => "as in \"libssl3t64:amd64\"".into(),
            Self::Version(_) => "as in \"3.5.1-1+deb13u1\"".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_more_to_a_package_manager_is_no_package() {
        let package = PackageName::new("libstdc++6", "amd64").unwrap();
        assert_eq!((package.name(), package.architecture()), ("libstdc++6", "amd64"));
        assert_eq!(PackageName::try_from("a:b:all".to_owned()).unwrap().name(), "a:b");
        for wrong in
            ["a", "a:", ":amd64", "-o:amd64", "a b:amd64", "a;b:amd64", "a:am/d64", "a:$x", "ä:amd64"]
        {
            assert_eq!(PackageName::try_from(wrong.to_owned()), Err(PackageError::Name(wrong.to_owned())));
        }
        for version in ["1", "1:2.3~rc1-4+deb13u1", "0-r3", "1.2^git5"] {
            assert_eq!(PackageVersion::new(version).unwrap().as_str(), version);
        }
        for wrong in ["", "-1", "1;reboot", "1 2", "~1", "1\n"] {
            assert_eq!(PackageVersion::new(wrong), Err(PackageError::Version(wrong.to_owned())));
        }
    }
}
