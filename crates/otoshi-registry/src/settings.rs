//! What a client is set up with.

use std::time::Duration;

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

/// How often and after how long something is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// How often in a row nothing may come of it.
    pub attempts: u32,
    /// The first wait; each further one is twice as long.
    pub first_wait: Duration,
    /// The longest wait. A registry that asks for more is taken at its word: that is an error now.
    pub longest_wait: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        let (first_wait, longest_wait) = (Duration::from_millis(250), Duration::from_secs(60));
        Self { attempts: 6, first_wait, longest_wait }
    }
}

impl Retries {
    /// How long to wait after this many failures, a little different each time.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        let wait =
            self.first_wait.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.longest_wait);
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |time| time.subsec_nanos());
        // Between three quarters and all of it, so that many clients do not come back together.
        wait.mul_f64(0.75 + f64::from(nanos % 1000) / 4000.0)
    }
}

impl Settings {
    /// This machine's and this user's.
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
