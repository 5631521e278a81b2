//! The record of a package manager: the first byte says which. Reading ends, nothing panics, and what is found is in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_packages::{Files, Installed};

const PATHS: [&str; 8] = [
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d/one",
    "lib/apk/db/installed",
    "lib/apk/db/installed.adb",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages",
    "usr/lib/sysimage/rpm/Packages.db",
    "etc/os-release",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, content)) = bytes.split_first() else { return };
    let mut files = Files::new();
    files.insert(PATHS[usize::from(*which) % PATHS.len()], content);
    // A database and its log are one input, parted in the middle.
    if *which >= 128 {
        let (database, log) = content.split_at(content.len() / 2);
        files.insert("var/lib/rpm/rpmdb.sqlite", database);
        files.insert("var/lib/rpm/rpmdb.sqlite-wal", log);
    }
    files.insert("var/lib/apt/extended_states", content);
    files.insert("etc/apk/world", content);
    files.insert("etc/dnf/plugins/versionlock.list", content);
    if let Ok(installed) = Installed::of(files) {
        assert!(installed.packages.is_sorted());
        for package in &installed.packages {
            assert!(installed.named(&package.name).contains(package));
        }
    }
});
