//! What a client is set up with.

use otoshi_http::Retries;

use crate::credentials::Credentials;
use crate::error::RegistryError;
use crate::hosts::Hosts;

/// What a client is set up with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How registries are reached.
    pub hosts: Hosts,
    /// Where logins are looked up.
    pub credentials: Credentials,
    /// What is done when something fails that may work the next time.
    pub retries: Retries,
    /// How many blobs move at the same time.
    pub parallel: usize,
    /// How much of a blob one request uploads, in bytes; an upload that breaks goes on after what the registry kept.
    pub upload_chunk: u64,
}

impl Settings {
    /// This machine's and this user's.
    ///
    /// Fails as [`Hosts::load`] does.
    pub fn of_this_user() -> Result<Self, RegistryError> {
        Ok(Self { hosts: Hosts::load()?, credentials: Credentials::of_this_user(), ..Self::plain() })
    }

    /// Nothing that depends on the machine: no mirrors, no logins.
    pub fn plain() -> Self {
        Self {
            hosts: Hosts::default(),
            credentials: Credentials::default(),
            retries: Retries::default(),
            parallel: 6,
            upload_chunk: 512 << 20,
        }
    }
}
