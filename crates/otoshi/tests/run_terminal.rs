//! `otoshi run` at a terminal: the command has one of its own, and the other one is afterwards what it was before.

mod support;
mod whole;

use std::{
    fs,
    os::fd::OwnedFd,
    os::unix::fs::MetadataExt,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use otoshi_test::given;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use support::Shop;
use whole::assert_said;

/// A terminal at which the program runs.
struct Desk {
    /// What a person types and sees.
    hands: OwnedFd,
    terminal: OwnedFd,
    child: Child,
    seen: String,
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Desk {
    fn new(shop: &Shop, arguments: &[&str]) -> Self {
        Self::start(shop, env!("CARGO_BIN_EXE_otoshi"), arguments)
    }

    fn start(shop: &Shop, program: &str, arguments: &[&str]) -> Self {
        let hands = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&hands).unwrap();
        unlockpt(&hands).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(ptsname(&hands, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        tcsetwinsize(&hands, size(33, 111)).unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", program]).args(arguments);
        command.current_dir(shop.path("")).env("OTOSHI_HOME", shop.home()).env_remove("TERM");
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { hands, terminal, child, seen: String::new() }
    }

    /// Reads until this is seen, and takes what was seen up to there.
    fn until(&mut self, text: &str) -> String {
        let since = Instant::now();
        while !self.seen.contains(text) {
            let late = since.elapsed() > Duration::from_secs(30);
            assert!(!late, "{text:?} does not come: {:?}", self.seen.lines().last());
            let mut ready = [PollFd::new(&self.hands, PollFlags::IN)];
            poll(&mut ready, Some(&Timespec { tv_sec: 1, tv_nsec: 0 })).unwrap();
            if !ready[0].revents().contains(PollFlags::IN) {
                continue;
            }
            let mut buffer = [0; 4096];
            let length = rustix::io::read(&self.hands, &mut buffer).unwrap();
            self.seen += &String::from_utf8_lossy(&buffer[..length]);
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end).collect()
    }

    fn types(&self, text: &str) {
        rustix::io::write(&self.hands, text.as_bytes()).unwrap();
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.terminal).unwrap()
    }

    fn ends(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "it does not end: {:?}", self.seen);
            // What is shown must be read, or it waits.
            let mut ready = [PollFd::new(&self.hands, PollFlags::IN)];
            poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 })).unwrap();
            if ready[0].revents().contains(PollFlags::IN) {
                let mut buffer = [0; 4096];
                let length = rustix::io::read(&self.hands, &mut buffer).unwrap();
                self.seen += &String::from_utf8_lossy(&buffer[..length]);
            }
        }
    }

    /// The program, which takes the place of the one that gave it the terminal.
    fn program(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

/// What a terminal's modes are, in a form that can be compared.
fn shown(modes: &Termios) -> String {
    format!("{modes:?}")
}

fn run<'a>(flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "otoshi.test/busybox:1"], flags, &["--", "/bin/sh", "-c", script]].concat()
}

#[test]
fn the_terminal_is_the_commands_own_and_has_the_size_of_the_window() {
    let shop = given!(Shop::new());
    let script = "alias b=/bin/busybox; b=/bin/busybox; $b tty; $b stat -L -c %d:%i /proc/self/fd/0; $b stty size; echo $TERM; \
        trap \"$b stty size; exit 3\" WINCH; echo ready; while :; do $b sleep 0.1; done";
    let mut desk = Desk::new(&shop, &run(&[], script));
    let seen = desk.until("ready\r\n");
    let lines: Vec<&str> = seen.lines().collect();
    let own = rustix::fs::fstat(&desk.terminal).unwrap();
    assert_ne!(lines[1], format!("{}:{}", own.st_dev, own.st_ino), "it is this terminal: {seen}");
    assert_eq!((lines[0], lines[2], lines[3]), ("/dev/pts/0", "33 111", "xterm"), "{seen}");
    tcsetwinsize(&desk.hands, size(44, 77)).unwrap();
    desk.until("44 77\r\n");
    assert_eq!(desk.ends().code(), Some(3));
}

#[test]
fn what_is_typed_reaches_the_command_and_interrupts_what_is_in_the_foreground() {
    let shop = given!(Shop::new());
    let script = "trap : INT; /bin/busybox stty -echo; echo ready; read line; echo \"<$line>\"; \
        /bin/sh -c 'echo go; exec /bin/busybox sleep 60'; echo \"after $?\"; echo again; read line; exit 5";
    let mut desk = Desk::new(&shop, &run(&["-it"], script));
    let before = shown(&desk.modes());
    desk.until("ready\r\n");
    assert_ne!(shown(&desk.modes()), before, "it is raw");
    desk.types("a line\n");
    desk.until("<a line>\r\n");
    desk.until("go\r\n");
    desk.types("\x03");
    desk.until("after 130\r\n");
    desk.until("again\r\n");
    // The end of what is typed.
    desk.types("\x04");
    assert_eq!(desk.ends().code(), Some(5));
    assert_eq!(shown(&desk.modes()), before);
}

