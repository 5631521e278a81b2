//! HTTPS of steps that is looked into: what a step sees of it, and what another step does not fetch again.

#[path = "support/mod.rs"]
mod support;

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use otoshi_dockerfile::Dockerfile;
use otoshi_engine::{BuildRequest, Engine, Event, Events, NetworkCache};
use otoshi_test::{Missing, Need, given, require, run};
use support::World;

/// The warnings of a build.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Events for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning(warning) = event {
            self.0.lock().unwrap().push(warning);
        }
    }
}

/// OpenSSL's server with a certificate for `packages.test`, on the port of HTTPS at an address of this machine.
struct Server {
    directory: tempfile::TempDir,
    address: IpAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Result<Self, Missing> {
        require(&[Need::Root, Need::Address, Need::Tool("openssl")])?;
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Nothing is sent.
        socket.connect("192.0.2.1:9").unwrap();
        let address = socket.local_addr().unwrap().ip();
        let directory = tempfile::tempdir().unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
        let openssl = |arguments: &[&str]| {
            run(Command::new("openssl").args(arguments).args(key).current_dir(directory.path()));
        };
        openssl(&["req", "-x509", "-subj", "/CN=outside", "-keyout", "ca.key", "-out", "ca.crt"]);
        openssl(&[
            "req",
            "-x509",
            "-subj",
            "/CN=packages.test",
            "-keyout",
            "server.key",
            "-out",
            "server.crt",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-addext",
            "subjectAltName=DNS:packages.test",
            "-addext",
            "basicConstraints=CA:FALSE",
        ]);
        let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 8\r\n\r\npackage\n";
        fs::write(directory.path().join("a"), answer).unwrap();
        let said = fs::File::create(directory.path().join("said")).unwrap();
        let child = Command::new("openssl")
            .args(["s_server", "-HTTP", "-cert", "server.crt", "-key", "server.key", "-accept"])
            .arg(format!("{address}:443"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(said.try_clone().unwrap())
            .stdout(said)
            .spawn()
            .unwrap();
        let server = Self { directory, address, child };
        let started = Instant::now();
        while !server.said().contains("ACCEPT") {
            assert!(started.elapsed() < Duration::from_secs(60), "{}", server.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).unwrap()
    }

    /// How often the file was asked for.
    fn asked(&self) -> usize {
        self.said().matches("FILE:a").count()
    }

    fn authorities(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }
}

/// Puts the machine's `openssl` with its libraries into a context.
fn put_openssl(source: &Path) {
    let libraries = run(Command::new("ldd").arg("/usr/bin/openssl"));
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain(["/usr/bin/openssl"]) {
        let target = source.join("openssl").join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

fn build(world: &World, server: &Server, run: &str, network_cache: NetworkCache) -> (String, Vec<String>) {
    let dockerfile = format!("FROM busybox\nCOPY openssl /\nCOPY own.crt /own.crt\n{run}\n");
    let context = otoshi_engine::Context::scan(&world.home, &world.source, None).unwrap();
    let request = BuildRequest {
        ca_certificates: Some(server.authorities()),
        network_cache,
        ..BuildRequest::new(
            Arc::new(Dockerfile::parse("Dockerfile", &dockerfile).unwrap()),
            Arc::new(context),
        )
    };
    let warnings = Warnings::default();
    let image = world.engine.build(&request, &warnings).unwrap();
    (world.output(&image, "cat /heard"), warnings.0.into_inner().unwrap())
}

#[test]
fn https_is_fetched_once_and_steps_with_authorities_of_their_own_see_no_difference() {
    let world = given!(support::world());
    let server = given!(Server::start());
    put_openssl(&world.source);
    fs::copy(server.authorities(), world.source.join("own.crt")).unwrap();
    let ask = |number: usize, trusted: &str| {
        format!(
            "RUN printf 'GET /a HTTP/1.1\\r\\nHost: packages.test\\r\\nConnection: close\\r\\n\\r\\n' | \
             /usr/bin/openssl s_client -quiet -verify_quiet -verify_return_error -CAfile {trusted} -servername packages.test \
             -connect {}:443 2>&1 | tail -n 1 > /heard; : {number}",
            server.address
        )
    };
    // Two steps of two builds, and one that is not looked into.
    for (number, asked) in [(1, 1), (2, 1)] {
        let step = ask(number, "$SSL_CERT_FILE");
        let (heard, warnings) = build(&world, &server, &step, NetworkCache::Https);
        assert_eq!((heard.as_str(), server.asked()), ("package\n", asked), "{warnings:?}");
        assert_eq!(warnings, [""; 0]);
    }
    let (heard, _) = build(&world, &server, &ask(3, "$SSL_CERT_FILE"), NetworkCache::Http);
    assert_eq!((heard.as_str(), server.asked()), ("package\n", 2));
    // Its own authorities do not know the one of the network cache: what it heard of that is forgotten.
    let (heard, warnings) = build(&world, &server, &ask(4, "/own.crt"), NetworkCache::Https);
    assert_eq!((heard.as_str(), server.asked()), ("package\n", 3));
    assert!(warnings.len() == 1 && warnings[0].contains("of its own for packages.test"), "{warnings:?}");
    // One that says so beforehand is never looked into.
    let step = format!("ENV CURL_CA_BUNDLE=/own.crt\n{}", ask(5, "/own.crt"));
    let (heard, warnings) = build(&world, &server, &step, NetworkCache::Https);
    assert_eq!((heard.as_str(), server.asked(), warnings.len()), ("package\n", 4, 0));
}
