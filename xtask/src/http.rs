//! GET over HTTP, as much as asking an example for its page takes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    failure::{Failure, Result},
    process::Running,
    project::Project,
};

/// How long an application may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The port inside, on which an example's process listens.
const PORT: &str = "8080";

/// A process of a project that answers over HTTP.
pub(crate) struct Web {
    process: Running,
    port: u16,
}

impl Web {
    /// Starts a process by `otoshi run`, and waits until it is told at which port it is published.
    pub(crate) fn start(project: &Project, process: &str) -> Result<Self> {
        let setting = format!("PORT={PORT}");
        let mut run = project.otoshi(&["run", process, "-e", &setting, "-p", &format!("0:{PORT}")]);
        let mut process = Running::start(run.stdout(Stdio::null()).stderr(Stdio::piped()))?;
        let (sender, receiver) = mpsc::channel();
        if let Some(said) = process.take_stderr() {
            // To its end, so that the process is never kept waiting.
            thread::spawn(move || {
                for line in BufReader::new(said).lines().map_while(std::io::Result::ok) {
                    match line.strip_prefix(&format!("port {PORT} is published at 127.0.0.1:")) {
                        Some(port) => drop(sender.send(port.parse())),
                        None => eprintln!("{line}"),
                    }
                }
            });
        }
        let port = receiver.recv_timeout(PATIENCE).ok().and_then(std::result::Result::ok);
        let port = port.ok_or_else(|| Failure::Wrong("otoshi run did not say where the port is".into()))?;
        Ok(Self { process, port })
    }

    /// Where it answers.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The body of a page, once the process has begun to listen.
    pub(crate) fn get(&mut self, path: &str) -> Result<String> {
        get_from(&mut self.process, self.port, path)
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) -> Result {
        self.process.stop()
    }
}

/// Gets the body of a page, waiting until the process has begun to listen.
fn get_from(process: &mut Running, port: u16, path: &str) -> Result<String> {
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
