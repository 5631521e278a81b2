//! Fetching files of a repository over HTTP: conditional requests, bounded answers, a few tries.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use otoshi_http::SafeUrl;
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Client, ClientBuilder, Proxy, StatusCode};
use tokio::runtime::Runtime;

use super::configuration::Configuration;
use super::files::read_root;
use super::reach::{Allowed, Reach, Resolver, refused};
use super::repositories::Repositories;

/// How often something is tried that may work the next time.
const ATTEMPTS: u32 = 3;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The address.
    pub url: String,
    /// What is known already, so that nothing is sent when it has not changed.
    pub known: Validators,
    /// The most bytes that are taken.
    pub limit: u64,
}

/// What a server tells one state of a file from another by.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The file, which went into the sink.
    Sent(Validators),
    /// What is known is still good.
    NotModified,
    /// There is no such file.
    Missing,
}

/// Fetches files.
pub trait Fetch: Sync {
    /// Fetches a file into a sink; fails with the reason in one line, without the address.
    ///
    /// An answer that is longer than the limit is cut off one byte behind it. A sink may get the beginning of a file that
    /// fails afterwards.
    fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, String>;

    /// Names what it asks and what not: what came of one that asks less is no answer for one that asks more.
    fn realm(&self) -> &'static str {
        ""
    }
}

/// Fetches over HTTP and HTTPS.
pub struct HttpFetcher {
    runtime: Runtime,
    client: Client,
    direct: Client,
    own: Client,
    own_direct: Client,
    others: Client,
    allowed: Allowed,
    requests: AtomicU64,
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
    pub fn of_this_machine() -> Result<Self, String> {
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
    pub fn new(configuration: &Configuration) -> Result<Self, String> {
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = |reach: Option<Reach>| {
            Client::builder()
                .user_agent(concat!("otoshi/", env!("CARGO_PKG_VERSION")))
                .referer(false)
                .connect_timeout(Duration::from_secs(15))
                .read_timeout(Duration::from_secs(60))
                .redirect(reqwest::redirect::Policy::custom(move |attempt| {
                    let refused = reach.and_then(|reach| refused(attempt.url(), reach));
                    let secure = attempt.previous().first().is_some_and(|url| url.scheme() == "https");
                    if attempt.previous().len() > 5 {
                        attempt.error("it leads on and on")
                    } else if secure && attempt.url().scheme() != "https" {
                        attempt.error("it leads away from https")
                    } else if let Some(refused) = refused {
                        attempt.error(refused)
                    } else {
                        attempt.follow()
                    }
                }))
        };
        let mut addresses = Vec::new();
        for (name, proxy) in [
            ("Acquire::http::Proxy", Proxy::http as fn(String) -> reqwest::Result<Proxy>),
            ("Acquire::https::Proxy", Proxy::https),
        ] {
            if let Some(address) = configuration.get(name).filter(|address| address.contains("://")) {
                addresses.push((name, proxy, address.to_owned()));
            }
        }
        let proxied = |mut builder: ClientBuilder| {
            for (name, proxy, address) in &addresses {
                builder = builder.proxy(proxy(address.clone()).map_err(|error| format!("{name}: {error}"))?);
            }
            Ok::<_, String>(builder)
        };
        let proxies = Arc::new(proxy_hosts(addresses.iter().map(|(_, _, address)| &address[..])));
        let guarded = |reach: Reach| {
            let resolver = Resolver { reach, proxies: Arc::clone(&proxies) };
            builder(Some(reach)).dns_resolver(Arc::new(resolver))
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("otoshi-packages")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            runtime,
            client: proxied(builder(None))?.build().map_err(reason)?,
            direct: builder(None).no_proxy().build().map_err(reason)?,
            own: proxied(guarded(Reach::Own))?.build().map_err(reason)?,
            own_direct: guarded(Reach::Own).no_proxy().build().map_err(reason)?,
            others: proxied(guarded(Reach::Others))?.build().map_err(reason)?,
            allowed: Allowed::default(),
            requests: AtomicU64::new(0),
        })
    }

