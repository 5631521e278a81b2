//! What dpkg leaves on disk in one state or another: each release's own apt is asked which of it an upgrade would make newer.

use std::fs;

use jiff::Timestamp;
use otoshi_packages::apt::{Configuration, HttpFetcher};
use otoshi_packages::{Available, Cache, Installed, Standing};
use otoshi_test::{Server, given, require};

use crate::inside::{Inside, NEEDS, RELEASES};
use crate::repository::suite;

const STATES: [&str; 8] = [
    "installed",
    "unpacked",
    "half-configured",
    "half-installed",
    "triggers-awaited",
    "triggers-pending",
    "config-files",
    "not-installed",
];

/// A package for each state, with what somebody wants of it and whether it must be installed again.
fn cases() -> Vec<(String, String)> {
    let mut cases = Vec::new();
    for (want, error) in
        [("install", "ok"), ("install", "reinstreq"), ("deinstall", "ok"), ("purge", "ok"), ("unknown", "ok")]
    {
        // dpkg asks for nothing to be installed again of which nothing is on disk.
        let on_disk = |state: &&&str| error == "ok" || !matches!(**state, "config-files" | "not-installed");
        for state in STATES.iter().filter(on_disk) {
            cases.push((format!("{want}-{error}-{state}"), format!("{want} {error} {state}")));
        }
    }
    cases
}

#[test]
fn whatever_is_on_disk_is_made_newer_as_each_apt_does() {
    given!(require(NEEDS));
    let root = tempfile::tempdir().unwrap();
    let (mut packages, mut status) = (String::new(), String::new());
    for (name, state) in cases() {
        packages += &format!(
            "Package: {name}\nVersion: 2\nArchitecture: amd64\nMaintainer: x\nFilename: p/{name}.deb\nSize: 9\nSHA256: {}\n\n",
            "0".repeat(64)
        );
        let version = if state.ends_with("not-installed") { "" } else { "Version: 1\n" };
        let left = if state.ends_with("config-files") { "Config-Version: 1\n" } else { "" };
        status += &format!(
            "\nPackage: {name}\nStatus: {state}\nPriority: optional\nArchitecture: amd64\nMaintainer: x\n{left}{version}Description: x\n"
        );
    }
    suite(root.path(), "one", &packages, &["gz"], &[("Suite", "one"), ("Codename", "one")]);
    let server = Server::of(root.path());
    for release in RELEASES {
        let inside = Inside::new(release);
        let own = fs::read_to_string(inside.path().join("var/lib/dpkg/status")).unwrap();
        inside.write("var/lib/dpkg/status", (own + &status).as_bytes());
        inside.write(
            "etc/apt/sources.list",
            format!("deb [trusted=yes] {} one main\n", server.url()).as_bytes(),
        );
        inside.takes(&[]);
        let said = inside.apt(&["-s", "upgrade"]);
        let mut theirs: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next()).collect();
        theirs.sort_unstable();

        let installed = Installed::of_root(&inside.path()).unwrap();
        let store = tempfile::tempdir().unwrap();
        let fetch = HttpFetcher::new(&Configuration::default()).unwrap();
        let available = Available::refresh(&installed, &Cache::new(store.path()), &fetch, Timestamp::now());
        let newer = |name: &&&str| {
            let package = installed.packages.iter().find(|package| package.name == **name).unwrap();
            matches!(available.standing(package), Ok(Standing::Newer(_)))
        };
        let names: Vec<&str> = installed.packages.iter().map(|package| &package.name[..]).collect();
        let ours: Vec<&str> = names.iter().filter(newer).copied().collect();
        assert_eq!(ours, theirs, "{release}: {said}");
        // In every kind of want: installed, unpacked, half-configured, and both with triggers; half-installed where it is said.
        assert_eq!(theirs.len(), 5 * 5 + 1);
    }
}
