//! An answer: from what is kept, or from upstream, and then perhaps kept.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    ext::ReasonPhrase,
    header::{
        AGE, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderValue, SET_COOKIE,
        TRANSFER_ENCODING,
    },
    http::response::Parts,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::{
    kept::{Draft, Kept},
    request::Get,
    shared::Shared,
    upstream::{Answered, Upstream},
};

/// How many bytes of a kept body are read at once.
const STEP: usize = 256 << 10;

/// An answer that a step is given.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    reason: Option<ReasonPhrase>,
    headers: HeaderMap,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// One that is kept.
    Kept(File, u64),
    /// One that comes, and is kept where it is worth it.
    Coming(Box<Coming>),
}

#[derive(Debug)]
struct Coming {
    answered: Answered,
    keeping: Option<Keeping>,
}

#[derive(Debug)]
struct Keeping {
    key: String,
    draft: Draft,
    policy: CachePolicy,
}

/// Finds the answer to a request.
///
/// Fails where the server does; the step's connection ends then, as it would without this room.
pub(crate) async fn find(shared: &Arc<Shared>, upstream: &Upstream, get: &Get) -> io::Result<Answer> {
    let Some(key) = upstream.key(shared, get).await else { return fetch(upstream, get).await };
    let request = get.for_policy();
    let looking = (Arc::clone(shared), key.clone());
    // It reads the whole body, to compare its digest.
    let kept = tokio::task::spawn_blocking(move || looking.0.keep.get(&looking.1)).await.ok().flatten();
    let Some(kept) = kept else { return fetch_and_keep(shared, upstream, get, key).await };
    match kept.policy.before_request(&request, SystemTime::now()) {
        BeforeRequest::Fresh(parts) => Ok(give(shared, parts, kept)),
        BeforeRequest::Stale { matches: false, .. } => fetch_and_keep(shared, upstream, get, key).await,
        BeforeRequest::Stale { request: asking, .. } => {
            let mut asking = Request::from_parts(asking, ());
            if let Some(agent) = get.headers.get(hyper::header::USER_AGENT) {
                asking.headers_mut().insert(hyper::header::USER_AGENT, agent.clone());
            }
            let answered = upstream.send(&asking).await?;
            if answered.response.status() != StatusCode::NOT_MODIFIED {
                return Ok(keep(shared, answered, &request, key));
            }
            let now = SystemTime::now();
            let after = kept.policy.after_response(&request, &for_policy(&answered.response, now), now);
            // Nothing follows it.
            upstream.give_back(answered.sender);
            match after {
                AfterResponse::NotModified(policy, parts) => {
                    // What has to be asked for each time is not written each time.
                    if !policy.is_stale(SystemTime::now()) {
                        shared.keep.renew(&key, &kept, policy);
                    }
                    Ok(give(shared, parts, kept))
                }
                AfterResponse::Modified(..) => fetch_and_keep(shared, upstream, get, key).await,
            }
        }
    }
}

async fn fetch(upstream: &Upstream, get: &Get) -> io::Result<Answer> {
    Ok(Answer::coming(upstream.send(&get.upstream()).await?, None))
}

async fn fetch_and_keep(
    shared: &Arc<Shared>,
    upstream: &Upstream,
    get: &Get,
    key: String,
) -> io::Result<Answer> {
    let answered = upstream.send(&get.upstream()).await?;
    Ok(keep(shared, answered, &get.for_policy(), key))
}

/// Keeps an answer where its server lets anybody have it.
fn keep(shared: &Shared, answered: Answered, request: &Request<()>, key: String) -> Answer {
    let response = &answered.response;
    let policy = policy(request, response, SystemTime::now());
    let is_anybodys = response.status() == StatusCode::OK
        && policy.is_storable()
        && !response.headers().contains_key(SET_COOKIE)
        && !response.headers().contains_key(CONTENT_RANGE);
    let draft = if is_anybodys { shared.keep.draft() } else { None };
    let keeping = draft.map(|draft| Keeping { key, draft, policy });
    Answer::coming(answered, keeping)
}

/// How long an answer may be kept, and what it answers.
fn policy<B>(request: &Request<()>, response: &Response<B>, now: SystemTime) -> CachePolicy {
    // No guesses: what a server says nothing of is asked for each time.
    let options = CacheOptions {
        shared: true,
        cache_heuristic: 0.0,
        immutable_min_time_to_live: Duration::ZERO,
        ..CacheOptions::default()
    };
    CachePolicy::new_options(request, &for_policy(response, now), now, options)
}

