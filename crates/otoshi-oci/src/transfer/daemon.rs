//! A running Docker daemon: an image goes to it as a docker-archive in one HTTP request over its socket.
//!
//! API: <https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageLoad>

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::TransferError;
use super::docker::export_docker_archive;
use crate::image::Image;
use crate::layout::Layout;
use crate::reference::Reference;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// How much of an answer is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
const CHUNK: usize = 256 << 10;
/// `quiet` keeps progress bars out of the answer.
const REQUEST: &[u8] =
    b"POST /images/load?quiet=1 HTTP/1.1\r\nHost: docker\r\nContent-Type: application/x-tar\r\n\
    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// Names the socket of a Docker daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerHost {
    socket: PathBuf,
}

impl DockerHost {
    /// Names a socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Takes the socket from the environment variable `DOCKER_HOST`, or the usual one.
    pub fn from_env() -> Result<Self, TransferError> {
        match std::env::var("DOCKER_HOST") {
            Ok(value) if !value.is_empty() => Self::parse(&value),
            _ => Ok(Self::new(DEFAULT_SOCKET)),
        }
    }

    /// Parses a value of `DOCKER_HOST`.
    pub fn parse(value: &str) -> Result<Self, TransferError> {
        match value.strip_prefix("unix://") {
            Some(socket) if socket.starts_with('/') => Ok(Self::new(socket)),
            _ => Err(TransferError::DockerHost { value: value.to_owned() }),
        }
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Loads images into a Docker daemon and returns what it says about them.
pub fn load_into_docker(
    layout: &Layout,
    images: &[(Vec<Reference>, Image)],
    host: &DockerHost,
) -> Result<Vec<String>, TransferError> {
    let connect = |source| TransferError::Connect { socket: host.socket.clone(), source };
    let mut stream = UnixStream::connect(&host.socket).map_err(connect)?;
    stream.write_all(REQUEST).map_err(connect)?;
    let mut body = Chunked { out: &mut stream, buffer: Vec::with_capacity(CHUNK), failed: false };
    let sent = export_docker_archive(layout, images, &mut body).and_then(|()| {
        body.end().map_err(|source| TransferError::Io { action: "write", path: host.socket.clone(), source })
    });
    // A daemon that refuses answers before it has read everything: its answer says more than a broken pipe.
    if let Err(error) = sent
        && !body.failed
    {
        return Err(error);
    }
    read_answer(&mut BufReader::new(stream.take(MAX_ANSWER)))
        .map_err(|source| TransferError::Io { action: "read", path: host.socket.clone(), source })?
        .map_err(|message| TransferError::Daemon { message })
}

/// Writes a body in chunks, as HTTP/1.1 has them.
struct Chunked<'a> {
    out: &'a mut UnixStream,
    buffer: Vec<u8>,
    failed: bool,
}

impl Chunked<'_> {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let outcome = write!(self.out, "{:x}\r\n", self.buffer.len())
            .and_then(|()| self.out.write_all(&self.buffer))
            .and_then(|()| self.out.write_all(b"\r\n"));
        self.failed |= outcome.is_err();
        self.buffer.clear();
        outcome
    }

    fn end(&mut self) -> io::Result<()> {
        self.send()?;
        let outcome = self.out.write_all(b"0\r\n\r\n");
        self.failed |= outcome.is_err();
        outcome
    }
}

impl Write for Chunked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        let length = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads an answer: what the daemon says if it went well, else why not.
fn read_answer(reader: &mut impl BufRead) -> io::Result<Result<Vec<String>, String>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status: u16 = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))?;
    let mut is_chunked = false;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let header = line.to_ascii_lowercase();
        is_chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
    }
    let mut body = Vec::new();
    if is_chunked {
        read_chunks(reader, &mut body)?;
    } else {
        match reader.read_to_end(&mut body) {
            // A daemon that did not read the whole request leaves this way; what it said has arrived.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
            _ => {}
        }
    }
    Ok(interpret(status, &String::from_utf8_lossy(&body)))
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed chunk");
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| malformed())?;
        if size == 0 {
            return Ok(());
        }
        if reader.take(size).read_to_end(body)? as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.clear();
        reader.read_line(&mut line)?;
        if !line.trim().is_empty() {
            return Err(malformed());
        }
    }
}

/// The body is one JSON object a line: what happened, or an error even after a good status.
fn interpret(status: u16, body: &str) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(|text| text.trim_end().to_owned());
        if let Some(message) = text("error").or_else(|| text("message")) {
            return Err(message);
        }
        said.extend(text("stream").filter(|text| !text.is_empty()));
    }
    if (200..300).contains(&status) {
        Ok(said)
    } else {
        Err(format!("HTTP status {status}: {}", body.trim()))
    }
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;

    fn answer(text: &str) -> io::Result<Result<Vec<String>, String>> {
        read_answer(&mut text.as_bytes())
    }

    #[test]
    fn answers_are_understood() {
        let good = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            19\r\n{\"stream\":\"Loaded image: \r\na\r\napp:1\\n\"}\n\r\n0\r\n\r\n";
        assert_eq!(answer(good).unwrap().unwrap(), ["Loaded image: app:1"]);
        let late = "HTTP/1.1 200 OK\r\n\r\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no space\"}\r\n";
        assert_eq!(answer(late).unwrap().unwrap_err(), "no space");
        let refused = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 17\r\n\r\n{\"message\":\"bad\"}";
        assert_eq!(answer(refused).unwrap().unwrap_err(), "bad");
        let proxy = "HTTP/1.0 502 Bad Gateway\r\n\r\n<html>";
        assert_eq!(answer(proxy).unwrap().unwrap_err(), "HTTP status 502: <html>");
        for broken in [
            "",
            "SSH-2.0",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 \r\n\r\n",
        ] {
            assert!(answer(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn only_sockets_are_hosts() {
        let host = DockerHost::parse("unix:///run/user/1000/docker.sock").unwrap();
        assert_eq!(host.socket(), Path::new("/run/user/1000/docker.sock"));
        for value in ["tcp://localhost:2375", "ssh://host", "unix://relative", "/var/run/docker.sock"] {
            assert!(DockerHost::parse(value).unwrap_err().hint().is_some(), "{value}");
        }
    }
}
