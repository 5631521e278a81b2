//! Which updates are given out step by step, and whose turn it is: apt itself is asked, in a root of its own.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use otoshi_packages::apt::{Available, Kept, read_more, read_root};
use otoshi_test::{Server, given, require, run};

use crate::inside::{Inside, NEEDS, RELEASES};
use crate::keyrings::old_ring;
use crate::refresh;
use crate::repository::{Keys, suite};

/// How many packages are newer in the repository; two of each source.
const COUNT: usize = 404;

fn source(number: usize) -> usize {
    number / 2
}

/// Packages with every share from 0 to 100 and none; some of which a security fix comes before.
fn repositories(root: &Path, keys: &Keys, key: &str) -> String {
    let (mut updates, mut security, mut status) = (String::new(), String::new(), String::new());
    for number in 0..COUNT {
        let entry = |version: &str| {
            let source = source(number);
            format!(
                "Package: pack-{number}\nSource: source-{source} ({version}-src)\nVersion: {version}\nArchitecture: all\n\
                 Maintainer: x\nInstalled-Size: 1\nDescription: x\n"
            )
        };
        let file = |version: &str| {
            let sum = otoshi_oci::Digest::sha256_of(format!("{number} {version}").as_bytes());
            format!("Filename: pool/pack-{number}_{version}.deb\nSize: 1\nSHA256: {}\n", sum.hex())
        };
        write!(updates, "{}{}", entry("2.0-1"), file("2.0-1")).unwrap();
        if source(number) <= 100 {
            writeln!(updates, "Phased-Update-Percentage: {}", source(number)).unwrap();
        } else if number % 3 != 0 {
            writeln!(updates, "Phased-Update-Percentage: {}", number * 7 % 100).unwrap();
        }
        updates.push('\n');
        if number % 13 == 0 {
            writeln!(security, "{}{}", entry("1.5-1"), file("1.5-1")).unwrap();
        }
        // A fix that is there already, and one that is the update itself.
        if number % 17 == 0 {
            writeln!(security, "{}{}", entry("1.0-1"), file("1.0-1")).unwrap();
        }
        if number % 19 == 0 {
            writeln!(security, "{}{}", entry("2.0-1"), file("2.0-1")).unwrap();
        }
        writeln!(status, "{}Status: install ok installed\nPriority: optional\n", entry("1.0-1")).unwrap();
    }
    for (name, packages) in [("noble-updates", updates), ("noble-security", security)] {
        let fields = [("Origin", "Ubuntu"), ("Label", "Ubuntu"), ("Suite", name), ("Codename", "noble")];
        let directory = suite(root, name, &packages, &["gz"], &fields);
        keys.sign(&directory, key);
    }
    status
}

/// The packages that apt would make newer.
fn ask_apt(root: &Path) -> BTreeSet<String> {
    let config = root.join("apt-test.conf");
    // In a root below another, apt takes every update; that is nothing of the root itself.
    let settings = "Dir::Bin::methods \"/usr/lib/apt/methods\";\nDir::Bin::ischroot \"/bin/false\";\n\
        APT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\nAcquire::Languages \"none\";\n\
        Debug::NoLocking \"true\";\nAcquire::http::Proxy \"DIRECT\";\n";
    fs::write(&config, format!("Dir \"{}\";\n{settings}", root.display())).unwrap();
    for directory in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let status = format!("Dir::State::status={}", root.join("var/lib/dpkg/status").display());
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", &config).env("LC_ALL", "C").args(["-o", &status]).args(arguments);
        run(&mut apt)
    };
    apt(&["update", "-q"]);
    let said = apt(&["-s", "-q", "upgrade"]);
    let line = |line: &str| Some(line.strip_prefix("Inst ")?.split(' ').next()?.to_owned());
    said.lines().filter_map(line).collect()
}

/// The packages of these that a root's own apt would make newer.
fn ask_inside(inside: &Inside) -> BTreeSet<String> {
    assert_eq!(inside.takes(&["noble-updates", "noble-security"]), [true, true]);
    let said = inside.apt(&["-s", "-q", "upgrade"]);
    let line = |line: &str| Some(line.strip_prefix("Inst ")?.split(' ').next()?.to_owned());
    said.lines().filter_map(line).collect()
}

/// Gives a release file another date.
fn dated(directory: &Path, date: &str) {
    let path = directory.join("Release");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text
        .lines()
        .map(|line| if line.starts_with("Date:") { format!("Date: {date}\n") } else { format!("{line}\n") });
    fs::write(path, lines.collect::<String>()).unwrap();
}

