//! A build that is interrupted, or killed, ends every process that it began and leaves no mount behind.

mod support;

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use otoshi_test::given;
use support::Shop;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How many processes of this machine have `text` in their arguments.
fn running(text: &str) -> usize {
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

/// Begins a build whose command and two children of it never end by themselves, and ends the build with a signal.
fn ended_by(shop: &Shop, signal: &str, seconds: u32) -> ExitStatus {
    let sleep = format!("/bin/busybox\0sleep\0{seconds}");
    let script = format!(
        "trap '' INT TERM HUP; /bin/busybox setsid /bin/busybox sleep {seconds} & /bin/busybox sleep {seconds} & wait"
    );
    shop.write("runner.Dockerfile", &format!("ARG BASE\nFROM ${{BASE}}\nRUN {script}\n"));
    // Who runs the tests may ignore signals, as nohup does for its program, and what it starts inherits that.
    let mut build = Command::new("env");
    build.args(["--default-signal", env!("CARGO_BIN_EXE_otoshi"), "build"]);
    build.current_dir(shop.path("")).env("OTOSHI_HOME", shop.home());
    build.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut build = build.spawn().unwrap();
    wait_for("the command never ran", || running(&sleep) == 2);
    // Ctrl-C on a terminal goes to the whole group; what a service manager or a crash ends is the program alone.
    let whom = if signal == "INT" { format!("-{}", build.id()) } else { build.id().to_string() };
    assert!(Command::new("kill").args(["-s", signal, "--", &whom]).status().unwrap().success());
    let started = Instant::now();
    let status = loop {
        if let Some(status) = build.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < PATIENCE, "the build goes on after SIG{signal}");
        thread::sleep(Duration::from_millis(10));
    };
    wait_for("processes of the build are left", || running(&sleep) == 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let home = shop.home();
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(home.to_str().unwrap())).collect();
    assert!(left.is_empty(), "{left:#?}");
    status
}

#[test]
fn no_process_and_no_mount_is_left() {
    let shop = given!(Shop::new());
    let base = 900_000 + std::process::id() * 4;
    for (number, signal) in ["INT", "TERM", "HUP", "KILL"].into_iter().enumerate() {
        let status = ended_by(&shop, signal, base + number as u32);
        assert!(!status.success(), "SIG{signal}: {status}");
    }
    shop.write("runner.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo runner > /etc/runner\n");
    shop.ok(&["build"]);
    assert_eq!(shop.ok(&["run", "web"]), "source 1\ndeps 1\nrunner\nbase 1\n");
    shop.ok(&["gc", "--unused-for", "0"]);
    assert_eq!(fs::read_dir(shop.home().join("work")).unwrap().count(), 0, "what was begun is removed");
}
