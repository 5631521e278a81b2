//! A server of files on loopback, which notes what it is asked for.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fs,
    hash::{Hash, Hasher},
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

/// Serves files by HTTP until it is dropped: those that it was given, and those below a directory. It answers with entity tags, and
/// takes conditions.
#[derive(Debug)]
pub struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    root: Option<PathBuf>,
    requests: Vec<String>,
    is_down: bool,
    is_gone: bool,
}

impl Server {
    /// Starts one that has nothing yet.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.lock().unwrap().is_gone {
                    return;
                }
                let state = Arc::clone(&shared);
                // A client that goes away is none of the server's business.
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { port, state }
    }

    /// Starts one that has a directory's files, as they are when they are asked for.
    pub fn of(root: &Path) -> Self {
        let server = Self::start();
        server.state.lock().unwrap().root = Some(root.to_owned());
        server
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Has a file at a path, which starts with a slash.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state.lock().unwrap().files.insert(path.to_owned(), bytes.into());
    }

    /// Has a directory's files below a path, in place of what was there.
    pub fn put_tree(&self, path: &str, directory: &Path) {
        self.state.lock().unwrap().files.retain(|known, _| !known.starts_with(&format!("{path}/")));
        let mut left = vec![directory.to_owned()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let entry = entry.unwrap().path();
                if entry.is_dir() {
                    left.push(entry);
                } else {
                    let name = entry.strip_prefix(directory).unwrap().display().to_string();
                    self.put(&format!("{path}/{name}"), fs::read(&entry).unwrap());
                }
            }
        }
    }

    /// The bytes of a file that was put there.
    pub fn get(&self, path: &str) -> Vec<u8> {
        self.state.lock().unwrap().files[path].clone()
    }

    /// Has a file no more.
    pub fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path);
    }

    /// From now on, or no longer, it answers that it cannot.
    pub fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// What was asked for since the last time, with the status of the answer: `200 /path`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.lock().unwrap().is_gone = true;
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers one request after the other.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let Some(first) = lines.next().transpose()? else { return Ok(()) };
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or("/"));
        let path = path.split('?').next().unwrap_or(path).to_owned();
        let mut known = String::new();
        while let Some(header) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("if-none-match")
            {
                value.trim().clone_into(&mut known);
            }
        }
        let (head, body) = state.lock().unwrap().answer(&path, &known);
        let body = if method == "HEAD" { &[][..] } else { &body };
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
    }
}

impl State {
    fn answer(&mut self, path: &str, known: &str) -> (String, Vec<u8>) {
        let on_disk = || fs::read(self.root.as_ref()?.join(path.trim_start_matches('/'))).ok();
        let body = self.files.get(path).cloned().or_else(on_disk).filter(|_| !self.is_down);
        let tag = body.as_ref().map(|body| tag_of(body)).unwrap_or_default();
        let (status, body) = match body {
            _ if self.is_down => ("403 Forbidden", Vec::new()),
            None => ("404 Not Found", Vec::new()),
            Some(_) if known == tag => ("304 Not Modified", Vec::new()),
            Some(body) => ("200 OK", body),
        };
        self.requests.push(format!("{} {path}", &status[..3]));
        let tag = if tag.is_empty() { tag } else { format!("ETag: {tag}\r\n") };
        (format!("HTTP/1.1 {status}\r\n{tag}Content-Length: {}\r\n\r\n", body.len()), body)
    }
}

fn tag_of(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
