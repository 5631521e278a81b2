//! Sending requests: addresses, redirects, authentication, and trying again.
//!
//! - What may work the next time is sent again, after a growing wait or the one that the registry asks for (see
//!   [`Retries`](otoshi_http::Retries)). Everything else is final.
//! - Redirects are followed here: what lets a request in is sent to the registry that asked for it and to no other, where a
//!   registry is scheme, host and port. A 401 from anywhere else is no challenge: nobody but the registry itself says where a
//!   login goes.
//! - Plain HTTP is used where [`Hosts`](crate::Hosts) allows it, and only if the registry does not speak TLS.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use otoshi_http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION, WWW_AUTHENTICATE,
};
use otoshi_http::{
    Client, ClientBuilder, Failure, Method, Response, Retries, Secret, StatusCode, TransportError, Url,
    host_of, is_certificate_error, is_loopback,
};

use crate::answer::{place_of, unreachable_error};
use crate::authorization::{Grant, Grants};
use crate::call::{Call, Target};
use crate::challenge::Challenge;
use crate::credentials::Known;
use crate::error::{Asked, RegistryError};
use crate::hosts::Endpoint;
use crate::progress::{Event, Tally};
use crate::repository::Repository;
use crate::settings::Settings;

const MAX_REDIRECTS: usize = 5;
/// A token server is tried this often: a request waits for it.
const TOKEN_ATTEMPTS: u32 = 3;

