//! GET over HTTP, as much as asking an example for its page takes.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    failure::{Failure, Result},
    process::Running,
};

/// How long an application may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Finds a port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| Failure::Wrong(format!("finding a port: {error}")))
}

/// Gets the body of a page, waiting until the process has begun to listen.
pub(crate) fn get_from(process: &mut Running, port: u16, path: &str) -> Result<String> {
    let started = Instant::now();
    loop {
        process.still_there()?;
        match get(port, path) {
            Ok(body) => return Ok(body),
            Err(failure) if started.elapsed() > PATIENCE => return Err(failure),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn get(port: u16, path: &str) -> Result<String> {
    let failed =
        |error: std::io::Error| Failure::Wrong(format!("GET http://127.0.0.1:{port}{path}: {error}"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    // HTTP/1.0, so that the body is neither chunked nor followed by another answer.
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    Err(Failure::Wrong(format!("GET http://127.0.0.1:{port}{path} answered {status:?}\n{body}")))
}
