//! Repositories as a Debian root uses them, signed by GnuPG and indexed by Debian's own tools, served on loopback.

mod inside;
mod keyrings;
mod packages;
mod phased;
mod policy;
mod reach;
mod refused;
mod repository;
mod selected;
mod states;

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use otoshi_packages::Files;
use otoshi_packages::apt::{Available, Configuration, HttpFetcher, Kept, Repositories};
use otoshi_test::{Server, given, output};

use repository::{Keys, asked_of, by_hash, deb, suite};

/// What a root with one source and one key would see now.
pub(crate) fn refresh(files: &Files, kept: &Kept) -> Available {
    refresh_at(files, kept, Timestamp::now())
}

pub(crate) fn refresh_at(files: &Files, kept: &Kept, now: Timestamp) -> Available {
    let fetcher = HttpFetcher::new(&Configuration::default()).unwrap();
    Repositories::from_files(files, "amd64").refresh(kept, &fetcher, now)
}

/// The kinds of all failures.
pub(crate) fn kinds(available: &Available) -> Vec<&'static str> {
    available.failures().iter().map(|failure| failure.error.code()).collect()
}

fn files(pairs: &[(&str, &[u8])]) -> Files {
    let mut files = Files::new();
    for (path, content) in pairs {
        files.insert(path, content.to_vec());
    }
    files
}

#[test]
fn many_images_cost_one_request_for_a_suite_and_one_for_an_index_ever() {
    let (root, store, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), given!(Keys::new()));
    let key = keys.make("archive", "rsa3072", "never");
    let pool = root.path().join("pool");
    deb(&pool, "shop", "1.0-1", "");
    deb(&pool, "shop-data", "1:2~rc1", "Depends: shop\nProvides: data\n");
    let packages =
        output(std::process::Command::new("dpkg-scanpackages").args(["-m", "pool"]).current_dir(&root));
    let packages = String::from_utf8(packages).unwrap();
    let directory =
        suite(root.path(), "sid", &packages, &["xz"], &[("Suite", "sid"), ("Acquire-By-Hash", "yes")]);
    keys.sign(&directory, &key);
    by_hash(&directory.join("main/binary-amd64"));
    let server = Server::of(root.path());

    let source = format!("deb {} sid main\n", server.url());
    let image = files(&[
        ("etc/apt/sources.list", source.as_bytes()),
        ("etc/apt/trusted.gpg.d/archive.gpg", &keys.public(&key, false)),
    ]);
    let kept = Kept::new(store.path());
    for _ in 0..20 {
        let available = refresh(&image, &kept);
        assert!(available.failures().is_empty(), "{:?}", available.failures());
        let candidate = available.candidate("shop", "amd64", None).unwrap().unwrap();
        assert_eq!((&*candidate.version, &*candidate.suite), ("1.0-1", "sid"));
        assert_eq!(available.candidate("data", "amd64", None).unwrap(), None);
    }
    let asked = asked_of(&server);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].starts_with("200 /dists/sid/InRelease") && asked[1].contains("/by-hash/SHA256/"));

    // Another run: only whether anything changed.
    let kept = Kept::new(store.path());
    assert_eq!(refresh(&image, &kept).suites().len(), 1);
    assert_eq!(asked_of(&server), ["304 /dists/sid/InRelease"]);

    // And when something did: the new release and the new index.
    deb(&pool, "shop", "1.0-2", "");
    let packages =
        output(std::process::Command::new("dpkg-scanpackages").args(["-m", "pool"]).current_dir(&root));
    let packages = String::from_utf8(packages).unwrap();
    let directory =
        suite(root.path(), "sid", &packages, &["zst"], &[("Suite", "sid"), ("Acquire-By-Hash", "yes")]);
    keys.sign(&directory, &key);
    let available = refresh(&image, &Kept::new(store.path()));
    assert_eq!(available.candidate("shop", "amd64", Some("1.0-1")).unwrap().unwrap().version, "1.0-2");
    let asked = asked_of(&server);
    // By hash first, as the release promises, and by name where that is missing.
    assert_eq!(asked.iter().filter(|line| line.starts_with("200")).count(), 2, "{asked:?}");
}