/// Everything that is shared by all requests.
pub(crate) struct Transport {
    pub(crate) settings: Settings,
    clients: Mutex<HashMap<String, Client>>,
    /// By host: `http` or `https`.
    schemes: tokio::sync::Mutex<HashMap<String, &'static str>>,
    logins: Mutex<HashMap<(String, String), Known>>,
    grants: tokio::sync::Mutex<Grants>,
    /// By host: when its budget is full again.
    budgets: Mutex<HashMap<String, Instant>>,
    /// By host: how many requests its last answer said are left.
    remaining: Mutex<HashMap<String, u64>>,
    /// Hosts that turned out to have no referrers API.
    pub(crate) without_referrers: Mutex<HashSet<String>>,
    requests: AtomicU64,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            clients: Mutex::default(),
            schemes: tokio::sync::Mutex::default(),
            logins: Mutex::default(),
            grants: tokio::sync::Mutex::default(),
            budgets: Mutex::default(),
            remaining: Mutex::default(),
            without_referrers: Mutex::default(),
            requests: AtomicU64::new(0),
        }
    }

    /// How many requests were sent so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many requests the host of a repository said are left, in its last answer that said so.
    pub(crate) fn remaining(&self, repository: &Repository) -> Option<u64> {
        let endpoint = self.settings.hosts.to_read(repository).ok()?.pop()?;
        self.remaining.lock().unwrap_or_else(PoisonError::into_inner).get(&endpoint.host).copied()
    }

    fn client(&self, host: &str) -> Result<Client, RegistryError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(host) {
            return Ok(client.clone());
        }
        let mut builder = ClientBuilder::new();
        if is_loopback(host) {
            builder = builder.direct();
        }
        for pem in self.settings.hosts.authorities(host) {
            builder = builder.authorities(&pem, host).map_err(Box::new)?;
        }
        let client = builder.build().map_err(Box::new)?;
        clients.insert(host.to_owned(), client.clone());
        Ok(client)
    }

    pub(crate) fn login(&self, endpoint: &Endpoint) -> Result<Known, RegistryError> {
        let key = (endpoint.login.clone(), endpoint.name.clone());
        if let Some(known) = self.logins.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let login = self.settings.credentials.find(&endpoint.login, &endpoint.name)?;
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).insert(key, login.clone());
        Ok(login)
    }

    /// The scheme of a host that may be reached by plain HTTP: found out once.
    async fn scheme(&self, endpoint: &Endpoint) -> Result<&'static str, RegistryError> {
        if !endpoint.plain {
            return Ok("https");
        }
        let mut schemes = self.schemes.lock().await;
        if let Some(scheme) = schemes.get(&endpoint.host) {
            return Ok(scheme);
        }
        let client = self.client(&endpoint.host)?;
        // A machine's own registry most often speaks plain HTTP, one elsewhere TLS.
        let order = if is_loopback(&endpoint.host) { ["http", "https"] } else { ["https", "http"] };
        let mut found = None;
        for scheme in order {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = client.get(format!("{scheme}://{}/v2/", endpoint.host)).send().await;
            match answer {
                // A server of TLS answers plain HTTP with 400, leads to itself by TLS, or does not answer at all.
                Ok(answer)
                    if scheme == "http"
                        && (answer.status() == StatusCode::BAD_REQUEST
                            || leads_to_tls(&answer, &endpoint.host)) =>
                {
                    found = Some("https");
                }
                Ok(_) => {
                    found = Some(scheme);
                    break;
                }
                Err(error) if is_certificate_error(&error) => found = Some("https"),
                Err(_) => {}
            }
        }
        let found = found.unwrap_or(order[0]);
        schemes.insert(endpoint.host.clone(), found);
        Ok(found)
    }

    /// The address of something below `/v2/`.
    pub(crate) async fn url(
        &self,
        endpoint: &Endpoint,
        path: &str,
        asked: &Asked,
    ) -> Result<Url, RegistryError> {
        let scheme = self.scheme(endpoint).await?;
        Url::parse(&format!("{scheme}://{}/v2/{path}", endpoint.host)).map_err(|error| RegistryError::Wrong {
            asked: asked.clone(),
            reason: format!("{} is not an address: {error}", endpoint.host),
        })
    }

    /// Whether an address is the registry's own: its scheme, its host, its port.
    async fn is_own(&self, endpoint: &Endpoint, url: &Url) -> bool {
        let Ok(scheme) = self.scheme(endpoint).await else { return false };
        Url::parse(&format!("{scheme}://{}/", endpoint.host)).is_ok_and(|own| own.origin() == url.origin())
    }

    /// Sends a request until it is answered for good; the answer may be an error all the same.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        asked: &Asked,
        tally: &Tally,
    ) -> Result<Response, RegistryError> {
        let mut backoff = self.settings.retries.backoff();
        loop {
            let outcome = self.send_once(endpoint, call, asked).await?;
            let Some((wait, reason)) = backoff.after(Failure::of(&outcome)) else {
                return outcome.map_err(|error| unreachable_error(asked, endpoint, error));
            };
            tally.tell(Event::Retrying { host: endpoint.host.clone(), reason, wait });
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends a request once, when the registry's budget allows it.
    pub(crate) async fn send_once(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        asked: &Asked,
    ) -> Result<Result<Response, TransportError>, RegistryError> {
        self.wait_for_budget(&endpoint.host).await;
        let outcome = self.send_authorized(endpoint, call, asked).await?;
        if let Ok(response) = &outcome
            && self.is_own(endpoint, response.url()).await
        {
            self.note_budget(&endpoint.host, response.headers());
        }
        Ok(outcome)
    }

    /// Sends a request once, or once more after obtaining what lets it in.
    async fn send_authorized(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        asked: &Asked,
    ) -> Result<Result<Response, TransportError>, RegistryError> {
        let url = match &call.target {
            Target::Path(path) => self.url(endpoint, path, asked).await?,
            Target::Url(url) => url.clone(),
        };
        let mut scopes = vec![format!("repository:{}:{}", endpoint.name, call.actions)];
        scopes.extend(call.also.iter().map(|other| format!("repository:{other}:pull")));
        let mut grant = self.grant(&endpoint.host, &scopes).await;
        let mut renewed = false;
        loop {
            let response = match self.send_following(endpoint, call, &url, grant.as_ref(), asked).await? {
                Ok(response) => response,
                Err(error) => return Ok(Err(error)),
            };
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(Ok(response));
            }
            if !self.is_own(endpoint, response.url()).await {
                let reason = format!(
                    "it redirects to {}, which requires a login of its own; the one for {} is not sent elsewhere",
                    place_of(response.url()),
                    endpoint.host
                );
                return Err(RegistryError::Wrong { asked: asked.clone(), reason });
            }
            let challenges = response.headers().get_all(WWW_AUTHENTICATE);
            let challenge = Challenge::strongest(challenges.iter().filter_map(|value| value.to_str().ok()));
            let Some(challenge) = challenge.filter(|_| !renewed) else {
                return Err(RegistryError::Login {
                    asked: asked.clone(),
                    reason: self.login(endpoint)?.lack(&endpoint.login),
                    host: endpoint.login.clone(),
                });
            };
            let new = self.renew(endpoint, &challenge, &scopes, grant.as_ref(), asked).await?;
            renewed = new.1;
            grant = Some(new.0);
        }
    }

    async fn grant(&self, host: &str, scopes: &[String]) -> Option<Grant> {
        let grants = self.grants.lock().await;
        let of =
            |scope: String| grants.get(&(host.to_owned(), scope)).filter(|grant| grant.is_good()).cloned();
        of(scopes.join(" ")).or_else(|| of(String::new()))
    }

    /// Obtains a new grant, unless another request has just done so; says whether it did.
    async fn renew(
        &self,
        endpoint: &Endpoint,
        challenge: &Challenge,
        scopes: &[String],
        old: Option<&Grant>,
        asked: &Asked,
    ) -> Result<(Grant, bool), RegistryError> {
        let mut grants = self.grants.lock().await;
        let of = |scope: String| grants.get(&(endpoint.host.clone(), scope)).filter(|grant| grant.is_good());
        let known = of(scopes.join(" ")).or_else(|| of(String::new()));
        if let Some(known) = known.filter(|known| old.is_none_or(|old| old.header != known.header)) {
            return Ok((known.clone(), false));
        }
        let (scope, grant) = self.obtain(endpoint, challenge, scopes, asked).await?;
        grants.insert((endpoint.host.clone(), scope), grant.clone());
        Ok((grant, true))
    }

    /// Sends a request and follows redirects.
    async fn send_following(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        url: &Url,
        grant: Option<&Grant>,
        asked: &Asked,
    ) -> Result<Result<Response, TransportError>, RegistryError> {
        let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            if !matches!(url.scheme(), "https" | "http") || (url.scheme() == "http" && !endpoint.plain) {
                return Err(wrong(format!("it redirects to {}, which does not use https", place_of(&url))));
            }
            let host = host_of(&url);
            let mut request = self.client(&host)?.request(call.method.clone(), url.clone());
            for (name, value) in &call.headers {
                request = request.header(*name, value);
            }
            let is_own = self.is_own(endpoint, &url).await;
            if let Some(grant) = grant.filter(|_| is_own) {
                let value =
                    grant.header.header().ok_or_else(|| wrong("its token cannot be sent".to_owned()))?;
                request = request.header(AUTHORIZATION, value);
            }
            if !matches!(call.method, Method::GET | Method::HEAD) {
                request = request.header(CONTENT_LENGTH, call.body.length()).body(call.body.to_reqwest());
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(method = %call.method, place = %place_of(&url), "request");
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => return Ok(Err(error.without_url())),
            };
            let status = response.status().as_u16();
            let is_read = matches!(call.method, Method::GET | Method::HEAD);
            if !(matches!(status, 307 | 308) || (is_read && matches!(status, 301..=303))) {
                return Ok(Ok(response));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| wrong("it redirects without saying where".to_owned()))?;
            url = url
                .join(location)
                .map_err(|_| wrong("it redirects to something that is not an address".to_owned()))?;
        }
        Err(wrong(format!("too many redirects (more than {MAX_REDIRECTS})")))
    }

    /// Asks a token server: a `GET`, or a form.
    pub(crate) async fn send_to_token_server(
        &self,
        url: &Url,
        authorization: Option<Secret>,
        form: Option<String>,
        asked: &Asked,
        endpoint: &Endpoint,
    ) -> Result<Response, RegistryError> {
        let retries = self.settings.retries;
        let mut backoff = Retries { attempts: retries.attempts.min(TOKEN_ATTEMPTS), ..retries }.backoff();
        loop {
            let client = self.client(&host_of(url))?;
            let mut request = match &form {
                Some(form) => client
                    .post(url.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.clone()),
                None => client.get(url.clone()),
            };
            if let Some(header) = authorization.as_ref().and_then(Secret::header) {
                request = request.header(AUTHORIZATION, header);
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let outcome = request.send().await;
            let Some((wait, _)) = backoff.after(Failure::of(&outcome)) else {
                return outcome.map_err(|error| unreachable_error(asked, endpoint, error));
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits where the registry said that there is nothing left until some time soon.
    async fn wait_for_budget(&self, host: &str) {
        let until = self.budgets.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
        if let Some(wait) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes note of `RateLimit-Remaining`, and where that is 0 of when it is more again.
    fn note_budget(&self, host: &str, headers: &HeaderMap) {
        let number = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| headers.get(*name))?.to_str().ok()?;
            value.split(';').next()?.trim().parse::<u64>().ok()
        };
        let Some(remaining) = number(["ratelimit-remaining", "x-ratelimit-remaining"]) else { return };
        self.remaining.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), remaining);
        if remaining != 0 {
            return;
        }
        let Some(reset) = number(["ratelimit-reset", "x-ratelimit-reset"]) else { return };
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        // Seconds from now, or a time since 1970.
        let wait = Duration::from_secs(if reset > 1_000_000_000 { reset.saturating_sub(now) } else { reset });
        if wait <= self.settings.retries.longest_wait {
            let until = Instant::now() + wait;
            self.budgets.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), until);
        }
    }
}

/// Whether an answer of plain HTTP leads to the same host by TLS.
fn leads_to_tls(answer: &Response, host: &str) -> bool {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.and_then(|location| Url::parse(location).ok());
    answer.status().is_redirection()
        && location.is_some_and(|url| url.scheme() == "https" && host_of(&url) == host)
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("requests", &self.requests()).finish_non_exhaustive()
    }
}
