//! Bases of installed packages: as mmdebstrap leaves them, the same by whoever makes them, and old or new as the project says.
//!
//! Needs root, and an apt that knows bookworm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use otoshi_test::{Missing, Need, given, require};
use tempfile::TempDir;

/// A project whose runner is nothing but a base of packages, and the stores of those who build it.
struct Project {
    directory: TempDir,
}

impl Project {
    fn new() -> Result<Self, Missing> {
        require(&[Need::Root, Need::Apt("bookworm")])?;
        let directory = tempfile::tempdir().unwrap();
        // What is fetched already need not be fetched by each test.
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bases/store/packages");
        if kept.exists() {
            fs::create_dir(directory.path().join("one")).unwrap();
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(kept).arg(directory.path().join("one"));
            assert!(copy.status().unwrap().success());
        }
        fs::create_dir(directory.path().join("project")).unwrap();
        fs::write(directory.path().join("project/runner.Dockerfile"), "ARG RUN\nFROM ${RUN}\n").unwrap();
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn base(&self, table: &str) {
        let manifest = format!(
            "[project]\nname = \"hello\"\n[bases]\nRUN = {{ debian = \"bookworm\", {table} }}\n\
             [runner]\ndockerfile = \"runner.Dockerfile\"\n[processes]\nweb = [\"/bin/sh\", \"-c\", \"true\"]\n"
        );
        fs::write(self.path("project/otoshi.toml"), manifest).unwrap();
    }

    fn ok(&self, home: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otoshi"));
        command.args(arguments).current_dir(self.path("project")).env("OTOSHI_HOME", self.path(home));
        checked(&command.output().unwrap(), arguments)
    }

    /// What an ordinary user with further ids says; the user exists for this call only.
    fn ok_as_user(&self, home: &str, arguments: &str) -> String {
        const ID: u32 = 54323;
        let (directory, program) = (self.directory.path(), self.path("otoshi"));
        fs::copy(env!("CARGO_BIN_EXE_otoshi"), &program).unwrap();
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        fs::write(self.path("passwd"), format!("{passwd}otoshi-test:x:{ID}:{ID}::/:/bin/sh\n")).unwrap();
        fs::write(self.path("subuid"), "otoshi-test:400000:65536\n").unwrap();
        let owned = Command::new("chown").arg("-hR").arg(format!("{ID}:{ID}")).arg(directory).status();
        assert!(owned.unwrap().success());
        let script = format!(
            "set -e; cd {}; touch /etc/subuid /etc/subgid; mount --bind passwd /etc/passwd; \
             mount --bind subuid /etc/subuid; mount --bind subuid /etc/subgid; cd project; \
             exec setpriv --reuid {ID} --regid {ID} --clear-groups {} {arguments}",
            directory.display(),
            program.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).env("OTOSHI_HOME", self.path(home));
        checked(&command.output().unwrap(), &[arguments])
    }

    /// Which phases ran.
    fn ran(&self, home: &str, arguments: &[&str]) -> Vec<u64> {
        let said = self.ok(home, &[&["build", "--json"], arguments].concat());
        let report: serde_json::Value = serde_json::from_str(&said).unwrap();
        let phases = report["phases"].as_array().unwrap().iter();
        phases
            .filter(|phase| phase["status"] == "stale")
            .map(|phase| phase["number"].as_u64().unwrap())
            .collect()
    }

    fn tree(&self, home: &str) -> Tree {
        let archive = self.path("ours.tar");
        self.ok(
            home,
            &["export", "hello/runner", archive.to_str().unwrap(), "--format", "rootfs", "--force"],
        );
        Tree::read(&archive)
    }

    fn debs(&self, home: &str) -> usize {
        fs::read_dir(self.path(home).join("packages/deb")).unwrap().count()
    }
}

fn checked(output: &Output, arguments: &[&str]) -> String {
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A root file system: what each path is, its mode and owners, and where it leads or what it holds.
struct Tree(BTreeMap<String, Seen>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    kind: tar::EntryType,
    mode: u32,
    owner: (u64, u64),
    link: String,
    content: Vec<u8>,
}

impl Tree {
    fn read(archive: &Path) -> Self {
        let mut archive = tar::Archive::new(File::open(archive).unwrap());
        let plain =
            |path: &Path| path.to_str().unwrap().trim_start_matches("./").trim_matches('/').to_owned();
        let mut tree: BTreeMap<String, Seen> = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = plain(&entry.path().unwrap());
            let link = entry.link_name().unwrap().map(|link| link.to_str().unwrap().to_owned());
            let kind = entry.header().entry_type();
            let mut seen = Seen {
                kind,
                // Nobody looks at that of a link.
                mode: if kind.is_symlink() { 0 } else { entry.header().mode().unwrap() & 0o7777 },
                owner: (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
                link: link.unwrap_or_default(),
                content: Vec::new(),
            };
            if kind.is_hard_link() {
                // Which of two names is the link is nothing that anybody sees.
                seen = tree[&plain(Path::new(&seen.link))].clone();
            } else {
                entry.read_to_end(&mut seen.content).unwrap();
            }
            if Path::new(&name).extension().is_some_and(|ending| ending == "pyc") && seen.content.len() > 16 {
                // The time of the source that it was compiled from.
                seen.content[8..12].fill(0);
            }
            tree.insert(name, seen);
        }
        tree.remove("");
        Self(tree)
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&self.0[path].content).into_owned()
    }

    /// The packages that dpkg has on record as installed, with their versions.
    fn packages(&self) -> BTreeSet<(String, String)> {
        let status = self.text("var/lib/dpkg/status");
        let field = |paragraph: &str, name: &str| {
            paragraph.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
        };
        let installed = status.split("\n\n").filter(|one| field(one, "Status:") == "install ok installed");
        installed.map(|one| (field(one, "Package:"), field(one, "Version:"))).collect()
    }
}

/// Puts the packages that a store keeps where apt looks for them, under the names that it gives them.
fn fill_cache(store: &Path, cache: &Path) {
    fs::create_dir(cache).unwrap();
    for deb in fs::read_dir(store.join("packages/deb")).unwrap() {
        let deb = deb.unwrap().path();
        let format = "--showformat=${Package}_${Version}_${Architecture}.deb";
        let named = Command::new("dpkg-deb").args(["--show", format]).arg(&deb).output().unwrap();
        let name = String::from_utf8(named.stdout).unwrap().replace(':', "%3a");
        fs::copy(&deb, cache.join(name)).unwrap();
    }
}

/// What mmdebstrap makes of the same packages, from where the base's own sources say.
fn of_mmdebstrap(project: &Project, lines: &str, arguments: &[&str]) -> Tree {
    let (archive, cache) = (project.path("theirs.tar"), project.path("cache"));
    fill_cache(&project.path("one"), &cache);
    let fill = "mkdir -p \"$1/var/cache/apt/archives\" && cp";
    let fill = format!("--setup-hook={fill} {}/*.deb \"$1/var/cache/apt/archives\"", cache.display());
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--format=tar", "--quiet", &fill]).args(arguments);
    command.arg("--hook-directory=/usr/share/mmdebstrap/hooks/merged-usr");
    command.args(["--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
    command.arg("bookworm").arg(&archive).args(lines.lines());
    checked(&command.output().unwrap(), &["mmdebstrap"]);
    Tree::read(&archive)
}

/// What is not compared, and why.
const DIFFERENT: [(&str, &str); 14] = [
    ("dev/", "devices: a container has its own"),
    ("etc/apt/apt.conf.d/99mmdebstrap", "mmdebstrap's own settings"),
    ("etc/dpkg/dpkg.cfg.d/99mmdebstrap", "mmdebstrap's own settings"),
    ("etc/dpkg/dpkg.cfg.d/slim", "the same settings of our own"),
    ("etc/fstab", "for a machine that boots"),
    ("etc/hostname", "that of the machine it was made on"),
    ("etc/resolv.conf", "that of the machine it was made on"),
    ("etc/shadow", "compared without the day of the last change"),
    ("etc/apt/sources.list", "compared without the keys' place"),
    ("var/lib/apt/extended_states", "compared in any order"),
    ("var/lib/apt/lists/", "where apt locks and loads: an apt that ran made it for its own user"),
    ("var/cache/apt/archives/", "the same"),
    ("var/lib/dbus/machine-id", "a machine's name"),
    ("etc/machine-id", "a machine's name"),
];

/// Whether something is what was before a change.
fn is_copy(path: &str) -> bool {
    let directories = ["etc/", "var/cache/debconf/", "var/lib/dpkg/"];
    let name = path.rsplit('/').next().unwrap_or_default();
    (path.starts_with("etc/") && name.ends_with('-') && !name[..name.len() - 1].contains('-'))
        || (name.ends_with("-old") && directories.iter().any(|directory| path.starts_with(directory)))
}

fn compare(ours: &Tree, theirs: &Tree) {
    assert_eq!(ours.packages(), theirs.packages());
    let is_different = |path: &str| {
        DIFFERENT.iter().any(|(other, _)| path == *other || (other.ends_with('/') && path.starts_with(other)))
    };
    let paths: BTreeSet<&String> = ours.0.keys().chain(theirs.0.keys()).collect();
    let mut wrong = Vec::new();
    for path in paths.iter().filter(|path| !is_different(path) && !is_copy(path)) {
        let (one, other) = (ours.0.get(*path), theirs.0.get(*path));
        if one != other {
            let show = |seen: Option<&Seen>| {
                seen.map(|seen| {
                    let text = std::str::from_utf8(&seen.content).unwrap_or("not text");
                    let head: String = text.chars().take(300).collect();
                    (seen.kind, format!("{:o}", seen.mode), seen.owner, seen.link.clone(), head)
                })
            };
            wrong.push(format!("/{path}\n  {:?}\n  {:?}", show(one), show(other)));
        }
    }
    let shown = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} paths differ:\n{}", wrong.len(), shown.join("\n"));
    assert!(paths.len() > 2000, "{}", paths.len());

    let shadow = |tree: &Tree| -> Vec<String> {
        let undated = |line: &str| {
            let mut fields: Vec<&str> = line.split(':').collect();
            fields.remove(2);
            fields.join(":")
        };
        // Without the tools for passwords there are none.
        let known = tree.0.contains_key("etc/shadow").then(|| tree.text("etc/shadow"));
        known.unwrap_or_default().lines().map(undated).collect()
    };
    assert_eq!(shadow(ours), shadow(theirs));
}

#[test]
fn a_base_with_apt_is_what_mmdebstrap_makes() {
    let project = given!(Project::new());
    let packages = ["ca-certificates", "dbus", "python3-minimal", "ruby"];
    project.base(&format!("packages = {packages:?}, variant = \"apt\""));
    assert_eq!(project.ran("one", &[]), [3, 4]);
    let ours = project.tree("one");
    let sources = ours.text("etc/apt/sources.list");
    let include = format!("--include={}", packages.join(","));
    let theirs = of_mmdebstrap(&project, &sources, &["--variant=apt", &include]);
    compare(&ours, &theirs);
    let states = |tree: &Tree| {
        let text = tree.text("var/lib/apt/extended_states");
        text.split("\n\n")
            .map(|one| one.trim().to_owned())
            .filter(|one| !one.is_empty())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(states(&ours), states(&theirs));

    // The image's own tools find nothing wrong, and apt has what it needs to go on.
    let run = |line: &str| project.ok("one", &["run", "hello/runner", "--", "/bin/sh", "-c", line]);
    assert_eq!(run("dpkg --audit; dpkg --verify; apt-get check -qq"), "");
    let simulated = run("apt-get update -qq && apt-get install -s hello");
    let installed = simulated.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    assert_eq!(installed.collect::<Vec<_>>(), ["hello"], "{simulated}");
    assert_eq!(run("test -s /etc/machine-id || echo no machine").trim(), "no machine");
}

#[test]
fn a_minimal_slim_base_is_what_mmdebstrap_makes() {
    let project = given!(Project::new());
    project.base("packages = [\"ca-certificates\"], variant = \"minimal\", slim = true");
    assert_eq!(project.ran("one", &[]), [3, 4]);
    let ours = project.tree("one");
    assert!(!ours.0.contains_key("usr/bin/apt") && ours.0.contains_key("usr/bin/dpkg"));
    assert!(
        ours.0.contains_key("usr/share/doc/bash/copyright") && !ours.0.contains_key("usr/share/man/man1")
    );
    let slim = ours.text("etc/dpkg/dpkg.cfg.d/slim");
    let mut arguments = vec!["--variant=essential".to_owned(), "--include=ca-certificates".to_owned()];
    arguments.extend(slim.lines().map(|line| format!("--dpkgopt={line}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // A root without apt keeps no sources; they are this machine's.
    let sources = machine_sources();
    let mut theirs = of_mmdebstrap(&project, &sources, &arguments);
    // mmdebstrap used the machine's own apt, which left its directories; debconf has a file for one.
    for left in ["etc/apt", "var/lib/apt", "var/cache/apt", "var/log/apt"] {
        let is_left = |path: &str| path == left || path.starts_with(&format!("{left}/"));
        theirs.0.retain(|path, _| !is_left(path) || ours.0.contains_key(path));
    }
    compare(&ours, &theirs);
}

/// This machine's sources of bookworm, as lines.
fn machine_sources() -> String {
    let format = "$(REPO_URI) $(SUITE) $(COMPONENT) $(SIGNED_BY)";
    let mut listed = Command::new("apt-get");
    let said = listed.args(["indextargets", "--format", format, "Created-By: Packages"]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [uri, suite, "main", keys @ ..] = words.as_slice()
            && matches!(*suite, "bookworm" | "bookworm-updates" | "bookworm-security")
        {
            let keys = if keys.is_empty() { String::new() } else { format!("[signed-by={}] ", keys[0]) };
            lines.push(format!("deb {keys}{uri} {suite} main"));
        }
    }
    lines.join("\n")
}

#[test]
fn the_same_packages_give_the_same_base_whoever_makes_it() {
    given!(require(&[Need::Tool("newuidmap")]));
    let project = given!(Project::new());
    // As it was released, and with all that came since.
    project.base("packages = [\"python3-minimal\"], variant = \"apt\", slim = true, suites = [\"bookworm\"]");
    let _ = fs::remove_dir_all(project.path("one/packages/deb"));
    assert_eq!(project.ran("one", &[]), [3, 4]);
    let (old, debs) = (project.tree("one").packages(), project.debs("one"));
    assert_eq!(debs, old.len());
    project.base("packages = [\"python3-minimal\"], variant = \"apt\", slim = true");
    assert_eq!(project.ran("one", &[]), [3, 4]);
    let new = project.tree("one").packages();
    let newer = new.difference(&old).count();
    assert!(newer > 0, "bookworm has updates");
    assert_eq!(project.debs("one"), debs + newer, "nothing is fetched but what is newer");

    // Nothing new, nothing to do; another machine, and a user without rights, make it to the byte.
    assert_eq!(project.ran("one", &["--refresh"]), [0u64; 0]);
    let images = project.ok("one", &["images"]);
    let ours: BTreeSet<&str> = images.lines().filter(|line| line.starts_with("hello")).collect();
    for home in ["two", "three"] {
        fs::create_dir(project.path(home)).unwrap();
        let mut copy = Command::new("cp");
        copy.args(["-a", "one/packages", home]).current_dir(&project.directory);
        assert!(copy.status().unwrap().success());
    }
    project.ok("two", &["build", "--locked"]);
    project.ok_as_user("three", "build --locked");
    for images in [project.ok("two", &["images"]), project.ok_as_user("three", "images")] {
        let theirs: BTreeSet<&str> = images.lines().filter(|line| line.starts_with("hello")).collect();
        assert_eq!(theirs, ours);
    }
}
