//! Directories from elsewhere: git repositories, and archives by HTTP.

use std::{collections::BTreeMap, path::PathBuf};

use otoshi_engine::{EmbeddedEngine, EngineError, Secret, Ssh};

/// What fetches directories, with what lets it in.
#[derive(Clone, Copy)]
pub(super) struct Elsewhere<'a> {
    pub(super) engine: &'a EmbeddedEngine,
    pub(super) ssh: Option<&'a Ssh>,
    pub(super) secrets: &'a BTreeMap<String, Secret>,
}

impl Elsewhere<'_> {
    /// The directory that an address stands for; `None` where it is not one of a repository or archive.
    ///
    /// Fails where it cannot be fetched.
    pub(super) fn directory(&self, address: &str) -> Result<Option<PathBuf>, EngineError> {
        self.engine.remote_directory(address, self.ssh, self.secrets)
    }
}
