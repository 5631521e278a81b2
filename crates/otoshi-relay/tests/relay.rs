//! What steps hear, and what servers do: over real connections, from a server on this machine's loopback.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use otoshi_relay::{Admission, Relay};

const MOST: u64 = 64 << 20;

/// A server that notes what it is asked, and answers as it is told.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` gets the head of each request; an answer without `Content-Length` ends with the connection.
    fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    loop {
                        let mut head = String::new();
                        while !head.ends_with("\r\n\r\n") {
                            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                                return;
                            }
                        }
                        noted.lock().unwrap().push(head.clone());
                        let said = answer(&head);
                        let _ = reader.get_mut().write_all(said.as_bytes());
                        if !said.to_lowercase().contains("content-length") && !said.contains("chunked") {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A relay, and a step that is let in.
struct Let {
    relay: Relay,
    step: Admission,
}

impl Let {
    fn saved(&self) -> u64 {
        self.relay.saved()
    }
}

fn relay(directory: &Path) -> Let {
    let relay = Relay::start(directory, MOST).unwrap();
    let step = relay.admit(None).unwrap();
    Let { relay, step }
}

/// A connection as a step's network makes it.
fn connect(relay: &Let, place: SocketAddr) -> TcpStream {
    let entrance = relay.step.entrance();
    let mut stream = TcpStream::connect(entrance.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&entrance.asking(place)).unwrap();
    let mut answer = [9];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0]);
    stream
}

fn request(server: &Server, path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost:{}\r\n{more}\r\n", server.address.port())
}

/// One request on a connection of its own; gives all that comes back.
fn get(relay: &Let, server: &Server, path: &str, more: &str) -> String {
    let mut stream = connect(relay, server.address);
    let more = format!("Connection: close\r\n{more}");
    stream.write_all(request(server, path, &more).as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}")).1
}

#[test]
fn what_a_server_lets_be_kept_is_fetched_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        ok("Cache-Control: public, max-age=600\r\nETag: \"a\"\r\nX-Odd: yes\r\n", "package")
    });
    let first = relay(directory.path());
    let one = get(&first, &server, "/pool/a.deb", "User-Agent: Debian APT\r\n");
    let two = get(&first, &server, "/pool/a.deb", "User-Agent: curl\r\n");
    assert!(
        two.starts_with("HTTP/1.1 200 OK\r\n")
            && two.contains("\r\nX-Odd: yes\r\n")
            && two.contains("\r\nETag: \"a\"\r\n"),
        "{two}"
    );
    assert_eq!((body(&one), body(&two), server.asked(), first.saved()), ("package", "package", 1, 7));
    drop(first);
    // Another process, later.
    let second = relay(directory.path());
    assert_eq!(body(&get(&second, &server, "/pool/a.deb", "")), "package");
    assert_eq!(server.asked(), 1);
    // Whoever wants it anew gets it anew.
    get(&second, &server, "/pool/a.deb", "Cache-Control: no-cache\r\n");
    assert_eq!(server.asked(), 2);
    get(&second, &server, "/pool/b.deb", "");
    assert_eq!(server.asked(), 3);
}

#[test]
fn what_may_have_changed_is_asked_for_by_its_validator() {
    let directory = tempfile::tempdir().unwrap();
    let content = Arc::new(Mutex::new("1"));
    let now = Arc::clone(&content);
    let server = Server::start(move |head| {
        let content = *now.lock().unwrap();
        if head.to_lowercase().contains(&format!("if-none-match: \"{content}\"")) {
            return format!("HTTP/1.1 304 Not Modified\r\nETag: \"{content}\"\r\nContent-Length: 0\r\n\r\n");
        }
        ok(&format!("ETag: \"{content}\"\r\nCache-Control: max-age=0\r\n"), content)
    });
    let relay = relay(directory.path());
    for _ in 0..3 {
        assert_eq!(body(&get(&relay, &server, "/dists/InRelease", "Cache-Control: max-age=0\r\n")), "1");
    }
    assert_eq!((server.asked(), relay.saved()), (3, 2));
    *content.lock().unwrap() = "2";
    for _ in 0..2 {
        assert_eq!(body(&get(&relay, &server, "/dists/InRelease", "")), "2");
    }
    assert_eq!((server.asked(), relay.saved()), (5, 3));
}

#[test]
fn what_is_not_for_everybody_is_asked_for_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|head| {
        let path = head.split(' ').nth(1).unwrap();
        match path {
            "/private" => ok("Cache-Control: private, max-age=600\r\n", "x"),
            "/no-store" => ok("Cache-Control: no-store\r\n", "x"),
            "/cookie" => ok("Cache-Control: max-age=600\r\nSet-Cookie: a=b\r\n", "x"),
            "/vary" => ok("Cache-Control: max-age=600\r\nVary: *\r\n", "x"),
            "/missing" => {
                "HTTP/1.1 404 Not Found\r\nCache-Control: max-age=600\r\nContent-Length: 0\r\n\r\n".into()
            }
            "/says-nothing" => ok("Last-Modified: Mon, 02 Nov 2020 00:00:00 GMT\r\n", "x"),
            _ => ok("Cache-Control: public, max-age=600\r\n", "x"),
        }
    });
    let relay = relay(directory.path());
    for (path, more) in [
        ("/private", ""),
        ("/no-store", ""),
        ("/cookie", ""),
        ("/vary", ""),
        ("/missing", ""),
        ("/says-nothing", ""),
        ("/with?token=secret", ""),
        ("/authorised", "Authorization: Basic eDp5\r\n"),
        ("/known", "Cookie: me=1\r\n"),
        ("/token", "Private-Token: secret\r\n"),
        ("/part", "Range: bytes=0-0\r\n"),
    ] {
        let before = server.asked();
        for _ in 0..2 {
            get(&relay, &server, path, more);
        }
        assert_eq!(server.asked() - before, 2, "{path}");
    }
    assert_eq!(relay.saved(), 0);
    for file in std::fs::read_dir(directory.path()).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("secret"), "{file:?}");
    }
}