#[test]
fn keys_are_found_by_path_by_fingerprint_and_in_the_source_itself() {
    let (root, keys) = (tempfile::tempdir().unwrap(), given!(Keys::new()));
    let (one, other) = (keys.make("one", "ed25519", "never"), keys.make("other", "rsa2048", "never"));
    for (name, key) in [("one", &one), ("other", &other)] {
        let packages = format!("Package: of-{name}\nVersion: 1\nArchitecture: all\n");
        let directory = suite(root.path(), name, &packages, &["gz"], &[("Suite", name)]);
        keys.sign(&directory, key);
    }
    let server = Server::of(root.path());
    let url = server.url();
    let embedded = String::from_utf8(keys.public(&one, true)).unwrap();
    let embedded: String =
        embedded.lines().map(|line| format!(" {}\n", if line.is_empty() { "." } else { line })).collect();
    let both = [keys.public(&one, true), keys.public(&other, true)].concat();
    let cases: BTreeMap<&str, String> = [
        ("path", format!("Types: deb\nURIs: {url}\nSuites: one\nComponents: main\nSigned-By: /usr/share/keyrings/one.asc\n")),
        ("embedded", format!("Types: deb\nURIs: {url}\nSuites: one\nComponents: main\nSigned-By:\n{embedded}")),
        ("fingerprint", format!("Types: deb\nURIs: {url}\nSuites: one\nComponents: main\nSigned-By: {one}\n")),
        ("exact", format!("Types: deb\nURIs: {url}\nSuites: one\nComponents: main\nSigned-By: {one}!\n")),
        ("path of another", format!("Types: deb\nURIs: {url}\nSuites: other\nComponents: main\nSigned-By: /usr/share/keyrings/one.asc\n")),
        ("fingerprint of another", format!("Types: deb\nURIs: {url}\nSuites: other\nComponents: main\nSigned-By: {one}\n")),
    ]
    .into();
    for (case, source) in cases {
        let image = files(&[
            ("etc/apt/sources.list.d/a.sources", source.as_bytes()),
            ("usr/share/keyrings/one.asc", &keys.public(&one, true)),
            ("etc/apt/trusted.gpg.d/both.asc", &both),
        ]);
        let store = tempfile::tempdir().unwrap();
        let available = refresh(&image, &Kept::new(store.path()));
        if case.ends_with("another") {
            assert_eq!(kinds(&available), ["unknown-key"], "{case}");
        } else {
            assert!(available.failures().is_empty(), "{case}: {:?}", available.failures());
            assert!(available.candidate("of-one", "amd64", None).unwrap().is_some(), "{case}");
        }
    }
}

#[test]
fn a_signature_may_lie_beside_the_release_and_a_repository_may_be_flat() {
    let (root, store, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), given!(Keys::new()));
    let key = keys.make("archive", "ed25519", "never");
    fs::write(root.path().join("Packages"), "Package: flat\nVersion: 3\nArchitecture: amd64\n").unwrap();
    repository::release(root.path(), &[("Label", "Flat")]);
    let release = root.path().join("Release");
    for armour in [true, false] {
        let signature = root.path().join("Release.gpg");
        let options = ["--detach-sign", "--output", signature.to_str().unwrap(), release.to_str().unwrap()];
        let armour: &[&str] = if armour { &["--armor"] } else { &[] };
        keys.gpg(&[armour, &["--local-user", &key], &options].concat());
        let server = Server::of(root.path());
        let source = format!("deb [signed-by=/k.asc] {} ./\n", server.url());
        let image =
            files(&[("etc/apt/sources.list", source.as_bytes()), ("k.asc", &keys.public(&key, true))]);
        let available = refresh(&image, &Kept::new(store.path()));
        assert!(available.failures().is_empty(), "{:?}", available.failures());
        assert_eq!(available.candidate("flat", "amd64", None).unwrap().unwrap().version, "3");
    }
}
