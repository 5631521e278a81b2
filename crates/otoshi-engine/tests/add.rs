//! ADD of what lies elsewhere: files by HTTP and git repositories, from servers on the loopback device.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use otoshi_oci::Digest;
use otoshi_test::{GitDaemon, given};
use support::{World, world};

/// What a server has: a body with headers by path; and the requests that it saw.
#[derive(Default)]
struct Served {
    files: BTreeMap<String, (Vec<u8>, String)>,
    seen: Vec<String>,
    /// A directory whose files are served as well.
    root: Option<PathBuf>,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    state: Arc<Mutex<Served>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&server.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || answer(stream, &state));
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn put(&self, path: &str, body: &[u8], headers: &str) {
        self.state.lock().unwrap().files.insert(path.into(), (body.to_vec(), headers.into()));
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<Served>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut condition, mut auth) = (String::new(), String::new());
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) <= 2 {
            break;
        }
        if header.to_lowercase().starts_with("if-none-match") {
            header.split_once(':').unwrap().1.trim().clone_into(&mut condition);
        }
        if header.to_lowercase().starts_with("authorization") {
            auth = format!(" as {}", header.split_once(':').unwrap().1.trim());
        }
    }
    let mut state = state.lock().unwrap();
    let seen = if condition.is_empty() { path.clone() } else { format!("{path} if not {condition}") };
    state.seen.push(seen + &auth);
    let from_disk = || {
        let file = state.root.as_ref()?.join(path.trim_start_matches('/').split('?').next()?);
        fs::read(file).ok().map(|body| (body, String::new()))
    };
    let found = state.files.get(&path).cloned().or_else(from_disk);
    let response = match found {
        None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        Some((_, headers)) if headers.starts_with("Location") => {
            format!("HTTP/1.1 302 Found\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
                .into_bytes()
        }
        Some((_, headers)) if !condition.is_empty() && headers.contains(&condition) => {
            b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_vec()
        }
        Some((body, headers)) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            [head.as_bytes(), &body].concat()
        }
    };
    let _ = stream.write_all(&response);
}

