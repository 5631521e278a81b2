//! A fleet of images that is checked by several machines: how many requests that takes beyond one HEAD for each image.
//!
//! ```text
//! 50 repositories with 100 tags each, every tag another manifest, all on one base     a registry on loopback, its requests noted
//! the packages of that base                                                           a repository on loopback, its requests counted
//! 10 runners, each a process with a store of its own and a tenth of the images        at the same time; then all of it again
//! ```

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use otoshi_test::{Proxy, Registry};
use serde_json::Value;

use super::measure::quiet;
use crate::{
    failure::{Failure, Result},
    process,
    project::Project,
};

const REPOSITORIES: usize = 50;
const RUNNERS: usize = 10;
/// How many requests a runner may send beyond one HEAD for each of its images, once it has seen them.
const GOAL: u64 = 20;
const PACKAGES: usize = 100;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Measures checks of so many images.
pub(super) fn measure(otoshi: &Path, images: usize) -> Result {
    let registry = Registry::start_in_memory()?;
    let proxy = Proxy::start(registry.port());
    let repository = Repository::start()?;
    let project = Project::empty(otoshi)?;
    let references = fleet(&project, &registry, &proxy.host(), &repository, images)?;
    let runners = Project::empty(otoshi)?;
    println!("| what | Otoshi |");
    println!("| --- | ---: |");
    for (number, state) in ["for the first time", "again"].into_iter().enumerate() {
        proxy.take_log();
        let before = repository.requests();
        let started = Instant::now();
        let sent = all_runners(&runners, otoshi, &references)?;
        let took = started.elapsed().as_secs_f64();
        let log = proxy.take_log();
        let of_packages = repository.requests() - before;
        let heads = log.iter().filter(|request| request.is("HEAD", "/v2/fleet/app-")).count();
        let beyond = (log.len() - heads) as u64 + of_packages;
        let told: u64 = sent.iter().sum();
        if told != log.len() as u64 + of_packages || heads != references.len() {
            return Err(Failure::Wrong(format!(
                "{told} requests were reported, {} came to the registry ({heads} for tags) and {of_packages} to the repository",
                log.len()
            )));
        }
        let share = (references.len() / RUNNERS) as u64;
        let most = sent.iter().map(|sent| sent.saturating_sub(share)).max().unwrap_or_default();
        println!(
            "| {} images checked {state} by {RUNNERS} runners: requests beyond one HEAD for each, in all, and of one runner at most | {beyond}, {most} |",
            references.len()
        );
        println!("| of these to the repository of packages | {of_packages} |");
        println!("| time | {took:.1} s |");
        if number > 0 && most > GOAL {
            return Err(Failure::Wrong(format!(
                "a runner sent {most} further requests, and {GOAL} is the goal"
            )));
        }
    }
    Ok(())
}

/// Checks all images, each runner its share at the same time; gives how many requests each says that it sent.
fn all_runners(place: &Project, otoshi: &Path, references: &[String]) -> Result<Vec<u64>> {
    let shares: Vec<&[String]> = references.chunks(references.len().div_ceil(RUNNERS)).collect();
    let run = |number: usize, share: &[String]| {
        let mut command = Command::new(otoshi);
        command.args(["check", "--json"]).args(share).current_dir(place.path());
        command.env("OTOSHI_HOME", place.path().join(format!("home-{number}")));
        // The repository of packages is on this machine.
        command.env("OTOSHI_LOCAL_REPOSITORIES", "127.0.0.1,localhost");
        let report: Value = serde_json::from_str(&process::read(&mut command)?)
            .map_err(|error| Failure::Wrong(format!("otoshi check --json: {error}")))?;
        if report["counts"]["fresh"] != share.len() {
            return Err(Failure::Wrong(format!("not all are fresh: {}", report["counts"])));
        }
        let looked = report["images"].as_array().map_or(0, Vec::len);
        if looked != share.len() || report["images"][0]["packages"] != PACKAGES {
            return Err(Failure::Wrong(format!("not all were looked into: {}", report["images"][0])));
        }
        report["requests"].as_u64().ok_or_else(|| Failure::Wrong("no count of requests".into()))
    };
    thread::scope(|scope| {
        let started: Vec<_> = shares
            .iter()
            .enumerate()
            .map(|(number, share)| scope.spawn(move || run(number, share)))
            .collect();
        let panicked = |_| Err(Failure::Wrong("a runner's thread panicked".into()));
        started.into_iter().map(|runner| runner.join().unwrap_or_else(panicked)).collect()
    })
}

