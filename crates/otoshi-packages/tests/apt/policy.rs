//! Which version is the candidate: apt itself is asked, in a root of its own, about repositories made up at random.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use otoshi_packages::Files;
use otoshi_packages::apt::{Kept, read_root};
use otoshi_test::{Missing, Server, given, run};

use crate::refresh;
use crate::repository::{Keys, suite};

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const VERSIONS: [&str; 12] = [
    "1.0-1",
    "1.0-1+deb12u1",
    "1.0-1+deb12u2",
    "1.0~rc1-1",
    "1.1-1",
    "1:0.9-1",
    "2.0",
    "2.0-1~bpo12+1",
    "2.0+b1",
    "10.0",
    "1.0-1.1",
    "0.9",
];

/// The names of packages.
const COUNT: usize = 150;

fn architecture(number: usize) -> &'static str {
    if number.is_multiple_of(3) { "all" } else { "amd64" }
}

/// Suites with packages at random, and what is installed at random.
fn repositories(root: &Path, keys: &Keys, key: &str, dice: &mut Dice) -> String {
    let suites: [(&str, &[(&str, &str)]); 5] = [
        (
            "stable",
            &[
                ("Origin", "Debian"),
                ("Label", "Debian"),
                ("Suite", "stable"),
                ("Codename", "bookworm"),
                ("Version", "12.5"),
            ],
        ),
        (
            "stable-security",
            &[
                ("Origin", "Debian"),
                ("Label", "Debian-Security"),
                ("Suite", "stable-security"),
                ("Codename", "bookworm-security"),
            ],
        ),
        (
            "backports",
            &[
                ("Origin", "Debian Backports"),
                ("Suite", "backports"),
                ("Codename", "bookworm-backports"),
                ("NotAutomatic", "yes"),
                ("ButAutomaticUpgrades", "yes"),
            ],
        ),
        (
            "experimental",
            &[
                ("Origin", "Debian"),
                ("Suite", "experimental"),
                ("Codename", "rc-buggy"),
                ("NotAutomatic", "yes"),
            ],
        ),
        ("acme", &[("Origin", "Acme"), ("Label", "Acme Tools"), ("Suite", "acme"), ("Version", "7")]),
    ];
    for (name, fields) in suites {
        let mut packages = String::new();
        for number in 0..COUNT {
            for _ in 0..dice.roll(3) {
                let version = dice.pick(&VERSIONS);
                let _ = write!(
                    packages,
                    "Package: pack-{number}\nSource: source-{}\nVersion: {version}\nArchitecture: {}\nMaintainer: x\nInstalled-Size: 1\n\
                     Filename: pool/pack-{number}_{version}.deb\nSize: 1\nSHA256: {}\nDescription: x\n\n",
                    number % 10,
                    architecture(number),
                    otoshi_oci::Digest::sha256_of(format!("{number} {version}").as_bytes()).hex(),
                );
            }
        }
        let directory = suite(root, name, &packages, &["gz"], fields);
        keys.sign(&directory, key);
    }
    let mut status = String::new();
    for number in 0..COUNT {
        if dice.roll(2) == 0 {
            let _ = write!(
                status,
                "Package: pack-{number}\nStatus: install ok installed\nPriority: optional\nSource: source-{}\nMaintainer: x\n\
                 Installed-Size: 1\nArchitecture: {}\nVersion: {}\nDescription: x\n\n",
                number % 10,
                architecture(number),
                dice.pick(&VERSIONS)
            );
        }
    }
    status
}

/// What apt says of every package: installed, candidate, and the priority of each version.
type Said = BTreeMap<String, (Option<String>, Option<String>, BTreeMap<String, i32>)>;

fn ask_apt(root: &Path) -> Said {
    let config = root.join("apt-test.conf");
    let methods = "Dir::Bin::methods \"/usr/lib/apt/methods\";\nAPT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\n\
                   Acquire::Languages \"none\";\nDebug::NoLocking \"true\";\nAcquire::http::Proxy \"DIRECT\";\n";
    fs::write(&config, format!("Dir \"{}\";\n{methods}", root.display())).unwrap();
    for directory in
        ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "var/log/apt"]
    {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    // dpkg's record is found beside apt's.
    let status = format!("Dir::State::status={}", root.join("var/lib/dpkg/status").display());
    let apt = |program: &str, arguments: &[String]| {
        let mut apt = Command::new(program);
        apt.env("APT_CONFIG", &config).env("LC_ALL", "C").args(["-o", &status]).args(arguments);
        run(&mut apt)
    };
    apt("apt-get", &["update".into(), "-q".into()]);
    let names: Vec<String> = (0..COUNT).map(|number| format!("pack-{number}")).collect();
    let said = apt("apt-cache", &[&["policy".to_owned()], &names[..]].concat());
    let mut all = Said::new();
    let mut name = String::new();
    for line in said.lines() {
        let version = |text: &str| Some(text.trim().to_owned()).filter(|text| text != "(none)");
        if !line.starts_with(' ') {
            line.trim_end_matches(':').clone_into(&mut name);
            all.insert(name.clone(), (None, None, BTreeMap::new()));
            continue;
        }
        let entry = all.get_mut(&name).unwrap();
        if let Some(text) = line.strip_prefix("  Installed:") {
            entry.0 = version(text);
        } else if let Some(text) = line.strip_prefix("  Candidate:") {
            entry.1 = version(text);
        } else if (line.starts_with("     ") || line.starts_with(" *** ")) && !line.starts_with("        ") {
            let words: Vec<_> = line[5..].split_whitespace().collect();
            let priority = words[1].parse().unwrap_or_else(|_| i32::from(i16::MIN));
            // Two packages of one version are shown apart.
            let known = entry.2.entry(words[0].to_owned()).or_insert(priority);
            *known = priority.max(*known);
        }
    }
    all
}