/// What of an answer says how long it may be kept, as the library reads it: directives in lower case (RFC 9111, section 5.2), and the
/// time since its date counted into its age (section 4.2.3).
fn for_policy<B>(response: &Response<B>, now: SystemTime) -> Response<()> {
    let mut read = Response::new(());
    *read.status_mut() = response.status();
    *read.headers_mut() = response.headers().clone();
    // One line, and an age always: of each header that is kept, a later answer replaces the first line, and only where there is one.
    let all = response.headers().get_all(CACHE_CONTROL).iter();
    let lines: Vec<_> = all.map(|value| value.as_bytes().to_ascii_lowercase()).collect();
    read.headers_mut().remove(CACHE_CONTROL);
    if let (false, Ok(value)) = (lines.is_empty(), HeaderValue::from_bytes(&lines.join(&b", "[..]))) {
        read.headers_mut().insert(CACHE_CONTROL, value);
    }
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let date = text(DATE).and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let date = date.and_then(|date| u64::try_from(date.timestamp().as_second()).ok());
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let since = date.map_or(0, |date| now.saturating_sub(date));
    let age: u64 = text(AGE).and_then(|age| age.trim().parse().ok()).unwrap_or_default();
    read.headers_mut().insert(AGE, since.max(age).into());
    read
}

fn give(shared: &Shared, parts: Parts, kept: Kept) -> Answer {
    shared.keep.touch(&kept);
    shared.saved.fetch_add(kept.size, Ordering::Relaxed);
    let mut headers = parts.headers;
    headers.insert(CONTENT_LENGTH, kept.size.into());
    Answer { status: parts.status, reason: None, headers, body: Body::Kept(kept.file, kept.size) }
}

impl Answer {
    fn coming(mut answered: Answered, keeping: Option<Keeping>) -> Self {
        let response = &mut answered.response;
        Self {
            status: response.status(),
            reason: response.extensions_mut().remove::<ReasonPhrase>(),
            headers: std::mem::take(response.headers_mut()),
            body: Body::Coming(Box::new(Coming { answered, keeping })),
        }
    }

