//! The packages of an index.
//!
//! ```text
//! indx     1 description   2 packages   3 the form of their files' names
//! package  1 name   2 version   5 architecture   7 origin, the package that it was built from
//! ```

use super::block::Object;
use super::file::{Adb, INDEX, LARGEST};
use crate::apk::index::{Index, Record};

const PACKAGES: usize = 2;
const NAME: usize = 1;
const VERSION: usize = 2;
const ARCHITECTURE: usize = 5;
const ORIGIN: usize = 7;

impl Adb<'_> {
    /// Reads the packages of an index; fails with the reason where it is none, or where a package has no name or version.
    pub(crate) fn index(&self) -> Result<Index, String> {
        let root = self.root(INDEX)?;
        let Some(packages) = root.object(PACKAGES) else { return Ok(Index::default()) };
        let mut texts = Texts::default();
        (1..=packages.len())
            .map(|slot| texts.record(packages.object(slot).ok_or("a package in it is no object")?))
            .collect()
    }
}

/// How many bytes of text may still be copied: many packages can name the same long one.
pub(super) struct Texts {
    left: u64,
}

impl Default for Texts {
    fn default() -> Self {
        Self { left: LARGEST }
    }
}

impl Texts {
    /// Reads what is asked about a package.
    pub(super) fn record(&mut self, package: Object<'_>) -> Result<Record, String> {
        let (name, version) = (self.text(package, NAME)?, self.text(package, VERSION)?);
        let origin = self.text(package, ORIGIN)?;
        if name.is_empty() || version.is_empty() {
            return Err("a package in it has no name or no version".to_owned());
        }
        let source = if origin.is_empty() { name.clone() } else { origin };
        Ok(Record { name, version, architecture: self.text(package, ARCHITECTURE)?, source })
    }

    fn text(&mut self, package: Object<'_>, slot: usize) -> Result<String, String> {
        let text = package.blob(slot).unwrap_or_default();
        self.left = self
            .left
            .checked_sub(text.len() as u64)
            .ok_or_else(|| format!("names in it are longer than {} MiB", LARGEST >> 20))?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}
