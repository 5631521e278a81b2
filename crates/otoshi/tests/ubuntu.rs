//! A base of Ubuntu's packages, of a signed archive that says it is Ubuntu's.
//!
//! Needs root: the archive is this machine's only one for as long as a command runs.

mod whole;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use otoshi_test::{Missing, Need, Server, given, require, run};
use tempfile::TempDir;
use whole::{assert_said, assert_written};

const SUITES: [&str; 3] = ["noble", "noble-updates", "noble-security"];

/// An archive on loopback, a project whose runner is made of it, and this machine's apt as it is to be.
struct Ubuntu {
    dir: TempDir,
    server: Server,
    architecture: String,
}

/// A package of one text file, and of a program where there is one.
#[derive(Default)]
struct Deb<'a> {
    name: &'a str,
    version: &'a str,
    /// More lines of its control file.
    more: &'a str,
    /// Its path and its text.
    file: (&'a str, &'a str),
    program: Option<&'a str>,
}

impl Ubuntu {
    fn new() -> Result<Self, Missing> {
        require(&[Need::Root, Need::Tool("busybox"), Need::Tool("gpg"), Need::Tool("apt-ftparchive")])?;
        let dir = tempfile::tempdir().unwrap();
        for name in ["archive/pool", "apt", "project", "gnupg"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let server = Server::of(&dir.path().join("archive"));
        let architecture = run(Command::new("dpkg").arg("--print-architecture")).trim().to_owned();
        let ubuntu = Self { dir, server, architecture };
        run(ubuntu.gpg().args(["--quick-generate-key", "archive@otoshi.test", "ed25519", "sign", "never"]));
        run(ubuntu.gpg().args(["--export", "--output"]).arg(ubuntu.path("apt/ubuntu.gpg")));
        let url = ubuntu.server.url();
        let line = |suite| format!("deb [signed-by=/etc/apt/ubuntu.gpg] {url} {suite} main universe\n");
        fs::write(ubuntu.path("apt/sources.list"), SUITES.map(line).concat()).unwrap();
        let manifest = "[project]\nname = \"daruma\"\n[bases]\n\
            RUN = { ubuntu = \"noble\", packages = [\"daruma\"], variant = \"distroless\" }\n\
            [runner]\ndockerfile = \"runner.Dockerfile\"\n[processes]\n\
            web = [\"/usr/bin/busybox\", \"cat\", \"/usr/share/daruma\", \"/etc/os-release\"]\n";
        fs::write(ubuntu.path("project/otoshi.toml"), manifest).unwrap();
        fs::write(ubuntu.path("project/runner.Dockerfile"), "ARG RUN\nFROM ${RUN}\n").unwrap();
        Ok(ubuntu)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.path("gnupg"));
        gpg.args(["--batch", "--quiet", "--yes", "--pinentry-mode=loopback", "--passphrase", ""]);
        gpg
    }

    /// Makes a package.
    fn deb(&self, deb: &Deb<'_>) {
        let Deb { name, version, more, file: (file, text), program } = *deb;
        let tree = tempfile::tempdir().unwrap();
        let place = |path: &str| {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        fs::write(place(file), text).unwrap();
        if let Some(program) = program {
            fs::copy(program, place("usr/bin/busybox")).unwrap();
        }
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {}\nMaintainer: Nobody <nobody@otoshi.test>\n\
             Description: a test\n{more}",
            self.architecture
        );
        fs::write(place("DEBIAN/control"), control).unwrap();
        let mut build = Command::new("dpkg-deb");
        run(build
            .args(["--root-owner-group", "-Zgzip", "--build"])
            .arg(tree.path())
            .arg(self.path("archive/pool")));
    }

    /// Has these packages in the suites from now on, and says whose archive it is.
    fn publish(&self, origin: &str, of: [&[&str]; 3]) {
        let mut scan = Command::new("dpkg-scanpackages");
        let pool = run(scan.args(["-m", "pool"]).current_dir(self.path("archive")));
        for (suite, debs) in SUITES.iter().zip(of) {
            let directory = self.path("archive/dists").join(suite);
            let _ = fs::remove_dir_all(&directory);
            for component in ["main", "universe"] {
                let index = directory.join(component).join(format!("binary-{}", self.architecture));
                fs::create_dir_all(&index).unwrap();
                let is_in = |paragraph: &&str| {
                    let file = paragraph.lines().find_map(|line| line.strip_prefix("Filename: pool/"));
                    let is_of = |deb: &&str| file.is_some_and(|file| file.starts_with(&format!("{deb}_")));
                    component == "main" && debs.iter().any(is_of)
                };
                let text = pool.split_inclusive("\n\n").filter(is_in);
                fs::write(index.join("Packages"), text.collect::<String>()).unwrap();
            }
            let mut release = Command::new("apt-ftparchive");
            for (name, value) in
                [("Origin", origin), ("Label", origin), ("Suite", suite), ("Codename", "noble")]
            {
                release.args(["-o", &format!("APT::FTPArchive::Release::{name}={value}")]);
            }
            let text = run(release.args(["release", "."]).current_dir(&directory));
            fs::write(directory.join("Release"), text).unwrap();
            let mut sign = self.gpg();
            sign.arg("--clearsign").arg("--output").arg(directory.join("InRelease"));
            run(sign.arg(directory.join("Release")));
        }
    }

