//! The same without root: in a user namespace, with and without further ids.
//!
//! The user exists only for the test: its lines of `/etc/passwd`, `/etc/subuid` and `/etc/subgid` are mounted over the
//! machine's own in a mount namespace that ends with the test.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use otoshi_sandbox::{Access, Device, DeviceKind, Mount, Network, Root, Spec, UserSpec};
use otoshi_test::{Need, given, require};
use support::{INIT, Image, bind, file};

const UID: u32 = 54321;

fn run(image: &Image, mut spec: Spec, sub_ids: bool) -> Output {
    if let Root::Overlay { userxattr, .. } = &mut spec.root {
        *userxattr = true;
    }
    let program = image.path("runner");
    fs::copy(INIT, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(image.path("spec.json"), serde_json::to_string(&spec).unwrap()).unwrap();
    // As the user would have unpacked it.
    let everything = ["layer", "upper", "work"].map(|name| image.path(name));
    let own = Command::new("chown").args(["-hR", &format!("{UID}:{UID}")]).args(everything).status().unwrap();
    assert!(own.success());
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    fs::write(image.path("passwd"), format!("{passwd}otoshi-test:x:{UID}:{UID}::/:/bin/sh\n")).unwrap();
    let range = if sub_ids { "otoshi-test:400000:65536\n" } else { "" };
    fs::write(image.path("subuid"), range).unwrap();
    let script = format!(
        "set -e; cd {}; touch /etc/subuid /etc/subgid; mount --bind passwd /etc/passwd; \
         mount --bind subuid /etc/subuid; mount --bind subuid /etc/subgid; \
         exec setpriv --reuid {UID} --regid {UID} --clear-groups ./runner run spec.json",
        image.path("").display()
    );
    Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_ordinary_user_is_root_with_further_ids() {
    given!(require(&[Need::UserNamespaces, Need::Tool("newuidmap")]));
    let image = given!(Image::new());
    let mut spec = image.script(
        "id -u; cat /key; echo x >/dev/null; mkdir /srv && chown 1000:1001 /srv && stat -c %u:%g /srv; \
         grep -E 'CapBnd|Seccomp:' /proc/self/status; test -d /sys/class && echo 1 2>/dev/null >/proc/sys/vm/drop_caches \
         || echo protected; rm /bin/true; echo $$",
    );
    spec.mounts = vec![file("secret", "/key"), bind(image.layer(), "/layer", true)];
    let output = run(&image, spec, true);
    assert_eq!(text(&output), "0\nsecret1000:1001\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\nprotected\n1\n");
    assert!(output.status.success());
    assert_eq!(image.written(), ["bin/", "bin/true", "srv/"]);
}

#[test]
fn other_users_and_no_network_work_with_further_ids() {
    given!(require(&[Need::UserNamespaces, Need::Tool("newuidmap")]));
    let image = given!(Image::new());
    let mut spec = image.script("id -u; id -g; ls /sys/class/net");
    spec.user = UserSpec { uid: 1000, gid: 1000, additional_gids: vec![50] };
    spec.network = Network::None;
    assert_eq!(text(&run(&image, spec, true)), "1000\n1000\nlo\n");
}

#[test]
fn a_single_id_is_enough_for_root() {
    given!(require(&[Need::UserNamespaces]));
    let image = given!(Image::new());
    let mut spec = image.script("id -u; echo x >/file; cat /tmp/key");
    spec.mounts =
        vec![Mount::Tmpfs { target: "/tmp".into(), size: None, mode: 0o755 }, file("secret", "/tmp/key")];
    assert_eq!(text(&run(&image, spec, false)), "0\nsecret");
    assert_eq!(image.written(), ["file"]);
}

#[test]
fn another_user_with_a_single_id_is_refused_with_a_hint() {
    given!(require(&[Need::UserNamespaces]));
    let image = given!(Image::new());
    let mut spec = image.script("true");
    spec.user.uid = 1000;
    let output = run(&image, spec, false);
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output).contains("hint: without root, other users need ranges of ids"),
        "{}",
        text(&output)
    );
}

#[test]
fn an_ordinary_user_makes_no_device_files_and_uses_those_that_are_given() {
    given!(require(&[Need::UserNamespaces, Need::Tool("newuidmap")]));
    for sub_ids in [true, false] {
        let image = given!(Image::new());
        let mut spec = image.script(
            "mknod /null c 1 3 2>&1 | sed 's/.*: //'; grep ' / ' /proc/mounts | grep -o nodev; \
             echo x >/dev/deep/null && stat -c %t:%T /opt/zero && head -c 2 /opt/zero | wc -c; test -p /opt/pipe && echo pipe",
        );
        let device = |source: &str, target: &str, kind| Device {
            target: target.into(),
            source: source.into(),
            kind,
            mode: 0o600,
            uid: 0,
            gid: 0,
            access: Access { read: true, write: true, make: true },
        };
        spec.devices = vec![
            device("/dev/null", "/dev/deep/null", DeviceKind::Character(1, 3)),
            device("/dev/zero", "/opt/zero", DeviceKind::Character(1, 5)),
            device("/nowhere", "/opt/pipe", DeviceKind::Fifo),
        ];
        let output = run(&image, spec, sub_ids);
        assert_eq!(text(&output), "Operation not permitted\nnodev\n1:5\n2\npipe\n", "{sub_ids}");
        assert_eq!(image.written(), [""; 0]);
    }
}