    /// How many requests were sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn once(&self, client: &Client, request: &Request, sink: &mut dyn Write) -> Result<Answer, Failed> {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: &Option<String>| {
            if let Some(value) = value.as_deref().and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        };
        add(IF_NONE_MATCH, &request.known.etag);
        add(IF_MODIFIED_SINCE, &request.known.last_modified);
        self.requests.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(url = %SafeUrl::new(&request.url), "request");
        let response = client.get(&request.url).headers(headers).send().await.map_err(Failed::again)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(Answer::NotModified),
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Missing),
            status => {
                let transient = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
                return Err(Failed { reason: format!("it answered {status}"), again: transient });
            }
        }
        let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let validators = Validators { etag: text(ETAG), last_modified: text(LAST_MODIFIED) };
        let mut taken = 0_u64;
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(Failed::again)?;
            let left = (request.limit + 1).saturating_sub(taken);
            let chunk = &chunk[..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            sink.write_all(chunk).map_err(|error| Failed { reason: error.to_string(), again: false })?;
            taken += chunk.len() as u64;
            if taken > request.limit {
                break;
            }
        }
        Ok(Answer::Sent(validators))
    }
}

impl Fetch for HttpFetcher {
    fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, String> {
        let client = if is_loopback(&request.url) { &self.direct } else { &self.client };
        self.tried(client, request, sink)
    }
}

impl Fetch for Guarded<'_> {
    fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, String> {
        let url = reqwest::Url::parse(&request.url).map_err(|error| error.to_string())?;
        if self.allowed.has(&url) {
            return self.fetcher.get(request, sink);
        }
        if let Some(refused) = refused(&url, self.reach) {
            return Err(refused);
        }
        let client = match self.reach {
            Reach::Own if is_loopback(&request.url) => &self.fetcher.own_direct,
            Reach::Own => &self.fetcher.own,
            Reach::Others => &self.fetcher.others,
        };
        self.fetcher.tried(client, request, sink)
    }

    fn realm(&self) -> &'static str {
        match self.reach {
            Reach::Own => "own ",
            Reach::Others => "others ",
        }
    }
}

impl HttpFetcher {
    /// Tries a few times what may work the next time.
    fn tried(&self, client: &Client, request: &Request, sink: &mut dyn Write) -> Result<Answer, String> {
        let mut tried = 0;
        loop {
            let mut counted = Counted { sink: &mut *sink, count: 0 };
            let outcome = self.runtime.block_on(self.once(client, request, &mut counted));
            tried += 1;
            match outcome {
                Ok(answer) => return Ok(answer),
                // What is in the sink cannot be taken back.
                Err(failed) if failed.again && tried < ATTEMPTS && counted.count == 0 => {
                    std::thread::sleep(Duration::from_millis(200 << tried));
                }
                Err(failed) => return Err(failed.reason),
            }
        }
    }
}

impl std::fmt::Debug for HttpFetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFetcher").field("requests", &self.requests()).finish_non_exhaustive()
    }
}

/// Counts what goes into a sink.
struct Counted<'a> {
    sink: &'a mut dyn Write,
    count: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

struct Failed {
    reason: String,
    again: bool,
}

impl Failed {
    fn again(error: reqwest::Error) -> Self {
        Self { again: !error.is_builder() && !error.is_redirect(), reason: reason(error) }
    }
}

/// An error and what caused it, in one line, without the address.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The hosts of proxies that a configuration of apt and the environment name.
fn proxy_hosts<'a>(addresses: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let names = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let environment = names.iter().filter_map(|name| std::env::var(name).ok());
    let all = addresses.map(str::to_owned).chain(environment);
    all.filter_map(|address| {
        let address = if address.contains("://") { address } else { format!("http://{address}") };
        reqwest::Url::parse(&address).ok()?.host_str().map(str::to_owned)
    })
    .collect()
}

fn is_loopback(url: &str) -> bool {
    let host =
        reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
