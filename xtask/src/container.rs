//! Inside a container, as many CI services have it: what is allowed there works, and what is not is named by the doctor.
//!
//! `cargo xtask test` says where the program is.

use std::{fs, path::PathBuf, process::Output};

use otoshi_test::{Missing, given};

use crate::{bases, docker::Daemon, process};

/// What a container gets so that sandboxes can be made in it, without being privileged.
const ALLOWED: [&str; 4] =
    ["--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"];

/// A store that a container can lay overlays on.
const STORE: [&str; 4] = ["--tmpfs", "/store:exec,mode=1777", "--env", "OTOSHI_HOME=/store/home"];

struct Container {
    docker: Daemon,
    otoshi: PathBuf,
    context: tempfile::TempDir,
}

impl Container {
    fn new() -> Result<Self, Missing> {
        let otoshi = otoshi_test::program()?;
        let archive = otoshi_test::base("debian-old")?;
        let docker = Daemon::start().unwrap();
        process::read(docker.command().arg("import").arg(&archive).arg(bases::BASE)).unwrap();
        let context = tempfile::tempdir().unwrap();
        let dockerfile = "FROM scratch AS layer\nADD root.tar /\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo ran as $(/bin/busybox id -u) > /it\"]\n";
        fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        let mut tar = std::process::Command::new("tar");
        tar.args(["-C", "/", "-cf"]).arg(context.path().join("root.tar")).arg("bin/busybox");
        process::read(tar.arg("--dereference")).unwrap();
        let container = Self { docker, otoshi, context };
        fs::set_permissions(container.context.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        Ok(container)
    }

    /// Runs `otoshi` as an ordinary user of an unprivileged container.
    fn otoshi(&self, options: &[&str], arguments: &[&str]) -> Output {
        let mount = |from: &std::path::Path, to: &str| format!("{}:{to}:ro", from.display());
        let mut docker = self.docker.command();
        docker.args(["run", "--rm", "--network", "none", "--user", "1000:1000"]);
        docker.args(["--volume", &mount(&self.otoshi, "/usr/bin/otoshi")]);
        docker.args(["--volume", &mount(self.context.path(), "/context")]);
        docker.args(options).args([bases::BASE, "otoshi"]).args(arguments).output().unwrap()
    }
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// The same with one space wherever columns are kept apart by several.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_unprivileged_container_builds_where_it_may_and_the_doctor_says_where_not() {
    let container = given!(Container::new());

    let allowed = [&ALLOWED[..], &STORE[..]].concat();
    let well = container.otoshi(&allowed, &["doctor"]);
    assert!(well.status.success(), "{}", text(&well));
    assert!(text(&well).contains("images can be built here"), "{}", text(&well));
    let built = container.otoshi(&allowed, &["image", "build", "--no-cache", "/context"]);
    assert!(built.status.success() && text(&built).contains("sha256:"), "{}", text(&built));

    // Each thing that is missing is named, with what to do about it.
    let refused = [
        (&STORE[..], "rights bad", "seccomp=unconfined"),
        (&[&STORE[..], &ALLOWED[..2]].concat(), "sandbox bad", "systempaths=unconfined"),
        (
            &[&ALLOWED[..], &["--env", "OTOSHI_HOME=/tmp/home"]].concat(),
            "sandbox bad",
            "on a volume or tmpfs",
        ),
    ];
    for (options, finding, hint) in refused {
        let ill = container.otoshi(options, &["doctor"]);
        let shown = words(&text(&ill));
        assert_eq!(ill.status.code(), Some(5), "{shown}");
        assert!(shown.contains(finding) && shown.contains(hint), "{hint}: {shown}");
        let failed = container.otoshi(options, &["image", "build", "/context"]);
        assert_eq!(failed.status.code(), Some(5), "{}", text(&failed));
        assert!(text(&failed).contains(hint), "{hint}: {}", text(&failed));
    }
}
