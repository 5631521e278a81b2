//! What lets requests in: tokens and passwords, obtained once and kept for as long as they are good.
//!
//! Source: distribution's `docs/content/spec/auth/token.md` and `oauth.md`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otoshi_http::header::{AUTHORIZATION, CONTENT_TYPE};
use otoshi_http::{Failure, Response, Retries, Secret, Url, host_of, is_loopback};
use serde::Deserialize;

use crate::answer::{answer_text, bounded, place_of, unreachable_error};
use crate::authorization::Grant;
use crate::challenge::Challenge;
use crate::credentials::{Known, Login};
use crate::error::RegistryError;
use crate::visit::Visit;

/// A token server is tried this often: a request waits for it.
const TOKEN_ATTEMPTS: u32 = 3;
/// A token that says nothing about its life is good for this long.
const DEFAULT_LIFE: u64 = 60;
/// The largest answer of a token server.
const MAX_ANSWER: usize = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<i64>,
}

/// A token that a token server is asked for.
struct WantedToken<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    scopes: &'a [String],
}

impl Visit<'_> {
    /// Obtains what a challenge asks for. Gives the scope under which it is kept.
    pub(crate) async fn obtain(
        &self,
        challenge: &Challenge,
        scopes: &[String],
    ) -> Result<(String, Grant), RegistryError> {
        let Visit { transport, endpoint, asked } = *self;
        let known = transport.login(endpoint)?;
        let refused = |reason: String| RegistryError::Login {
            asked: asked.clone(),
            reason,
            host: endpoint.login.clone(),
        };
        let for_ever = |header: Secret| Ok((String::new(), Grant { header, until: None }));
        if let (Challenge::Bearer { .. }, Some(Login::Bearer(token))) = (challenge, &known.login) {
            return for_ever(Secret::new(format!("Bearer {token}")));
        }
        match challenge {
            Challenge::Basic => match &known.login {
                Some(Login::Basic { user, password }) => for_ever(basic(user, password)),
                Some(_) => Err(refused("the configured one is a token, but it takes a password".to_owned())),
                None => Err(refused(known.lack(&endpoint.login))),
            },
            Challenge::Bearer { realm, service, scope } => {
                let realm =
                    Url::parse(realm).map_err(|_| refused("it names no valid token server".to_owned()))?;
                let own = transport.url(endpoint, "", asked).await?;
                if !is_private(&own, &realm) {
                    let place = place_of(&realm);
                    return Err(refused(format!("its token server {place} does not use https")));
                }
                let wanted =
                    if scopes.is_empty() { scope.iter().cloned().collect() } else { scopes.to_vec() };
                let wanted = WantedToken { realm: &realm, service: service.as_deref(), scopes: &wanted };
                let answer = self.token(wanted, &known).await?;
                // Null is nothing, as for whoever reads it in Go.
                let token = answer.token.filter(|token| !token.is_empty());
                let token = token.or(answer.access_token).unwrap_or_default();
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(refused("its token server gave no token".to_owned()));
                }
                // Given up a little early: what is sent now is looked at a moment later.
                let life = answer.expires_in.and_then(|life| u64::try_from(life).ok());
                let life = life.unwrap_or(DEFAULT_LIFE).clamp(1, 24 * 3600);
                let until = Instant::now() + Duration::from_secs(life).mul_f64(0.8);
                Ok((
                    scopes.join(" "),
                    Grant { header: Secret::new(format!("Bearer {token}")), until: Some(until) },
                ))
            }
        }
    }

    async fn token(&self, wanted: WantedToken<'_>, known: &Known) -> Result<Answer, RegistryError> {
        let Visit { endpoint, asked, .. } = *self;
        let WantedToken { realm, service, scopes } = wanted;
        let mut pairs: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        let joined = scopes.join(" ");
        let (mut url, mut form) = (realm.clone(), None);
        if let Some(Login::Refresh(token)) = &known.login {
            pairs.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "otoshi"),
                ("refresh_token", token.as_str()),
                ("scope", joined.as_str()),
            ]);
            let mut encoded = realm.clone();
            encoded.query_pairs_mut().clear().extend_pairs(&pairs);
            form = Some(encoded.query().unwrap_or_default().to_owned());
        } else {
            pairs.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            url.query_pairs_mut().extend_pairs(&pairs);
        }
        let header = match &known.login {
            Some(Login::Basic { user, password }) => Some(basic(user, password)),
            _ => None,
        };
        let response = self.ask_token_server(&url, header, form).await?;
        let status = response.status();
        let bytes = bounded(response, MAX_ANSWER).await.map_err(|reason| RegistryError::Wrong {
            asked: asked.clone(),
            reason: format!("its token server {}: {reason}", realm.host_str().unwrap_or_default()),
        })?;
        if !status.is_success() {
            let said = answer_text(&bytes);
            let said = if said.is_empty() { String::new() } else { format!(": {said}") };
            return Err(RegistryError::Login {
                asked: asked.clone(),
                reason: format!(
                    "{} (its token server answered {}{said})",
                    known.lack(&endpoint.login),
                    status.as_u16()
                ),
                host: endpoint.login.clone(),
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| RegistryError::Wrong {
            asked: asked.clone(),
            reason: format!("its token server's answer is not the expected JSON: {error}"),
        })
    }

    /// Asks a token server: a `GET`, or a form.
    async fn ask_token_server(
        &self,
        url: &Url,
        authorization: Option<Secret>,
        form: Option<String>,
    ) -> Result<Response, RegistryError> {
        let Visit { transport, endpoint, asked } = *self;
        let retries = transport.settings.retries;
        let mut backoff = Retries { attempts: retries.attempts.min(TOKEN_ATTEMPTS), ..retries }.backoff();
        loop {
            let client = transport.client(&host_of(url))?;
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
            transport.requests.fetch_add(1, Ordering::Relaxed);
            let outcome = request.send().await;
            let Some((wait, _)) = backoff.after(Failure::of(&outcome)) else {
                return outcome.map_err(|error| unreachable_error(asked, endpoint, error));
            };
            tokio::time::sleep(wait).await;
        }
    }
}

