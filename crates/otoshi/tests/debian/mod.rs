//! A base of Debian's release suite alone, with the sources of its updates; and what apt says of it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use otoshi_test::{Need, run};

use crate::support::Shop;

/// What a base of Debian needs: the one that `cargo xtask test` makes, and the addresses of its archive.
pub(crate) const NEEDS: &[Need] = &[Need::Root, Need::Base("bookworm-old"), Need::Apt("bookworm")];

fn archive() -> PathBuf {
    otoshi_test::base("bookworm-old").unwrap()
}

/// This machine's sources of the base's release, its updates and its security fixes.
pub(crate) fn sources() -> String {
    otoshi_test::debian_sources("bookworm")
}

/// Makes otoshi.test/debian:1, the base with these sources.
pub(crate) fn import(shop: &Shop, sources: &str) {
    let old = archive();
    shop.ok(&["import", old.to_str().unwrap(), "--name", "otoshi.test/debian-old:1"]);
    let directory = shop.dir.path().join("debian");
    fs::create_dir_all(&directory).unwrap();
    fs::write(
        directory.join("Dockerfile"),
        "FROM otoshi.test/debian-old:1\nCOPY sources.list /etc/apt/sources.list\n",
    )
    .unwrap();
    fs::write(directory.join("sources.list"), sources).unwrap();
    shop.ok(&["image", "build", directory.to_str().unwrap(), "-t", "otoshi.test/debian:1"]);
}

/// What `apt-get upgrade` would install in the base with these sources: name, version, and whether it is a security update.
pub(crate) fn upgrades(sources: &str) -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    run(Command::new("tar").arg("-C").arg(root).args(["--exclude=./dev/*", "-xf"]).arg(archive()));
    fs::write(root.join("etc/apt/sources.list"), sources).unwrap();
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.arg("-o").arg(format!("Dir={}", root.display()));
        apt.arg("-o").arg(format!("Dir::State::status={}", root.join("var/lib/dpkg/status").display()));
        apt.args(["-o", "APT::Sandbox::User=root", "-q"]);
        apt
    };
    run(apt().arg("update"));
    let text = run(apt().args(["-s", "upgrade"]));
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let (_, new) = rest.split_once('(')?;
        let version = new.split(' ').next()?;
        let security = if new.split(')').next()?.contains("-security") { " security" } else { "" };
        Some(format!("{name} {version}{security}"))
    };
    text.lines().filter_map(line).collect()
}
