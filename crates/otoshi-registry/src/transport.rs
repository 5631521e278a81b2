//! What all requests have in common: clients, logins, what lets requests in, and how a host is reached.
//!
//! Plain HTTP is used where [`Hosts`](crate::Hosts) allows it, and only if the registry does not speak TLS.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use otoshi_http::header::LOCATION;
use otoshi_http::{
    Client, ClientBuilder, Response, StatusCode, Url, host_of, is_certificate_error, is_loopback,
};

use crate::authorization::{Grant, Grants};
use crate::budgets::Budgets;
use crate::credentials::Known;
use crate::error::{Asked, RegistryError};
use crate::hosts::Endpoint;
use crate::repository::Repository;
use crate::settings::Settings;
use crate::turns::Turns;

/// Everything that is shared by all requests.
pub(crate) struct Transport {
    pub(crate) settings: Settings,
    clients: Mutex<HashMap<String, Client>>,
    /// By host: `http` or `https`.
    schemes: Mutex<HashMap<String, &'static str>>,
    /// Whose scheme is being found out, by host.
    asked_schemes: Turns<String>,
    logins: Mutex<HashMap<(String, String), Known>>,
    pub(crate) grants: Mutex<Grants>,
    /// What is being obtained, by host and scope.
    pub(crate) asked_grants: Turns<(String, String)>,
    pub(crate) budgets: Budgets,
    /// Hosts that turned out to have no referrers API.
    pub(crate) without_referrers: Mutex<HashSet<String>>,
    pub(crate) requests: AtomicU64,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            clients: Mutex::default(),
            schemes: Mutex::default(),
            asked_schemes: Turns::default(),
            logins: Mutex::default(),
            grants: Mutex::default(),
            asked_grants: Turns::default(),
            budgets: Budgets::default(),
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
        self.budgets.remaining(&endpoint.host)
    }

    pub(crate) fn client(&self, host: &str) -> Result<Client, RegistryError> {
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
        if let Some(scheme) = self.known_scheme(&endpoint.host) {
            return Ok(scheme);
        }
        let _turn = self.asked_schemes.take(endpoint.host.clone()).await;
        if let Some(scheme) = self.known_scheme(&endpoint.host) {
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
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint.host.clone(), found);
        Ok(found)
    }

    fn known_scheme(&self, host: &str) -> Option<&'static str> {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied()
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
    pub(crate) async fn is_own(&self, endpoint: &Endpoint, url: &Url) -> bool {
        let Ok(scheme) = self.scheme(endpoint).await else { return false };
        Url::parse(&format!("{scheme}://{}/", endpoint.host)).is_ok_and(|own| own.origin() == url.origin())
    }

    pub(crate) fn grant(&self, host: &str, scopes: &[String]) -> Option<Grant> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner).good(host, scopes).cloned()
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
