//! Which devices a command can use: those of every container, and those that it is given.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use otoshi_sandbox::{Access, Capabilities, Device, DeviceKind, Limits, Mount, Root, Spec, UserSpec};
use otoshi_test::{Missing, given, pass_over};
use support::{INIT, Image, bind, host_libraries, output, run, start};

/// Starts a command and sees that something controls which devices it uses, as it does for root almost everywhere.
fn control(image: &Image) -> Result<(), Missing> {
    let (running, ..) = start(&image.script("true")).unwrap();
    let is_controlled = running.controls_devices();
    assert_eq!(running.wait().unwrap().code, Some(0));
    image.renew();
    let missing = || Missing::new("control groups that have a list of devices", "see cgroups(7)");
    is_controlled.then_some(()).ok_or_else(missing)
}

/// The same where the test has something to look at without it, too.
fn is_controlled(image: &Image) -> bool {
    control(image).inspect_err(pass_over).is_ok()
}

fn device(kind: DeviceKind, target: &str, access: Access) -> Device {
    Device {
        target: target.into(),
        source: PathBuf::from("/dev/null"),
        kind,
        mode: 0o640,
        uid: 0,
        gid: 0,
        access,
    }
}

const ALL: Access = Access { read: true, write: true, make: true };
const READ: Access = Access { read: true, write: false, make: false };

/// What makes network devices: every machine of ours has it, nobody needs a capability to open it, and no container may.
const TUN: DeviceKind = DeviceKind::Character(10, 200);

/// Tries to open device files for reading and for writing, and says how each ends.
const TRY: &str = "try() { ( exec 3<$1 ) 2>/tmp/said && echo $1 read || sed 's/.*: //' /tmp/said; \
                   ( exec 3>>$1 ) 2>/tmp/said && echo $1 written || sed 's/.*: //' /tmp/said; }; mkdir -p /tmp; ";

#[test]
fn device_files_that_a_command_makes_open_what_every_container_may_open() {
    let image = given!(Image::new());
    given!(control(&image));
    let script = "set -e; mkdir -p /srv/chroot/dev; cd /srv/chroot/dev; \
        mknod null c 1 3; mknod zero c 1 5; mknod full c 1 7; mknod random c 1 8; mknod urandom c 1 9; \
        mknod ptmx c 5 2; \
        echo x >null; echo $(head -c 3 zero | od -An -tx1); head -c 2 random | wc -c; head -c 2 urandom | wc -c; \
        echo x 2>/dev/null >full && echo written || echo full; \
        mknod -m 666 /dev/null2 c 1 3; echo x >/dev/null2; echo usable";
    assert_eq!(output(&image.script(script)), "00 00 00\n2\n2\nfull\nusable\n");
}

#[test]
fn device_files_that_a_command_makes_open_nothing_of_the_host() {
    let image = given!(Image::new());
    given!(control(&image));
    // The memory, the log, a port, disks, a loop device and its control, a virtual machine's and a network's: none of them is there
    // for the command, whether the machine has it or not. Whoever opens the first three needs a capability; the others nothing.
    let script = format!(
        "{TRY} for d in / /dev /srv; do mkdir -p $d; \
           for f in 'c 1 1' 'c 1 11' 'c 1 4' 'b 254 0' 'b 8 0' 'b 7 0' 'c 10 237' 'c 10 232' 'c 10 200' 'c 7 0' 'b 1 3'; do \
             rm -f $d/x; mknod $d/x $f || echo not made; try $d/x; \
           done; done"
    );
    assert_eq!(output(&image.script(&script)), "Operation not permitted\n".repeat(3 * 11 * 2));
}

#[test]
fn device_files_of_an_image_open_nothing_of_the_host_either() {
    let image = given!(Image::new());
    for (name, number) in [("tun", rustix::fs::makedev(10, 200)), ("null", rustix::fs::makedev(1, 3))] {
        let path = image.layer().join(name);
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o666.into(), number).unwrap();
    }
    given!(control(&image));
    let script = format!("{TRY} try /tun; try /null");
    let wanted = "Operation not permitted\nOperation not permitted\n/null read\n/null written\n";
    assert_eq!(output(&image.script(&script)), wanted);
    // The same where the root is not merged, or cannot be written.
    let script = "( exec 3</tun ) 2>/dev/null && echo read; cat /null";
    let mut spec = image.script(script);
    spec.root = Root::ReadOnlyOverlay { lowers: vec![image.layer()], userxattr: false };
    assert_eq!(output(&spec), "");
    spec.root = Root::Dir(image.layer());
    assert_eq!(output(&spec), "");
    spec.classic_overlay = true;
    spec.root = Root::ReadOnlyOverlay { lowers: vec![image.layer()], userxattr: false };
    assert_eq!(output(&spec), "");
}

