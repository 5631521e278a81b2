//! A proxy in front of a registry: it notes every request, and does to some what networks and registries do.
//!
//! A connection carries one request. Addresses in answers are the proxy's own, since the registry makes them of the `Host`
//! header, which is passed on.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection is closed before the registry hears of it.
    Drop,
    /// Nothing happens until the faults are forgotten; then it goes on as if nothing had been.
    Hold,
    /// The registry never hears of it, and the connection stays open until the faults are forgotten.
    Hang,
    /// The registry does what it is asked, and the answer is lost.
    LoseAnswer,
    /// The connection breaks after so many bytes of the answer's body.
    Cut(usize),
    /// One byte of the answer's body is another, the one at this place.
    Corrupt(usize),
    /// An answer of the proxy's own: status line, and more header lines.
    Answer(&'static str, String),
    /// A good answer of the proxy's own: more header lines, and the body.
    Document(String, Vec<u8>),
    /// The connection breaks after so many bytes of an upload, and the registry keeps those.
    CutUpload(usize),
    /// The registry's answer has more header lines.
    Headers(String),
    /// The answer leads to this address, with the path that was asked for.
    Redirect(String),
    /// Another fault, until this moment.
    Until(Instant, Box<Fault>),
}

/// Which requests a fault happens to.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The method.
    pub method: &'static str,
    /// What the path has in it.
    pub path: String,
    /// How many such requests go well before.
    pub after: usize,
    /// To how many it happens then.
    pub times: usize,
    /// What happens.
    pub fault: Fault,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The header lines, names in lower case; of several with one name the last.
    pub headers: HashMap<String, String>,
    lines: Vec<(String, String)>,
}

impl Request {
    /// Whether it is this method on a path that has this in it.
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path.contains(path)
    }
}

#[derive(Debug, Default)]
struct State {
    rules: Mutex<Vec<(Rule, usize)>>,
    log: Mutex<Vec<Request>>,
    /// Uploads that broke: the address that the client has → the one that the registry gave since.
    moved: Mutex<HashMap<String, String>>,
    /// How many requests one token lets in; none are needed when it is 0.
    token_uses: AtomicU64,
    tokens: AtomicU64,
    uses_left: AtomicU64,
    body_bytes: AtomicU64,
    held: AtomicU64,
    stop: AtomicBool,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Starts one in front of a registry's port.
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&shared)) else { return };
                thread::spawn(move || {
                    // A client that goes away is none of the proxy's business.
                    let _ = serve(&stream, &state, upstream, port);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, state }
    }

    /// Its host and port, as references have them.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Adds a fault: to requests of this method whose path has `path` in it, `times` times.
    pub fn fault(&self, method: &'static str, path: impl Into<String>, times: usize, fault: Fault) {
        self.rule(Rule { method, path: path.into(), after: 0, times, fault });
    }

    /// Adds a fault.
    pub fn rule(&self, rule: Rule) {
        self.state.rules.lock().unwrap().push((rule, 0));
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// From now on a token of the proxy's own token server is needed, which lets so many requests in.
    pub fn need_tokens(&self, uses: u64) {
        self.state.token_uses.store(uses, Ordering::SeqCst);
    }

    /// How many tokens were given out.
    pub fn tokens(&self) -> u64 {
        self.state.tokens.load(Ordering::SeqCst)
    }

    /// Takes the requests that came since the last time.
    pub fn take_log(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.log.lock().unwrap())
    }

    /// How many requests wait now, since they are held or hang.
    pub fn held(&self) -> u64 {
        self.state.held.load(Ordering::SeqCst)
    }

    /// Bytes of answers' bodies that went through so far.
    pub fn body_bytes(&self) -> u64 {
        self.state.body_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: &TcpStream, state: &State, upstream: u16, own: u16) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let Some((first, request)) = read_head(&mut reader)? else { return Ok(()) };
    let length = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    state.log.lock().unwrap().push(request.clone());
    if let Some(answer) = check_token(state, &request, own) {
        // What was sent is read, so that the client gets to read the answer.
        io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        return (&mut &*stream).write_all(answer.as_bytes());
    }
    let fault = pick(state, &request);
    if matches!(fault, Some(Fault::Hold | Fault::Hang)) {
        state.held.fetch_add(1, Ordering::SeqCst);
        while !state.rules.lock().unwrap().is_empty() && !state.stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        state.held.fetch_sub(1, Ordering::SeqCst);
    }
    match &fault {
        Some(Fault::Drop | Fault::Hang) => return Ok(()),
        Some(Fault::Answer(status, headers)) => {
            io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
            let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
            let head =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
            return (&mut &*stream).write_all(head.as_bytes());
        }
        Some(Fault::Document(headers, body)) => {
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}", body.len());
            (&mut &*stream).write_all(format!("{head}\r\n{headers}\r\n\r\n").as_bytes())?;
            return (&mut &*stream).write_all(body);
        }
        Some(Fault::Redirect(to)) => {
            let head = "HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nContent-Length: 0";
            let head = format!("{head}\r\nLocation: {to}{}\r\n\r\n", request.path);
            return (&mut &*stream).write_all(head.as_bytes());
        }
        _ => {}
    }
    let kept = match &fault {
        Some(Fault::CutUpload(kept)) => (*kept as u64).min(length),
        _ => length,
    };
    let moved = state.moved.lock().unwrap().remove(upload_of(&request.path));
    let path = moved.map_or_else(|| request.path.clone(), |moved| renewed(&moved, &request.path));
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    server.write_all(head_for(&first, &path, &request, kept).as_bytes())?;
    io::copy(&mut (&mut reader).take(kept), &mut server)?;
    let mut answer = BufReader::new(server);
    match fault {
        Some(Fault::LoseAnswer) => {
            io::copy(&mut answer, &mut io::sink())?;
        }
        Some(Fault::CutUpload(_)) => {
            let mut lines = answer.lines();
            let location = lines.by_ref().map_while(Result::ok).find_map(|line| {
                line.to_ascii_lowercase().starts_with("location:").then(|| line[9..].trim().to_owned())
            });
            lines.for_each(drop);
            if let Some(location) = location {
                let path = location.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
                state.moved.lock().unwrap().insert(upload_of(&request.path).to_owned(), path);
            }
        }
        fault => relay(&mut answer, stream, state, fault.as_ref(), request.method == "HEAD")?,
    }
    Ok(())
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Request)>> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, path) = (method.to_owned(), path.to_owned());
    let (mut headers, mut lines) = (HashMap::new(), Vec::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        lines.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        headers.extend(lines.last().cloned());
    }
    Ok(Some((first, Request { method, path, headers, lines })))
}

