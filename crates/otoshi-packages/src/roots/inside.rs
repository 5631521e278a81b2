//! Reading and removing files in the new root, which nobody trusts: `otoshi-tree` does it, and here its errors get their words.

use std::io;
use std::path::Path;

use super::error::RootError;

/// The longest file that is read, in bytes.
const MOST: u64 = 256 << 20;

/// A root, open.
#[derive(Debug)]
pub(super) struct Inside(otoshi_tree::Inside);

impl Inside {
    /// Opens a directory as a root.
    pub(super) fn open(root: &Path) -> Result<Self, RootError> {
        otoshi_tree::Inside::open(root).map(Self).map_err(failed("opening", ""))
    }

    /// Reads a file; `None` where there is none.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RootError> {
        self.0.read(path, MOST).map_err(failed("reading", path))
    }

    /// Reads a file of text; an empty one where there is none.
    pub(super) fn text(&self, path: &str) -> Result<String, RootError> {
        Ok(String::from_utf8_lossy(&self.read(path)?.unwrap_or_default()).into_owned())
    }

    /// Returns mode, owner and group of a file; `None` where there is none.
    pub(super) fn attributes(&self, path: &str) -> Option<(u32, u32, u32)> {
        let stat = self.0.stat(path).ok()??;
        Some((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid))
    }

    /// Says whether something has this name.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.0.has(path)
    }

    /// Returns the names in a directory, sorted; none where there is no such directory.
    pub(super) fn names(&self, path: &str) -> Result<Vec<Vec<u8>>, RootError> {
        self.0.names(path).map_err(failed("listing", path))
    }

    /// Removes a file, or a directory with all that is in it; nothing where there is none.
    pub(super) fn remove(&self, path: &str) -> Result<(), RootError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        self.remove_in(parent, name.as_bytes())
    }

    /// Removes what has this name in a directory.
    pub(super) fn remove_in(&self, parent: &str, name: &[u8]) -> Result<(), RootError> {
        let shown = format!("{parent}/{}", name.escape_ascii());
        self.0.remove(parent, name).map_err(failed("removing", &shown))
    }

    /// Takes an extended attribute from a directory; one that is not there is no error.
    pub(super) fn without_attribute(&self, path: &[u8], name: &str) {
        self.0.without_attribute(path, name);
    }
}

fn failed(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> RootError {
    let path = path.to_owned();
    move |source| RootError::Inside { action, path, source }
}
