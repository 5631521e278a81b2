//! What a command sees of itself: its process, names, user, environment, and how its end is told.

mod support;

use otoshi_sandbox::{Capabilities, ExitStatus, Network, SandboxError, UserSpec};
use otoshi_test::given;
use support::{INIT, Image, host_libraries, output, run, start, try_run};

fn exited(code: i32) -> ExitStatus {
    ExitStatus { code: Some(code), signal: None }
}

#[test]
fn the_command_is_pid_1_and_alone() {
    let image = given!(Image::new());
    assert_eq!(output(&image.script("echo $$; echo /proc/[0-9]*")), "1\n/proc/1\n");
}

#[test]
fn names_are_the_sandboxs_own() {
    let image = given!(Image::new());
    let mut spec = image.script("hostname; cat /etc/hostname; cat /etc/hosts");
    spec.hostname = "inside".into();
    spec.extra_hosts = vec![("registry".into(), [10, 1, 2, 3].into())];
    let seen = output(&spec);
    assert!(seen.starts_with("inside\ninside\n127.0.0.1\tlocalhost inside\n::1\tlocalhost"), "{seen}");
    assert!(seen.contains("\n10.1.2.3\tregistry\n"), "{seen}");
    assert_ne!(rustix::system::uname().nodename().to_bytes(), b"inside");
}

#[test]
fn the_environment_is_exactly_the_given_one() {
    let image = given!(Image::new());
    let mut spec = image.spec(&["/bin/env"]);
    spec.env = vec![("B".into(), "2 = 2".into()), ("A".into(), "ä".into()), ("EMPTY".into(), String::new())];
    assert_eq!(output(&spec), "B=2 = 2\nA=ä\nEMPTY=\n");
}

#[test]
fn the_working_directory_is_the_given_one() {
    let image = given!(Image::new());
    std::fs::create_dir_all(image.layer().join("srv/app")).unwrap();
    let mut spec = image.spec(&["pwd"]);
    spec.cwd = "/srv/app".into();
    assert_eq!(output(&spec), "/srv/app\n");
    // One that is not there is made.
    image.renew();
    spec.cwd = "/missing/deep".into();
    assert_eq!(output(&spec), "/missing/deep\n");
    image.renew();
    std::fs::write(image.layer().join("file"), "").unwrap();
    spec.cwd = "/file".into();
    let error = try_run(&spec).unwrap_err();
    assert!(error.to_string().contains("changing to the directory /file: Not a directory"), "{error}");
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let image = given!(Image::new());
    assert_eq!(run(&image.script("exit 7")).status, exited(7));
    image.renew();
    // The first process of a pid namespace dies of no signal that it sends to itself; its child does.
    assert_eq!(run(&image.script("sh -c 'kill -9 $$'; exit $?")).status, exited(137));
    image.renew();
    let (running, ..) = start(&image.script("sleep 1000")).unwrap();
    running.kill();
    assert_eq!(running.wait().unwrap(), ExitStatus { code: None, signal: Some(9) });
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let image = given!(Image::new());
    for argv in [["missing"], ["/bin/missing"], ["/bin/busybox/x"]] {
        let result = run(&image.spec(&argv));
        assert_eq!(result.status, exited(127));
        assert_eq!(result.stderr, format!("otoshi: cannot run {}: not found in the image\n", argv[0]));
        image.renew();
    }
    std::fs::write(image.layer().join("bin/script"), "#!/usr/bin/perl\n").unwrap();
    set_mode(&image, "bin/script", 0o755);
    let result = run(&image.spec(&["script"]));
    assert_eq!(result.status, exited(127));
    assert_eq!(result.stderr, "otoshi: cannot run script: its interpreter is not in the image\n");
}

#[test]
fn a_command_that_cannot_be_executed_is_126() {
    let image = given!(Image::new());
    std::fs::write(image.layer().join("bin/plain"), "text").unwrap();
    for (mode, reason) in [(0o644, "permission denied"), (0o755, "Exec format error (os error 8)")] {
        set_mode(&image, "bin/plain", mode);
        let result = run(&image.spec(&["plain"]));
        assert_eq!(result.status, exited(126));
        assert_eq!(result.stderr, format!("otoshi: cannot run plain: {reason}\n"));
        image.renew();
    }
    assert_eq!(run(&image.spec(&["/bin"])).status, exited(126));
}

