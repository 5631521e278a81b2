//! Secrets that let a request in, under the names that `docker build` looks for.
//!
//! ```text
//! HTTP_AUTH_HEADER_HOST, HTTP_AUTH_TOKEN_HOST        files by HTTP: the value of Authorization, or a bearer token
//! GIT_AUTH_HEADER[.HOST], GIT_AUTH_TOKEN[.HOST]      repositories: the same, the token as a password
//! ```
//!
//! They are sent to the host of the address and to no other, and end up in no key, no record and no message.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use otoshi_http::{Secret as Authorization, Url};

use crate::{EngineError, Secret, embedded::secret::read_secret};

type Secrets = BTreeMap<String, Secret>;

/// The value of the `Authorization` header for a file by HTTP.
pub(super) fn of_file(secrets: &Secrets, url: &str) -> Result<Option<Authorization>, EngineError> {
    let Some(hosts) = hosts(url) else { return Ok(None) };
    for host in &hosts {
        if let Some(header) = text(secrets, &format!("HTTP_AUTH_HEADER_{host}"))? {
            return Ok(Some(Authorization::new(header)));
        }
        if let Some(token) = text(secrets, &format!("HTTP_AUTH_TOKEN_{host}"))? {
            return Ok(Some(Authorization::new(format!("Bearer {token}"))));
        }
    }
    Ok(None)
}

/// The value of the `Authorization` header for a repository by HTTP, and the addresses that it is for.
pub(super) fn of_repository(secrets: &Secrets, url: &str) -> Result<Option<(String, String)>, EngineError> {
    let Some(hosts) = hosts(url) else { return Ok(None) };
    let origin = Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    for end in hosts.iter().map(|host| format!(".{host}")).chain([String::new()]) {
        if let Some(header) = text(secrets, &format!("GIT_AUTH_HEADER{end}"))? {
            return Ok(Some((origin, header)));
        }
        if let Some(token) = text(secrets, &format!("GIT_AUTH_TOKEN{end}"))? {
            let pair = STANDARD.encode(format!("x-access-token:{token}"));
            return Ok(Some((origin, format!("basic {pair}"))));
        }
    }
    Ok(None)
}

/// The host of an address, with its port first where it has one.
fn hosts(url: &str) -> Option<Vec<String>> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let host = url.host_str()?.to_owned();
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    Some(with_port.into_iter().chain([host]).collect())
}

/// A secret as one line.
fn text(secrets: &Secrets, id: &str) -> Result<Option<String>, EngineError> {
    let Some(secret) = secrets.get(id) else { return Ok(None) };
    let wrong = |what: &str| EngineError::invalid(format!("the secret {id} {what}"));
    let text = String::from_utf8(read_secret(secret)?).map_err(|_| wrong("is not text"))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(wrong("is not one line of text"));
    }
    Ok(Some(text))
}
