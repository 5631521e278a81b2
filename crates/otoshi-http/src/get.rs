//! Fetching files, for callers that wait: conditional, bounded, tried again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use tokio::runtime::{Builder, Runtime};

use crate::conditional::Validators;
use crate::error::HttpError;
use crate::retry::{Failure, Retries};
use crate::url::SafeUrl;

/// A file that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Get<'a> {
    /// The address.
    pub url: &'a SafeUrl,
    /// What is known of it already: nothing is sent when that has not changed.
    pub known: &'a Validators,
    /// The value of `Authorization`; it goes to no other host, port or scheme than the address's.
    pub authorization: Option<&'a Secret>,
    /// The most bytes that are taken; of a longer file one more.
    pub limit: u64,
}

/// What lets a request in; it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the value of an `Authorization` header.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value as a header that is not logged; `None` where no header can hold it.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.0).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The file, which went into the sink, and what to know of it.
    Sent(Validators),
    /// What is known is still good.
    NotModified,
}

/// Fetches files.
#[derive(Debug)]
pub struct Getter {
    runtime: Runtime,
    retries: Retries,
    requests: AtomicU64,
}

impl Getter {
    /// Makes one, with threads of that name.
    ///
    /// Fails where the threads cannot be started.
    pub fn new(name: &str, retries: Retries) -> Result<Self, HttpError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|source| HttpError::Runtime { source })?;
        Ok(Self { runtime, retries, requests: AtomicU64::new(0) })
    }

    /// How many requests were sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Fetches a file into a sink; tries again what may work the next time, as long as nothing is in the sink.
    ///
    /// A sink may get the beginning of a file that fails afterwards.
    pub fn get(&self, client: &Client, get: Get<'_>, sink: &mut dyn Write) -> Result<Got, HttpError> {
        let mut backoff = self.retries.backoff();
        loop {
            let mut counted = Counted { sink: &mut *sink, count: 0 };
            let (error, failure) = match self.runtime.block_on(self.once(client, get, &mut counted)) {
                Ok(got) => return Ok(got),
                Err(failed) => failed,
            };
            // What is in the sink cannot be taken back.
            let failure = failure.filter(|_| counted.count == 0);
            let Some(wait) = failure.as_ref().and_then(|failure| backoff.failed(failure)) else {
                return Err(error);
            };
            let reason = failure.map(|failure| failure.reason);
            tracing::debug!(url = %get.url, reason, ?wait, "asking again");
            std::thread::sleep(wait);
        }
    }

    async fn once(
        &self,
        client: &Client,
        get: Get<'_>,
        sink: &mut dyn Write,
    ) -> Result<Got, (HttpError, Option<Failure>)> {
        let url = get.url;
        let mut headers = get.known.conditions();
        if let Some(secret) = get.authorization {
            let value = secret.header().ok_or_else(|| (HttpError::Secret { url: url.clone() }, None))?;
            headers.insert(AUTHORIZATION, value);
        }
        let is_conditional = !get.known.is_empty();
        self.requests.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%url, "request");
        let outcome = client.get(url.expose()).headers(headers).send().await;
        let failure = Failure::of(&outcome);
        let mut response = match outcome {
            Ok(response) => response,
            Err(error) => return Err((HttpError::transport(url, error), failure)),
        };
        match response.status() {
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(Got::NotModified),
            StatusCode::NOT_MODIFIED => return Err((HttpError::Unasked { url: url.clone() }, None)),
            status if status.is_success() && status != StatusCode::PARTIAL_CONTENT => {}
            status => return Err((HttpError::Status { url: url.clone(), status }, failure)),
        }
        let validators = Validators::of(response.headers());
        take(&mut response, get, sink).await?;
        Ok(Got::Sent(validators))
    }
}

