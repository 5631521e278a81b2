//! HTTPS of steps, over real connections: what is looked into, and what is left to the step.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use otoshi_relay::{Admission, Relay};
use otoshi_test::{Need, given, require};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// The host of all requests; it means nothing outside of the certificates.
const HOST: &str = "packages.test";

/// An authority outside of the relay.
struct Outside {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Outside {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// How a server speaks that it vouches for; `asks` says that it wants to know who comes.
    fn server(&self, asks: bool) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([HOST.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let roots = Arc::new(roots(&self.pem));
            let provider = Arc::new(ring::default_provider());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated();
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        builder.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap()
    }
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap));
    roots
}

/// A server that notes what it is asked, and always answers the same.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(mut config: ServerConfig, protocols: &[&str]) -> Self {
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (noted, config) = (Arc::clone(&asked), Arc::new(config));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, config) = (Arc::clone(&noted), Arc::clone(&config));
                thread::spawn(move || answer(&noted, ServerConnection::new(config).unwrap(), stream));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn answer(noted: &Mutex<Vec<String>>, connection: ServerConnection, stream: TcpStream) {
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        noted.lock().unwrap().push(head);
        let said =
            "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nContent-Length: 7\r\n\r\npackage";
        let _ = reader.get_mut().write_all(said.as_bytes());
    }
}

struct World {
    directory: tempfile::TempDir,
    relay: Relay,
    outside: Outside,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let relay = Relay::start(&directory.path().join("kept"), 64 << 20).unwrap();
        Self { directory, relay, outside: Outside::new() }
    }

    fn bundle(&self, name: &str, pem: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, pem).unwrap();
        path
    }

    /// A step whose HTTPS is looked into.
    fn step(&self) -> Admission {
        self.relay.admit(Some(&self.bundle("bundle.crt", &self.outside.pem))).unwrap()
    }
}

/// What a step hears.
#[derive(Debug)]
struct Heard {
    answer: String,
    /// Whether an authority outside has vouched for the server that it speaks with.
    is_outside: bool,
}

/// One request of a step that trusts the authorities of a bundle.
fn ask(step: &Admission, server: &Server, trusted: &str, more: &str) -> Result<Heard, std::io::Error> {
    ask_as(step, server, trusted, more, &[])
}

fn ask_as(
    step: &Admission,
    server: &Server,
    trusted: &str,
    more: &str,
    protocols: &[&str],
) -> Result<Heard, std::io::Error> {
    let mut stream = TcpStream::connect(step.entrance().address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&step.entrance().asking(server.address))?;
    let mut open = [9];
    stream.read_exact(&mut open)?;
    assert_eq!(open, [0]);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots(trusted)).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(HOST).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let host = format!("{HOST}:{}", server.address.port());
    write!(stream, "GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")?;
    let mut answer = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !answer.ends_with("package") {
        if reader.read_line(&mut answer)? == 0 {
            break;
        }
        if answer.ends_with("\r\n\r\n") {
            let mut body = [0; 7];
            reader.read_exact(&mut body)?;
            answer.push_str(std::str::from_utf8(&body).unwrap());
        }
    }
    let chain = stream.conn.peer_certificates().unwrap();
    Ok(Heard { answer, is_outside: chain.len() == 1 })
}

fn trusted(step: &Admission) -> String {
    fs::read_to_string(step.bundle().unwrap()).unwrap()
}

#[test]
fn what_a_server_lets_be_kept_is_fetched_once_for_all_who_trust_the_same() {
    let world = World::new();
    let server = Server::start(world.outside.server(false), &[]);
    let (one, two) = (world.step(), world.step());
    for step in [&one, &two] {
        let heard = ask(step, &server, &trusted(step), "").unwrap();
        assert!(heard.answer.ends_with("\r\n\r\npackage") && !heard.is_outside, "{heard:?}");
        assert!(step.distrusted().is_empty());
    }
    assert_eq!((server.asked(), world.relay.saved()), (1, 7));
    // Who asks is nobody else's business.
    ask(&two, &server, &trusted(&two), "Authorization: Basic eDp5\r\n").unwrap();
    assert_eq!(server.asked(), 2);
    // Another set of authorities vouches for itself alone.
    let more = format!("{}{}", world.outside.pem, Outside::new().pem);
    let other = world.relay.admit(Some(&world.bundle("other.crt", &more))).unwrap();
    ask(&other, &server, &trusted(&other), "").unwrap();
    assert_eq!(server.asked(), 3);
    // The file goes with the step, and holds no key.
    let path = one.bundle().unwrap().to_owned();
    assert!(!trusted(&one).contains("PRIVATE") && trusted(&one).starts_with(&world.outside.pem));
    drop(one);
    assert!(!path.exists());
}

