//! RUN `--device`: devices of the host as descriptions have them, given to a step and to nothing else.

mod support;

use std::{fs, path::PathBuf, sync::Mutex};

use otoshi_engine::{AllowedDevices, BuildRequest, Engine, EngineError, Event, Events};
use otoshi_explain::{Explain, Remedy};
use otoshi_test::given;
use support::{World, world};

/// Descriptions in a directory of their own, with what the build is allowed.
struct Devices<'w> {
    world: &'w World,
    directory: tempfile::TempDir,
}

impl<'w> Devices<'w> {
    fn new(world: &'w World) -> Self {
        Self { world, directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// One description of the kind `vendor.test/device` with these devices: name and edits.
    fn describe(&self, devices: &[(&str, &str)]) {
        let mut text = "cdiVersion: 0.7.0\nkind: vendor.test/device\ndevices:\n".to_owned();
        for (name, edits) in devices {
            text += &format!("- {{name: {name}, containerEdits: {{{edits}}}}}\n");
        }
        self.write("devices.yaml", &text);
    }

    fn build(
        &self,
        dockerfile: &str,
        allow: impl FnOnce(&mut AllowedDevices),
    ) -> Result<otoshi_engine::BuiltImage, EngineError> {
        self.world.try_build(dockerfile, |request| self.prepare(request, allow))
    }

    fn prepare(&self, request: &mut BuildRequest, allow: impl FnOnce(&mut AllowedDevices)) {
        request.device_directories = vec![self.directory.path().to_owned()];
        allow(&mut request.allow_devices);
    }
}

fn words(error: &EngineError) -> String {
    format!("{error} | {}", error.hint().unwrap_or_default())
}

#[test]
fn a_device_is_given_to_a_step_and_to_nothing_else() {
    let world = given!(world());
    let devices = Devices::new(&world);
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("library"), "of the host").unwrap();
    devices.describe(&[(
        "foo",
        &format!(
            "env: [FOO=injected, HOME=/of/device], additionalGids: [0, 44], \
             deviceNodes: [{{path: /dev/deep/foo, hostPath: /dev/null}}, {{path: /opt/foo, hostPath: /dev/zero, fileMode: 0600, uid: 0}}], \
             mounts: [{{hostPath: {0}, containerPath: /usr/lib/foo, options: [ro, nosuid, nodev, bind]}}, \
                      {{hostPath: {0}/library, containerPath: /etc/foo.conf}}, \
                      {{hostPath: tmpfs, containerPath: /run/foo, type: tmpfs, options: [size=64k, mode=0700]}}]",
            shared.path().display()
        )
        .replace("hostPath: tmpfs", "hostPath: /tmpfs"),
    )]);
    let dockerfile = "FROM busybox\nENV FOO=own\nUSER app\n\
        RUN --device=vendor.test/device=foo echo x >/dev/deep/foo && test -c /opt/foo && ! cat /opt/foo 2>/dev/null && \
          ( cat /usr/lib/foo/library /etc/foo.conf; echo; echo $FOO $HOME; id -G; stat -c '%a %u' /dev/deep/foo /opt/foo; \
            stat -c %a /run/foo; ! touch /usr/lib/foo/x 2>/dev/null ) > /tmp/said\n\
        RUN ls /dev/deep /opt /usr /run 2>&1 | grep -c foo > /tmp/after; echo $FOO >> /tmp/after; id -G >> /tmp/after\n";
    // Where a user may write.
    let dockerfile =
        dockerfile.replace("FROM busybox\n", "FROM busybox\nUSER root\nRUN mkdir -m 777 -p /tmp\n");
    let dockerfile = dockerfile.replace("RUN mkdir -m 777 -p /tmp", "RUN rm -r /tmp && mkdir -m 777 /tmp");
    let image = devices.build(&dockerfile, |allowed| allowed.allow("vendor.test/device=foo")).unwrap();
    let said = world.output(&image, "cat /tmp/said");
    assert_eq!(said, "of the hostof the host\ninjected /of/device\n1000 44\n666 1000\n600 0\n700\n");
    assert_eq!(world.output(&image, "cat /tmp/after"), "0\nown\n1000\n");
    let tree = world.tree(&image, "/");
    let tree: Vec<&str> = tree.lines().filter(|line| !line.contains(" /bin/busybox ")).collect();
    let tree = tree.join("\n");
    for left in ["foo", "deep", " /opt", " /usr", " /run", " /dev"] {
        assert!(!tree.contains(left), "{left} in {tree}");
    }
    let config = world.load(&image).config;
    assert!(config.config.env.contains(&"FOO=own".to_owned()), "{:?}", config.config.env);
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("injected") && !text.contains("of/device"), "{text}");
}

