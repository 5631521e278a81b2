//! Files by HTTP: streamed to disk while they are hashed, kept by content.
//!
//! A record for the URL holds what the server said about the content (ETag, Last-Modified); with it the server is asked
//! whether that has changed. A file whose checksum is known is not asked for again.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    sync::OnceLock,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use otoshi_http::SafeUrl;
use otoshi_oci::{Algorithm, Digest, Hasher};
use otoshi_store::{Kind, SnapshotId};
use reqwest::{
    StatusCode,
    blocking::{Client, Response},
    header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
    redirect::Policy,
};
use serde::{Deserialize, Serialize};

use crate::{EngineError, content::digest_of_fields, embedded::EmbeddedEngine};

/// What the file is called in its snapshot.
pub(super) const NAME: &str = "file";

/// The largest file that is fetched, in bytes.
const LARGEST: u64 = 64 << 30;

/// How often a request that failed for the moment is sent.
const TRIES: u32 = 4;

/// A file that is in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) snapshot: SnapshotId,
    pub(super) digest: Digest,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    last_modified: Option<String>,
}

/// Brings a file here, or finds it.
pub(super) fn fetch(
    engine: &EmbeddedEngine,
    url: &SafeUrl,
    checksum: Option<&Digest>,
    auth: Option<&str>,
    no_cache: bool,
) -> Result<Kept, EngineError> {
    let (records, snapshots) = (engine.home().records(), engine.home().snapshots());
    let by_url = digest_of_fields(["download", url.expose()]);
    let by_content = |digest: &Digest| digest_of_fields(["downloaded", url.expose(), digest.as_str()]);
    if let Some(checksum) = checksum {
        let kept: Option<Kept> = records.get(Kind::Step, by_content(checksum).hex());
        if let Some(kept) = kept.filter(|kept| snapshots.get(&kept.snapshot).is_some()) {
            records.touch(Kind::Step, by_content(checksum).hex());
            return Ok(kept);
        }
    }
    let known: Option<Kept> = records.get(Kind::Step, by_url.hex());
    let known = known.filter(|kept| !no_cache && snapshots.get(&kept.snapshot).is_some());
    let mut headers = HeaderMap::new();
    if let Some(kept) = known.as_ref().filter(|_| checksum.is_none()) {
        for (name, value) in [(IF_NONE_MATCH, &kept.etag), (IF_MODIFIED_SINCE, &kept.last_modified)] {
            if let Some(value) = value.as_ref().and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        }
    }
    if let Some(auth) = auth {
        let mut value = HeaderValue::try_from(auth)
            .map_err(|_| EngineError::invalid(format!("the secret for {url} cannot be sent")))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let response = send(url, &headers)?;
    if response.status() == StatusCode::NOT_MODIFIED
        && let Some(kept) = known
    {
        records.touch(Kind::Step, by_url.hex());
        return Ok(kept);
    }
    let kept = save(engine, url, response, checksum)?;
    records.put(Kind::Step, by_url.hex(), &kept)?;
    records.put(Kind::Step, by_content(&kept.digest).hex(), &kept)?;
    Ok(kept)
}

fn client() -> Result<Client, EngineError> {
    static CLIENT: OnceLock<Result<Client, String>> = OnceLock::new();
    let make = || {
        // Another part of the process may have chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A secure address is not left for an insecure one.
        let policy = Policy::custom(|attempt| {
            let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
            if attempt.previous().len() > 10 {
                attempt.error("more than ten redirects")
            } else if was_secure && attempt.url().scheme() != "https" {
                attempt.error("a redirect from https to http")
            } else {
                attempt.follow()
            }
        });
        Client::builder()
            .user_agent(concat!("otoshi/", env!("CARGO_PKG_VERSION")))
            .redirect(policy)
            .referer(false)
            .connect_timeout(Duration::from_secs(15))
            // Of each read, not of the whole.
            .timeout(Duration::from_secs(90))
            .build()
            .map_err(|error| chain(&error))
    };
    CLIENT.get_or_init(make).clone().map_err(|why| EngineError::invalid(format!("no HTTP client: {why}")))
}

/// Sends a request until the answer is final.
fn send(url: &SafeUrl, headers: &HeaderMap) -> Result<Response, EngineError> {
    let client = client()?;
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = client.get(url.expose()).headers(headers.clone()).send();
        let reason = match answer {
            Ok(response)
                if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED =>
            {
                return Ok(response);
            }
            Ok(response) => {
                let status = response.status();
                let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                let text = format!("the server answered {status}");
                if !passing {
                    return Err(failed(url, &text));
                }
                text
            }
            Err(error) if error.is_redirect() || error.is_builder() => {
                return Err(failed(url, &chain(&error)));
            }
            Err(error) => chain(&error),
        };
        if tries == TRIES {
            return Err(failed(url, &reason));
        }
        tracing::debug!(%url, reason, "asking again");
        thread::sleep(Duration::from_millis(200 << tries));
    }
}

/// Writes a response to a snapshot.
fn save(
    engine: &EmbeddedEngine,
    url: &SafeUrl,
    mut response: Response,
    checksum: Option<&Digest>,
) -> Result<Kept, EngineError> {
    let header = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
    let draft = engine.home().snapshots().draft()?;
    let path = draft.tree().join(NAME);
    let mut file = File::create(&path).map_err(EngineError::io("creating", &path))?;
    let mut hasher = Hasher::new(checksum.map_or(Algorithm::Sha256, Digest::algorithm));
    let mut buffer = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        let count = response.read(&mut buffer).map_err(|error| failed(url, &chain(&error)))?;
        if count == 0 {
            break;
        }
        size += count as u64;
        if size > LARGEST {
            return Err(failed(url, &format!("it has more than {LARGEST} bytes")));
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(EngineError::io("writing", &path))?;
    }
    let digest = hasher.finish();
    if let Some(expected) = checksum.filter(|expected| **expected != digest) {
        return Err(EngineError::Invalid {
            message: format!("{url} holds {digest}, and --checksum says {expected}"),
            hint: Some("find out why the file changed before you change the checksum".into()),
        });
    }
    let time = last_modified.as_deref().and_then(http_time).unwrap_or(0);
    file.set_modified(UNIX_EPOCH + Duration::from_secs(time))
        .map_err(EngineError::io("setting the time of", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(EngineError::io("setting the mode of", &path))?;
    let snapshot = SnapshotId::of_key(&digest_of_fields(["downloaded", digest.as_str(), &time.to_string()]));
    draft.commit(&snapshot)?;
    Ok(Kept { snapshot, digest, etag, last_modified })
}

/// Reads a time such as `Wed, 21 Oct 2015 07:28:00 GMT`, in seconds since 1970.
fn http_time(text: &str) -> Option<u64> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(time.timestamp().as_second()).ok()
}

fn failed(url: &SafeUrl, reason: &str) -> EngineError {
    EngineError::invalid(format!("cannot fetch {url}: {reason}"))
}

/// An error with its causes; addresses in it may hold passwords and are left out.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = Vec::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<reqwest::Error>() {
            Some(error) if error.is_connect() => "cannot connect".to_owned(),
            Some(error) if error.is_timeout() => "no answer in time".to_owned(),
            Some(error) if error.is_redirect() => "a redirect that is not followed".to_owned(),
            Some(error) if error.is_builder() => "not a URL".to_owned(),
            Some(_) => "the transfer failed".to_owned(),
            None => error.to_string(),
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(http_time("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(http_time("yesterday"), None);
    }
}