fn shell(directory: &Path, command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_file_is_fetched_once_and_asked_about_again() {
    let world = given!(world());
    let server = Server::start();
    server.put("/dir/file.txt", b"one", "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
    server.put("/away", b"", &format!("Location: {}\r\n", server.url("/dir/file.txt")));
    let dockerfile = format!("FROM scratch\nADD {} /d/\n", server.url("/dir/file.txt?x=y"));
    server.put("/dir/file.txt?x=y", b"one", "ETag: \"1\"\r\n");
    let image = world.build(&dockerfile);
    assert_eq!(world.tree(&image, "/"), "755 0:0 /d/\n600 0:0 /d/file.txt \"one\"");
    assert_eq!(server.seen(), ["/dir/file.txt?x=y"]);
    assert_eq!(world.build(&dockerfile).steps_run, 0);
    assert_eq!(server.seen(), ["/dir/file.txt?x=y if not \"1\""]);
    server.put("/dir/file.txt?x=y", b"two", "ETag: \"2\"\r\n");
    assert_eq!(world.tree(&world.build(&dockerfile), "/d"), "600 0:0 /d/file.txt \"two\"");

    let options = format!("FROM scratch\nADD --chmod=755 --chown=1:2 {} /name\n", server.url("/away"));
    assert_eq!(world.tree(&world.build(&options), "/"), "755 1:2 /name \"one\"");
    for (line, message) in [
        (format!("ADD {} /", server.url("/none")), "the server answered 404"),
        (format!("COPY {} /", server.url("/away")), "COPY takes paths only"),
        ("ADD http://127.0.0.1:1/x /".to_owned(), "cannot connect"),
        (
            "ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 x /"
                .to_owned(),
            "is a path",
        ),
    ] {
        let error = world.try_build(&format!("FROM scratch\n{line}\n"), |_| {}).unwrap_err();
        assert!(error.to_string().contains(message), "{line}: {error}");
    }
}

#[test]
fn a_checksum_is_verified_and_saves_the_question() {
    let world = given!(world());
    let server = Server::start();
    server.put("/f", b"one", "");
    let digest = Digest::sha256_of(b"one");
    let dockerfile = format!("FROM scratch\nARG SUM\nADD --checksum=$SUM {} /\n", server.url("/f"));
    let build = |sum: &str| {
        world.try_build(&dockerfile, |request| {
            request.args.insert("SUM".into(), sum.into());
        })
    };
    build(digest.as_str()).unwrap();
    server.seen();
    server.put("/f", b"two", "");
    build(digest.as_str()).unwrap();
    assert!(server.seen().is_empty());
    let error = build(Digest::sha256_of(b"three").as_str()).unwrap_err();
    assert!(error.to_string().contains("--checksum says sha256:"), "{error}");
    let error = build("sha256:short").unwrap_err();
    assert!(error.to_string().contains("--checksum"), "{error}");
}

#[test]
fn archives_from_elsewhere_are_unpacked_when_it_is_said() {
    let world = given!(world());
    let server = Server::start();
    world.write("pack/x", "packed");
    shell(&world.source, "tar -czf ../a.tgz -C pack --owner=0 --group=0 .");
    server.put("/a.tgz", &fs::read(world.source.join("../a.tgz")).unwrap(), "");
    let image = world.build(&format!(
        "FROM scratch\nADD {0} /whole/\nADD --unpack {0} /unpacked/\n",
        server.url("/a.tgz")
    ));
    let tree = world.tree(&image, "/");
    assert!(
        tree.contains("644 0:0 /unpacked/x \"packed\"") && tree.contains("600 0:0 /whole/a.tgz"),
        "{tree}"
    );
}

/// A repository with two commits, a tag, a submodule's place and a link that leads out.
fn repository(world: &World) -> PathBuf {
    let directory = world.source.join("../repository");
    fs::create_dir(&directory).unwrap();
    shell(
        &directory,
        "git init -q -b main . && git config user.email a@b && git config user.name a
         mkdir dir && echo one > dir/file && echo run > tool && chmod 755 tool && ln -s /etc/passwd out
         git add . && git commit -qm one && git tag -a v1 -m v1
         echo two > dir/file && git commit -qam two && git update-server-info",
    );
    directory
}

#[test]
fn a_repository_is_added_at_a_branch_a_tag_or_a_commit() {
    let world = given!(world());
    let directory = repository(&world);
    let daemon = given!(GitDaemon::start(directory.parent().unwrap()));
    let url = format!("{}/repository", daemon.url());
    let tree = |flags: &str, fragment: &str| {
        let image = world.build(&format!("FROM scratch\nADD {flags} {url}{fragment} /r\n"));
        world.tree(&image, "/")
    };
    let whole = |text: &str| {
        format!(
            "755 0:0 /r/\n755 0:0 /r/dir/\n644 0:0 /r/dir/file \"{text}\"\n0:0 /r/out -> /etc/passwd\n755 0:0 /r/tool \"run\""
        )
    };
    assert_eq!(tree("", ""), whole("two"));
    assert_eq!(tree("", "#v1"), whole("one"));
    assert_eq!(tree("", "?tag=v1&subdir=dir"), "755 0:0 /r/\n644 0:0 /r/file \"one\"");
    assert_eq!(tree("", "#main:dir"), "755 0:0 /r/\n644 0:0 /r/file \"two\"");
    assert_eq!(tree("--exclude=out --exclude=dir", "#main"), "755 0:0 /r/\n755 0:0 /r/tool \"run\"");
    let commit = shell(&directory, "git rev-parse v1^{commit}").trim().to_owned();
    assert_eq!(tree("", &format!("#{commit}")), whole("one"));
    assert_eq!(tree(&format!("--checksum={}", &commit[..12]), "#v1"), whole("one"));
    let image = world.build(&format!("FROM scratch\nADD --keep-git-dir=true {url} /r\n"));
    world
        .engine
        .with_root_of(&world.load(&image), |root| {
            assert!(root.join("r/.git/HEAD").exists());
            assert_eq!(shell(&root.join("r"), "git -c safe.directory=* log -1 --format=%s"), "two\n");
        })
        .unwrap();

    // It moves, and is added anew; what is pinned does not.
    shell(&directory, "echo three > dir/file && git commit -qam three");
    assert_eq!(tree("", "#main"), whole("three"));
    assert_eq!(tree("", &format!("#{commit}")), whole("one"));
    for (source, message) in [
        (format!("--checksum={commit} {url}#main"), "the checksum says"),
        (format!("{url}#nothing"), "has no nothing"),
        (format!("{url}#main:nothing"), "the repository has no nothing"),
        (format!("{}/gone", daemon.url()), "git ls-remote"),
    ] {
        let error = world.try_build(&format!("FROM scratch\nADD {source} /\n"), |_| {}).unwrap_err();
        assert!(error.to_string().contains(message), "{source}: {error}");
    }
}

#[test]
fn a_server_of_plain_files_will_do_and_nothing_local_is_read() {
    let world = given!(world());
    let directory = repository(&world);
    let server = Server::start();
    shell(
        directory.parent().unwrap(),
        "git clone -q --bare repository bare.git && git -C bare.git update-server-info",
    );
    server.state.lock().unwrap().root = Some(directory.parent().unwrap().to_path_buf());
    let image = world.build(&format!("FROM scratch\nADD {}#v1:dir /r\n", server.url("/bare.git")));
    assert_eq!(world.tree(&image, "/r"), "644 0:0 /r/file \"one\"");
    // A submodule that names this machine's files is refused.
    shell(
        &directory,
        "git -c protocol.file.allow=always submodule add -q /etc/../$PWD sub 2>/dev/null && git commit -qm sub",
    );
    shell(
        directory.parent().unwrap(),
        "rm -rf bare.git && git clone -q --bare repository bare.git && git -C bare.git update-server-info",
    );
    let refused = world.try_build(&format!("FROM scratch\nADD {} /r\n", server.url("/bare.git")), |_| {});
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("not allowed"), "{error}");
    let image = world.build(&format!("FROM scratch\nADD {} /r\n", server.url("/bare.git?submodules=false")));
    assert!(world.tree(&image, "/r").contains("/r/sub/"));
}

#[test]
fn secrets_let_requests_in_at_their_own_host_only() {
    let world = given!(world());
    let (server, other) = (Server::start(), Server::start());
    other.put("/file", b"x", "");
    server.put(
        "/away",
        b"",
        &format!("Location: {}\r\n", other.url("/file").replace("127.0.0.1", "localhost")),
    );
    server.put("/file", b"x", "");
    fs::write(world.source.join("secret"), "geheim\n").unwrap();
    let build = |id: &str, url: &str| {
        world.try_build(&format!("FROM scratch\nADD {url} /\n"), |request| {
            let file = otoshi_engine::Secret::File(world.source.join("secret"));
            request.secrets.insert(id.to_owned(), file);
        })
    };
    build("HTTP_AUTH_HEADER_127.0.0.1", &server.url("/file?1")).unwrap_err();
    assert_eq!(server.seen(), ["/file?1 as geheim"]);
    build(&format!("HTTP_AUTH_TOKEN_{}", server.address), &server.url("/file?2")).unwrap_err();
    assert_eq!(server.seen(), ["/file?2 as Bearer geheim"]);
    build("HTTP_AUTH_TOKEN_localhost", &server.url("/file?3")).unwrap_err();
    assert_eq!(server.seen(), ["/file?3"]);
    build("HTTP_AUTH_TOKEN_127.0.0.1", &server.url("/away")).unwrap();
    assert_eq!(server.seen(), ["/away as Bearer geheim"]);
    assert_eq!(other.seen(), ["/file"], "a redirect to another host takes nothing along");

    // A repository: the server has none, and what it was asked with is what counts.
    for (id, expected) in
        [("GIT_AUTH_TOKEN", "basic eC1hY2Nlc3MtdG9rZW46Z2VoZWlt"), ("GIT_AUTH_HEADER.127.0.0.1", "geheim")]
    {
        let error = build(id, &server.url("/team/app.git")).unwrap_err().to_string();
        assert!(!error.contains("geheim") && !error.contains("eC1h"), "{error}");
        let seen = server.seen();
        assert!(
            !seen.is_empty() && seen.iter().all(|request| request.ends_with(&format!(" as {expected}"))),
            "{seen:?}"
        );
    }
    build("GIT_AUTH_TOKEN.other.test", &server.url("/team/app.git")).unwrap_err();
    assert!(server.seen().iter().all(|request| !request.contains(" as ")));
}

#[test]
fn a_login_in_an_address_is_used_and_neither_kept_nor_told() {
    let world = given!(world());
    let server = Server::start();
    server.put("/file", b"x", "");
    let with_login = |path: &str| server.url(path).replace("://", "://me:s3cret@");
    let image = world.build(&format!("FROM scratch\nADD {} /\n", with_login("/file")));
    assert_eq!(server.seen(), ["/file as Basic bWU6czNjcmV0"]);
    let history = world.load(&image).config.history;
    let expected = format!("ADD {} /", server.url("/file"));
    assert_eq!(history.last().unwrap().created_by.as_deref(), Some(expected.as_str()));
    let dockerfile = format!("FROM scratch\nADD {} /\n", with_login("/gone"));
    let error = world.try_build(&dockerfile, |_| {}).unwrap_err();
    let expected = format!("cannot fetch {}: the server answered 404 Not Found", server.url("/gone"));
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(matches!(error, otoshi_engine::EngineError::Dockerfile(_)), "it says where: {error:?}");
}
