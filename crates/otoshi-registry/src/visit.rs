//! Sending requests: redirects, authentication, and trying again.
//!
//! - What may work the next time is sent again, after a growing wait or the one that the registry asks for (see
//!   [`Retries`](otoshi_http::Retries)). Everything else is final.
//! - Redirects are followed here: what lets a request in is sent to the registry that asked for it and to no other, where a
//!   registry is scheme, host and port. A 401 from anywhere else is no challenge: nobody but the registry itself says where a
//!   login goes.

use std::sync::{PoisonError, atomic::Ordering};

use otoshi_http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, WWW_AUTHENTICATE};
use otoshi_http::{Failure, Method, Response, StatusCode, TransportError, Url, host_of};

use crate::answer::{place_of, unreachable_error};
use crate::authorization::Grant;
use crate::call::{Call, Target};
use crate::challenge::Challenge;
use crate::error::{Asked, RegistryError};
use crate::hosts::Endpoint;
use crate::progress::{Event, Tally};
use crate::transport::Transport;

const MAX_REDIRECTS: usize = 5;

/// What is asked of one registry.
pub(crate) struct Visit<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) asked: &'a Asked,
}

impl Transport {
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
        self.budgets.wait(&endpoint.host).await;
        let outcome = Visit { transport: self, endpoint, asked }.authorized(call).await?;
        if let Ok(response) = &outcome
            && self.is_own(endpoint, response.url()).await
        {
            self.budgets.note(&endpoint.host, response.headers(), self.settings.retries.longest_wait);
        }
        Ok(outcome)
    }
}

impl Visit<'_> {
    /// Sends a request once, or once more after obtaining what lets it in.
    async fn authorized(&self, call: &Call) -> Result<Result<Response, TransportError>, RegistryError> {
        let Visit { transport, endpoint, asked } = *self;
        let url = match &call.target {
            Target::Path(path) => transport.url(endpoint, path, asked).await?,
            Target::Url(url) => url.clone(),
        };
        let mut scopes = vec![format!("repository:{}:{}", endpoint.name, call.actions)];
        scopes.extend(call.also.iter().map(|other| format!("repository:{other}:pull")));
        let mut grant = transport.grant(&endpoint.host, &scopes);
        let mut renewed = false;
        loop {
            let response = match self.following(call, &url, grant.as_ref()).await? {
                Ok(response) => response,
                Err(error) => return Ok(Err(error)),
            };
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(Ok(response));
            }
            if !transport.is_own(endpoint, response.url()).await {
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
                    reason: transport.login(endpoint)?.lack(&endpoint.login),
                    host: endpoint.login.clone(),
                });
            };
            let new = self.renew(&challenge, &scopes, grant.as_ref()).await?;
            renewed = new.1;
            grant = Some(new.0);
        }
    }

    /// Obtains a new grant, unless another request has just done so; says whether it did.
    async fn renew(
        &self,
        challenge: &Challenge,
        scopes: &[String],
        old: Option<&Grant>,
    ) -> Result<(Grant, bool), RegistryError> {
        let (transport, host) = (self.transport, &self.endpoint.host);
        let _turn = transport.asked_grants.take((host.clone(), scopes.join(" "))).await;
        let known = transport.grant(host, scopes);
        if let Some(known) = known.filter(|known| old.is_none_or(|old| old.header != known.header)) {
            return Ok((known, false));
        }
        let (scope, grant) = self.obtain(challenge, scopes).await?;
        let mut grants = transport.grants.lock().unwrap_or_else(PoisonError::into_inner);
        grants.insert(host, scope, grant.clone());
        Ok((grant, true))
    }

    /// Sends a request and follows redirects.
    async fn following(
        &self,
        call: &Call,
        url: &Url,
        grant: Option<&Grant>,
    ) -> Result<Result<Response, TransportError>, RegistryError> {
        let Visit { transport, endpoint, asked } = *self;
        let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            if !matches!(url.scheme(), "https" | "http") || (url.scheme() == "http" && !endpoint.plain) {
                return Err(wrong(format!("it redirects to {}, which does not use https", place_of(&url))));
            }
            let host = host_of(&url);
            let mut request = transport.client(&host)?.request(call.method.clone(), url.clone());
            for (name, value) in &call.headers {
                request = request.header(*name, value);
            }
            let is_own = transport.is_own(endpoint, &url).await;
            if let Some(grant) = grant.filter(|_| is_own) {
                let value =
                    grant.header.header().ok_or_else(|| wrong("its token cannot be sent".to_owned()))?;
                request = request.header(AUTHORIZATION, value);
            }
            if !matches!(call.method, Method::GET | Method::HEAD) {
                request = request.header(CONTENT_LENGTH, call.body.length()).body(call.body.to_reqwest());
            }
            transport.requests.fetch_add(1, Ordering::Relaxed);
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
}
