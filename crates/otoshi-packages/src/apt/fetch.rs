//! Fetching files of a repository over HTTP: conditional requests, bounded answers, a few tries.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use otoshi_http::{
    Client, ClientBuilder, Get, Getter, Got, HttpError, Retries, SafeUrl, Url, host_of, is_loopback,
};

use super::configuration::Configuration;
use super::files::read_root;
use super::reach::{Allowed, Reach, Resolver, refused};
use super::repositories::Repositories;
use crate::fetch::{Answer, Fetch, FetchError, Request};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// Other mirrors, and what is kept, are better than a long wait.
const RETRIES: Retries = Retries {
    attempts: 3,
    first_wait: Duration::from_millis(400),
    longest_wait: Duration::from_secs(30),
    deadline: Duration::from_secs(120),
};

/// Fetches over HTTP and HTTPS.
pub struct HttpFetcher {
    getter: Getter,
    client: Client,
    direct: Client,
    own: Client,
    own_direct: Client,
    others: Client,
    allowed: Allowed,
}

/// Fetches what images name, and only from where they may lead.
#[derive(Debug)]
pub struct Guarded<'a> {
    fetcher: &'a HttpFetcher,
    reach: Reach,
    allowed: Allowed,
}

impl HttpFetcher {
    /// Makes a fetcher that uses the proxies that the environment and this machine's own apt name, where there is one.
    ///
    /// Fails as [`HttpFetcher::new`] does.
    pub fn of_this_machine() -> Result<Self, HttpError> {
        let files = read_root(Path::new("/")).unwrap_or_default();
        let repositories = Repositories::from_files(&files, "all");
        let mut fetcher = Self::new(repositories.configuration())?;
        fetcher.allowed.add(repositories.sources().iter().map(|source| &source.uri[..]));
        Ok(fetcher)
    }

    /// Fetches what an image names: not from everywhere, but for those hosts that the user names.
    pub fn guarded(&self, reach: Reach, hosts: &[String]) -> Guarded<'_> {
        let mut allowed = self.allowed.clone();
        allowed.add(hosts.iter().map(String::as_str));
        Guarded { fetcher: self, reach, allowed }
    }

    /// Makes a fetcher that uses the proxies that the environment and a configuration of apt name, such as this machine's.
    ///
    /// Fails where a proxy's address is none, where the machine's certificate authorities cannot be loaded, and where
    /// threads cannot be started.
    pub fn new(configuration: &Configuration) -> Result<Self, HttpError> {
        let builder = |reach: Option<Reach>| {
            ClientBuilder::new()
                .read_timeout(Duration::from_secs(60))
                .redirects(MAX_REDIRECTS, move |url| reach.and_then(|reach| refused(url, reach)))
        };
        let mut proxies = Vec::new();
        for (scheme, setting) in [("http", "Acquire::http::Proxy"), ("https", "Acquire::https::Proxy")] {
            if let Some(address) = configuration.get(setting).filter(|address| address.contains("://")) {
                proxies.push((scheme, address, setting));
            }
        }
        let proxied = |builder: ClientBuilder| {
            proxies.iter().try_fold(builder, |builder, (scheme, address, setting)| {
                builder.proxy(scheme, address, setting)
            })
        };
        let hosts = Arc::new(proxy_hosts(proxies.iter().map(|(_, address, _)| *address)));
        let guarded = |reach: Reach| {
            let resolver = Resolver { reach, proxies: Arc::clone(&hosts) };
            builder(Some(reach)).resolver(Arc::new(resolver))
        };
        Ok(Self {
            getter: Getter::new("otoshi-packages", RETRIES)?,
            client: proxied(builder(None))?.build()?,
            direct: builder(None).direct().build()?,
            own: proxied(guarded(Reach::Own))?.build()?,
            own_direct: guarded(Reach::Own).direct().build()?,
            others: proxied(guarded(Reach::Others))?.build()?,
            allowed: Allowed::default(),
        })
    }

    /// How many requests were sent so far.
    pub fn requests(&self) -> u64 {
        self.getter.requests()
    }

    fn get_with(
        &self,
        client: &Client,
        request: &Request,
        sink: &mut dyn Write,
    ) -> Result<Answer, FetchError> {
        let Request { url, known, limit } = request;
        let get = Get { url, known, authorization: None, limit: *limit };
        match self.getter.get(client, get, sink) {
            Ok(Got::Sent(validators)) => Ok(Answer::Sent(validators)),
            Ok(Got::NotModified) => Ok(Answer::NotModified),
            Err(HttpError::Status { status, .. }) if matches!(status.as_u16(), 404 | 410) => {
                Ok(Answer::Missing)
            }
            Err(error) => Err(FetchError::Http(Arc::new(error))),
        }
    }
}

impl Fetch for HttpFetcher {
    fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, FetchError> {
        let client = if is_own(&request.url) { &self.direct } else { &self.client };
        self.get_with(client, request, sink)
    }
}

impl Fetch for Guarded<'_> {
    fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, FetchError> {
        let url = Url::parse(request.url.expose()).map_err(|error| FetchError::Address(error.to_string()))?;
        if self.allowed.has(&url) {
            return self.fetcher.get(request, sink);
        }
        if let Some(refused) = refused(&url, self.reach) {
            return Err(FetchError::Refused(refused));
        }
        let client = match self.reach {
            Reach::Own if is_own(&request.url) => &self.fetcher.own_direct,
            Reach::Own => &self.fetcher.own,
            Reach::Others => &self.fetcher.others,
        };
        self.fetcher.get_with(client, request, sink)
    }

    fn realm(&self) -> &'static str {
        match self.reach {
            Reach::Own => "own ",
            Reach::Others => "others ",
        }
    }
}

impl std::fmt::Debug for HttpFetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFetcher").field("requests", &self.requests()).finish_non_exhaustive()
    }
}

/// The hosts of proxies that a configuration of apt and the environment name.
fn proxy_hosts<'a>(addresses: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let names = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let environment = names.iter().filter_map(|name| std::env::var(name).ok());
    let all = addresses.map(str::to_owned).chain(environment);
    all.filter_map(|address| {
        let address = if address.contains("://") { address } else { format!("http://{address}") };
        Url::parse(&address).ok()?.host_str().map(str::to_owned)
    })
    .collect()
}

/// Whether an address is one of this machine, which no proxy is asked for.
fn is_own(url: &SafeUrl) -> bool {
    Url::parse(url.expose()).is_ok_and(|url| is_loopback(&host_of(&url)))
}
