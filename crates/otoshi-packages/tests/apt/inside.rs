//! Roots with an apt of their own, of several releases, in which that apt is asked.
//!
//! `cargo xtask test` makes them, as bases of packages. Running something in them takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use otoshi_oci::layer::{UnpackOptions, unpack_layer};
use otoshi_test::{Need, run};

/// The releases whose apt is asked: the old one, the current one, and the next.
pub(crate) const RELEASES: [&str; 3] = ["bookworm", "trixie", "forky"];

/// What running something in the root of each release takes.
pub(crate) const NEEDS: &[Need] =
    &[Need::Root, Need::Base("debian-bookworm"), Need::Base("debian-trixie"), Need::Base("debian-forky")];

/// A root of a release, which can be changed: what is written lies above what all tests share.
pub(crate) struct Inside {
    directory: tempfile::TempDir,
}

/// The unpacked root of a release, which is unpacked once for all tests.
fn unpacked(release: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/bases/debian-{release}.tar"));
    let file = fs::File::open(&archive)
        .unwrap_or_else(|error| panic!("{}, which cargo xtask test makes: {error}", archive.display()));
    let made = file.metadata().unwrap().modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{release}-{}", made.as_secs()));
    if !place.exists() {
        let partial = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        unpack_layer(file, partial.path(), &UnpackOptions::default()).unwrap();
        fs::rename(partial.path(), &place).unwrap();
    }
    place
}

impl Inside {
    /// Takes the root of a release, without its sources.
    pub(crate) fn new(release: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["above", "work", "root"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let place = |name: &str| directory.path().join(name).display().to_string();
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            unpacked(release).display(),
            place("above"),
            place("work")
        );
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "overlay", "overlay", "-o", &layers]).arg(place("root")));
        let inside = Self { directory };
        let settings =
            "APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::http::Proxy \"DIRECT\";\n";
        inside.write("etc/apt/apt.conf.d/00test", settings.as_bytes());
        inside.write("etc/apt/sources.list", b"");
        let parts =
            fs::read_dir(inside.path().join("etc/apt/sources.list.d")).into_iter().flatten().flatten();
        for entry in parts {
            fs::remove_file(entry.path()).unwrap();
        }
        inside
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.path().join(path);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }

    /// Runs apt-get there, and returns all it says, whether or not it is content.
    pub(crate) fn apt(&self, arguments: &[&str]) -> String {
        self.ask("apt-get", arguments)
    }

    /// Asks apt-cache there.
    pub(crate) fn cache(&self, arguments: &[&str]) -> String {
        self.ask("apt-cache", arguments)
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let mut apt = Command::new("chroot");
        apt.arg(self.path()).arg(program).args(arguments).env_clear();
        apt.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        let output = apt.output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Which of some suites its apt takes, having asked for them anew.
    pub(crate) fn takes(&self, suites: &[&str]) -> Vec<bool> {
        self.remove("var/lib/apt/lists");
        fs::create_dir_all(self.path().join("var/lib/apt/lists/partial")).unwrap();
        let said = self.apt(&["update", "-q"]);
        let refused = |suite: &&str| {
            let named = [format!(" {suite} InRelease"), format!(" {suite} Release")];
            said.lines().any(|line| {
                let bad = line.starts_with("Err:") || line.starts_with("E: ") || line.contains("GPG error");
                bad && named.iter().any(|named| line.contains(named))
            })
        };
        assert!(said.contains("Reading package lists") || said.contains("E: The list of sources"), "{said}");
        suites.iter().map(|suite| !refused(suite)).collect()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}
