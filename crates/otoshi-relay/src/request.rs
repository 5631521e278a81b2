//! Requests that may be answered here: plain `GET`s, as programs that fetch packages send them.

use hyper::{
    HeaderMap, Request, Uri, Version,
    header::{CONNECTION, HOST, HeaderName, HeaderValue},
};

/// The longest head of a request, in bytes; longer ones are handed on.
const LONGEST: usize = 64 << 10;
const MOST_HEADERS: usize = 100;

/// Headers with which an answer is for everybody.
const KNOWN: [HeaderName; 7] = [
    HOST,
    CONNECTION,
    hyper::header::USER_AGENT,
    hyper::header::ACCEPT,
    hyper::header::ACCEPT_ENCODING,
    hyper::header::CACHE_CONTROL,
    hyper::header::PRAGMA,
];

/// What stands at the beginning of what a step has sent.
#[derive(Debug)]
pub(crate) enum Next {
    /// A request, taken out of it.
    Get(Get),
    /// The beginning of one.
    Partial,
    /// Something that is not for this room.
    Other,
}

/// A `GET` without a body.
#[derive(Debug, Clone)]
pub(crate) struct Get {
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    version: Version,
}

impl Get {
    /// Takes the next request out of a buffer.
    pub(crate) fn take(buffer: &mut Vec<u8>) -> Next {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let length = match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() < LONGEST => return Next::Partial,
            Ok(httparse::Status::Partial) | Err(_) => return Next::Other,
        };
        let Some(get) = Self::of(&parsed) else { return Next::Other };
        buffer.drain(..length);
        Next::Get(get)
    }

    fn of(parsed: &httparse::Request<'_, '_>) -> Option<Self> {
        let version = match parsed.version? {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let target: Uri = parsed.path?.parse().ok()?;
        // A proxy's request names a scheme; what has a body, or becomes something else, has headers that say so.
        if parsed.method != Some("GET") || target.scheme().is_some() || !parsed.path?.starts_with('/') {
            return None;
        }
        let mut headers = HeaderMap::new();
        for header in parsed.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            let odd = ["content-length", "transfer-encoding", "upgrade", "expect", "te", "trailer"];
            if odd.contains(&name.as_str()) {
                return None;
            }
            headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
        }
        let hosts = headers.get_all(HOST).iter().count();
        (hosts == 1).then_some(Self { target, headers, version })
    }

    /// Whether the connection goes on after the answer.
    pub(crate) fn goes_on(&self) -> bool {
        let says = |word: &str| {
            let values = self.headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
        };
        if self.version == Version::HTTP_10 { says("keep-alive") } else { !says("close") }
    }

    /// Whether an answer may come in pieces.
    pub(crate) fn takes_pieces(&self) -> bool {
        self.version == Version::HTTP_11
    }

    /// The host that the request names, with its port if it has one.
    pub(crate) fn host(&self) -> Option<&str> {
        self.headers.get(HOST)?.to_str().ok()
    }

    /// Whether the answer is the same for everybody, as far as the request tells: it does not say who asks, and has no query, in which
    /// a password may stand.
    pub(crate) fn is_anybodys(&self) -> bool {
        self.target.query().is_none() && self.headers.keys().all(|name| KNOWN.contains(name))
    }

    /// The request as it goes upstream.
    pub(crate) fn upstream(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        for hop in [CONNECTION.as_str(), "keep-alive", "proxy-connection"] {
            request.headers_mut().remove(hop);
        }
        request
    }

    /// The request as far as an answer depends on it.
    pub(crate) fn for_policy(&self) -> Request<()> {
        let mut request = self.upstream();
        request.headers_mut().remove(hyper::header::USER_AGENT);
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> (Next, String) {
        let mut buffer = text.as_bytes().to_vec();
        let next = Get::take(&mut buffer);
        (next, String::from_utf8(buffer).unwrap())
    }

    #[test]
    fn requests_are_taken_one_by_one_and_the_rest_stays() {
        let (next, rest) = take("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHo");
        let Next::Get(get) = next else { panic!("{next:?}") };
        assert_eq!((get.target.path(), get.host(), get.goes_on()), ("/a", Some("x"), true));
        assert!(get.is_anybodys() && get.takes_pieces());
        assert_eq!(rest, "GET /b HTTP/1.1\r\nHo");
        assert!(matches!(take(&rest).0, Next::Partial));
    }

    #[test]
    fn what_is_not_a_plain_get_is_left_alone() {
        for other in [
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
            "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
            "GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
            "GET http://y/a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
            "\u{1}\u{2}\r\n\r\n",
        ] {
            let (next, rest) = take(other);
            assert!(matches!(next, Next::Other), "{other:?}: {next:?}");
            assert_eq!(rest, other);
        }
        assert!(matches!(take(&format!("GET /{} HTTP", "a".repeat(LONGEST))).0, Next::Other));
    }

    #[test]
    fn what_says_who_asks_is_nobody_elses() {
        let is_anybodys = |more: &str, target: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
            let Next::Get(get) = take(&text).0 else { panic!("{text}") };
            get.is_anybodys()
        };
        assert!(is_anybodys("User-Agent: Debian APT\r\nAccept: */*\r\nCache-Control: max-age=0\r\n", "/a"));
        for more in ["Authorization: Basic x\r\n", "Cookie: a=b\r\n", "X-Token: x\r\n", "Range: bytes=1-\r\n"]
        {
            assert!(!is_anybodys(more, "/a"), "{more}");
        }
        assert!(!is_anybodys("", "/a?token=x"));
    }

    #[test]
    fn a_connection_goes_on_as_its_version_has_it() {
        let goes_on = |version: &str, connection: &str| {
            let text = format!("GET / HTTP/{version}\r\nHost: x\r\n{connection}\r\n");
            let Next::Get(get) = take(&text).0 else { panic!("{text}") };
            get.goes_on()
        };
        assert!(goes_on("1.1", "") && !goes_on("1.1", "Connection: Close\r\n"));
        assert!(!goes_on("1.0", "") && goes_on("1.0", "Connection: TE, keep-alive\r\n"));
    }
}