#[test]
fn each_apt_rolls_its_own_die() {
    given!(require(NEEDS));
    let (root, store, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), given!(Keys::new()));
    let key = keys.make("archive", "ed25519", "never");
    let mirror = root.path().join("mirror");
    let status = repositories(&mirror, &keys, &key);
    let server = Server::of(&mirror);
    let url = server.url();
    // As Ubuntu has them: keys in a ring of GnuPG's old form, and a date with a blank in its hour.
    let ring = old_ring(&keys, &[&key]);
    let date = Timestamp::now().strftime("%a, %d %b %Y  1:02:03 UTC").to_string();
    for suite in ["noble-updates", "noble-security"] {
        dated(&mirror.join("dists").join(suite), &date);
        keys.sign(&mirror.join("dists").join(suite), &key);
    }
    let mut taken = Vec::new();
    for release in RELEASES {
        let inside = Inside::new(release);
        let own = fs::read(inside.path().join("var/lib/dpkg/status")).unwrap();
        inside.write("var/lib/dpkg/status", &[&own[..], b"\n", status.as_bytes()].concat());
        inside.write("srv/a.gpg", &ring);
        // In a root below another, apt takes every update; that is nothing of the root itself.
        inside.write("etc/apt/apt.conf.d/90test", b"Dir::Bin::ischroot \"/bin/false\";\n");
        let line = |suite: &str| format!("deb [signed-by=/srv/a.gpg] {url} {suite} main\n");
        let lines = line("noble-updates") + &line("noble-security");
        inside.write("etc/apt/sources.list", lines.as_bytes());
        let mut all = BTreeSet::new();
        for number in 0..12 {
            inside.write("etc/machine-id", format!("{:032x}\n", number * 7_919 + 1).as_bytes());
            let theirs = ask_inside(&inside);
            let mut files = read_root(&inside.path()).unwrap();
            read_more(&inside.path(), "srv/a.gpg", &mut files).unwrap();
            let available = refresh(&files, &Kept::new(store.path()));
            let ours = taken_of(&available);
            let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
            assert!(differ.is_empty(), "{release}, machine {number}: {differ:?}");
            all.extend(theirs.into_iter().map(|name| format!("{number} {name}")));
        }
        taken.push(all);
    }
    // The dice do differ.
    assert_ne!(taken.first(), taken.last());
}

/// The packages of which a newer version is taken now.
fn taken_of(available: &Available) -> BTreeSet<String> {
    assert!(available.failures().is_empty(), "{:?}", available.failures());
    let takes = |name: &String| {
        let candidate = available.candidate(name, "all", Some("1.0-1")).unwrap().unwrap();
        candidate.version == "2.0-1" && !candidate.deferred
    };
    (0..COUNT).map(|number| format!("pack-{number}")).filter(takes).collect()
}

#[test]
fn the_same_machines_take_a_phased_update_as_with_apt() {
    let (root, store, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), given!(Keys::new()));
    let key = keys.make("archive", "ed25519", "never");
    let mirror = root.path().join("mirror");
    let status = repositories(&mirror, &keys, &key);
    let server = Server::of(&mirror);
    let ids = ["1f3c9a0e5b7d42688c0a9d7e6b5f4a31", "00000000000000000000000000000000", "a machine", "x"];
    let mut cases: Vec<(String, String)> = ids.iter().map(|id| (String::new(), format!("{id}\n"))).collect();
    cases.extend([
        ("APT::Machine-ID \"b6d0f1d2a3c44e5f8a9b0c1d2e3f4a5b\";".into(), "not this one\n".into()),
        ("APT::Get::Always-Include-Phased-Updates \"true\";".into(), "x\n".into()),
        ("APT::Get::Never-Include-Phased-Updates \"true\";".into(), "x\n".into()),
        ("Update-Manager::Never-Include-Phased-Updates \"true\";".into(), "x\n".into()),
        (String::new(), String::new()),
    ]);
    let mut sizes = BTreeSet::new();
    for (number, (configuration, machine)) in cases.iter().enumerate() {
        let root = root.path().join(format!("root-{number}"));
        let place = |path: &str, content: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        // It is this machine's apt that is asked.
        let version = run(Command::new("dpkg-query").args(["--show", "--showformat", "${Version}", "apt"]));
        let apt = format!(
            "Package: apt\nStatus: install ok installed\nPriority: optional\nMaintainer: x\nArchitecture: amd64\nVersion: \
             {version}\nDescription: x\n\n"
        );
        place("var/lib/dpkg/status", (apt + &status).as_bytes());
        place("etc/apt/trusted.gpg.d/a.gpg", &keys.public(&key, false));
        let url = server.url();
        let sources = format!("deb {url} noble-updates main\ndeb {url} noble-security main\n");
        place("etc/apt/sources.list", sources.as_bytes());
        place("etc/apt/apt.conf.d/90test", configuration.as_bytes());
        place("etc/machine-id", machine.as_bytes());
        let theirs = ask_apt(&root);
        let available = refresh(&read_root(&root).unwrap(), &Kept::new(store.path()));
        let ours = taken_of(&available);
        let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
        assert!(differ.is_empty(), "{configuration:?} {machine:?}: {differ:?}");
        sizes.insert(theirs.len());
    }
    // Machines do differ, and some take all and some none but what is not phased.
    assert!(sizes.len() >= 5 && sizes.contains(&COUNT), "{sizes:?}");
}
