//! Roots made of Debian's own packages, beside what apt and mmdebstrap make of the same.
//!
//! Where packages come from is read from this machine's own apt.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use otoshi_oci::tar::{Kind, Reader};
use otoshi_packages::apt::{Available, HttpFetcher, Kept, Repositories, Source, read_root};
use otoshi_packages::roots::{FOR_SCRIPTS, choose, fetch, layer};
use otoshi_test::{Need, given, require, run};

const WANTED: [&str; 4] = ["base-files", "ca-certificates", "libpq5", "ruby"];

fn wanted() -> Vec<String> {
    WANTED.map(str::to_owned).to_vec()
}

/// The sources of bookworm's main that this machine has, and what they have now.
fn bookworm(store: &Path) -> (Vec<Source>, Available, HttpFetcher) {
    let repositories = Repositories::from_files(&read_root("/".as_ref()).unwrap(), "amd64");
    let of_bookworm =
        |source: &&Source| source.suite.starts_with("bookworm") && source.components == ["main"];
    let sources: Vec<_> = repositories.sources().iter().filter(of_bookworm).cloned().collect();
    assert!(!sources.is_empty(), "this machine's apt has no source of bookworm");
    let fetcher = HttpFetcher::new(repositories.configuration()).unwrap();
    let repositories = repositories.with_sources(sources.clone());
    let available = repositories.refresh(&Kept::new(store), &fetcher, jiff::Timestamp::now());
    assert!(available.failures().is_empty(), "{:?}", available.failures());
    (sources, available, fetcher)
}

/// A file of a root: its kind, mode, owner, group, and where it leads or the digest of what it holds.
type Seen = (String, u32, u32, u32, String);

fn tree(archive: &[u8]) -> BTreeMap<String, Seen> {
    let mut reader = Reader::new(archive);
    let mut tree: BTreeMap<String, Seen> = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        loop {
            let data = reader.data().unwrap();
            if data.is_empty() {
                break;
            }
            content.extend_from_slice(data);
            let count = data.len();
            reader.consume(count);
        }
        let name = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).trim_start_matches("./").trim_matches('/').to_owned()
        };
        let link = String::from_utf8_lossy(&entry.link).into_owned();
        let seen = match entry.kind {
            // Which of two names is the link is nothing that anybody sees.
            Kind::HardLink => tree[&name(&entry.link)].clone(),
            Kind::Symlink => ("link".to_owned(), 0, entry.uid, entry.gid, link),
            Kind::File => {
                let sum = otoshi_oci::Digest::sha256_of(&content).to_string();
                ("file".to_owned(), entry.mode, entry.uid, entry.gid, sum)
            }
            kind => (format!("{kind:?}"), entry.mode, entry.uid, entry.gid, String::new()),
        };
        if !name(&entry.name).is_empty() {
            tree.insert(name(&entry.name), seen);
        }
    }
    tree
}

#[test]
fn a_root_has_the_packages_that_apt_chooses_and_the_files_that_mmdebstrap_extracts() {
    given!(require(&[Need::Root, Need::Tool("mmdebstrap"), Need::Apt("bookworm")]));
    let store = tempfile::tempdir().unwrap();
    let (sources, available, fetcher) = bookworm(&store.path().join("apt"));
    let chosen = choose(&available, &wanted(), &[]).unwrap();
    let ours: BTreeMap<_, _> =
        chosen.iter().map(|one| (one.record.name.clone(), one.record.version.clone())).collect();

    // The same sources, and nothing that is installed.
    let lines: Vec<_> = sources
        .iter()
        .map(|source| {
            let keys: Vec<_> =
                source.signed_by.paths.iter().map(|path| format!("signed-by={path}")).collect();
            let options = if keys.is_empty() { String::new() } else { format!("[{}] ", keys.join(" ")) };
            format!("deb {options}{} {} main", source.uri, source.suite)
        })
        .collect();
    let nothing = store.path().join("status");
    fs::write(&nothing, "").unwrap();
    let list = store.path().join("sources.list");
    fs::write(&list, lines.join("\n") + "\n").unwrap();
    let said = run(Command::new("apt-get")
        .args(["-o", &format!("Dir::State::status={}", nothing.display())])
        .args([
            "-o",
            &format!("Dir::Etc::sourcelist={}", list.display()),
            "-o",
            "Dir::Etc::sourceparts=/dev/null",
        ])
        .args(["-s", "install", "--no-install-recommends"])
        .args(WANTED));
    let theirs: BTreeMap<_, _> = said
        .lines()
        .filter_map(|line| line.strip_prefix("Inst "))
        .filter_map(|line| {
            let (name, rest) = line.split_once(" (")?;
            Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
        })
        .collect();
    assert!(theirs.len() > 20, "{said}");
    assert_eq!(ours, theirs);

    let debs = fetch(&available, &chosen, &store.path().join("deb"), &fetcher).unwrap();
    let archive = layer(&chosen, &debs).unwrap();
    let ours = tree(&archive);
    let extracted = store.path().join("extracted.tar");
    run(Command::new("mmdebstrap")
        .args(["--variant=extract", "--mode=root", "--format=tar", "--quiet"])
        .arg("--hook-directory=/usr/share/mmdebstrap/hooks/merged-usr")
        .arg(format!("--include={}", WANTED.join(",")))
        .args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Check-Valid-Until \"false\""])
        .arg("bookworm")
        .arg(&extracted)
        .args(&lines));
    let mut theirs = tree(&fs::read(&extracted).unwrap());
    // What apt and mmdebstrap keep for themselves, devices, and directories for architectures that nothing here is of.
    let own = [
        "etc/apt",
        "etc/dpkg/dpkg.cfg.d",
        "etc/fstab",
        "etc/hostname",
        "etc/resolv.conf",
        "var/cache/apt",
        "var/lib/apt",
        "var/lib/dpkg",
        "var/log/apt",
        "dev",
        "lib32",
        "libx32",
        "usr/lib32",
        "usr/libx32",
    ];
    let is_own = |path: &str| own.iter().any(|own| path == *own || path.starts_with(&format!("{own}/")));
    theirs.retain(|path, _| !is_own(path));
    let made = ["etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt"];
    let mut compared = 0;
    for (path, seen) in ours.iter().filter(|(path, _)| !is_own(path) && !made.contains(&path.as_str())) {
        assert_eq!(theirs.remove(path).as_ref(), Some(seen), "/{path}");
        compared += 1;
    }
    let left: Vec<_> = theirs.keys().filter(|path| !made.contains(&path.as_str())).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(compared > 1000);

    // Again, without a request and to the byte; and without what only scripts need.
    let requests = fetcher.requests();
    let debs = fetch(&available, &chosen, &store.path().join("deb"), &fetcher).unwrap();
    assert_eq!(fetcher.requests(), requests);
    assert_eq!(layer(&chosen, &debs).unwrap(), archive);
    let without = choose(&available, &wanted(), &FOR_SCRIPTS).unwrap();
    assert!(without.len() < chosen.len());
    let debs = fetch(&available, &without, &store.path().join("deb"), &fetcher).unwrap();
    let small = tree(&layer(&without, &debs).unwrap());
    for absent in
        ["usr/bin/dash", "usr/bin/sh", "usr/bin/bash", "usr/bin/apt", "usr/bin/dpkg", "usr/bin/perl"]
    {
        assert!(!small.contains_key(absent), "{absent}");
    }
    assert!(small.contains_key("etc/ssl/certs/ca-certificates.crt"));
    assert!(small.contains_key("var/lib/dpkg/status.d/ruby3.1"));
    drop(archive);
}
