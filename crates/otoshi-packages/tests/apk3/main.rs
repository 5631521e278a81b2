//! Indexes and databases as apk 3.0.6 makes them: `apk mkpkg`, `apk mkndx` and `apk convdb` of packages made for this test.
//!
//! | file | packages | compression | signed by |
//! | --- | --- | --- | --- |
//! | `Packages.adb` | alone, libssl3 (two versions), musl | deflate | `own.rsa.pub` |
//! | `curve.adb` | libssl3 (two versions) | zstd | `curve.pem`, a key of P-256 |
//! | `unsigned.adb` | musl | none | nobody |
//! | `other.adb` | musl | deflate, with its level | a key that is not here |
//! | `installed.adb` | alone, libssl3, musl | deflate | nobody |

use otoshi_packages::apk::Available;
use otoshi_packages::apt::{Configuration, HttpFetcher};
use otoshi_packages::{Documents, Files, Installed, Manager};
use otoshi_test::Server;

const OWN: &[u8] = include_bytes!("Packages.adb");
const CURVE: &[u8] = include_bytes!("curve.adb");
const UNSIGNED: &[u8] = include_bytes!("unsigned.adb");
const OTHER: &[u8] = include_bytes!("other.adb");
const INSTALLED: &[u8] = include_bytes!("installed.adb");

/// What repositories have of which each serves one of the files; each line of `repositories` stands for one.
fn available(served: &Server, repositories: &str) -> Available {
    let mut files = Files::new();
    files.insert("etc/apk/repositories", repositories.replace("HOST", &served.url()).as_bytes());
    // A key is known by what it is, and not by its file's name.
    files.insert("etc/apk/keys/renamed.rsa.pub", &include_bytes!("own.rsa.pub")[..]);
    files.insert("usr/share/apk/keys/curve.pem", &include_bytes!("curve.pem")[..]);
    let kept = tempfile::tempdir().unwrap();
    let fetch = HttpFetcher::new(&Configuration::default()).unwrap();
    Available::refresh(&files, "x86_64", &Documents::new(kept.path()), &fetch)
}

fn kinds(available: &Available) -> Vec<&'static str> {
    available.failures.iter().map(|failure| failure.error.code()).collect()
}

fn versions(available: &Available, name: &str) -> Vec<(String, String, String)> {
    let found = available.versions(name);
    let facts = found
        .iter()
        .map(|(record, ..)| (record.version.clone(), record.architecture.clone(), record.source.clone()));
    facts.collect()
}

#[test]
fn an_index_in_the_form_of_apk_3_is_read() {
    let served = Server::start();
    served.put("/main/x86_64/Packages.adb", OWN);
    served.put("/curve.adb", CURVE);
    for repositories in ["v3 HOST/main", "ndx HOST/main/x86_64/Packages.adb", "HOST/main/x86_64/Packages.adb"]
    {
        let available = available(&served, repositories);
        assert_eq!(kinds(&available), Vec::<&str>::new(), "{repositories}");
        let found = versions(&available, "libssl3");
        let expected = |version: &str| (version.to_owned(), "x86_64".to_owned(), "openssl".to_owned());
        assert_eq!(found, [expected("3.5.5-r0"), expected("3.5.4-r0")], "{repositories}");
        // Who names no origin is its own.
        assert_eq!(versions(&available, "alone")[0].2, "alone");
        assert_eq!(available.candidate("musl", Some("1.2.5-r0")).unwrap().version, "1.2.5-r1");
    }
    let available = available(&served, "ndx HOST/curve.adb");
    assert_eq!((kinds(&available), versions(&available, "libssl3").len()), (Vec::new(), 2));
}

#[test]
fn what_no_key_of_the_image_signed_counts_for_nothing() {
    let served = Server::start();
    served.put("/unsigned.adb", UNSIGNED);
    served.put("/other.adb", OTHER);
    served.put("/text.adb", &b"P:musl\nV:9\n"[..]);
    served.put("/half.adb", &CURVE[..CURVE.len() / 2]);
    served.put("/database.adb", INSTALLED);
    served.put("/short.adb", &UNSIGNED[..20]);
    for (name, expected) in [
        ("unsigned", "unsigned"),
        ("other", "unknown-key"),
        ("text", "malformed"),
        ("half", "malformed"),
        ("database", "unsigned"),
        ("short", "malformed"),
    ] {
        let available = available(&served, &format!("ndx HOST/{name}.adb"));
        assert_eq!(kinds(&available), [expected], "{name}");
        assert!(!available.has_any(), "{name}");
    }
}

#[test]
fn no_byte_of_an_index_can_be_changed() {
    let served = Server::start();
    let plain = zstd::stream::decode_all(&CURVE[6..]).unwrap();
    for place in (0..plain.len()).step_by(7) {
        let mut changed = plain.clone();
        changed[place] ^= 1;
        served.put("/changed.adb", changed);
        let available = available(&served, "ndx HOST/changed.adb");
        // What fills the place up to the next block is no part of anything.
        let is_padding = available.failures.is_empty() && plain[place] == 0;
        assert!(is_padding || !available.has_any(), "byte {place} of {}", plain.len());
    }
}

#[test]
fn a_database_in_the_form_of_apk_3_is_read_where_there_is_no_text() {
    let mut files = Files::new();
    files.insert("lib/apk/db/installed.adb", INSTALLED);
    files.insert("etc/apk/world", &b"musl=1.2.5-r1 libssl3"[..]);
    let installed = Installed::of(files.clone()).unwrap();
    assert_eq!((installed.manager, installed.architecture.as_deref()), (Some(Manager::Apk), Some("x86_64")));
    let short: Vec<_> = installed
        .packages
        .iter()
        .map(|package| {
            (&package.name[..], &package.version[..], &package.source[..], package.held, package.auto)
        })
        .collect();
    assert_eq!(
        short,
        [
            ("alone", "2-r0", "alone", false, true),
            ("libssl3", "3.5.4-r0", "openssl", false, false),
            ("musl", "1.2.5-r1", "musl", true, false),
        ]
    );
    // apk 3.0 reads the text alone.
    files.insert("lib/apk/db/installed", &b"P:musl\nV:1.2.6-r0\nA:x86_64\n"[..]);
    assert_eq!(Installed::of(files.clone()).unwrap().packages[0].version, "1.2.6-r0");
    for damaged in [&INSTALLED[..40], b"ADB.", b"ADB.idb\0", b"", OWN] {
        let mut files = Files::new();
        files.insert("lib/apk/db/installed.adb", damaged);
        let error = Installed::of(files).unwrap_err().to_string();
        assert!(error.contains("/lib/apk/db/installed.adb: "), "{error}");
    }
}