/// The head of a request as the registry gets it.
fn head_for(first: &str, path: &str, request: &Request, length: u64) -> String {
    let version = first.trim_end().rsplit(' ').next().unwrap_or("HTTP/1.1");
    let mut head = format!("{} {path} {version}\r\nConnection: close\r\n", request.method);
    for (name, value) in &request.lines {
        if !matches!(name.as_str(), "connection" | "content-length" | "content-range") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        head += &format!("content-length: {length}\r\n");
    }
    head + "\r\n"
}

fn relay(
    answer: &mut impl BufRead,
    mut client: &TcpStream,
    state: &State,
    fault: Option<&Fault>,
    is_head: bool,
) -> io::Result<()> {
    loop {
        let mut line = String::new();
        if answer.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if !line.to_ascii_lowercase().starts_with("connection:") {
            if line.trim().is_empty() {
                if let Some(Fault::Headers(lines)) = fault {
                    client.write_all(format!("{lines}\r\n").as_bytes())?;
                }
                client.write_all(b"Connection: close\r\n\r\n")?;
                break;
            }
            client.write_all(line.as_bytes())?;
        }
    }
    if is_head {
        return Ok(());
    }
    let (mut sent, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let mut count = answer.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        match fault {
            Some(Fault::Cut(most)) if sent + count >= *most => {
                count = most - sent;
                client.write_all(&buffer[..count])?;
                state.body_bytes.fetch_add(count as u64, Ordering::SeqCst);
                return Ok(());
            }
            Some(Fault::Corrupt(place)) if (sent..sent + count).contains(place) => {
                buffer[place - sent] ^= 0x40;
            }
            _ => {}
        }
        client.write_all(&buffer[..count])?;
        state.body_bytes.fetch_add(count as u64, Ordering::SeqCst);
        sent += count;
    }
}

fn pick(state: &State, request: &Request) -> Option<Fault> {
    let mut rules = state.rules.lock().unwrap();
    for (rule, seen) in rules.iter_mut() {
        let fault = match &rule.fault {
            Fault::Until(end, _) if Instant::now() >= *end => continue,
            Fault::Until(_, fault) => fault,
            fault => fault,
        };
        if request.is(rule.method, &rule.path) {
            *seen += 1;
            if *seen > rule.after && *seen <= rule.after + rule.times {
                return Some(fault.clone());
            }
        }
    }
    None
}

/// Gives out tokens, and refuses requests without a good one.
fn check_token(state: &State, request: &Request, own: u16) -> Option<String> {
    let uses = state.token_uses.load(Ordering::SeqCst);
    if uses == 0 {
        return None;
    }
    if request.path.starts_with("/token") {
        let number = state.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        state.uses_left.store(uses, Ordering::SeqCst);
        let body = format!("{{\"token\":\"token-{number}\",\"expires_in\":300}}");
        let head =
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length:";
        return Some(format!("{head} {}\r\n\r\n{body}", body.len()));
    }
    let number = state.tokens.load(Ordering::SeqCst);
    let is_good = request.headers.get("authorization") == Some(&format!("Bearer token-{number}"))
        && state
            .uses_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
    if is_good {
        return None;
    }
    let realm = format!("Bearer realm=\"http://localhost:{own}/token\",service=\"test\"");
    let head = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\nWWW-Authenticate:";
    Some(format!("{head} {realm}\r\n\r\n"))
}

/// An upload's address without its query.
fn upload_of(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// The address that the registry gave last, with the digest of the one that the client has.
fn renewed(moved: &str, path: &str) -> String {
    let digest = path.split(['?', '&']).find(|part| part.starts_with("digest="));
    digest.map_or_else(|| moved.to_owned(), |digest| format!("{moved}&{digest}"))
}