/// Fills the registry; gives the references of the images, as the runners name them.
fn fleet(
    project: &Project,
    registry: &Registry,
    host: &str,
    repository: &Repository,
    images: usize,
) -> Result<Vec<String>> {
    let base = format!("{}/fleet/base:1", registry.host());
    project.write("base/status", &repository.status)?;
    project
        .write("base/sources.list", &format!("deb [trusted=yes] {} stable main\n", repository.address()))?;
    project.write("base/os-release", "ID=debian\nVERSION_ID=\"12\"\n")?;
    project.write(
        "base/Dockerfile",
        "FROM scratch\nCOPY status /var/lib/dpkg/status\nCOPY sources.list /etc/apt/sources.list\n\
         COPY os-release /etc/os-release\n",
    )?;
    quiet(&mut project.otoshi(&["image", "build", "base", "-t", &base]))?;
    quiet(&mut project.otoshi(&["image", "push", &base]))?;
    let (head, _) = ask(registry.port(), "HEAD", "fleet/base/manifests/1", b"")?;
    let digest = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("docker-content-digest: ").map(str::to_owned)
    });
    let digest = digest.ok_or_else(|| Failure::Wrong(format!("the registry has no base: {head}")))?;
    project.write("app/Dockerfile", &format!("FROM {base}\nCOPY own /own\n"))?;
    let mut references = Vec::with_capacity(images);
    for number in 0..REPOSITORIES {
        let name = format!("fleet/app-{number:02}");
        let tag = format!("{}/{name}:first", registry.host());
        project.write("app/own", &number.to_string())?;
        quiet(&mut project.otoshi(&["image", "build", "app", "-t", &tag]))?;
        quiet(&mut project.otoshi(&["image", "push", &tag]))?;
        let (_, manifest) = ask(registry.port(), "GET", &format!("{name}/manifests/first"), b"")?;
        let mut manifest: Value = serde_json::from_slice(&manifest)
            .map_err(|error| Failure::Wrong(format!("the manifest of {tag}: {error}")))?;
        manifest["annotations"] = serde_json::json!({
            "org.opencontainers.image.base.name": format!("{host}/fleet/base:1"),
            "org.opencontainers.image.base.digest": digest,
        });
        for tag in 0..images / REPOSITORIES {
            manifest["annotations"]["test.otoshi.number"] = format!("{number} {tag}").into();
            let bytes = manifest.to_string();
            let (head, _) =
                ask(registry.port(), "PUT", &format!("{name}/manifests/v{tag}"), bytes.as_bytes())?;
            if !head.starts_with("HTTP/1.1 201") {
                return Err(Failure::Wrong(format!("pushing {name}:v{tag}: {head}")));
            }
            references.push(format!("{host}/{name}:v{tag}"));
        }
    }
    Ok(references)
}

/// One request to the registry itself; gives the header and the body.
fn ask(port: u16, method: &str, path: &str, body: &[u8]) -> Result<(String, Vec<u8>)> {
    let failed = |error: std::io::Error| Failure::Wrong(format!("{method} {path}: {error}"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    let length = body.len();
    let head = format!(
        "{method} /v2/{path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nAccept: {MANIFEST}\r\n\
         Content-Type: {MANIFEST}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
    let body = answer.get(end + 4..).unwrap_or_default().to_vec();
    Ok((String::from_utf8_lossy(&answer[..end]).into_owned(), body))
}

/// A repository of packages, all of which are installed as it has them.
struct Repository {
    port: u16,
    requests: Arc<AtomicU64>,
    /// What dpkg would have on record.
    status: String,
}

impl Repository {
    fn start() -> Result<Self> {
        let architecture = process::read(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
        let (mut status, mut packages) = (String::new(), String::new());
        for number in 0..PACKAGES {
            let record = format!(
                "Package: package-{number}\nVersion: 1.{number}-1\nArchitecture: {architecture}\n\
                 Maintainer: A Test <test@otoshi.test>\nDescription: one of many\n"
            );
            status += &record.replacen('\n', "\nStatus: install ok installed\n", 1);
            status.push('\n');
            packages +=
                &format!("{record}Filename: pool/{number}.deb\nSize: 1\nSHA256: {}\n\n", "0".repeat(64));
        }
        let path = format!("main/binary-{architecture}/Packages");
        let directory = tempfile::tempdir().map_err(Failure::file("making", "a directory"))?;
        let file: PathBuf = directory.path().join("Packages");
        std::fs::write(&file, &packages).map_err(Failure::file("writing", &file))?;
        let sum = process::read(Command::new("sha256sum").arg(&file))?;
        let sum = sum.split(' ').next().unwrap_or_default();
        let date = process::read(
            Command::new("date").args(["-u", "+%a, %d %b %Y %H:%M:%S UTC"]).env("LC_ALL", "C"),
        )?;
        let release = format!(
            "Suite: stable\nCodename: stable\nDate: {}\nArchitectures: {architecture}\nComponents: main\nSHA256:\n \
             {sum} {} {path}\n",
            date.trim(),
            packages.len()
        );
        let requests = Arc::new(AtomicU64::new(0));
        let listening = |error: std::io::Error| Failure::Wrong(format!("listening on loopback: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(listening)?;
        let port = listener.local_addr().map_err(listening)?.port();
        let (counter, files) = (
            Arc::clone(&requests),
            Arc::new([("/Release".to_owned(), release), (format!("/{path}"), packages)]),
        );
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counter, files) = (Arc::clone(&counter), Arc::clone(&files));
                thread::spawn(move || serve(&stream, &counter, &files[..]));
            }
        });
        Ok(Self { port, requests, status })
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Answers one request and closes the connection.
fn serve(stream: &TcpStream, requests: &AtomicU64, files: &[(String, String)]) {
    let mut lines = BufReader::new(stream).lines().map_while(std::result::Result::ok);
    let Some(first) = lines.next() else { return };
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let path = first.split(' ').nth(1).unwrap_or_default();
    let found = files.iter().find(|(name, _)| path.ends_with(name));
    let (status, body) = found.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    // A client that goes away is none of its business.
    let _ = (&*stream).write_all(head.as_bytes()).and_then(|()| (&*stream).write_all(body.as_bytes()));
}