#[test]
fn a_device_must_be_allowed() {
    let world = given!(world());
    let devices = Devices::new(&world);
    devices.describe(&[("foo", "env: [FOO=1]"), ("bar", "env: [BAR=2]")]);
    devices.write(
        "free.json",
        r#"{"cdiVersion": "0.6.0", "kind": "free.test/device",
            "annotations": {"org.mobyproject.buildkit.device.autoallow": "true"},
            "devices": [
              {"name": "a", "containerEdits": {"env": ["FREE=a"]}},
              {"name": "b", "annotations": {"org.mobyproject.buildkit.device.autoallow": "false",
                                            "org.mobyproject.buildkit.device.class": "shut"},
               "containerEdits": {"env": ["FREE=b"]}}]}"#,
    );
    let run = |device: &str| format!("FROM busybox\nRUN --device={device} echo \"$FOO$BAR$FREE\" > /said\n");
    let said = |device: &str, allow: &dyn Fn(&mut AllowedDevices)| {
        devices.build(&run(device), allow).map(|image| world.output(&image, "cat /said").trim().to_owned())
    };
    let refused =
        |device: &str, allow: &dyn Fn(&mut AllowedDevices)| words(&said(device, allow).unwrap_err());
    let nothing = |_: &mut AllowedDevices| {};
    let error = said("vendor.test/device=foo", &nothing).unwrap_err();
    assert_eq!(
        error.remedy(),
        Some(Remedy::Allow { entitlements: vec!["device=vendor.test/device=foo".into()] })
    );
    assert!(words(&error).starts_with("RUN --device=vendor.test/device=foo is not allowed"), "{error}");
    // Whether it must be there or not, and also where another one is allowed.
    let foo = |allowed: &mut AllowedDevices| allowed.allow("vendor.test/device=foo");
    assert!(refused("vendor.test/device=bar,required", &foo).contains("bar is not allowed"));
    assert!(
        refused("vendor.test/device=*", &foo).contains("RUN --device=vendor.test/device=bar is not allowed")
    );
    assert!(refused("shut", &nothing).contains("free.test/device=b is not allowed"));
    assert_eq!(said("vendor.test/device=foo", &foo).unwrap(), "1");
    assert_eq!(said("vendor.test/device=*", &|allowed| allowed.allow("vendor.test/device=*")).unwrap(), "12");
    // The first by name.
    assert_eq!(said("vendor.test/device", &|allowed| allowed.allow("vendor.test/device")).unwrap(), "2");
    assert_eq!(said("vendor.test/device=* --device=shut", &AllowedDevices::allow_all).unwrap(), "12b");
    assert_eq!(said("free.test/device=a", &nothing).unwrap(), "a");
    let alias = |allowed: &mut AllowedDevices| allowed.allow_as("gpu", "vendor.test/device=foo");
    assert_eq!(said("gpu,required", &alias).unwrap(), "1");
    // Known results are no way around it.
    assert!(refused("vendor.test/device=foo", &nothing).contains("is not allowed"));
}

#[test]
fn a_device_and_what_it_changes_count_for_the_result() {
    let world = given!(world());
    let devices = Devices::new(&world);
    devices.describe(&[("foo", "env: [FOO=1]"), ("bar", "env: [FOO=1]")]);
    let ran = |device: &str| {
        let dockerfile = format!("FROM busybox\nRUN {device} env > /dev/null; echo $FOO > /said\n");
        let image = devices.build(&dockerfile, AllowedDevices::allow_all).unwrap();
        (image.steps_run, world.output(&image, "cat /said").trim().to_owned())
    };
    let (foo, bar) = ("--device=vendor.test/device=foo", "--device=vendor.test/device=bar");
    assert_eq!(ran(""), (1, String::new()));
    assert_eq!(ran(foo), (1, "1".into()));
    assert_eq!(ran(foo), (0, "1".into()));
    // The same by another name, and asked for twice.
    assert_eq!(ran("--device=name=vendor.test/device=foo,required --device=vendor.test/device=foo").0, 0);
    assert_eq!(ran(bar), (1, "1".into()));
    assert_eq!(ran(&format!("{foo} {bar}")).0, 1);
    devices.describe(&[("foo", "env: [FOO=2]"), ("bar", "env: [FOO=1]")]);
    assert_eq!(ran(foo), (1, "2".into()));
    assert_eq!(ran(bar), (0, "1".into()));
    // One that need not be there, and is not, is as if it were not asked for.
    assert_eq!(ran("--device=vendor.test/device=none"), (0, String::new()));
    assert_eq!(ran(""), (0, String::new()));
}