fn set_mode(image: &Image, path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(image.layer().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_empty_command_is_an_error_of_the_set_up() {
    let image = given!(Image::new());
    let error = try_run(&image.spec(&[])).unwrap_err();
    assert!(matches!(error, SandboxError::Setup { .. }), "{error}");
}

#[test]
fn root_has_dockers_capabilities_and_no_others() {
    let image = given!(Image::new());
    let seen = output(&image.script("grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status"));
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    let expected = format!("{:016x}", 0xa804_25fb & u64::from_str_radix(own, 16).unwrap());
    let none = "0".repeat(16);
    assert_eq!(
        seen,
        format!(
            "CapInh:\t{none}\nCapPrm:\t{expected}\nCapEff:\t{expected}\nCapBnd:\t{expected}\nCapAmb:\t{none}\n\
             NoNewPrivs:\t0\nSeccomp:\t2\n"
        )
    );
}

#[test]
fn another_user_has_no_capabilities_until_a_program_gives_them() {
    let image = given!(Image::new());
    let mut spec = image.script("id; grep -E 'Cap(Prm|Eff|Amb)|Groups' /proc/self/status; echo >/dev/stdout");
    spec.user = UserSpec { uid: 1000, gid: 1001, additional_gids: vec![5, 7] };
    let none = "0".repeat(16);
    assert_eq!(
        output(&spec),
        format!(
            "uid=1000 gid=1001 groups=5,7\nGroups:\t5 7 \nCapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\n\n"
        )
    );
}

#[test]
fn set_user_id_programs_work_unless_that_is_forbidden() {
    let image = given!(Image::new());
    std::fs::copy(INIT, image.layer().join("bin/effective-user")).unwrap();
    set_mode(&image, "bin/effective-user", 0o4755);
    let mut spec = image.spec(&["effective-user", "effective-user"]);
    spec.mounts = host_libraries();
    spec.user = UserSpec { uid: 1000, gid: 1000, additional_gids: vec![] };
    assert_eq!(output(&spec), "0\n");
    image.renew();
    spec.no_new_privs = true;
    assert_eq!(output(&spec), "1000\n");
}

#[test]
fn capabilities_can_be_none_at_all() {
    let image = given!(Image::new());
    let mut spec = image.script("grep -E 'Cap(Eff|Bnd)' /proc/self/status");
    spec.capabilities = Capabilities::None;
    let none = "0".repeat(16);
    assert_eq!(output(&spec), format!("CapEff:\t{none}\nCapBnd:\t{none}\n"));
}

#[test]
fn nothing_but_the_streams_is_open() {
    let image = given!(Image::new());
    // The fourth is the directory that ls reads.
    assert_eq!(output(&image.script("ls /proc/self/fd")), "0\n1\n2\n3\n");
}

#[test]
fn masks_and_sessions_are_those_of_a_new_program() {
    let image = given!(Image::new());
    assert_eq!(output(&image.script("umask")), "0022\n");
    image.renew();
    let none = "0".repeat(16);
    let signals = output(&image.spec(&["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]));
    assert_eq!(signals, format!("SigBlk:\t{none}\nSigIgn:\t{none}\n"));
    image.renew();
    // Session leader: field 6 of stat is the session.
    assert_eq!(output(&image.script("cut -d' ' -f6 /proc/1/stat")), "1\n");
}

#[test]
fn without_a_network_there_is_only_loopback() {
    let image = given!(Image::new());
    let mut spec = image.script("ls /sys/class/net; ip address show lo | grep -c 'inet 127.0.0.1'");
    spec.network = Network::None;
    assert_eq!(output(&spec), "lo\n1\n");
    image.renew();
    spec.network = Network::Host;
    spec.argv = ["ls", "/sys/class/net"].map(str::to_owned).into();
    let mut host: Vec<_> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    host.sort();
    assert_eq!(output(&spec).lines().collect::<Vec<_>>(), host);
}

#[test]
fn a_terminal_is_the_commands_own() {
    use std::io::{Read, Write};
    let image = given!(Image::new());
    let mut spec = image.script("tty; ls -l /dev/console | cut -c1; read line; echo got $line; exit 3");
    spec.terminal = true;
    spec.user.uid = 1000;
    let (running, ..) = start(&spec).unwrap();
    let mut terminal = std::fs::File::from(running.terminal().unwrap().try_clone().unwrap());
    terminal.write_all(b"typed\n").unwrap();
    let mut seen = Vec::new();
    // The end of a terminal is an error.
    let _ = terminal.read_to_end(&mut seen);
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.contains("/dev/pts/0\r\n") && seen.contains("c\r\n"), "{seen:?}");
    assert!(seen.contains("got typed\r\n"), "{seen:?}");
    assert_eq!(running.wait().unwrap(), exited(3));
}
