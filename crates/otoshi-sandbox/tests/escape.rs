//! Attempts to get out of a sandbox, or to more than a container may do.

mod support;

use std::{fs, os::unix::fs::symlink};

use otoshi_test::{Need, given, require};
use support::{Image, bind, file, host_libraries, output, run, try_run};

#[test]
fn links_in_the_image_lead_no_mount_outside() {
    let image = given!(Image::new());
    let victim = image.path("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::create_dir(image.layer().join("etc")).unwrap();
    let up = format!("../../../../../../../../..{}", victim.display());
    symlink(&up, image.layer().join("etc/resolv.conf")).unwrap();
    symlink(&victim, image.layer().join("etc/hosts")).unwrap();
    symlink("../../../../../../tmp", image.layer().join("link")).unwrap();
    let mut spec = image.script("echo changed >/etc/hosts; echo changed >/etc/resolv.conf; cat /link/key");
    spec.mounts = vec![file("inside", "/link/key")];
    assert_eq!(output(&spec), "inside");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(!std::path::Path::new("/tmp/key").exists());
}

#[test]
fn what_is_taken_away_afterwards_is_not_looked_up_through_links() {
    let image = given!(Image::new());
    let outside = image.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("key"), "").unwrap();
    // The directory of a mount point can be renamed, and a link put in its place.
    let mut spec = image.script(&format!("mv /run /moved && ln -s {} /run", outside.display()));
    spec.mounts = vec![file("inside", "/run/key")];
    run(&spec);
    assert!(outside.join("key").exists());
}

#[test]
fn top_directories_that_are_links_are_refused() {
    for name in ["proc", "sys", "dev"] {
        let image = given!(Image::new());
        symlink("/bin", image.layer().join(name)).unwrap();
        let error = try_run(&image.script("true")).unwrap_err().to_string();
        assert!(error.contains(&format!("/{name} is a symbolic link in the image")), "{error}");
    }
}

#[test]
fn settings_of_the_kernel_cannot_be_written() {
    let image = given!(Image::new());
    let script = "for f in /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger \
        /sys/kernel/uevent_helper /proc/irq/default_smp_affinity; do \
          ( echo 1 >$f ) 2>/dev/null && echo wrote $f; done; true";
    assert_eq!(output(&image.script(script)), "");
}

#[test]
fn device_files_open_nothing_wherever_they_are_made() {
    let image = given!(Image::new());
    fs::create_dir(image.path("shared")).unwrap();
    let script = "for d in / /dev /dev/shm /tmp /shared; do \
          mknod $d/disk b 254 0 && mknod $d/memory c 1 1 || echo not made in $d; \
          head -c 1 $d/disk >/dev/null 2>&1 && echo read $d/disk; \
          head -c 1 $d/memory >/dev/null 2>&1 && echo read $d/memory; \
        done; true";
    let mut spec = image.script(script);
    spec.mounts = vec![
        otoshi_sandbox::Mount::Tmpfs { target: "/tmp".into(), size: None, mode: 0o755 },
        bind(image.path("shared"), "/shared", false),
    ];
    let result = run(&spec);
    assert_eq!(result.stdout, "", "{}", result.stderr);
}

#[test]
fn changing_the_root_again_leads_nowhere() {
    let image = given!(Image::new());
    let secret = image.path("secret");
    fs::write(&secret, "of the host").unwrap();
    let script = format!(
        "mkdir -p /jail/bin && cp /bin/busybox /jail/bin/sh && cd / && \
         chroot /jail /bin/sh -c 'cd ../../../../../..; cat .{0}' 2>/dev/null; \
         cat /proc/1/root{0} /proc/1/cwd/../../..{0} 2>/dev/null; true",
        secret.display()
    );
    assert_eq!(output(&image.script(&script)), "");
}

#[test]
fn namespaces_and_mounts_are_forbidden() {
    let image = given!(Image::new());
    let script = "for c in 'unshare -U true' 'unshare -m true' 'mount -t tmpfs x /bin' 'umount /proc/sys' \
        'mount -o remount,rw /sys' 'hostname other' 'swapoff -a' 'nsenter -t 1 -m true'; do \
          $c 2>/dev/null && echo allowed $c; done; true";
    assert_eq!(output(&image.script(script)), "");
    image.renew();
    // The filter is what forbids it: a user namespace needs no right.
    let mut spec = image.script("unshare -U true");
    assert_eq!(run(&spec).status.code, Some(1));
    image.renew();
    spec.seccomp = false;
    assert_eq!(run(&spec).status.code, Some(0));
}

#[test]
fn a_working_directory_does_not_lead_to_what_the_init_had_open() {
    let image = given!(Image::new());
    for number in 3..40 {
        let mut spec = image.script("pwd");
        spec.cwd = format!("/proc/self/fd/{number}");
        assert!(try_run(&spec).is_err(), "{number}");
        image.renew();
    }
}

#[test]
fn the_inits_own_program_cannot_be_written() {
    let image = given!(Image::new());
    fs::create_dir(image.layer().join("etc")).unwrap();
    let mut spec = image.spec(&["/proc/self/exe", "check-executable"]);
    spec.mounts = host_libraries();
    assert_eq!(output(&spec), "protected\n");
}

#[test]
fn only_the_commands_own_processes_can_be_signalled() {
    let image = given!(Image::new());
    // All that it may signal is itself and its children; the init and the host are not there.
    assert_eq!(
        output(&image.script("kill -0 -1 2>&1; kill -0 2 2>&1; ls /proc | grep -c '^[0-9]'")).lines().last(),
        Some("3")
    );
}

#[test]
fn a_fork_bomb_comes_to_an_end_and_leaves_nothing() {
    given!(require(&[Need::Kernel(6, 14)]));
    let processes = || {
        let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
        names.filter(|name| name.as_encoded_bytes()[0].is_ascii_digit()).count()
    };
    let image = given!(Image::new());
    let mut spec =
        image.script("bomb() { bomb | bomb & }; bomb; sleep 1; ls /proc | grep -c '^[0-9]'; kill -9 -1");
    spec.pids = 400;
    let before = processes();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let (most, result) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                most = processes().max(most);
            }
            most
        });
        let result = run(&spec);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        (watch.join().unwrap(), result)
    });
    assert!(result.stderr.contains("can't fork"), "{}", result.stderr);
    assert!(most < before + 600, "{before} processes became {most}");
    // The host has room, and the bomb is gone with its step.
    assert!(std::process::Command::new("true").status().unwrap().success());
    assert!(processes() < before + 100, "{before} {}", processes());
}
