//! A real base of Debian and the real archive: what is newer is what `apt-get upgrade` would install.
//!
//! `cargo xtask test` makes the base, of the release suite alone, so that the security updates of today are all waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use otoshi_oci::config::{History, ImageConfig};
use otoshi_oci::layer::{Compression, UnpackOptions, store_tar, unpack_layer};
use otoshi_oci::tar::{END, Entry, Kind, write_header, write_padding};
use otoshi_oci::{Digest, Image, ImageLayer, Platform, write_image};
use otoshi_packages::apt::HttpFetcher;
use otoshi_packages::{Available, Cache, Installed, Standing, apt};
use otoshi_store::Home;
use otoshi_test::{Need, debian_sources, given, require, run};

/// The base as an image, with a second layer that has these sources.
fn image(home: &Home, base: &Path, sources: &str) -> Image {
    let mut layer = Vec::new();
    let mut entry = Entry::new("etc/apt/sources.list", Kind::File, 0o644);
    entry.size = sources.len() as u64;
    write_header(&mut layer, &entry);
    layer.extend_from_slice(sources.as_bytes());
    write_padding(&mut layer, entry.size);
    layer.extend_from_slice(&END);
    let platform = Platform::host();
    let mut config = ImageConfig::new(&platform);
    let mut descriptors = Vec::new();
    let blobs: [Box<dyn std::io::Read + Send>; 2] =
        [Box::new(File::open(base).expect("the base that cargo xtask test makes")), Box::new(&layer[..])];
    for blob in blobs {
        let written = store_tar(home.layout(), blob, Compression::Zstd, 2, "a layer").unwrap();
        config.rootfs.diff_ids.push(written.diff_id);
        config.history.push(History::default());
        descriptors.push(written.descriptor);
    }
    let descriptor = write_image(home.layout(), &config, &descriptors, &BTreeMap::new()).unwrap();
    Image::load(home.layout(), &Digest::of(&descriptor).unwrap(), &platform).unwrap()
}

fn here(layer: &ImageLayer) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(format!("{} was asked for", layer.digest).into())
}

/// What `apt-get upgrade` would install in that root: name, version, and whether it comes from the security suite.
fn theirs(root: &Path) -> BTreeSet<String> {
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.arg("-o").arg(format!("Dir={}", root.display()));
        apt.arg("-o").arg(format!("Dir::State::status={}", root.join("var/lib/dpkg/status").display()));
        apt.args(["-o", "APT::Sandbox::User=root", "-q"]);
        apt
    };
    run(apt().arg("update"));
    upgrades(&run(apt().args(["-s", "upgrade"])))
}

/// What `apt-get upgrade` installs, by what it says: name, version, and whether it comes from the security suite.
fn upgrades(said: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let (_, new) = rest.split_once('(')?;
        let version = new.split(' ').next()?;
        let security = if new.split(')').next()?.contains("-security") { " security" } else { "" };
        Some(format!("{name} {version}{security}"))
    };
    said.lines().filter_map(line).collect()
}

/// A release's root as it is, with sources; and what its own apt would upgrade, and what Otoshi says is newer.
fn inside(release: &str, sources: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/bases/debian-{release}.tar"));
    let base = File::open(base).expect("the root that cargo xtask test makes");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    unpack_layer(base, &root, &UnpackOptions::default()).unwrap();
    fs::write(root.join("etc/apt/sources.list"), sources).unwrap();
    for entry in fs::read_dir(root.join("etc/apt/sources.list.d")).into_iter().flatten().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    fs::write(root.join("etc/apt/apt.conf.d/00test"), "APT::Sandbox::User \"root\";\n").unwrap();
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("chroot");
        apt.arg(&root).arg("apt-get").args(arguments).env_clear();
        run(apt.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C"))
    };
    apt(&["update", "-q"]);
    let theirs = upgrades(&apt(&["-s", "-q", "upgrade"]));

    let installed = Installed::of_root(&root).unwrap();
    assert!(installed.packages.len() > 50);
    let repositories = apt::Repositories::from_files(&apt::read_root("/".as_ref()).unwrap(), "amd64");
    let fetch = HttpFetcher::new(repositories.configuration()).unwrap();
    let available =
        Available::refresh(&installed, &Cache::new(dir.path().join("cache")), &fetch, Timestamp::now());
    assert!(available.failures().is_empty(), "{:?}", available.failures());
    let mut ours = BTreeSet::new();
    for package in &installed.packages {
        match available.standing(package).unwrap() {
            Standing::Newer(newer) => {
                let security = if newer.security { " security" } else { "" };
                ours.insert(format!("{} {}{security}", package.name, newer.version));
            }
            standing => assert_eq!(standing, Standing::Fresh, "{}", package.name),
        }
    }
    (theirs, ours)
}

#[test]
fn in_roots_of_later_releases_it_is_what_their_own_apt_would_upgrade() {
    given!(require(&[Need::Root, Need::Base("debian-trixie"), Need::Base("debian-forky")]));
    let mirror = "http://deb.debian.org";
    let line = |place: &str, suite: &str| format!("deb {mirror}/{place} {suite} main\n");
    let trixie = line("debian", "trixie")
        + &line("debian", "trixie-updates")
        + &line("debian-security", "trixie-security");
    let forky = line("debian", "forky") + &line("debian", "sid");
    let mut all = 0;
    for (release, sources) in [("trixie", &trixie), ("forky", &forky)] {
        let (theirs, ours) = inside(release, sources);
        assert_eq!(ours, theirs, "{release}");
        all += theirs.len();
    }
    assert!(all > 0, "nothing is newer anywhere");
}

#[test]
fn what_is_newer_is_what_apt_would_upgrade() {
    given!(require(&[Need::Root, Need::Apt("bookworm")]));
    let base = given!(otoshi_test::base("bookworm-old"));
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(&dir.path().join("home")).unwrap();
    let sources = debian_sources("bookworm");
    let image = image(&home, &base, &sources);
    let installed = Installed::of_image(&home, &image, &here).unwrap();
    assert!(installed.packages.len() > 50);

    let repositories = apt::Repositories::from_files(&apt::read_root("/".as_ref()).unwrap(), "amd64");
    let fetch = HttpFetcher::new(repositories.configuration()).unwrap();
    let cache = Cache::new(dir.path().join("cache"));
    let available = Available::refresh(&installed, &cache, &fetch, Timestamp::now());
    assert!(available.failures().is_empty(), "{:?}", available.failures());
    let mut ours = BTreeSet::new();
    for package in &installed.packages {
        match available.standing(package).unwrap() {
            Standing::Newer(newer) => {
                assert_eq!(newer.withheld, None);
                let security = if newer.security { " security" } else { "" };
                ours.insert(format!("{} {}{security}", package.name, newer.version));
            }
            standing => assert_eq!(standing, Standing::Fresh, "{}", package.name),
        }
    }

    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    unpack_layer(File::open(&base).unwrap(), &root, &UnpackOptions::default()).unwrap();
    fs::write(root.join("etc/apt/sources.list"), &sources).unwrap();
    assert_eq!(ours, theirs(&root));
    assert!(ours.iter().any(|line| line.ends_with(" security")), "no security update is waiting: {ours:?}");

    // The next run has three files to ask for, and nothing is sent again.
    let sent = fetch.requests();
    let again =
        Available::refresh(&installed, &Cache::new(dir.path().join("cache")), &fetch, Timestamp::now());
    assert!(again.failures().is_empty());
    assert_eq!(fetch.requests() - sent, 3);
}