#[test]
fn nobody_gets_out_of_the_group() {
    let image = given!(Image::new());
    given!(control(&image));
    // It sees its own group as the topmost one, and has no file system of groups; a process that it leaves behind is in it, too.
    let script = format!(
        "{TRY} cut -d: -f3 /proc/self/cgroup | sort -u; ls /sys/fs/cgroup; mount -t cgroup2 none /tmp 2>/dev/null && echo mounted; \
         mknod /x c 10 200; setsid sh -c 'exec 3</x' 2>/tmp/said || sed 's/.*: //' /tmp/said"
    );
    let found = output(&image.script(&script));
    assert!(found.ends_with("Operation not permitted\n") && !found.contains("mounted"), "{found}");
    assert!(found.starts_with("/\n"), "{found}");
}

#[test]
fn a_command_that_may_do_all_may_open_all() {
    let image = given!(Image::new());
    given!(control(&image));
    let mut spec = image.script("mknod /x c 10 200 && exec 3</x && echo open");
    spec.capabilities = Capabilities::All;
    spec.seccomp = false;
    assert_eq!(output(&spec), "open\n");
}

#[test]
fn a_given_device_can_be_used_as_far_as_it_is_given_and_leaves_nothing() {
    let image = given!(Image::new());
    let controlled = is_controlled(&image);
    let script = format!(
        "{TRY} cd /dev; stat -c '%a %u:%g %t:%T' tun deep/down/tun; try /dev/tun; try /dev/deep/down/tun; \
         stat -c %F /opt/made/pipe; stat -c %t:%T /etc/null; echo x >/etc/null; rm -r /tmp; mknod /dev/again c 10 200 && echo made"
    );
    let mut spec = image.script(&script);
    let other = Device { mode: 0o600, uid: 5, gid: 6, ..device(TUN, "/dev/deep/down/tun", READ) };
    spec.devices = vec![
        device(TUN, "/dev/tun", READ),
        other,
        device(DeviceKind::Fifo, "/opt/made/pipe", ALL),
        device(DeviceKind::Character(1, 3), "/etc/null", ALL),
    ];
    let refused = if controlled { "Operation not permitted" } else { "/dev/tun written" };
    let refused_deep = if controlled { "Operation not permitted" } else { "/dev/deep/down/tun written" };
    assert_eq!(
        output(&spec),
        format!(
            "640 0:0 a:c8\n600 5:6 a:c8\n/dev/tun read\n{refused}\n/dev/deep/down/tun read\n{refused_deep}\nfifo\n1:3\nmade\n"
        )
    );
    assert_eq!(image.written(), [""; 0]);
    // What one command is given, another one is not.
    if controlled {
        image.renew();
        let script = format!("{TRY} mknod /x c 10 200; try /x");
        assert_eq!(output(&image.script(&script)), "Operation not permitted\n".repeat(2));
    }
}

#[test]
fn a_device_goes_nowhere_but_where_something_can_be_mounted() {
    let image = given!(Image::new());
    fs::create_dir(image.path("outside")).unwrap();
    std::os::unix::fs::symlink(image.path("outside"), image.layer().join("link")).unwrap();
    for (target, wanted) in [
        ("/proc/uptime", "nothing can be mounted over the root or in /proc"),
        ("/proc/tun", "opening the mount point /proc/tun in the image"),
        ("/sys/tun", "opening the mount point /sys/tun in the image"),
        ("/", "nothing can be mounted over the root"),
    ] {
        let spec = Spec { devices: vec![device(TUN, target, READ)], ..image.script("true") };
        let error = support::try_run(&spec).unwrap_err().to_string();
        assert!(error.contains(wanted), "{target}: {error}");
        image.renew();
    }
    let link = "/link/tun";
    let spec = Spec { devices: vec![device(TUN, link, READ)], ..image.script("stat -c %t:%T /link/tun") };
    assert_eq!(output(&spec), "a:c8\n");
    assert_eq!(fs::read_dir(image.path("outside")).unwrap().count(), 0);
}

