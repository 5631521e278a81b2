//! A repository on a loopback port: files by path, with conditional requests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Serves files until it is dropped.
pub struct Served {
    pub address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    requests: Vec<String>,
    down: bool,
}

impl Served {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let weak = Arc::downgrade(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(state) = weak.upgrade() else { return };
                answer(&stream.unwrap(), &state);
            }
        });
        Self { address, state }
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state.lock().unwrap().files.insert(path.to_owned(), bytes.into());
    }

    /// Serves a directory's files below a path, in place of what was there.
    pub fn put_tree(&self, path: &str, directory: &Path) {
        self.state.lock().unwrap().files.retain(|known, _| !known.starts_with(&format!("{path}/")));
        let mut left = vec![directory.to_owned()];
        while let Some(next) = left.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let entry = entry.unwrap().path();
                if entry.is_dir() {
                    left.push(entry);
                } else {
                    let name = entry.strip_prefix(directory).unwrap().display().to_string();
                    self.put(&format!("{path}/{name}"), std::fs::read(&entry).unwrap());
                }
            }
        }
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.state.lock().unwrap().files[path].clone()
    }

    pub fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path);
    }

    /// From now on, or no longer, it answers that it cannot.
    pub fn set_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// What was asked for since the last time, with the status of the answer.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_lowercase())
        .collect();
    let mut state = state.lock().unwrap();
    let file = state.files.get(&path).filter(|_| !state.down).cloned();
    let tag = file.as_ref().map(|file| otoshi_oci::Digest::sha256_of(file).hex().to_owned());
    let tag = tag.unwrap_or_default();
    let known = headers.iter().any(|line| line.starts_with("if-none-match") && line.contains(&tag));
    let (status, body) = match file {
        _ if state.down => ("403 Forbidden", Vec::new()),
        None => ("404 Not Found", Vec::new()),
        Some(_) if known => ("304 Not Modified", Vec::new()),
        Some(body) => ("200 OK", body),
    };
    state.requests.push(format!("{} {path}", &status[..3]));
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: \"{tag}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Whoever asked may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

/// Runs a program and returns what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
