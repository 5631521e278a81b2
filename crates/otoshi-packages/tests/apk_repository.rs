//! Alpine's repositories: signed by openssl as abuild-sign does, served on a loopback port.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::{Compression, write::GzEncoder};
use otoshi_oci::tar::{END, Entry, Kind, write_header, write_padding};
use otoshi_packages::apk::Available;
use otoshi_packages::apt::{Configuration, HttpFetcher};
use otoshi_packages::{Documents, Files};
use otoshi_test::{Missing, Need, Server, given, require, run};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(files: &[(&str, &[u8])], ends: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        let mut entry = Entry::new(*name, Kind::File, 0o644);
        entry.size = content.len() as u64;
        write_header(&mut bytes, &entry);
        bytes.extend_from_slice(content);
        write_padding(&mut bytes, entry.size);
    }
    if ends {
        bytes.extend_from_slice(&END);
    }
    bytes
}

/// An index of these packages, without a signature.
fn index(packages: &[(&str, &str)]) -> Vec<u8> {
    let paragraph =
        |(name, version): &(&str, &str)| format!("C:Q1x=\nP:{name}\nV:{version}\nA:x86_64\no:src-{name}\n\n");
    let text: String = packages.iter().map(paragraph).collect();
    gzip(&tar(&[("DESCRIPTION", b"v3.20"), ("APKINDEX", text.as_bytes())], true))
}

/// Makes a key pair and returns the public key as an image has it.
fn key(directory: &Path, name: &str) -> String {
    let private = directory.join(name);
    run(Command::new("openssl").args(["genrsa", "-out"]).arg(&private).arg("2048"));
    run(Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(&private))
}

fn signed(directory: &Path, name: &str, form: (&str, &str), index: &[u8]) -> Vec<u8> {
    std::fs::write(directory.join("unsigned"), index).unwrap();
    let (kind, hash) = form;
    run(Command::new("openssl")
        .args(["dgst", hash, "-sign"])
        .arg(directory.join(name))
        .arg("-out")
        .arg(directory.join("signature"))
        .arg(directory.join("unsigned")));
    let signature = std::fs::read(directory.join("signature")).unwrap();
    [gzip(&tar(&[(&format!(".SIGN.{kind}.{name}.rsa.pub"), &signature)], false)), index.to_vec()].concat()
}

const SHA1: (&str, &str) = ("RSA", "-sha1");
const SHA256: (&str, &str) = ("RSA256", "-sha256");

struct Fixture {
    directory: tempfile::TempDir,
    served: Server,
    files: Files,
    fetch: HttpFetcher,
}

impl Fixture {
    fn new(world: &str) -> Result<Self, Missing> {
        require(&[Need::Tool("openssl")])?;
        let (directory, served) = (tempfile::tempdir().unwrap(), Server::start());
        let mut files = Files::new();
        files.insert("etc/apk/keys/own.rsa.pub", key(directory.path(), "own").as_bytes());
        key(directory.path(), "other");
        files.insert("etc/apk/keys/README", &b"no key"[..]);
        files.insert("etc/apk/world", world.as_bytes());
        let fetch = HttpFetcher::new(&Configuration::default()).unwrap();
        Ok(Self { directory, served, files, fetch })
    }

    fn repositories(&mut self, lines: &[&str]) {
        let text = lines.join("\n").replace("HOST", &self.served.url());
        self.files.insert("etc/apk/repositories", text.as_bytes());
    }

    fn sign(&self, name: &str, form: (&str, &str), packages: &[(&str, &str)]) -> Vec<u8> {
        signed(self.directory.path(), name, form, &index(packages))
    }

    /// As another run of the program would.
    fn refresh(&self) -> Available {
        let documents = Documents::new(self.directory.path().join("kept"));
        Available::refresh(&self.files, "x86_64", &documents, &self.fetch)
    }
}

