//! What is mounted in a sandbox, and that nothing of it is left: not in a layer, not on the host.

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
};

use otoshi_sandbox::{Mount, Root};
use otoshi_test::given;
use support::{Image, bind, file, output, run, start, try_run};

#[test]
fn nothing_is_left_of_the_mount_points() {
    let image = given!(Image::new());
    fs::create_dir_all(image.path("cache")).unwrap();
    let mut spec = image.script("cat /run/secrets/key; test -d /var/cache/x && test -s /etc/hosts");
    spec.mounts = vec![file("secret", "/run/secrets/key"), bind(image.path("cache"), "/var/cache/x", false)];
    assert_eq!(output(&spec), "secret");
    assert_eq!(image.written(), Vec::<String>::new());
}

#[test]
fn what_a_command_writes_stays_where_mount_points_were() {
    let image = given!(Image::new());
    fs::create_dir(image.layer().join("etc")).unwrap();
    let mut spec = image.script("echo a >/etc/own; mkdir /run/kept; echo b >>/etc/hosts");
    spec.mounts = vec![file("secret", "/run/secrets/key")];
    output(&spec);
    assert_eq!(image.written(), ["etc/", "etc/own", "run/", "run/kept/"]);
}

#[test]
fn a_directory_that_was_only_copied_up_goes_again_unless_it_was_changed() {
    let image = given!(Image::new());
    fs::create_dir(image.layer().join("etc")).unwrap();
    output(&image.script("true"));
    assert_eq!(image.written(), Vec::<String>::new());
    image.renew();
    output(&image.script("chmod 700 /etc"));
    assert_eq!(image.written(), ["etc/"]);
}

#[test]
fn the_times_of_kept_directories_do_not_move() {
    let image = given!(Image::new());
    fs::create_dir(image.upper().join("etc")).unwrap();
    let before = fs::metadata(image.upper().join("etc")).unwrap();
    let root = fs::metadata(image.upper()).unwrap();
    output(&image.script("true"));
    let after = fs::metadata(image.upper().join("etc")).unwrap();
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
    let root_after = fs::metadata(image.upper()).unwrap();
    assert_eq!((root.mtime(), root.mtime_nsec()), (root_after.mtime(), root_after.mtime_nsec()));
}

#[test]
fn mount_points_in_views_and_bound_directories_are_taken_away() {
    let image = given!(Image::new());
    for name in ["source", "bound", "cache", "view", "view-work"] {
        fs::create_dir(image.path(name)).unwrap();
    }
    fs::write(image.path("source").join("file"), "content").unwrap();
    let mut spec = image.script("cat /app/file; echo new >/app/made; echo x >/app/deep/cache/x");
    spec.mounts = vec![
        Mount::OverlayView {
            lowers: vec![image.path("source")],
            upper: image.path("view"),
            work: image.path("view-work"),
            target: "/app".into(),
        },
        bind(image.path("cache"), "/app/deep/cache", false),
        bind(image.path("bound"), "/bound", false),
        file("secret", "/bound/secret"),
    ];
    assert_eq!(output(&spec), "content");
    let names = |name: &str| -> Vec<_> {
        fs::read_dir(image.path(name)).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names("view"), ["made"]);
    assert_eq!(names("bound"), Vec::<&str>::new());
    assert_eq!(names("cache"), ["x"]);
    assert_eq!(image.written(), Vec::<String>::new());
}

#[test]
fn the_host_sees_no_mounts() {
    let image = given!(Image::new());
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    output(&image.script("true"));
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = image.path("").display().to_string();
    assert!(!after.contains(&ours), "{after}");
    assert_eq!(before.lines().count(), after.lines().count());
}

#[test]
fn mounts_are_those_of_a_container() {
    let image = given!(Image::new());
    let seen = output(&image.spec(&["cat", "/proc/mounts"]));
    let line = |target: &str| {
        let found = seen.lines().find(|line| line.split(' ').nth(1) == Some(target));
        found.unwrap_or_else(|| panic!("{target} in {seen}")).to_owned()
    };
    // Devices can be used elsewhere only where a list says which.
    image.renew();
    let (running, ..) = start(&image.script("true")).unwrap();
    let no_dev = if running.controls_devices() { "" } else { ",nodev" };
    running.wait().unwrap();
    assert!(line("/").starts_with(&format!("overlay / overlay rw{no_dev},relatime")));
    assert!(line("/proc").starts_with("proc /proc proc rw,nosuid,nodev,noexec"));
    assert!(line("/sys").starts_with("sysfs /sys sysfs ro,nosuid,nodev,noexec"));
    assert!(line("/dev").starts_with(&format!("tmpfs /dev tmpfs rw,nosuid{no_dev},relatime")));
    assert!(line("/dev/pts").contains(" devpts rw,nosuid,noexec"));
    assert!(line("/dev/shm").contains("size=65536k"));
    for target in ["/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"] {
        // Not every kernel has them all.
        assert!(!std::path::Path::new(target).exists() || line(target).contains(" proc ro,"), "{target}");
    }
    // The host's paths are not told.
    assert!(!seen.contains("otoshi-sandbox-"), "{seen}");
}

