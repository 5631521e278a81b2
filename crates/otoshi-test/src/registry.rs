//! A real registry.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Missing, Need, require};

const PROGRAM: &str = "/usr/bin/docker-registry";
/// `geheim`, by bcrypt.
const PASSWORD: &str = "$2y$05$abcdefghijklmnopqrstuuVWu8RjbNovPZWAMRdd7iqaaG0mI53Uu";

/// A registry that runs until it is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Registry {
    /// The user that a registry with a login lets in; the password is `geheim`.
    pub const USER: &'static str = "anna";
    /// Its password.
    pub const PASSWORD: &'static str = "geheim";

    /// Starts one that anybody may use, by plain HTTP; this needs Debian's package.
    ///
    /// Fails where the registry or openssl is not installed.
    pub fn start() -> Result<Self, Missing> {
        Self::with(&std::env::temp_dir(), |_| String::new(), "")
    }

    /// Starts one whose files are in memory, for measuring what is not a disk's speed.
    ///
    /// Fails as [`Registry::start`] does.
    pub fn start_in_memory() -> Result<Self, Missing> {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            return Self::start();
        }
        Self::with(memory, |_| String::new(), "")
    }

    /// Starts one with TLS, a certificate by an authority of its own, and a login.
    ///
    /// Fails as [`Registry::start`] does.
    pub fn start_private() -> Result<Self, Missing> {
        Self::with(&std::env::temp_dir(), tls, "auth: {htpasswd: {realm: test, path: HERE/htpasswd}}\n")
    }

    /// Starts one with TLS that lets in with tokens of a server at this address only.
    ///
    /// Fails as [`Registry::start`] does.
    pub fn start_with_token_server(realm: &str) -> Result<Self, Missing> {
        let token = format!(
            "auth: {{token: {{realm: '{realm}', service: test, issuer: test, rootcertbundle: HERE/ca.crt}}}}\n"
        );
        Self::with(&std::env::temp_dir(), tls, &token)
    }

    fn with(parent: &Path, http: impl Fn(&Path) -> String, more: &str) -> Result<Self, Missing> {
        require(&[Need::Tool("docker-registry"), Need::Tool("openssl")])?;
        let directory = tempfile::Builder::new().prefix("otoshi-registry-").tempdir_in(parent).unwrap();
        let here = directory.path().display().to_string();
        fs::write(directory.path().join("htpasswd"), format!("{}:{PASSWORD}\n", Self::USER)).unwrap();
        let http = http(directory.path());
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {here}/data}}\n  delete: {{enabled: true}}\n\
             validation: {{manifests: {{urls: {{allow: ['^http://127[.]0[.]0[.]1']}}}}}}\n\
             http:\n  addr: 127.0.0.1:0\n  secret: test\n{http}{}",
            more.replace("HERE", &here)
        );
        let (file, log) = (directory.path().join("config.yml"), directory.path().join("log"));
        fs::write(&file, config).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut registry = Self { child, port: 0, directory };
        registry.port = listens_at(&mut registry.child, &log);
        Ok(registry)
    }

    /// Its host and port, as references have them.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends one request to one without TLS, as somebody else's tools do; gives the head and the body of the answer.
    pub fn request(&self, head: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        let head =
            format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
    }

    /// Gets what is below a repository, such as `blobs/sha256:…`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn get(&self, repository: &str, path: &str) -> Vec<u8> {
        let kinds = [
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ];
        let kinds = kinds.join(", ");
        let (head, body) =
            self.request(&format!("GET /v2/{repository}/{path} HTTP/1.1\r\nAccept: {kinds}"), b"");
        assert!(head.starts_with("HTTP/1.1 200"), "{repository}/{path}: {head}");
        body
    }

    /// Puts a manifest or an index under a tag or its digest.
    ///
    /// # Panics
    /// When it is refused.
    pub fn put_manifest(&self, repository: &str, reference: &str, kind: &str, body: &[u8]) {
        let head = format!("PUT /v2/{repository}/manifests/{reference} HTTP/1.1\r\nContent-Type: {kind}");
        let (head, answer) = self.request(&head, body);
        assert!(head.starts_with("HTTP/1.1 201"), "{head}: {}", String::from_utf8_lossy(&answer));
    }

    /// A directory as `/etc/containers/certs.d`, which has the authority of a private registry.
    pub fn certificates(&self) -> PathBuf {
        self.directory.path().join("certs.d")
    }

    /// Makes the authority known under the name of a host.
    pub fn trust_as(&self, host: &str) -> PathBuf {
        let directory = self.certificates().join(host);
        fs::create_dir_all(&directory).unwrap();
        fs::copy(self.directory.path().join("ca.crt"), directory.join("ca.crt")).unwrap();
        self.certificates()
    }

    /// Removes all that it holds.
    pub fn forget(&self) {
        let _ = fs::remove_dir_all(self.directory.path().join("data"));
    }

    /// Removes what it knows of one repository.
    pub fn forget_repository(&self, name: &str) {
        let repositories = "data/docker/registry/v2/repositories";
        let _ = fs::remove_dir_all(self.directory.path().join(repositories).join(name));
    }

    /// The path of a blob on its disk.
    pub fn blob_path(&self, hex: &str) -> PathBuf {
        let blobs = "data/docker/registry/v2/blobs/sha256";
        self.directory.path().join(blobs).join(&hex[..2]).join(hex).join("data")
    }

    /// A file that a test may use for its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it says on which port it listens.
fn listens_at(child: &mut Child, log: &Path) -> u16 {
    let started = Instant::now();
    loop {
        let said = fs::read_to_string(log).unwrap();
        let port = said.split_once("listening on 127.0.0.1:").map(|(_, rest)| rest);
        let port = port.and_then(|rest| rest.split_once(|char: char| !char.is_ascii_digit()));
        if let Some((port, _)) = port {
            return port.parse().unwrap();
        }
        let is_over = child.try_wait().unwrap().is_some() || started.elapsed() > Duration::from_secs(60);
        assert!(!is_over, "docker-registry does not listen: {said}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Makes a certificate; gives the settings that say so.
fn tls(directory: &Path) -> String {
    certificate(directory);
    let place = |name: &str| directory.join(name).display().to_string();
    format!("  tls: {{certificate: {}, key: {}}}\n", place("server.crt"), place("server.key"))
}

/// Makes `ca.crt`, and `server.crt` with `server.key` for localhost.
fn certificate(directory: &Path) {
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    run(&[&["req", "-x509", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"], &key[..]]
        .concat());
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    let signed =
        ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", names, "-addext", "basicConstraints=CA:FALSE"];
    let server = ["req", "-x509", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.crt"];
    run(&[&server[..], &key[..], &signed[..]].concat());
}
