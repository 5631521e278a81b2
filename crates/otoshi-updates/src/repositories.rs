//! Package repositories, asked once in a run for all images.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use otoshi_explain::Explain;
use otoshi_http::HttpError;
use otoshi_once::OnceMap;
use otoshi_packages::{
    Cache,
    apt::{Guarded, HttpFetcher, Reach},
};
use otoshi_project::Check as Settings;
use otoshi_store::Home;

use crate::stop::Stop;

/// Package repositories, and what is known of them.
pub(crate) struct Repositories {
    pub(crate) cache: Cache,
    fetcher: OnceLock<Result<HttpFetcher, HttpError>>,
    /// Requests that others sent for a check.
    pub(crate) others: AtomicU64,
    /// When each newer package was first seen, for those that many images have.
    pub(crate) seen: OnceMap<(String, String), (u64, u64)>,
}

impl Repositories {
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            cache: Cache::new(home.root().join("packages")),
            fetcher: OnceLock::new(),
            others: AtomicU64::new(0),
            seen: OnceMap::default(),
        }
    }

    /// How many requests were sent so far.
    pub(crate) fn requests(&self) -> u64 {
        let own =
            self.fetcher.get().and_then(|fetcher| fetcher.as_ref().ok()).map_or(0, HttpFetcher::requests);
        own + self.others.load(Ordering::Relaxed)
    }

    /// Fetches what an image names, from where it may lead.
    pub(crate) fn guarded(&self, reach: Reach, settings: &Settings) -> Result<Guarded<'_>, Stop> {
        let told = std::env::var("OTOSHI_LOCAL_REPOSITORIES").unwrap_or_default();
        let told = told.split([',', ' ']).filter(|host| !host.is_empty()).map(str::to_owned);
        let hosts: Vec<String> = settings.local_repositories.iter().cloned().chain(told).collect();
        Ok(self.fetcher()?.guarded(reach, &hosts))
    }

    /// Fetches through the proxies that this machine's apt is told to use, where there is one.
    pub(crate) fn fetcher(&self) -> Result<&HttpFetcher, Stop> {
        self.fetcher
            .get_or_init(HttpFetcher::of_this_machine)
            .as_ref()
            .map_err(|error| Stop::Told(error.to_string(), error.remedy()))
    }
}

impl std::fmt::Debug for Repositories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repositories").field("cache", &self.cache).finish_non_exhaustive()
    }
}