#[test]
fn nobody_fills_it_for_a_host_that_is_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|_| ok("Cache-Control: public, max-age=600\r\n", "foisted"));
    let relay = relay(directory.path());
    for _ in 0..2 {
        let mut stream = connect(&relay, server.address);
        let host = format!("Host: deb.example.invalid:{}\r\n", server.address.port());
        stream.write_all(format!("GET /a HTTP/1.1\r\n{host}Connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert_eq!(body(&all), "foisted");
    }
    assert_eq!((server.asked(), std::fs::read_dir(directory.path()).unwrap().count()), (2, 0));
}

#[test]
fn requests_at_once_are_asked_at_once_and_answered_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let together = Arc::new(std::sync::Barrier::new(4));
    let server = Server::start(move |head| {
        // Goes on when all four are here.
        together.wait();
        ok("", head.split(' ').nth(1).unwrap())
    });
    let relay = relay(directory.path());
    let mut stream = connect(&relay, server.address);
    let requests: String = (0..4).map(|number| request(&server, &format!("/{number}"), "")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    for number in 0..4 {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0);
        }
        assert!(
            head.contains("Content-Length: 2\r\n") && head.contains("Connection: keep-alive\r\n"),
            "{head}"
        );
        let mut body = [0; 2];
        reader.read_exact(&mut body).unwrap();
        assert_eq!(body, [b'/', b'0' + number]);
    }
}

#[test]
fn an_answer_that_breaks_off_does_so_for_the_step_and_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 100\r\n\r\nhalf",
            );
        }
    });
    let relay = relay(directory.path());
    let mut stream = connect(&relay, address);
    let head = format!("GET /a HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", address.port());
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let all = String::from_utf8_lossy(&all);
    assert!(all.contains("Content-Length: 100\r\n") && body(&all) == "half", "{all}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_answer_of_unknown_length_comes_in_pieces_or_to_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|head| {
        match head.split(' ').nth(1).unwrap() {
        "/chunked" => "HTTP/1.1 200 Fine\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n4\r\n and\r\n0\r\n\r\n".into(),
        _ => "HTTP/1.1 200 OK\r\n\r\nto the end".into(),
    }
    });
    let relay = relay(directory.path());
    let chunked = get(&relay, &server, "/chunked", "");
    assert!(chunked.starts_with("HTTP/1.1 200 Fine\r\n"), "{chunked}");
    assert!(body(&chunked).starts_with("4\r\nfour\r\n") && chunked.ends_with("0\r\n\r\n"), "{chunked}");
    assert_eq!(body(&get(&relay, &server, "/chunked", "")), "four and");
    assert!(get(&relay, &server, "/end", "").ends_with("A\r\nto the end\r\n0\r\n\r\n"));
    // HTTP 1.0 knows no pieces.
    let mut stream = connect(&relay, server.address);
    write!(stream, "GET /end HTTP/1.0\r\nHost: localhost:{}\r\n\r\n", server.address.port()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(body(&all), "to the end");
}

#[test]
fn everything_else_is_handed_on() {
    let directory = tempfile::tempdir().unwrap();
    let relay = relay(directory.path());
    // What speaks first, and what is not HTTP.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            if number == 0 {
                let _ = stream.write_all(b"220 ready\r\n");
            }
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            let _ = stream.write_all(&all);
        }
    });
    let mut banner = String::new();
    BufReader::new(connect(&relay, address)).read_line(&mut banner).unwrap();
    assert_eq!(banner, "220 ready\r\n");
    for other in ["G", "SSH-2.0-x\r\n", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"] {
        let mut stream = connect(&relay, address);
        stream.write_all(other.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert_eq!(all, other);
    }
    // After a request that is answered.
    let server = Server::start(|head| ok("", head.split(' ').next().unwrap()));
    let mut stream = connect(&relay, server.address);
    let post = format!("POST /b HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", server.address.port());
    stream.write_all((request(&server, "/a", "") + &post).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.contains("\r\n\r\nGETHTTP/1.1 200") && all.ends_with("\r\n\r\nPOST"), "{all}");
}

#[test]
fn who_does_not_know_the_token_reaches_nothing_and_a_refusal_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|_| ok("", "x"));
    let relay = relay(directory.path());
    let mut other = relay.step.entrance();
    other.token[0] ^= 1;
    let gone = relay.relay.admit(None).unwrap().entrance();
    for entrance in [other, gone] {
        let mut stream = TcpStream::connect(entrance.address).unwrap();
        stream.write_all(&entrance.asking(server.address)).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(all.is_empty());
    }
    // The port is held, and nobody listens.
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let place = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    let entrance = relay.step.entrance();
    let mut stream = TcpStream::connect(entrance.address).unwrap();
    stream.write_all(&entrance.asking(place)).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // ECONNREFUSED
    assert_eq!(answer, [111]);
    assert_eq!(server.asked(), 0);
}