#[test]
fn the_terminal_is_what_it_was_however_the_command_ends() {
    let shop = given!(Shop::new());
    let ready = "echo ready; /bin/busybox sleep 60";
    let check = |arguments: &[&str], waits: bool, end: &dyn Fn(&Desk), code: Option<i32>| {
        let mut desk = Desk::new(&shop, arguments);
        let before = shown(&desk.modes());
        if waits {
            desk.until("ready\r\n");
            std::thread::sleep(Duration::from_millis(200));
        }
        end(&desk);
        assert_eq!(desk.ends().code(), code, "{arguments:?}: {:?}", desk.seen);
        assert_eq!(shown(&desk.modes()), before, "{arguments:?}");
    };
    check(&run(&[], "exit 4"), false, &|_| {}, Some(4));
    check(&["run", "otoshi.test/busybox:1", "--", "/no/such"], false, &|_| {}, Some(127));
    check(&["run", "-u", "nobody-here", "otoshi.test/busybox:1", "--", "/bin/ls"], false, &|_| {}, Some(2));
    // The command is killed from inside, and from outside.
    let deaf = "trap '' INT; echo ready; while :; do /bin/busybox sleep 60; done";
    check(&run(&[], deaf), true, &|desk| desk.types("\x03\x03\x03"), Some(137));
    let twice = |desk: &Desk| {
        kill_process(desk.program(), Signal::TERM).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        kill_process(desk.program(), Signal::TERM).unwrap();
    };
    check(&run(&[], ready), true, &twice, Some(137));
    check(&run(&[], "exec 0</dev/null 1>&0 2>&0; exit 6"), false, &|_| {}, Some(6));
}

#[test]
fn all_that_is_shown_is_shown() {
    let shop = given!(Shop::new());
    let mut desk = Desk::new(&shop, &run(&["-t"], "/bin/busybox seq 20000; echo the end"));
    let seen = desk.until("the end\r\n");
    assert_eq!(seen.lines().count(), 20001);
    assert_eq!(desk.ends().code(), Some(0));
}

#[test]
fn without_a_terminal_streams_are_what_they_are() {
    let shop = given!(Shop::new());
    let script =
        "/bin/cat; test -t 0 && echo t0; test -t 1 && echo t1; echo error >&2; test -t 2 && echo t2; true";
    let fed = |flags: &[&str]| {
        let mut command = shop.command(&run(flags, script));
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"fed\n").unwrap();
        child.wait_with_output().unwrap()
    };
    for flags in [&[][..], &["-i"]] {
        assert_said("run-of-a-command-that-reads-and-writes-pipes", &fed(flags));
    }
    assert_said("run-with-a-terminal-where-there-is-none", &fed(&["-it"]));
    // With a terminal all the same: both outputs are one, lines end as on a terminal, and nothing is typed.
    let (code, shown, _) = {
        let script = "test -t 0 && test -t 1 && test -t 2 && echo all; echo error >&2";
        let output = shop.command(&run(&["-t"], script)).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
    };
    assert_eq!((code, shown.as_str()), (Some(0), "all\r\nerror\r\n"));
}

#[test]
fn a_terminal_is_never_handed_over_where_one_stream_is_another_thing() {
    let shop = given!(Shop::new());
    for (flags, arguments) in [(&["-i"][..], ""), (&[][..], "</dev/null"), (&[][..], "| /bin/cat")] {
        let mut words = run(flags, "for i in 0 1 2; do test -t $i && echo terminal; done; echo none");
        let program = shop.command(&[]).get_program().to_str().unwrap().to_owned();
        let line = format!("\"$@\" {arguments}");
        let mut all = vec!["-c", line.as_str(), "sh", program.as_str()];
        all.append(&mut words);
        let mut desk = Desk::start(&shop, "sh", &all);
        let seen = desk.until("none");
        assert_eq!(seen, "none", "{flags:?} {arguments}");
        assert_eq!(desk.ends().code(), Some(0));
    }
}

#[test]
fn volumes_variables_user_and_directory_are_as_with_docker() {
    let shop = given!(Shop::new());
    shop.write("data/file", "of the host\n");
    shop.write("variables", "# some\nA=from file\nB=from file\n");
    let script = "/bin/cat /d/file; echo more >/d/made; echo no 2>/dev/null >/ro/made || echo read-only; \
        echo $A, $B, $C; /bin/busybox pwd; /bin/busybox id -u";
    let arguments = run(
        &[
            "-v",
            "./data:/d",
            "--volume",
            "./data:/ro:ro",
            "--env-file",
            "variables",
            "-e",
            "B=given",
            "-e",
            "C",
            "-w",
            "/etc",
            "-u",
            "0:0",
        ],
        script,
    );
    let output = shop.command(&arguments).env("C", "from here").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown, "of the host\nread-only\nfrom file, given, from here\n/etc\n0\n", "{output:?}");
    assert_eq!(fs::read_to_string(shop.path("data/made")).unwrap(), "more\n");
    assert_eq!(fs::metadata(shop.path("data/made")).unwrap().uid(), 0);
    let wrong = shop.otoshi(&run(&["-v", "named:/d"], "true"));
    assert_eq!(wrong.status.code(), Some(2));
}
