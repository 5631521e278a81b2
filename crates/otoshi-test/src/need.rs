//! What a test needs of the machine, and what it does where that is missing.

use std::{
    collections::BTreeSet,
    env, error, fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

/// Programs and files that tests need, each with Debian's package that has it; `cargo xtask test` installs what is missing.
pub const TOOLS: &[(&str, &str)] = &[
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/skopeo", "skopeo"),
    ("/usr/bin/umoci", "umoci"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/buildah", "buildah"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/git", "git"),
    ("/usr/bin/ssh-agent", "openssh-client"),
    ("/usr/bin/bzip2", "bzip2"),
    ("/usr/bin/xz", "xz-utils"),
    ("/usr/bin/zstd", "zstd"),
    ("/usr/bin/gpg", "gpg"),
    ("/usr/bin/gpg-agent", "gpg-agent"),
    ("/usr/bin/rpm", "rpm"),
    ("/usr/bin/sqlite3", "sqlite3"),
    ("/usr/bin/db_load", "db-util"),
    ("/usr/bin/gcc", "gcc"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/bin/as", "binutils"),
    ("/usr/bin/ld", "binutils"),
    ("/usr/bin/musl-gcc", "musl-tools"),
    ("/sbin/ldconfig", "libc-bin"),
    ("/etc/ld.so.cache", "libc-bin"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/createrepo_c", "createrepo-c"),
    ("/usr/bin/dnf", "dnf"),
    ("/usr/bin/apt-ftparchive", "apt-utils"),
    ("/usr/bin/dpkg-scanpackages", "dpkg-dev"),
    ("/usr/bin/gpgv", "gpgv"),
    ("/usr/bin/newuidmap", "uidmap"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/python3", "python3"),
];

/// The environment variable under which, at `1`, a test fails where something that it needs is missing.
pub const STRICT: &str = "OTOSHI_TEST_STRICT";

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Root that may mount.
    Root,
    /// A program or a file of [`TOOLS`], by the name at the end of its path.
    Tool(&'static str),
    /// One of the bases that `cargo xtask bases` makes, by its name.
    Base(&'static str),
    /// The root file system with today's tools that `cargo xtask peers` makes.
    Peers,
    /// The program that `cargo xtask test` made for tests.
    Program,
    /// The right to make user namespaces.
    UserNamespaces,
    /// An address that is not of the loopback.
    Address,
    /// A version of the kernel, or a newer one.
    Kernel(u32, u32),
    /// Sources of a release of Debian in this machine's apt, by its code name.
    Apt(&'static str),
}

/// What a test needs and the machine has not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a test that cannot run says so: take what it needs with `given!`"]
pub struct Missing {
    need: String,
    remedy: String,
}

impl Missing {
    /// What is no [`Need`], since only the test itself finds out whether it is there; `remedy` says what gives a machine that.
    pub fn new(need: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { need: need.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "needs {} ({})", self.need, self.remedy)
    }
}

impl error::Error for Missing {}

/// Checks that the machine has all of these; gives the first that is missing.
///
/// # Panics
/// When a tool is none of [`TOOLS`], so that `cargo xtask test` would not install it.
pub fn require(needs: &[Need]) -> Result<(), Missing> {
    needs.iter().try_for_each(|need| need.check())
}

/// The path of a base that `cargo xtask bases` makes.
///
/// Fails where it was not made.
pub fn base(name: &'static str) -> Result<PathBuf, Missing> {
    require(&[Need::Base(name)])?;
    Ok(base_path(name))
}

/// The root file system with today's tools that `cargo xtask peers` makes.
///
/// Fails where it was not made.
pub fn peers() -> Result<PathBuf, Missing> {
    require(&[Need::Peers])?;
    Ok(peers_path())
}

/// The path of the program that `cargo xtask test` made for tests.
///
/// Fails where nothing says where that is.
pub fn program() -> Result<PathBuf, Missing> {
    require(&[Need::Program])?;
    Ok(env::var_os(PROGRAM).unwrap_or_default().into())
}

/// Where the path of the program stands.
const PROGRAM: &str = "OTOSHI_TEST_PROGRAM";

impl Need {
    fn check(self) -> Result<(), Missing> {
        let missing = |need: String, remedy: &str| Err(Missing::new(need, remedy));
        match self {
            Self::Root if !is_root() => missing("root that may mount".into(), "run the tests as root"),
            Self::Tool(name) => match tool(name) {
                (path, _) if Path::new(path).exists() => Ok(()),
                (path, package) => missing(path.to_owned(), &format!("package {package}")),
            },
            Self::Base(name) if !base_path(name).exists() => {
                missing(format!("the base {name}"), "cargo xtask test makes it")
            }
            Self::Peers if !peers_path().exists() => {
                missing("today's tools".into(), "cargo xtask peers makes them")
            }
            Self::Program if env::var_os(PROGRAM).is_none() => {
                missing("the program made for tests".into(), "run cargo xtask test")
            }
            Self::UserNamespaces if !has_user_namespaces() => {
                missing("user namespaces".into(), "see user.max_user_namespaces in sysctl(8)")
            }
            Self::Address if !has_address() => {
                missing("an address that is not of the loopback".into(), "connect the machine to a network")
            }
            Self::Kernel(major, minor) if kernel() < (major, minor) => {
                missing(format!("Linux {major}.{minor}"), "run a newer kernel")
            }
            Self::Apt(release) if !apt_knows(release) => {
                missing(format!("an apt that knows {release}"), "add its sources to /etc/apt")
            }
            _ => Ok(()),
        }
    }
}

/// Takes what a test needs, or ends the test where it is missing: passed over, or failed under `OTOSHI_TEST_STRICT=1`.
///
/// The function that this is used in returns nothing, or what stands behind `else`.
#[macro_export]
macro_rules! given {
    ($made:expr) => {
        match $made {
            Ok(made) => made,
            Err(missing) => {
                $crate::pass_over(&missing);
                return;
            }
        }
    };
    ($made:expr, else $value:expr) => {
        match $made {
            Ok(made) => made,
            Err(missing) => {
                $crate::pass_over(&missing);
                return $value;
            }
        }
    };
}

/// Says in red, once for each test and need, that a test cannot run here; straight to standard error, since what passes is not shown.
///
/// # Panics
/// Under `OTOSHI_TEST_STRICT=1`.
#[track_caller]
pub fn pass_over(missing: &Missing) {
    assert!(env::var_os(STRICT).is_none_or(|value| value != "1"), "the test {missing}");
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let thread = thread::current();
    let line = format!("skipped: {} {missing}", thread.name().unwrap_or("a test"));
    let is_new = SAID.lock().unwrap().insert(line.clone());
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_new {
        let line = if is_plain { format!("{line}\n") } else { format!("\x1b[31m{line}\x1b[0m\n") };
        // Whether anybody reads it does not matter to the test.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn tool(name: &str) -> (&'static str, &'static str) {
    let found = TOOLS.iter().find(|(path, _)| path.rsplit('/').next() == Some(name));
    *found.unwrap_or_else(|| panic!("{name} is none of otoshi_test::TOOLS, with the package that has it"))
}

fn peers_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/today")
}

fn base_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bases").join(format!("{name}.tar"))
}

/// Whether this is root with the capability to mount (`CAP_SYS_ADMIN`, capabilities(7)).
fn is_root() -> bool {
    const MAY_MOUNT: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    rustix::process::geteuid().is_root() && set >> MAY_MOUNT & 1 == 1
}

fn has_user_namespaces() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn has_address() -> bool {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0");
    // Nothing is sent: the kernel only looks for a way.
    let own = socket.and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()));
    own.is_ok_and(|address| !address.ip().is_loopback())
}

fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers =
        release.split(|char: char| !char.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn apt_knows(release: &str) -> bool {
    let targets = Command::new("apt-get").args(["indextargets", "--format", "$(CODENAME)"]).output();
    targets.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).lines().any(|line| line == release))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Missing {
        require(&[Need::Tool("busybox"), Need::Kernel(999, 1)]).unwrap_err()
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        assert_eq!(missing().to_string(), "needs Linux 999.1 (run a newer kernel)");
        assert_eq!(
            Need::Base("nothing").check().unwrap_err().to_string(),
            "needs the base nothing (cargo xtask test makes it)"
        );
        assert_eq!(require(&[Need::Kernel(2, 6)]), Ok(()));
    }

    #[test]
    #[should_panic(expected = "frobnicate is none of otoshi_test::TOOLS")]
    fn a_tool_that_nobody_would_install_is_a_mistake() {
        let _ = require(&[Need::Tool("frobnicate")]);
    }

    /// Not a test of its own: passes over, in a child process that the next test looks at.
    #[test]
    #[ignore = "started by a_test_passes_over_in_red_and_fails_when_that_is_wanted"]
    fn child_that_passes_over() {
        for _ in 0..2 {
            pass_over(&missing());
        }
    }

    #[test]
    fn a_test_passes_over_in_red_and_fails_when_that_is_wanted() {
        let run = |name: &str, value: &str| {
            let mut child = Command::new(env::current_exe().unwrap());
            child.args(["--exact", "need::tests::child_that_passes_over", "--ignored"]);
            child.env_remove("OTOSHI_TEST_STRICT").env_remove("NO_COLOR").env(name, value);
            let output = child.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            (output.status.success(), said, String::from_utf8(output.stdout).unwrap())
        };
        let line = "skipped: need::tests::child_that_passes_over needs Linux 999.1 (run a newer kernel)";
        assert_eq!(run("NO_COLOR", "1").1, format!("{line}\n"));
        let (passed, said, _) = run("NO_COLOR", "");
        assert_eq!((passed, said), (true, format!("\x1b[31m{line}\x1b[0m\n")));
        let (passed, said, shown) = run("OTOSHI_TEST_STRICT", "1");
        assert!(!passed && said.is_empty(), "{said}");
        assert!(shown.contains("the test needs Linux 999.1 (run a newer kernel)"), "{shown}");
    }
}