#[test]
fn newer_versions_come_from_signed_repositories_that_the_image_names() {
    let mut fixture = given!(Fixture::new("musl bound=1.0-r0 series~1 tagged@edge"));
    fixture.repositories(&["HOST/main/", "HOST/community", "@edge HOST/edge", "HOST/none", "/media/cdrom"]);
    let main = [
        ("musl", "1.2.5-r0"),
        ("musl", "1.2.5-r1"),
        ("bound", "1.0-r0"),
        ("bound", "1.1-r0"),
        ("old", "1-r0"),
    ];
    fixture.served.put("/main/x86_64/APKINDEX.tar.gz", fixture.sign("own", SHA1, &main));
    let community = [("series", "1.9-r0"), ("series", "2.0-r0")];
    fixture.served.put("/community/x86_64/APKINDEX.tar.gz", fixture.sign("own", SHA256, &community));
    let edge = [("musl", "9"), ("tagged", "3-r0")];
    fixture.served.put("/edge/x86_64/APKINDEX.tar.gz", fixture.sign("own", SHA1, &edge));
    let available = fixture.refresh();
    let failed: Vec<_> = available.failures.iter().map(|failure| failure.error.code()).collect();
    assert_eq!(failed, ["missing", "method"]);
    for (name, installed, expected) in [
        ("musl", "1.2.5-r0", Some(("1.2.5-r1", None))),
        ("musl", "1.2.5-r1", Some(("1.2.5-r1", None))),
        ("bound", "1.0-r0", Some(("1.0-r0", Some("1.1-r0")))),
        ("series", "1.8-r0", Some(("1.9-r0", Some("2.0-r0")))),
        ("tagged", "2-r0", Some(("3-r0", None))),
        ("old", "2-r0", Some(("2-r0", None))),
        ("foreign", "1", None),
    ] {
        let found = available.candidate(name, Some(installed));
        let found = found
            .as_ref()
            .map(|found| (&found.version[..], found.newer.as_ref().map(|(version, _)| &version[..])));
        assert_eq!(found, expected, "{name} {installed}");
    }
    assert_eq!(available.candidate("old", Some("2-r0")).unwrap().repository, "");
    assert_eq!(available.versions("musl")[0].0.source, "src-musl");

    // Another run asks whether anything changed; within a run nothing is asked for twice.
    fixture.served.requests();
    let documents = Documents::new(fixture.directory.path().join("kept"));
    for _ in 0..2 {
        Available::refresh(&fixture.files, "x86_64", &documents, &fixture.fetch);
    }
    let expected = ["304 /main", "304 /community", "304 /edge", "404 /none"];
    let expected: Vec<_> = expected.iter().map(|start| format!("{start}/x86_64/APKINDEX.tar.gz")).collect();
    assert_eq!(fixture.served.requests(), expected);
}

#[test]
fn what_is_not_signed_by_a_key_of_the_image_is_refused_with_the_reason() {
    let mut fixture = given!(Fixture::new("a"));
    fixture.repositories(&["HOST/main"]);
    let good = fixture.sign("own", SHA1, &[("a", "2")]);
    let mut tampered = good.clone();
    let last = tampered.len() - 20;
    tampered[last] ^= 1;
    let spliced = {
        // The signature of one index before another.
        let length = good.len() - index(&[("a", "2")]).len();
        [&good[..length], &index(&[("a", "3")])].concat()
    };
    let large: Vec<_> = (0..40_000).map(|number| (format!("p{number}"), "1".to_owned())).collect();
    let large: Vec<_> = large.iter().map(|(name, version)| (&name[..], &version[..])).collect();
    for (bytes, kind, text) in [
        (tampered, "tampered", "the signature of own.rsa.pub does not match it"),
        (spliced, "tampered", "the signature of own.rsa.pub does not match it"),
        (good[..good.len() - 7].to_vec(), "tampered", "does not match"),
        ([&good[..], &index(&[])].concat(), "tampered", "does not match"),
        (fixture.sign("other", SHA256, &[("a", "2")]), "unknown-key", "signed by other.rsa.pub"),
        (index(&[("a", "2")]), "unsigned", "is unsigned"),
        (index(&large), "unsigned", "is unsigned"),
        (good[..40].to_vec(), "malformed", ""),
        (b"<html>".to_vec(), "malformed", ""),
        (Vec::new(), "malformed", ""),
    ] {
        fixture.served.put("/main/x86_64/APKINDEX.tar.gz", bytes);
        let available = fixture.refresh();
        let [otoshi_packages::Failure { error, kept: false, .. }] = &available.failures[..] else {
            panic!("{kind} {:?}", available.failures)
        };
        assert_eq!(error.code(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(available.candidate("a", Some("1")), None);
    }
    fixture.served.put("/main/x86_64/APKINDEX.tar.gz", good);
    assert_eq!(fixture.refresh().candidate("a", Some("1")).unwrap().version, "2");
    // A server that is down is told, and what was there before is still known.
    fixture.served.set_down(true);
    let available = fixture.refresh();
    assert_eq!(available.failures[0].error.code(), "fetch");
    assert_eq!(available.candidate("a", Some("1")).unwrap().version, "2");
}