/// Takes the body of an answer, up to one byte behind the limit.
async fn take(
    response: &mut Response,
    get: Get<'_>,
    sink: &mut dyn Write,
) -> Result<(), (HttpError, Option<Failure>)> {
    let most = get.limit.saturating_add(1);
    let mut taken = 0;
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(()),
            Err(error) => {
                let error = HttpError::transport(get.url, error);
                let failure = Failure::broken(error.reason());
                return Err((error, Some(failure)));
            }
        };
        let left = usize::try_from(most - taken).unwrap_or(usize::MAX);
        let chunk = &chunk[..chunk.len().min(left)];
        sink.write_all(chunk).map_err(|source| (HttpError::Sink { url: get.url.clone(), source }, None))?;
        taken += chunk.len() as u64;
        if taken == most {
            return Ok(());
        }
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::ClientBuilder;

    /// Answers one request after the other, each with the next text, and takes note of what was asked.
    struct Server {
        address: String,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        fn start(answers: Vec<String>) -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let seen = Arc::<Mutex<Vec<String>>>::default();
            let noted = Arc::clone(&seen);
            std::thread::spawn(move || {
                for answer in answers {
                    let Ok((mut stream, _)) = listener.accept() else { return };
                    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    noted.lock().unwrap().push(head.join("\n").to_lowercase());
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
            Self { address, seen }
        }

        fn url(&self) -> SafeUrl {
            SafeUrl::new(format!("http://{}/file", self.address))
        }

        fn seen(&self) -> Vec<String> {
            self.seen.lock().unwrap().clone()
        }
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
    }

    fn get_with(get: Get<'_>) -> (Result<Got, HttpError>, String) {
        let retries = Retries { attempts: 3, first_wait: Duration::from_millis(1), ..Retries::default() };
        let getter = Getter::new("test", retries).unwrap();
        let client = ClientBuilder::new().redirects(3, |_| None).build().unwrap();
        let mut sink = Vec::new();
        let got = getter.get(&client, get, &mut sink);
        (got, String::from_utf8(sink).unwrap())
    }

    fn get(url: &SafeUrl) -> (Result<Got, HttpError>, String) {
        get_with(Get { url, known: &Validators::default(), authorization: None, limit: 10 })
    }

    #[test]
    fn a_file_that_has_not_changed_is_not_sent_again() {
        let server = Server::start(vec![
            answer("200 OK", "ETag: \"1\"\r\n", "one"),
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".into(),
            answer("200 OK", "ETag: \"2\"\r\n", "two"),
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".into(),
        ]);
        let url = server.url();
        let (first, body) = get(&url);
        let Got::Sent(known) = first.unwrap() else { panic!() };
        assert_eq!((known.etag.as_deref(), body.as_str()), (Some("\"1\""), "one"));
        let again = || get_with(Get { url: &url, known: &known, authorization: None, limit: 10 });
        let (second, body) = again();
        assert_eq!((second.unwrap(), body.as_str()), (Got::NotModified, ""));
        let (third, body) = again();
        assert!(matches!(third.unwrap(), Got::Sent(new) if new.etag.as_deref() == Some("\"2\"")));
        assert_eq!(body, "two");
        assert!(matches!(get(&url).0, Err(HttpError::Unasked { .. })), "nothing was known");
        let asked: Vec<_> = server.seen().iter().map(|head| head.contains("if-none-match: \"1\"")).collect();
        assert_eq!(asked, [false, true, true, false]);
    }

    #[test]
    fn what_may_pass_is_tried_again_and_nothing_else() {
        let busy = || answer("503 Service Unavailable", "Retry-After: 0\r\n", "");
        let server = Server::start(vec![busy(), String::new(), answer("200 OK", "", "here")]);
        let (got, body) = get(&server.url());
        assert!(got.is_ok(), "{got:?}");
        assert_eq!(body, "here");

        let server = Server::start(vec![busy(), busy(), busy(), answer("200 OK", "", "too late")]);
        let error = get(&server.url()).0.unwrap_err();
        assert!(matches!(error, HttpError::Status { status, .. } if status == 503), "{error}");
        assert_eq!(server.seen().len(), 3);

        let patient = answer("429 Too Many Requests", "Retry-After: 86400\r\n", "");
        for (first, status) in [(patient, 429), (answer("404 Not Found", "", ""), 404)] {
            let server = Server::start(vec![first, answer("200 OK", "", "too late")]);
            let error = get(&server.url()).0.unwrap_err();
            assert_eq!(error.reason().split(' ').nth(2), Some(status.to_string().as_str()));
            assert_eq!(server.seen().len(), 1);
        }
    }

    #[test]
    fn what_broke_off_is_not_begun_again() {
        let broken = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf".to_owned();
        let server = Server::start(vec![broken, answer("200 OK", "", "all of it")]);
        let (got, body) = get(&server.url());
        let error = got.unwrap_err();
        assert!(error.reason().starts_with("the transfer was interrupted: "), "{error}");
        assert_eq!((body.as_str(), server.seen().len()), ("half", 1));
    }

    #[test]
    fn one_byte_behind_the_limit_is_taken_and_no_more() {
        for (body, expected) in [("0123456789", "0123456789"), ("0123456789ab", "0123456789a")] {
            let server = Server::start(vec![answer("200 OK", "", body)]);
            let (got, taken) = get(&server.url());
            assert!(got.is_ok() && taken == expected, "{got:?} {taken}");
        }
    }

    #[test]
    fn what_lets_a_request_in_goes_to_no_other_host() {
        let other = Server::start(vec![answer("200 OK", "", "other")]);
        let away = answer("302 Found", &format!("Location: http://{}/x\r\n", other.address), "");
        let near = answer("302 Found", "Location: /y\r\n", "");
        let server = Server::start(vec![near, away]);
        let url = server.url();
        let secret = Secret::new("Bearer s3cret");
        let known = Validators::default();
        let (got, body) = get_with(Get { url: &url, known: &known, authorization: Some(&secret), limit: 10 });
        assert!(got.is_ok() && body == "other", "{got:?}");
        assert!(server.seen().iter().all(|head| head.contains("authorization: bearer s3cret")));
        assert!(!other.seen()[0].contains("s3cret"), "{:?}", other.seen());

        // The same of a login in the address.
        let other = Server::start(vec![answer("200 OK", "", "other")]);
        let away = answer("302 Found", &format!("Location: http://{}/x\r\n", other.address), "");
        let server = Server::start(vec![away]);
        assert!(get(&SafeUrl::new(format!("http://me:s3cret@{}/file", server.address))).0.is_ok());
        assert!(server.seen()[0].contains("authorization: basic "), "{:?}", server.seen());
        assert!(!other.seen()[0].contains("authorization"), "{:?}", other.seen());
    }

    #[test]
    fn redirects_end() {
        let on = || answer("302 Found", "Location: /on\r\n", "");
        let server = Server::start(vec![on(), on(), on(), on(), on()]);
        let error = get(&server.url()).0.unwrap_err();
        let expected = "a redirect that is not followed: too many redirects (more than 3)";
        assert_eq!(error.reason(), expected);
        assert_eq!(server.seen().len(), 4);
    }

    #[test]
    fn no_error_says_a_secret() {
        for url in [
            "http://me:s3cret@127.0.0.1:1/",
            "http://me:s3cret@[::/",
            "http://me:s3c/s3cret@127.0.0.1:1/",
            "no address s3cret:s3cret@",
        ] {
            let error = get(&SafeUrl::new(url)).0.unwrap_err();
            for shown in [error.to_string(), format!("{error:?}"), error.reason()] {
                assert!(!shown.contains("s3cret"), "{url}: {shown}");
            }
        }
        let secret = Secret::new("s3cret\n");
        let url = SafeUrl::new("http://127.0.0.1:1/");
        let known = Validators::default();
        let asked = Get { url: &url, known: &known, authorization: Some(&secret), limit: 10 };
        let error = get_with(asked).0.unwrap_err();
        for shown in [error.to_string(), format!("{error:?}"), format!("{asked:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn who_is_not_there_is_named() {
        let error = get(&SafeUrl::new("http://127.0.0.1:1/x")).0.unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("cannot fetch http://127.0.0.1:1/x: cannot connect: "), "{said}");
        assert!(said.ends_with("Connection refused (os error 111)"), "{said}");
        let source = std::error::Error::source(&error).unwrap();
        assert!(said.ends_with(&source.to_string()) && source.source().is_none(), "it is said once");
    }
}
