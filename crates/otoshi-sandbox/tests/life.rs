//! How long a sandbox lives: never longer than the process that started it, and no process in it longer than its command.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use otoshi_sandbox::{ExitStatus, Spec};
use otoshi_test::given;
use support::{INIT, Image, bind, run, start};

/// A process that runs a sandbox.
fn runner(image: &Image, spec: &Spec) -> Child {
    let file = image.path("spec.json");
    fs::write(&file, serde_json::to_string(spec).unwrap()).unwrap();
    Command::new(INIT).arg("run").arg(file).stdout(Stdio::piped()).spawn().unwrap()
}

fn within(seconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Whether a process of the host has this argument.
fn is_running(argument: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(Path::new(&entry.path()).join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|found| found == argument.as_bytes())
    })
}

#[test]
fn killing_the_process_that_started_it_ends_everything() {
    let image = given!(Image::new());
    // A daemon in a session of its own, and a command that ignores what can be ignored.
    let spec = image.script("setsid sleep 12345.25 & trap '' TERM HUP INT; echo up; sleep 12345.5");
    let mut runner = runner(&image, &spec);
    let mut line = String::new();
    BufReader::new(runner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    assert!(within(5, || is_running("12345.25") && is_running("12345.5")));
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert!(within(5, || !is_running("12345.25") && !is_running("12345.5")));
}

#[test]
fn killing_the_init_ends_everything() {
    let image = given!(Image::new());
    let (running, mut stdout, _stderr) =
        start(&image.script("sleep 12346.5 & echo up; sleep 12346.25")).unwrap();
    let mut up = [0; 3];
    stdout.read_exact(&mut up).unwrap();
    let pid = rustix::process::Pid::from_raw(running.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(running.wait().unwrap(), ExitStatus { code: None, signal: Some(9) });
    assert!(!is_running("12346.5") && !is_running("12346.25"));
}

#[test]
fn background_processes_end_with_the_command() {
    let image = given!(Image::new());
    let result = run(&image.script("setsid sleep 12347.5 & exit 4"));
    assert_eq!(result.status.code, Some(4));
    assert!(!is_running("12347.5"));
}

#[test]
fn dropping_a_running_sandbox_ends_it() {
    let image = given!(Image::new());
    let (running, ..) = start(&image.script("sleep 12348.5")).unwrap();
    assert!(within(5, || is_running("12348.5")));
    drop(running);
    assert!(!is_running("12348.5"));
}

#[test]
fn a_sandbox_outlives_the_thread_that_started_it() {
    let image = given!(Image::new());
    let (spec, path) = (image.script("sleep 0.2; exit 6"), image.path("x"));
    let running = std::thread::spawn(move || start(&spec).unwrap().0).join().unwrap();
    assert!(!path.exists());
    assert_eq!(running.wait().unwrap(), ExitStatus { code: Some(6), signal: None });
}

#[test]
fn signals_reach_the_command() {
    let image = given!(Image::new());
    let script =
        "trap 'echo term; exit 5' TERM; trap 'echo usr1' USR1; echo up; while :; do sleep 0.01; done";
    let (running, stdout, _stderr) = start(&image.script(script)).unwrap();
    let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("up"));
    running.signal(rustix::process::Signal::USR1.as_raw());
    assert_eq!(lines.next().as_deref(), Some("usr1"));
    // Also when they are sent to the init by its process id.
    let pid = rustix::process::Pid::from_raw(running.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(lines.next().as_deref(), Some("term"));
    assert_eq!(running.wait().unwrap(), ExitStatus { code: Some(5), signal: None });
}

#[test]
fn many_sandboxes_run_at_once() {
    let images: Vec<Image> = given!((0..8).map(|_| Image::new()).collect());
    std::thread::scope(|scope| {
        for (number, image) in images.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..5 {
                    let mut spec = image.script(&format!("echo {number} >/file; exit {number}"));
                    spec.mounts = vec![bind(image.layer(), "/layer", true)];
                    assert_eq!(run(&spec).status.code, Some(number as i32));
                    assert_eq!(image.written(), ["file"]);
                    image.renew();
                }
            });
        }
    });
}
