//! A check asks what an image names, but never this machine for the sake of an image from a registry; through the program.

mod stage;
mod support;
mod whole;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use otoshi_test::given;
use stage::Stage;
use whole::assert_said;

/// A service on loopback that counts who asks, and has nothing.
fn service() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = (&stream)
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, count)
}

#[test]
fn an_image_from_a_registry_makes_nobody_ask_this_machine() {
    let stage = given!(Stage::new());
    let (port, count) = service();
    let directory = stage.shop.dir.path().join("image");
    fs::create_dir_all(directory.join("root/etc/apt")).unwrap();
    fs::create_dir_all(directory.join("root/var/lib/dpkg")).unwrap();
    let sources = format!(
        "deb [trusted=yes] http://127.0.0.1:{port}/a one main\ndeb [trusted=yes] http://localhost:{port}/b one main\n"
    );
    fs::write(directory.join("root/etc/apt/sources.list"), sources).unwrap();
    let status = "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n";
    fs::write(directory.join("root/var/lib/dpkg/status"), status).unwrap();
    fs::write(directory.join("Dockerfile"), "FROM scratch\nCOPY root /\n").unwrap();
    stage.shop.ok(&["image", "build", directory.to_str().unwrap(), "-t", "otoshi.test/odd:1"]);
    let name = format!("{}/odd:1", stage.proxy.host());
    stage.shop.ok(&["image", "push", "otoshi.test/odd:1", &name]);

    // What only the store has is somebody's who works here.
    assert_eq!(stage.shop.check(&["otoshi.test/odd:1"]).0, 20);
    assert!(count.swap(0, Ordering::SeqCst) > 0);

    stage.replace_machine();
    let (code, report) = stage.shop.check(&[&name]);
    assert_eq!((code, count.load(Ordering::SeqCst)), (20, 0), "{report}");
    let said = stage.shop.otoshi(&["check", &name]);
    assert_said("check-of-an-image-whose-repositories-are-on-this-machine", &said);
    assert_eq!(count.load(Ordering::SeqCst), 0);

    // As a base of a project, too; and the project may say otherwise.
    stage.edit("otoshi.toml", &format!("{}/slim:1", stage.proxy.host()), &name);
    stage.shop.write("runner.Dockerfile", "ARG RUN_BASE\nFROM ${RUN_BASE}\nCOPY deps.lock /etc/runner\n");
    stage.shop.ok(&["plan"]);
    let (code, report) = stage.shop.check(&[]);
    assert_eq!((code, count.load(Ordering::SeqCst)), (20, 0), "{report}");
    let manifest = fs::read_to_string(stage.shop.path("otoshi.toml")).unwrap();
    let table = format!("[check]\nlocal-repositories = [\"127.0.0.1:{port}\"]\n");
    stage.shop.write("otoshi.toml", &(manifest + &table));
    assert_eq!(stage.shop.check(&[]).0, 20);
    assert!(count.load(Ordering::SeqCst) > 0);
}