/// Whether a login may go to the token server that a registry names: by TLS, or without where the registry has none itself
/// and the token server is on the same machine.
fn is_private(registry: &Url, realm: &Url) -> bool {
    let name = |url: &Url| url.host_str().unwrap_or_default().to_ascii_lowercase();
    let is_same =
        name(registry) == name(realm) || (is_loopback(&name(registry)) && is_loopback(&name(realm)));
    realm.scheme() == "https" || (realm.scheme() == "http" && registry.scheme() == "http" && is_same)
}

fn basic(user: &str, password: &str) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_without_tls_to_the_registrys_own_machine_only() {
        let may = |registry: &str, realm: &str| {
            is_private(&Url::parse(registry).unwrap(), &Url::parse(realm).unwrap())
        };
        for (registry, realm) in [
            ("https://r.test/v2/", "https://auth.test/token"),
            ("http://r.test:5000/v2/", "https://auth.test/token"),
            ("http://r.test:5000/v2/", "http://r.test/jwt/auth"),
            ("http://localhost:5000/v2/", "http://127.0.0.1:5001/token"),
            ("http://[::1]:5000/v2/", "http://localhost:5001/token"),
        ] {
            assert!(may(registry, realm), "{registry} {realm}");
        }
        for (registry, realm) in [
            ("https://r.test/v2/", "http://r.test/token"),
            ("https://localhost:5000/v2/", "http://localhost:5001/token"),
            ("http://r.test:5000/v2/", "http://auth.test/token"),
            ("http://r.test:5000/v2/", "http://127.0.0.1/token"),
            ("http://localhost:5000/v2/", "http://r.test/token"),
            ("http://r.test:5000/v2/", "ftp://r.test/token"),
        ] {
            assert!(!may(registry, realm), "{registry} {realm}");
        }
    }
}