/// Compares every candidate, and the priority of every version that is not installed.
fn compare(preferences: &str, configuration: &str, seed: u64) -> Result<usize, Missing> {
    let (root, store, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Keys::new()?);
    let key = keys.make("archive", "ed25519", "never");
    let mirror = root.path().join("mirror");
    let status = repositories(&mirror, &keys, &key, &mut Dice(seed));
    let server = Server::of(&mirror);
    let (machine, url) = (root.path().join("root"), server.url());
    let place = |path: &str, content: &[u8]| {
        let path = machine.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    place("var/lib/dpkg/status", status.as_bytes());
    place("etc/apt/trusted.gpg.d/a.gpg", &keys.public(&key, false));
    place(
        "etc/apt/sources.list",
        format!("deb {url} stable main\ndeb {url} stable-security main\n").as_bytes(),
    );
    place(
        "etc/apt/sources.list.d/more.sources",
        format!("Types: deb\nURIs: {url}\nSuites: backports experimental acme\nComponents: main\n")
            .as_bytes(),
    );
    place("etc/apt/preferences.d/pins.pref", preferences.as_bytes());
    place("etc/apt/apt.conf.d/90test", configuration.as_bytes());
    let said = ask_apt(&machine);
    let files: Files = read_root(&machine).unwrap();
    let available = refresh(&files, &Kept::new(store.path()));
    assert!(available.failures().is_empty(), "{:?}", available.failures());
    let mut candidates = 0;
    for (name, (installed, candidate, priorities)) in &said {
        let ours = available.candidate(name, "amd64", installed.as_deref()).unwrap();
        let ours = ours.map(|candidate| candidate.version);
        assert_eq!(&ours, candidate, "{name} with {installed:?} installed: {priorities:?}\n{preferences}");
        candidates += usize::from(candidate.is_some());
        for version in available.versions(name, "amd64").unwrap() {
            if installed.as_ref() != Some(&version.version) {
                assert_eq!(
                    priorities.get(&version.version),
                    Some(&version.priority),
                    "{name} {}",
                    version.version
                );
            }
        }
    }
    Ok(candidates)
}

#[test]
fn without_pins_apt_chooses_the_same_versions() {
    assert!(given!(compare("", "", 1)) > 100);
}

#[test]
fn with_a_default_release_apt_chooses_the_same_versions() {
    assert!(given!(compare("", "APT::Default-Release \"backports\";\n", 2)) > 100);
    assert!(given!(compare("", "APT::Default-Release \"/^bookworm.*/\";\n", 3)) > 100);
}

#[test]
fn with_pins_apt_chooses_the_same_versions() {
    let pins = "Explanation: what a company favours\nPackage: *\nPin: release o=Acme\nPin-Priority: 700\n\n\
        Package: *\nPin: release n=rc-buggy\nPin-Priority: never\n\n\
        Package: pack-1 pack-2 pack-3\nPin: version 1.0*\nPin-Priority: 1001\n\n\
        Package: pack-1? pack-[23]*\nPin: release a=backports\nPin-Priority: 600\n\n\
        Package: src:source-7\nPin: release l=Debian-Security\nPin-Priority: 900\n\n\
        Package: /^pack-9/\nPin: origin \"127.0.0.1\"\nPin-Priority: -5\n\n\
        Package: pack-8*\nPin: release v=12*\nPin-Priority: 995\n\n\
        Package: pack-5*\nPin: release o=Debian, a=stable\nPin-Priority: 1000\n\n\
        Package: pack-4*\nPin: version 2.0*\nPin-Priority: -7\n\n\
        Package: pack-6*\nPin: release a=now\nPin-Priority: 800\n";
    assert!(given!(compare(pins, "", 4)) > 100);
    assert!(given!(compare(pins, "APT::Default-Release \"stable\";\n", 5)) > 100);
}