#[test]
fn parts_of_the_host_are_limited_as_they_say() {
    let image = given!(Image::new());
    let shared = image.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::copy("/bin/busybox", shared.join("busybox")).unwrap();
    let number = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        shared.join("null"),
        rustix::fs::FileType::CharacterDevice,
        0o666.into(),
        number,
    )
    .unwrap();
    let controlled = is_controlled(&image);
    let script = "grep ' /shared ' /proc/mounts | cut -d' ' -f4 | tr , '\\n' | grep -E '^(ro|nosuid|nodev|noexec)$' | tr '\\n' ' '; \
        /shared/busybox echo -n run 2>/dev/null; ( : >/shared/x ) 2>/dev/null && echo -n ' written'; cat /shared/null 2>/dev/null && echo ' device'; true";
    let with = |limits: Limits| {
        let mut spec = image.script(script);
        spec.mounts = vec![Mount::Bind { source: shared.clone(), target: "/shared".into(), limits }];
        let found = output(&spec);
        let _ = fs::remove_file(shared.join("x"));
        image.renew();
        found
    };
    let all = Limits { read_only: true, no_suid: true, no_exec: true, no_dev: true, shallow: true };
    assert_eq!(with(all), "ro nosuid nodev noexec ");
    let none = with(Limits::default());
    assert_eq!(none, if controlled { "run written device\n" } else { "nodev run written" });
}

#[test]
fn further_groups_are_those_that_are_given() {
    let image = given!(Image::new());
    let mut spec = image.script("id -G");
    spec.user = UserSpec { uid: 1000, gid: 1000, additional_gids: vec![44, 109] };
    assert_eq!(output(&spec), "1000 44 109\n");
}

/// The groups of a process's commands that are left, by the process's id.
fn groups_of(pid: u32) -> Vec<String> {
    fn look(directory: &Path, start: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(start) {
                found.push(name.clone());
            }
            look(&entry.path(), start, found);
        }
    }
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if matches!(fields[2], "cgroup2" | "cgroup") {
            look(Path::new(fields[1]), &format!("otoshi-{pid}-"), &mut found);
        }
    }
    found
}

#[test]
fn no_group_is_left() {
    let image = given!(Image::new());
    run(&image.script("sleep 1000 & exit 3"));
    image.renew();
    let (running, ..) = start(&image.script("sleep 1000")).unwrap();
    drop(running);
    image.renew();
    // Others of this process may run at the same time; these have ended.
    let end = Instant::now() + Duration::from_secs(30);
    while !groups_of(std::process::id()).is_empty() {
        assert!(Instant::now() < end, "{:?}", groups_of(std::process::id()));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn no_group_is_left_where_the_process_is_killed_that_started_it() {
    let image = given!(Image::new());
    let controlled = is_controlled(&image);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut unified = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let unified = unified.find(|fields| fields[2] == "cgroup2").map(|fields| fields[1].to_owned());
    let missing =
        || Missing::new("the unified hierarchy of control groups", "mount -t cgroup2 none DIRECTORY");
    let at = given!(unified.ok_or_else(missing));
    // In a group as services and sessions have it; in the topmost one of the machine only the next process can remove what is left.
    let own = Path::new(&at).join(format!("test-of-otoshi-{}", std::process::id()));
    fs::create_dir(&own).unwrap();
    let file = image.path("spec.json");
    fs::write(&file, serde_json::to_string(&image.script("echo up; sleep 1000")).unwrap()).unwrap();
    let script = "echo $$ >\"$1/cgroup.procs\" && exec \"$2\" run \"$3\"";
    let mut runner = Command::new("sh")
        .args(["-c", script, "sh"])
        .args([own.as_os_str(), INIT.as_ref(), file.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(runner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let pid = runner.id();
    let groups = groups_of(pid);
    runner.kill().unwrap();
    runner.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !groups_of(pid).is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = groups_of(pid);
    // The init is the last one in the group of the process that it outlived.
    while fs::remove_dir(&own).is_err() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((groups.len(), left), (usize::from(controlled), Vec::new()));
}

#[test]
fn programs_of_the_host_run_as_before() {
    let image = given!(Image::new());
    let mut spec = image.spec(&["/host/true"]);
    spec.mounts = host_libraries();
    spec.mounts.push(bind("/usr/bin", "/host", true));
    assert_eq!(output(&spec), "");
}
