//! A server of files over HTTP, on the loopback interface alone, for cases that ADD a URL.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    thread,
    time::Duration,
};

use crate::failure::{Failure, Result};

/// A running server; it goes with the process.
pub(super) struct Server {
    address: SocketAddr,
}

impl Server {
    /// Serves what is below a directory.
    pub(super) fn start(directory: PathBuf) -> Result<Self> {
        let failed = |error: std::io::Error| Failure::Wrong(format!("serving files: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that went away misses nothing.
                let _ = answer(stream, &directory);
            }
        });
        Ok(Self { address })
    }

    /// The address of a path below the directory.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

fn answer(mut stream: TcpStream, directory: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = Path::new(target.split('?').next().unwrap_or_default().trim_start_matches('/'));
    let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    let file = Some(directory.join(path)).filter(|_| plain).and_then(|path| fs::read(path).ok());
    let (status, body) = file.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/octet-stream\r\n\
         Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method == "GET" {
        stream.write_all(&body)?;
    }
    stream.flush()
}