    /// Writes the answer to a request; returns whether the connection goes on.
    pub(crate) async fn write(
        self,
        shared: &Shared,
        upstream: &Upstream,
        get: &Get,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<bool> {
        let length = match &self.body {
            Body::Kept(_, size) => Some(*size),
            Body::Coming(coming) => coming.answered.response.body().size_hint().exact(),
        };
        // RFC 9112, section 6.3.
        let has_body = !(self.status.is_informational()
            || self.status == StatusCode::NO_CONTENT
            || self.status == StatusCode::NOT_MODIFIED);
        let in_pieces = has_body && length.is_none() && get.takes_pieces();
        let goes_on = get.goes_on() && (!has_body || length.is_some() || in_pieces);
        out.write_all(&self.head(in_pieces, goes_on)).await?;
        match self.body {
            Body::Kept(file, size) => write_file(file, size, out).await?,
            Body::Coming(coming) => coming.write(shared, upstream, in_pieces, out).await?,
        }
        out.flush().await?;
        Ok(goes_on)
    }

    fn head(&self, in_pieces: bool, goes_on: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} ", self.status.as_str()).into_bytes();
        match &self.reason {
            Some(reason) => head.extend_from_slice(reason.as_bytes()),
            None => head.extend_from_slice(self.status.canonical_reason().unwrap_or_default().as_bytes()),
        }
        head.extend_from_slice(b"\r\n");
        let hop = [CONNECTION.as_str(), TRANSFER_ENCODING.as_str(), "keep-alive"];
        for (name, value) in self.headers.iter().filter(|(name, _)| !hop.contains(&name.as_str())) {
            line(&mut head, name.as_str(), value.as_bytes());
        }
        if in_pieces {
            line(&mut head, "transfer-encoding", b"chunked");
        }
        line(&mut head, "connection", if goes_on { b"keep-alive" } else { b"close" });
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// A header as most servers write it, which scripts that look for one expect.
fn line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    if name == "etag" {
        head.extend_from_slice(b"ETag");
    } else {
        let mut upper = true;
        for byte in name.bytes() {
            head.push(if upper { byte.to_ascii_uppercase() } else { byte });
            upper = byte == b'-';
        }
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

async fn write_file(file: File, size: u64, out: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let file = Arc::new(file);
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(STEP).min(STEP);
        let file = Arc::clone(&file);
        let read = move || {
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        };
        let piece = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        out.write_all(&piece).await?;
        at += piece.len() as u64;
    }
    Ok(())
}

impl Coming {
    async fn write(
        self,
        shared: &Shared,
        upstream: &Upstream,
        in_pieces: bool,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let Self { answered: Answered { response, sender }, mut keeping } = self;
        let mut body: Incoming = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else { continue };
            keeping = keeping.and_then(|keeping| keeping.add(&piece));
            write_piece(&piece, in_pieces, out).await?;
        }
        if in_pieces {
            out.write_all(b"0\r\n\r\n").await?;
        }
        upstream.give_back(sender);
        if let Some(Keeping { key, draft, policy }) = keeping {
            shared.keep.commit(&key, draft, policy);
        }
        Ok(())
    }
}

async fn write_piece(piece: &Bytes, in_pieces: bool, out: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    if in_pieces {
        out.write_all(format!("{:X}\r\n", piece.len()).as_bytes()).await?;
    }
    out.write_all(piece).await?;
    if in_pieces {
        out.write_all(b"\r\n").await?;
    }
    Ok(())
}

impl Keeping {
    /// Adds a piece; what cannot be written is not kept.
    fn add(mut self, piece: &[u8]) -> Option<Self> {
        match self.draft.add(piece) {
            Ok(()) => Some(self),
            Err(error) => {
                tracing::debug!(%error, "an answer cannot be kept");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> CachePolicy {
        let request = Request::builder().uri("http://a.test/x").body(()).unwrap();
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        policy(&request, &response.body(()).unwrap(), SystemTime::now())
    }

    #[test]
    fn directives_are_read_in_any_case_and_nothing_is_guessed() {
        for value in ["No-Store", "max-age=60, PRIVATE", "Private"] {
            assert!(!read(&[("cache-control", value)]).is_storable(), "{value}");
        }
        let now = SystemTime::now();
        assert!(!read(&[("cache-control", "Max-Age=60")]).is_stale(now));
        assert!(!read(&[("cache-control", "public"), ("cache-control", "MAX-AGE=60")]).is_stale(now));
        assert!(read(&[("cache-control", "immutable")]).is_stale(now));
        assert!(!read(&[("cache-control", "immutable, max-age=60")]).is_stale(now));
    }

    #[test]
    fn what_is_said_anew_has_the_age_of_its_date_and_all_that_was_said() {
        let now = SystemTime::now();
        let date = |seconds: i64| {
            let date = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap()
        };
        let request = Request::builder().uri("http://a.test/x").body(()).unwrap();
        let renewed = |kept: &[(&str, &str)], seconds: i64| {
            let response =
                Response::builder().status(304).header("date", date(seconds)).header("etag", "\"a\"");
            let response = for_policy(&response.body(()).unwrap(), now);
            match read(kept).after_response(&request, &response, now) {
                AfterResponse::NotModified(policy, _) => !policy.is_stale(now),
                AfterResponse::Modified(..) => panic!("it is the same"),
            }
        };
        let kept = |date: &str, age: &str, control: &str| {
            [("date", date), ("age", age), ("cache-control", control), ("etag", "\"a\"")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        for (old, seconds, is_fresh) in [
            (kept(&date(0), "0", "max-age=60"), 0, true),
            (kept(&date(0), "0", "max-age=60"), 100, false),
            (kept(&date(100), "100", "max-age=60"), 0, true),
        ] {
            let old: Vec<(&str, &str)> = old.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            assert_eq!(renewed(&old, seconds), is_fresh, "{old:?} {seconds}");
        }
        let both = [("cache-control", "no-cache"), ("cache-control", "max-age=60"), ("etag", "\"a\"")];
        assert!(!renewed(&both, 0), "no-cache counts beside max-age");
    }

    #[test]
    fn the_time_since_its_date_is_part_of_an_answers_age() {
        let date = |seconds: i64| {
            let date = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap()
        };
        let is_stale = |seconds, age| {
            read(&[("cache-control", "max-age=60"), ("date", &date(seconds)), ("age", age)])
                .is_stale(SystemTime::now())
        };
        assert!(is_stale(100, "0") && is_stale(0, "100"));
        assert!(!is_stale(10, "0") && !is_stale(0, "10") && !is_stale(-100, "10"));
    }
}