#[test]
fn devices_work_and_lead_where_they_should() {
    let image = given!(Image::new());
    let script = "echo x >/dev/null; head -c 2 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; \
        echo x 2>/dev/null >/dev/full || echo full; for l in fd ptmx stderr; do readlink /dev/$l; done; echo out >/dev/stdout";
    assert_eq!(output(&image.script(script)), "2\n3\nfull\n/proc/self/fd\npts/ptmx\n/proc/self/fd/2\nout\n");
}

#[test]
fn what_the_kernel_tells_about_the_host_is_hidden() {
    let image = given!(Image::new());
    let script = "for f in kcore keys timer_list sched_debug latency_stats interrupts; do \
          test ! -e /proc/$f || test -c /proc/$f || echo /proc/$f; done; \
        for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do \
          test ! -e $d || test -z \"$(ls $d)\" || echo $d; done";
    assert_eq!(output(&image.script(script)), "");
}

#[test]
fn read_only_means_that() {
    let image = given!(Image::new());
    fs::create_dir(image.path("shared")).unwrap();
    let mut spec = image.script(
        "for p in /x /shared/x /secret; do echo no 2>/dev/null >$p && echo wrote $p; done; \
         echo yes >/tmp/x && cat /tmp/x",
    );
    spec.readonly_rootfs = true;
    spec.mounts = vec![
        bind(image.path("shared"), "/shared", true),
        file("s", "/secret"),
        Mount::Tmpfs { target: "/tmp".into(), size: Some(1 << 20), mode: 0o1777 },
    ];
    assert_eq!(output(&spec), "yes\n");
    assert_eq!(image.written(), Vec::<String>::new());
}

#[test]
fn a_read_only_overlay_needs_no_directory_of_its_own() {
    let image = given!(Image::new());
    fs::create_dir(image.path("second")).unwrap();
    fs::write(image.path("second").join("file"), "below").unwrap();
    for classic_overlay in [false, true] {
        let mut spec = image.script("cat /file /key; echo no 2>/dev/null >/x || echo refused");
        spec.classic_overlay = classic_overlay;
        spec.mounts = vec![file("k", "/key")];
        spec.root =
            Root::ReadOnlyOverlay { lowers: vec![image.layer(), image.path("second")], userxattr: false };
        assert_eq!(output(&spec), "belowkrefused\n");
    }
}

#[test]
fn many_layers_with_long_names_are_merged_in_both_ways() {
    let image = given!(Image::new());
    let long = image.path(&format!("{}/{},{}:x", "a".repeat(200), "b".repeat(200), "c"));
    let mut lowers = Vec::new();
    for number in 0..120 {
        let layer = long.join(number.to_string());
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join("top"), number.to_string()).unwrap();
        fs::write(layer.join(format!("own-{number}")), "").unwrap();
        lowers.push(layer);
    }
    lowers.push(image.layer());
    for classic_overlay in [false, true] {
        let mut spec = image.script("cat /top; ls / | grep -c own-; echo written >/new");
        spec.classic_overlay = classic_overlay;
        if let Root::Overlay { lowers: of_root, .. } = &mut spec.root {
            of_root.clone_from(&lowers);
        }
        assert_eq!(output(&spec), "0120\n");
        assert_eq!(image.written(), ["new"]);
        image.renew();
    }
}

#[test]
fn a_directory_can_be_the_root() {
    let image = given!(Image::new());
    let mut spec = image.script("echo content >/made");
    spec.root = Root::Dir(image.layer());
    output(&spec);
    assert_eq!(fs::read_to_string(image.layer().join("made")).unwrap(), "content\n");
    let mut names: Vec<_> =
        fs::read_dir(image.layer()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bin", "made"]);
}

#[test]
fn links_to_what_is_not_there_are_followed_inside_the_image() {
    let image = given!(Image::new());
    fs::create_dir(image.layer().join("etc")).unwrap();
    symlink("../run/resolve/stub.conf", image.layer().join("etc/resolv.conf")).unwrap();
    let script = "test -L /etc/resolv.conf && cmp /etc/resolv.conf /run/resolve/stub.conf && echo same";
    assert_eq!(output(&image.script(script)), "same\n");
    assert_eq!(image.written(), Vec::<String>::new());
}

#[test]
fn errors_name_what_was_being_done() {
    let image = given!(Image::new());
    let mut spec = image.script("true");
    spec.mounts = vec![bind(image.path("missing"), "/x", true)];
    let error = try_run(&spec).unwrap_err().to_string();
    assert!(error.contains(&format!("opening {}: No such file", image.path("missing").display())), "{error}");
    for target in ["/", "/proc/x", "/proc"] {
        spec.mounts = vec![Mount::Tmpfs { target: target.into(), size: None, mode: 0o755 }];
        assert!(try_run(&spec).is_err(), "{target}");
        image.renew();
    }
}

#[test]
fn a_failed_set_up_leaves_nothing_running() {
    let image = given!(Image::new());
    let mut spec = image.script("true");
    spec.mounts = vec![bind(image.path("missing"), "/x", true)];
    assert!(try_run(&spec).is_err());
    spec.mounts.clear();
    assert_eq!(run(&spec).status.code, Some(0));
}