struct Warnings(Mutex<Vec<String>>);

impl Events for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning(warning) = event {
            self.0.lock().unwrap().push(warning);
        }
    }
}

#[test]
fn what_is_missing_or_broken_is_told() {
    let world = given!(world());
    let devices = Devices::new(&world);
    let build = |device: &str| {
        let dockerfile = format!("FROM busybox\nRUN --device={device} true\n");
        devices.build(&dockerfile, AllowedDevices::allow_all)
    };
    let refused = |device: &str| words(&build(device).unwrap_err());
    assert_eq!(
        refused("vendor.test/device=foo,required"),
        "no device \"vendor.test/device=foo\" on this machine | \
         no devices are described in /etc/cdi, /var/run/cdi, /etc/buildkit/cdi"
    );
    build("vendor.test/device=foo").unwrap();
    devices.describe(&[
        ("hook", "hooks: [{hookName: createContainer, path: /usr/bin/hook}]"),
        ("net", "env: [A=b]"),
        ("file", "deviceNodes: [{path: /dev/nonexistent}]"),
        ("kind", "deviceNodes: [{path: /dev/null, type: b}]"),
        ("mount", "mounts: [{hostPath: /nonexistent, containerPath: /x}]"),
        ("type", "mounts: [{hostPath: /x, containerPath: /x, type: nfs}]"),
        ("proc", "deviceNodes: [{path: /proc/uptime, hostPath: /dev/null}]"),
    ]);
    for (device, wanted) in [
        (
            "hook",
            "devices.yaml: it wants the hook createContainer to run /usr/bin/hook on this machine | Otoshi gives steps",
        ),
        ("file", "devices.yaml: /dev/nonexistent: /dev/nonexistent: No such file or directory"),
        ("kind", "devices.yaml: /dev/null: /dev/null is not of type \"b\""),
        ("mount", "devices.yaml: /nonexistent: No such file or directory"),
        ("type", "devices.yaml: /x: a mount of type \"nfs\" is not supported"),
        ("proc", "nothing can be mounted over the root or in /proc"),
    ] {
        let text = refused(&format!("vendor.test/device={device}"));
        assert!(text.contains(wanted), "{text}");
    }
    // A broken file is told; where the device may be in it, the build stops, whether the device must be there or not.
    let broken =
        devices.write("other.yaml", "cdiVersion: 0.6.0\nkind: other.test/device\ndevices: [{name: x}]\n");
    for device in ["other.test/device=x", "other.test/device=x,required"] {
        assert_eq!(
            refused(device),
            format!(
                "no device \"other.test/device=x\" on this machine, where a description of devices is broken | \
                 {}: the device \"x\": it does not change anything in a container",
                broken.display()
            )
        );
    }
    let warnings = Warnings(Mutex::default());
    let dockerfile = "FROM busybox\nRUN --device=vendor.test/device=net test $A = b\n";
    let mut request = world.request_of(dockerfile).unwrap();
    devices.prepare(&mut request, AllowedDevices::allow_all);
    world.engine.build(&request, &warnings).unwrap();
    let told = warnings.0.into_inner().unwrap();
    assert!(told.iter().any(|text| text.contains("other.yaml: the device \"x\"")), "{told:?}");
}

#[test]
fn device_files_that_a_step_makes_can_be_used_in_it_and_stay_in_the_layer() {
    let world = given!(world());
    let dockerfile = "FROM busybox\nRUN busybox mknod /null c 1 3 && echo x >/null && echo usable >/said\n\
        RUN busybox mknod /log c 1 11 && ( cat /log || true ) 2>&1 | grep -o 'Operation not permitted' >>/said\n";
    let image = world.build(dockerfile);
    assert_eq!(
        world.output(&image, "cat /said; stat -c %t:%T /null /log"),
        "usable\nOperation not permitted\n1:3\n1:b\n"
    );
}
