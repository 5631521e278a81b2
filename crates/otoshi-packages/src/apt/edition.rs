//! Which apt a root has, since what is a key, a source or a turn has changed from one to the next.
//!
//! ```text
//! 2.7.11   a phased update that is a security fix itself is taken at once
//! 2.7.12   keys in armour may have carriage returns
//! 2.9.0    gpgv is told which kinds of keys count
//! 2.9.15   keyrings are looked at by apt itself, no longer by a shell script
//! 2.9.19   Sequoia's sqv checks signatures, where it is installed
//! 2.9.24   /etc/apt/trusted.gpg counts no more
//! 3.1.0    sources have Include and Exclude
//! 3.3.0    a phased update's roll has 100 sides, no longer 101
//! ```
//!
//! Source: apt's change log, and each apt, which the tests ask.

use crate::files::Files;
use crate::installed::dpkg;
use crate::version::dpkg as version;

/// The versions of apt and of what it checks signatures with, as dpkg has them on record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Edition {
    apt: Option<String>,
    pub(super) sqv: Option<String>,
    pub(super) gpgv: Option<String>,
}

impl Edition {
    /// Reads it from a root's files.
    pub(crate) fn of(files: &Files) -> Self {
        let installed = dpkg::packages(files).ok().flatten().unwrap_or_default();
        let version = |name: &str| {
            let found = installed.iter().find(|package| package.name == name);
            found.map(|package| package.version.clone())
        };
        Self { apt: version("apt"), sqv: version("sqv"), gpgv: version("gpgv") }
    }

    /// Says whether the root has no apt at all: it is looked at as by the newest.
    pub(crate) fn is_unknown(&self) -> bool {
        self.apt.is_none()
    }

    /// Says whether its apt is older than a version.
    pub(crate) fn is_before(&self, than: &str) -> bool {
        self.apt.as_deref().is_some_and(|own| version::compare(own, than).is_lt())
    }
}