#[test]
fn a_step_with_authorities_of_its_own_is_told_of_and_then_left_alone() {
    let world = World::new();
    let server = Server::start(world.outside.server(false), &[]);
    let step = world.step();
    let error = ask(&step, &server, &world.outside.pem, "").unwrap_err();
    assert!(error.to_string().starts_with("invalid peer certificate"), "{error}");
    // The relay may hear of it a moment later.
    let told = || step.distrusted() == [HOST];
    assert!((0..200).any(|_| told() || {
        thread::sleep(Duration::from_millis(50));
        false
    }));
    let heard = ask(&step, &server, &world.outside.pem, "").unwrap();
    assert!(heard.is_outside && heard.answer.ends_with("package"), "{heard:?}");
    assert!(world.step().distrusted().is_empty());
}

#[test]
fn what_cannot_be_done_for_a_step_is_left_to_it() {
    let world = World::new();
    let (step, all) = (world.step(), world.outside.pem.as_str());
    // Nobody looks into it.
    let server = Server::start(world.outside.server(false), &[]);
    let plain = world.relay.admit(None).unwrap();
    assert!(plain.bundle().is_none() && plain.entrance().https.is_none());
    assert!(ask(&plain, &server, all, "").unwrap().is_outside);
    // A server that asks who comes.
    let asks = Server::start(world.outside.server(true), &[]);
    assert!(ask(&step, &asks, all, "").unwrap().is_outside);
    // One whom the step's authorities do not vouch for: the step says itself what it thinks of that.
    let stranger = Outside::new();
    let strange = Server::start(stranger.server(false), &[]);
    let error = ask(&step, &strange, &trusted(&step), "").unwrap_err();
    assert!(error.to_string().starts_with("invalid peer certificate"), "{error}");
    assert!(ask(&step, &strange, &stranger.pem, "").unwrap().is_outside);
    // Another protocol than HTTP/1.1.
    let other = Server::start(world.outside.server(false), &["h2", "http/1.1"]);
    assert!(ask_as(&step, &other, all, "", &["h2"]).unwrap().is_outside);
    assert!(!ask_as(&step, &other, &trusted(&step), "", &["h2", "http/1.1"]).unwrap().is_outside);
    assert!(step.distrusted().is_empty());
    // What only looks like TLS.
    let mut stream = TcpStream::connect(step.entrance().address).unwrap();
    stream.write_all(&step.entrance().asking(server.address)).unwrap();
    stream.write_all(&[22, 3, 1, 0, 4, 9, 9, 9, 9]).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    // It reaches the server, which thinks what it thinks.
    assert_eq!(all.first(), Some(&0), "{all:?}");
}

#[test]
fn a_bundle_without_a_certificate_is_an_error() {
    let world = World::new();
    let error = world.relay.admit(Some(&world.bundle("empty.crt", "none\n"))).unwrap_err();
    assert_eq!(error.to_string(), "it holds no certificate");
    assert!(world.relay.admit(Some(Path::new("/nonexistent/bundle"))).is_err());
}

/// Python's `ssl` with the flag that is set from 3.13 on is the strictest of common readers.
#[test]
fn the_strictest_reader_takes_the_certificates() {
    given!(require(&[Need::Tool("python3")]));
    let world = World::new();
    let server = Server::start(world.outside.server(false), &[]);
    let step = world.step();
    let script = "import socket, ssl, sys\n\
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
        s.sendall(bytes.fromhex(sys.argv[3])); assert s.recv(1) == b'\\0'\n\
        c = ssl.create_default_context(cafile=sys.argv[4]); c.verify_flags |= ssl.VERIFY_X509_STRICT\n\
        t = c.wrap_socket(s, server_hostname=sys.argv[5])\n\
        t.sendall(b'GET /a HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'); print(t.recv(12).decode())\n";
    let entrance = step.entrance();
    let asking: String = entrance.asking(server.address).iter().map(|byte| format!("{byte:02x}")).collect();
    let (address, port) = (entrance.address.ip().to_string(), entrance.address.port().to_string());
    let output = Command::new("python3")
        .args(["-c", script, &address, &port, &asking])
        .arg(step.bundle().unwrap())
        .arg(HOST)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "HTTP/1.1 200\n", "{errors}");
}
