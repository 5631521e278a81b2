//! The smoke test of `[verify]`: a command in the new image, or an HTTP request to the process that it starts.

use std::{
    io,
    net::TcpStream,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use otoshi_engine::{Engine, Handle, OnStart, RunRequest, Silent};
use otoshi_explain::Panicked;
use otoshi_http::{SafeUrl, Target, Url, host_of, status_over};
use otoshi_oci::Digest;
use otoshi_once::hold;
use otoshi_project::Verify;

use super::images::Images;
use crate::{
    PipelineError,
    error::During,
    phases::{CommandSettings, form},
    world::World,
};

/// How long a process may take for the head of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What trying images came to.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// The processes that passed.
    pub(super) passed: Vec<String>,
    /// What happened where one failed.
    pub(super) failed: Option<String>,
}

/// Runs the smoke test of a project in the images it is meant for, up to the first that fails.
pub(super) fn smoke_test(world: &World<'_>, images: &Images) -> Result<Tried, PipelineError> {
    let mut passed = Vec::new();
    let Some(verify) = &world.project.manifest.verify else { return Ok(Tried::default()) };
    for process in &world.project.processes {
        let wanted = match &verify.process {
            Some(name) => *name == process.name,
            // A request is for one process, a command for all.
            None => verify.run.is_some() || world.project.processes.len() == 1 || process.name == "web",
        };
        let Some(digest) = images.0.get(&world.image_name(&process.name)).filter(|_| wanted) else {
            continue;
        };
        match try_image(world, verify, digest, &process.name)? {
            Some(failed) => {
                return Ok(Tried { passed, failed: Some(format!("{}: {failed}", process.name)) });
            }
            None => passed.push(process.name.clone()),
        }
    }
    Ok(Tried { passed, failed: None })
}

/// Tries an image; `None` when all is well, else what happened.
fn try_image(
    world: &World<'_>,
    verify: &Verify,
    image: &Digest,
    process: &str,
) -> Result<Option<String>, PipelineError> {
    let engine = world.engine;
    let timeout = verify.timeout().map_err(PipelineError::Project)?;
    if let Some(command) = &verify.run {
        let (started, request) = request(world, image, process);
        let request = RunRequest { command: Some(form(command)), ..request };
        let outcome = timed(engine, &request, &started, timeout)?;
        return Ok(match outcome {
            Some(0) => None,
            Some(code) => Some(format!("the command of [verify] ended with exit code {code}")),
            None => Some(format!("the command of [verify] did not finish within {} s", timeout.as_secs())),
        });
    }
    let Some(address) = &verify.http else { return Ok(None) };
    let shown = SafeUrl::new(address);
    let (started, request) = request(world, image, process);
    thread::scope(|scope| {
        let running = scope.spawn(|| engine.run(&request, &Silent));
        let since = Instant::now();
        let failed = loop {
            let last = match ask(address, &started) {
                Ok(()) => break None,
                Err(Unanswered { last, is_final: true }) => {
                    break Some(format!("{process} at {shown}: {last}"));
                }
                Err(Unanswered { last, is_final: false }) => last,
            };
            if running.is_finished() {
                break Some(format!("{process} ended before it answered at {shown}"));
            }
            if since.elapsed() > timeout {
                break Some(format!(
                    "{process} did not answer at {shown} within {} s: {last}",
                    timeout.as_secs()
                ));
            }
            thread::sleep(Duration::from_millis(100));
        };
        started.end();
        let _ = running.join();
        Ok(failed)
    })
}

/// Runs a command; `None` where it took too long.
fn timed(
    engine: &dyn Engine,
    request: &RunRequest,
    started: &Started,
    timeout: Duration,
) -> Result<Option<i32>, PipelineError> {
    let since = Instant::now();
    thread::scope(|scope| {
        let running = scope.spawn(|| engine.run(request, &Silent));
        while !running.is_finished() {
            if since.elapsed() > timeout {
                started.end();
                let _ = running.join();
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(10));
        }
        let outcome = running.join().map_err(|_| Panicked { what: "[verify]" })?;
        Ok(Some(outcome.map_err(PipelineError::engine_in(During::Verify))?.code))
    })
}

/// The process that is tried, once it has started.
#[derive(Debug, Clone, Default)]
struct Started(Arc<Mutex<Option<Handle>>>);

impl Started {
    fn handle(&self) -> MutexGuard<'_, Option<Handle>> {
        hold(&self.0)
    }

    /// Ends the process, also one that is about to start.
    fn end(&self) {
        for _ in 0..50 {
            if let Some(handle) = self.handle().take() {
                handle.kill();
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Connects to a port of the process, whichever of its own addresses was named; never to one of this machine.
    fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let handle = self.handle().clone();
        handle.ok_or_else(|| io::Error::other("the process has not started yet"))?.connect(port)
    }
}

/// The request that runs a process, and where it is found once it has started.
fn request(world: &World<'_>, image: &Digest, process: &str) -> (Started, RunRequest) {
    let started = Started::default();
    let shared = started.clone();
    let request = RunRequest {
        platform: world.platform.clone(),
        network: CommandSettings(world.project).network(),
        entrypoint: true,
        started: Some(OnStart::new(move |running| *shared.handle() = Some(running.handle))),
        ..RunRequest::new(image.clone(), format!("verify {process}"), None)
    };
    (started, request)
}

/// What came in place of a status below 400.
struct Unanswered {
    last: String,
    /// Whether asking again cannot help: the process is up, and has no such page.
    is_final: bool,
}

impl From<String> for Unanswered {
    fn from(last: String) -> Self {
        Self { last, is_final: false }
    }
}

impl From<&str> for Unanswered {
    fn from(last: &str) -> Self {
        last.to_owned().into()
    }
}

/// Asks for a page.
fn ask(address: &str, started: &Started) -> Result<(), Unanswered> {
    let url = Url::parse(address).ok().filter(|url| url.scheme() == "http");
    let url = url.ok_or("it is not an http:// address")?;
    let stream =
        started.connect(url.port_or_known_default().unwrap_or(80)).map_err(|error| error.to_string())?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let (host, path) = (host_of(&url), format!("{}{query}", url.path()));
    let status = status_over(stream, Target { host: &host, path: &path }, PATIENCE);
    let status = status.map_err(|error| error.to_string())?.as_u16();
    if status < 400 {
        return Ok(());
    }
    // Too early, too many, and what a server says of itself may pass; so may a timeout.
    let may_pass = status >= 500 || matches!(status, 408 | 425 | 429);
    Err(Unanswered { last: format!("it answered {status}"), is_final: !may_pass })
}
