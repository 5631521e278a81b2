//! What a step of a build can reach: the network it was given, and nothing of other builds.

mod support;
mod whole;

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use otoshi_test::{given, said};
use support::Shop;
use whole::assert_said;

/// Serves a word on loopback for as long as the test runs; gives the port.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"reached\n");
        }
    });
    port
}

#[test]
fn a_step_has_the_network_it_was_given() {
    let shop = given!(Shop::new());
    let port = serve();
    let get = format!("echo GET / | /bin/busybox nc -w 5 127.0.0.1 {port} > /word");
    let built = |run: &str, flags: &[&str]| {
        shop.write("net/Dockerfile", &format!("FROM otoshi.test/busybox:1\nRUN {run}{get}\n"));
        shop.otoshi(&[&["image", "build", "net", "--no-cache", "-t", "net:1"], flags].concat())
    };
    for (run, flags) in [
        ("", &["--network", "host"][..]),
        ("--network=host ", &["--allow", "network.host"]),
        ("--network=host ", &["--network", "none", "--allow", "network.host"]),
    ] {
        let output = built(run, flags);
        assert!(output.status.success(), "{run}{flags:?}: {}", said(&output));
        assert_eq!(shop.ok(&["run", "net:1", "--", "/bin/cat", "/word"]), "reached\n");
    }
    for (name, run, flags) in [
        ("in-a-network-of-its-own", "", &[][..]),
        ("in-a-network-of-its-own", "", &["--network", "default"]),
        ("that-asks-for-a-network-of-its-own", "--network=default ", &[]),
        ("without-a-network", "", &["--network", "none"]),
        ("that-asks-for-no-network", "--network=none ", &[]),
        ("that-asks-for-no-network", "--network=none ", &["--network", "host"]),
    ] {
        assert_said(&format!("image-build-of-a-step-{name}"), &built(run, flags));
    }
    let ask = format!("echo GET / | /bin/busybox nc -w 5 127.0.0.1 {port}");
    let run = |flags: &[&str]| {
        let output =
            shop.otoshi(&[&["run", "otoshi.test/busybox:1"], flags, &["--", "/bin/sh", "-c", &ask]].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!([run(&[]), run(&["--network", "none"]), run(&["--network", "host"])], ["", "", "reached\n"]);
    // Without a network there is a loopback device, and nothing else.
    shop.write(
        "net/Dockerfile",
        "FROM otoshi.test/busybox:1\nRUN --network=none /bin/busybox ls /sys/class/net > /word\n",
    );
    shop.ok(&["image", "build", "net", "-t", "net:1"]);
    assert_eq!(shop.ok(&["run", "net:1", "--", "/bin/cat", "/word"]).trim(), "lo");
}

#[test]
fn a_projects_commands_have_the_network_that_it_says() {
    let shop = given!(Shop::new());
    let port = serve();
    let get = format!("echo GET / | /bin/busybox nc -w 5 127.0.0.1 {port}");
    shop.write("runner.Dockerfile", &format!("ARG BASE\nFROM ${{BASE}}\nRUN {get} > /etc/runner\n"));
    let manifest = support::MANIFEST.replace("cat src/main > compiled", &format!("{get} > compiled"));
    shop.write("otoshi.toml", &manifest);
    assert_eq!(shop.otoshi(&["build"]).status.code(), Some(1));
    shop.write("otoshi.toml", &format!("{manifest}[build]\nnetwork = \"host\"\n"));
    shop.ok(&["build"]);
    assert_eq!(shop.ok(&["run", "web"]), "reached\ndeps 1\nreached\nbase 1\n");
    // What was made with one network says nothing of another.
    shop.write("otoshi.toml", &format!("{manifest}[build]\nnetwork = \"none\"\n"));
    assert_eq!(shop.otoshi(&["build"]).status.code(), Some(1));
}

#[test]
fn the_same_step_is_not_run_again_for_the_network_that_it_has_anyway() {
    let shop = given!(Shop::new());
    shop.write(
        "net/Dockerfile",
        "FROM otoshi.test/busybox:1\nRUN --network=default /bin/cat /proc/sys/kernel/random/uuid > /made\n",
    );
    let made = |flags: &[&str]| {
        shop.ok(&[&["image", "build", "net", "-t", "net:1"], flags].concat());
        shop.ok(&["run", "net:1", "--", "/bin/cat", "/made"])
    };
    let first = made(&[]);
    assert_eq!(made(&["--network", "default"]), first);
    assert_ne!(made(&["--network", "host"]), first);
    assert_eq!(made(&[]), first);
}

#[test]
fn a_proxy_on_the_loopback_is_told_to_be_out_of_reach() {
    let shop = given!(Shop::new());
    shop.write("net/Dockerfile", "FROM otoshi.test/busybox:1\nRUN true\nRUN echo\n");
    let built = |flags: &[&str]| {
        let proxy = ["--build-arg", "http_proxy=http://me:word@127.0.0.1:3128"];
        shop.otoshi(&[&["image", "build", "net", "--no-cache"], &proxy[..], flags].concat())
    };
    assert_said("image-build-with-a-proxy-that-is-out-of-reach", &built(&[]));
    assert_said("image-build-with-a-proxy-within-reach", &built(&["--network", "host"]));
}

#[test]
fn a_step_sees_no_secret_and_no_process_of_another_build() {
    let shop = given!(Shop::new());
    const SECRET: &str = "swordfish-of-the-first-build";
    shop.write("token", SECRET);
    shop.write(
        "first/Dockerfile",
        "FROM otoshi.test/busybox:1\n\
         RUN --mount=type=secret,id=file --mount=type=secret,id=env,env=TOKEN \
         test -n \"$TOKEN\" && test -s /run/secrets/file && /bin/busybox sleep 60\n",
    );
    let mut first = shop.command(&[
        "image",
        "build",
        "first",
        "--secret",
        "id=file,src=token",
        "--secret",
        "id=env,env=GIVEN",
    ]);
    let mut first = first.env("GIVEN", SECRET).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let sleeps = || {
        let found = std::fs::read_dir("/proc").unwrap().flatten();
        let mut all = found.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
        let token = format!("TOKEN={SECRET}");
        all.any(|variables| variables.split(|byte| *byte == 0).any(|one| one == token.as_bytes()))
    };
    while !sleeps() {
        assert!(started.elapsed() < Duration::from_secs(30), "the first build never ran its command");
        assert!(first.try_wait().unwrap().is_none(), "the first build ended");
        thread::sleep(Duration::from_millis(10));
    }
    // All that a command can look through: processes, their files, shared directories, and what it was not given.
    shop.write(
        "second/Dockerfile",
        "FROM otoshi.test/busybox:1\n\
         RUN for p in /proc/[0-9]*; do /bin/busybox tr '\\0' '\\n' < $p/environ; cat $p/cmdline; ls $p/root/run/secrets; done > /seen 2>&1; \
         /bin/busybox grep -rs swordfis[h] /run /tmp /dev/shm /var >> /seen; ls /run/secrets >> /seen 2>&1; \
         /bin/busybox ps -o args >> /seen; /bin/busybox pkill -9 sleep >> /seen; true\n",
    );
    shop.ok(&["image", "build", "second", "-t", "second:1"]);
    let seen = shop.ok(&["run", "second:1", "--", "/bin/cat", "/seen"]);
    assert!(!seen.contains("swordfish") && !seen.contains("sleep 60"), "{seen}");
    let none = "ls: /run/secrets: No such file or directory";
    assert!(seen.lines().any(|line| line == none), "there are no secrets: {seen}");
    assert!(first.try_wait().unwrap().is_none(), "the first build was signalled");
    first.kill().unwrap();
    first.wait().unwrap();
    // Nor is it anywhere in the store.
    let found = std::process::Command::new("grep").args(["-rl", SECRET]).arg(shop.home()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