    /// Runs the program with this archive as the machine's own.
    fn otoshi(&self, home: &str, arguments: &str) -> Output {
        let script = format!(
            "mount --bind {} /etc/apt; exec {} {arguments}",
            self.path("apt").display(),
            env!("CARGO_BIN_EXE_otoshi")
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-e", "-c", &script]).current_dir(self.path("project"));
        command.env("OTOSHI_HOME", self.path(home)).output().unwrap()
    }

    fn ok(&self, home: &str, arguments: &str) -> String {
        let output = self.otoshi(home, arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Ubuntu {
    fn drop(&mut self) {
        let _ =
            Command::new("gpgconf").arg("--homedir").arg(self.path("gnupg")).args(["--kill", "all"]).output();
    }
}

#[test]
fn a_base_of_ubuntus_packages_is_made_and_kept_current_and_never_of_another_archive() {
    let ubuntu = given!(Ubuntu::new());
    let release = "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nID=ubuntu\nVERSION_ID=\"24.04\"\n";
    let base = Deb {
        name: "base-files",
        version: "13ubuntu10",
        file: ("etc/os-release", release),
        ..Deb::default()
    };
    ubuntu.deb(&Deb { more: "Essential: yes\n", ..base });
    let file = ("usr/share/libdaruma", "1\n");
    ubuntu.deb(&Deb { name: "libdaruma", version: "1", file, ..Deb::default() });
    for version in ["1.0", "1.0ubuntu0.1", "1.0ubuntu0.2"] {
        let text = format!("daruma {version}\n");
        let (more, file) = ("Depends: libdaruma\n", ("usr/share/daruma", &text[..]));
        ubuntu.deb(&Deb { name: "daruma", version, more, file, program: Some("/bin/busybox") });
    }
    let all: &[&str] = &["base-files_13ubuntu10", "libdaruma_1", "daruma_1.0"];
    ubuntu.publish("Ubuntu", [all, &[], &["daruma_1.0ubuntu0.1"]]);
    ubuntu.ok("one", "build");
    assert_eq!(ubuntu.ok("one", "run web"), format!("daruma 1.0ubuntu0.1\n{release}"));
    let lock = fs::read_to_string(ubuntu.path("project/otoshi.lock")).unwrap();
    assert_written("lock-of-a-base-of-ubuntus-packages", &lock);
    // Another machine makes the very image that the lock has.
    ubuntu.ok("two", "build --locked");
    assert_eq!(ubuntu.ok("one", "images"), ubuntu.ok("two", "images"));

    // What is fixed next comes in, and nothing else is fetched again.
    ubuntu.publish("Ubuntu", [all, &["daruma_1.0ubuntu0.2"], &["daruma_1.0ubuntu0.1"]]);
    let manifest = fs::read_to_string(ubuntu.path("project/otoshi.toml")).unwrap();
    assert_said("update-of-a-base-of-ubuntus-packages", &ubuntu.otoshi("one", "update"));
    assert_eq!(fs::read_to_string(ubuntu.path("project/otoshi.toml")).unwrap(), manifest);
    ubuntu.ok("one", "build --locked");
    assert!(ubuntu.ok("one", "run web").starts_with("daruma 1.0ubuntu0.2\n"));
    assert_eq!(ubuntu.ok("one", "update"), "nothing to update\n");
    assert_eq!(fs::read_dir(ubuntu.path("one/packages/deb")).unwrap().count(), 4);

    // Signed by the same key, and another distribution's: the name of the release alone says nothing.
    ubuntu.publish("Debian", [all, &[], &[]]);
    assert_said("build-of-ubuntu-from-an-archive-of-debian", &ubuntu.otoshi("three", "build --refresh"));
}
