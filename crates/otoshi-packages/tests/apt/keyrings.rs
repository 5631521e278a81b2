//! Which keyrings, keys and signatures count: each release's own apt is asked about the same files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use otoshi_packages::Files;
use otoshi_packages::apt::{Kept, read_more, read_root};
use otoshi_test::{Missing, Server, given, require};

use crate::inside::{Inside, NEEDS, RELEASES};
use crate::refresh;
use crate::repository::{Keys, suite};

const PACKAGES: &str = "Package: shop\nVersion: 1\nArchitecture: all\nDescription: what a shop has\n\n";

/// A repository with suites that are signed in one way or another, and files of keys.
struct Story {
    root: tempfile::TempDir,
    keys: Keys,
    server: Server,
    /// A name for a suite, and the file of keys that its source names.
    cases: Vec<(String, String, Vec<u8>)>,
}

impl Story {
    fn new() -> Result<Self, Missing> {
        require(NEEDS)?;
        let (root, keys) = (tempfile::tempdir().unwrap(), Keys::new()?);
        let server = Server::of(root.path());
        Ok(Self { root, keys, server, cases: Vec::new() })
    }

    /// Adds a suite that is signed with some options.
    fn signed(&self, name: &str, options: &[&str]) -> bool {
        let directory =
            suite(self.root.path(), name, PACKAGES, &["gz"], &[("Suite", name), ("Codename", name)]);
        self.keys.try_sign_with(&directory, options)
    }

    /// Adds a case: a suite signed by a key, and a file of keys by its name.
    fn case(&mut self, name: &str, signer: &str, file: &str, content: Vec<u8>) {
        assert!(self.signed(name, &["--local-user", signer]));
        self.add(name, file, content);
    }

    fn add(&mut self, name: &str, file: &str, content: Vec<u8>) {
        self.cases.push((name.to_owned(), file.to_owned(), content));
    }

    /// The line of a case's source.
    fn line(&self, name: &str, option: &str) -> String {
        format!("deb {option} {} {name} main\n", self.server.url())
    }
}

/// The kinds of apt that are asked: each release's as it is, and with gpgv where it would take sqv.
fn kinds() -> Vec<(&'static str, &'static str)> {
    let gpgv = "APT::Key::GPGVCommand \"/usr/bin/gpgv\";\n";
    let [_, later @ ..] = &RELEASES;
    let with_gpgv = later.iter().take(1).map(|release| (*release, gpgv));
    RELEASES.iter().map(|release| (*release, "")).chain(with_gpgv).collect()
}

/// What Otoshi takes of the same root.
fn ours(inside: &Inside, suites: &[&str], named: &[String]) -> Vec<bool> {
    let mut files: Files = read_root(&inside.path()).unwrap();
    for path in named {
        read_more(&inside.path(), path, &mut files).unwrap();
    }
    let store = tempfile::tempdir().unwrap();
    let available = refresh(&files, &Kept::new(store.path()));
    suites.iter().map(|suite| available.suites().iter().any(|found| found.suite == *suite)).collect()
}

/// Asks both about all cases at once, each with a source that names its keys.
fn compare(story: &Story) {
    let mut counts = [0_usize; 2];
    for (release, configuration) in kinds() {
        let inside = Inside::new(release);
        inside.write("etc/apt/apt.conf.d/90gpgv", configuration.as_bytes());
        let (mut lines, mut named) = (String::new(), Vec::new());
        for (name, file, content) in &story.cases {
            let path = format!("srv/{name}/{file}");
            inside.write(&path, content);
            lines += &story.line(name, &format!("[signed-by=/{path}]"));
            named.push(path);
        }
        inside.write("etc/apt/sources.list", lines.as_bytes());
        let suites: Vec<&str> = story.cases.iter().map(|(name, ..)| &name[..]).collect();
        let (theirs, ours) = (inside.takes(&suites), ours(&inside, &suites, &named));
        let differ: Vec<_> = suites
            .iter()
            .zip(theirs.iter().zip(&ours))
            .filter(|(_, (theirs, ours))| theirs != ours)
            .map(|(name, (theirs, _))| {
                format!("{name}: apt {}", if *theirs { "takes it" } else { "refuses it" })
            })
            .collect();
        assert!(differ.is_empty(), "{release} {configuration}: {differ:#?}");
        for taken in theirs {
            counts[usize::from(taken)] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "all cases have one answer: {counts:?}");
}

/// A ring in GnuPG's old form, which has packets about trust between keys, names and signatures.
pub(crate) fn old_ring(keys: &Keys, with: &[&str]) -> Vec<u8> {
    keyring(keys, "gnupg-ring:", with)
}

fn keyring(keys: &Keys, form: &str, with: &[&str]) -> Vec<u8> {
    // A home of its own: GnuPG looks for the keys that it trusts in the ring.
    let (home, directory) = (Keys::new().unwrap(), tempfile::tempdir().unwrap());
    let ring = directory.path().join("ring.gpg");
    for key in with {
        let one = directory.path().join("one");
        fs::write(&one, keys.public(key, false)).unwrap();
        let ring = format!("{form}{}", ring.display());
        home.gpg(&["--no-default-keyring", "--keyring", &ring, "--import", one.to_str().unwrap()]);
    }
    fs::read(&ring).unwrap()
}

#[test]
fn files_of_keys_are_read_as_each_apt_reads_them() {
    let mut story = given!(Story::new());
    let (one, two) = (story.keys.make("one", "ed25519", "never"), story.keys.make("two", "rsa3072", "never"));
    let (plain, other) = (story.keys.public(&one, false), story.keys.public(&two, false));
    let (armoured, other_armoured) = (story.keys.public(&one, true), story.keys.public(&two, true));
    let text = |parts: &[&[u8]]| parts.concat();
    let ring = old_ring(&story.keys, &[&two, &one]);
    assert!(ring.len() > plain.len() + other.len(), "no packets about trust");
    let keybox = keyring(&story.keys, "", &[&one]);
    let headers = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: GnuPG v1\nComment: of a shop\n";
    let begin = headers.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let returns = String::from_utf8(armoured.clone()).unwrap().replace('\n', "\r\n").into_bytes();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("ring", "k.gpg", ring),
        ("keybox", "k.gpg", keybox),
        ("armour", "k.asc", armoured.clone()),
        ("two-armours", "k.asc", text(&[&other_armoured, &armoured])),
        (
            "text-around",
            "k.asc",
            text(&[b"a key:\n", &other_armoured, b"\nand: another\n", &armoured, b"bye\n"]),
        ),
        ("headers", "k.asc", text(&[headers, &armoured[begin..]])),
        ("returns", "k.asc", returns),
        ("mark-of-order", "k.asc", text(&[b"\xef\xbb\xbf", &armoured])),
        ("armour-in-gpg", "k.gpg", armoured.clone()),
        ("plain-in-asc", "k.asc", plain.clone()),
        ("no-ending", "k", plain.clone()),
        ("other-ending", "k.pgp", plain.clone()),
        ("armour-no-ending", "k", armoured.clone()),
        ("armour-other-ending", "k.key", armoured.clone()),
        ("junk-behind", "k.gpg", text(&[&plain, b"junk"])),
        ("cut-off", "k.gpg", text(&[&other, &plain[..100]])),
        ("cut-off-later", "k.gpg", text(&[&plain, &other[..100]])),
        ("plain-and-armour", "k.gpg", text(&[&other, &armoured])),
        ("secret", "k.gpg", story.keys.gpg(&["--export-secret-keys", &one])),
        ("several", "k.gpg", text(&[&other, &plain])),
        ("empty", "k.gpg", Vec::new()),
        ("of-another", "k.gpg", other.clone()),
    ];
    for (name, file, content) in cases {
        story.case(name, &one, file, content);
    }
    compare(&story);
}

#[test]
fn keys_and_signatures_count_as_for_each_apt() {
    let mut story = given!(Story::new());
    let kinds = "rsa1024 rsa1536 rsa2048 rsa3072 rsa4096 dsa2048 dsa3072 ed25519 nistp256 nistp384 nistp521";
    for kind in kinds.split(' ') {
        let key = story.keys.make(kind, kind, "never");
        let content = story.keys.public(&key, false);
        story.case(kind, &key, "k.gpg", content);
    }
    let key = story.keys.make("hashes", "rsa3072", "never");
    for hash in ["SHA1", "RIPEMD160", "SHA224", "SHA256", "SHA384", "SHA512"] {
        let name = format!("hash-{}", hash.to_lowercase());
        assert!(story.signed(&name, &["--local-user", &key, "--digest-algo", hash]));
        story.add(&name, "k.gpg", story.keys.public(&key, false));
        let own = format!("own-{}", hash.to_lowercase());
        let key = story.keys.make_with(&["--cert-digest-algo", hash], &own, "rsa3072", "never");
        let content = story.keys.gpg(&["--allow-weak-key-signatures", "--export", &key]);
        story.case(&own, &key, "k.gpg", content);
    }
    // Subkeys: one that is good, one that ends, one that was revoked.
    let certifier = story.keys.make_for("subkeys", "rsa3072", "cert", "never");
    for lasts in ["never", "seconds=3", "never"] {
        story.keys.gpg(&["--quick-add-key", &certifier, "ed25519", "sign", lasts]);
    }
    let subkeys = story.keys.fingerprints(&certifier);
    for (number, name) in [(1, "sub-good"), (2, "sub-ends"), (3, "sub-revoked")] {
        assert!(story.signed(name, &["--local-user", &format!("{}!", subkeys[number])]));
    }
    story.keys.revoke_subkey(&certifier, 3);
    // Keys that end, that were prolonged, that were revoked for one reason or another, that others signed.
    let ends = story.keys.make("ends", "ed25519", "seconds=3");
    assert!(story.signed("ends", &["--local-user", &ends]));
    let prolonged = story.keys.make("prolonged", "ed25519", "seconds=3");
    story.keys.gpg(&["--quick-set-expire", &prolonged, "1y"]);
    std::thread::sleep(Duration::from_secs(4));
    for name in ["sub-good", "sub-ends", "sub-revoked"] {
        story.add(name, "k.gpg", story.keys.public(&certifier, false));
    }
    story.add("ends", "k.gpg", story.keys.public(&ends, false));
    let content = story.keys.public(&prolonged, false);
    story.case("prolonged", &prolonged, "k.gpg", content);
    for (name, reason) in [("revoked", "0"), ("compromised", "1"), ("superseded", "2"), ("retired", "3")] {
        let past = (Timestamp::now() - SignedDuration::from_hours(48)).strftime("%Y%m%dT%H%M%S").to_string();
        let key = story.keys.make_with(&["--faked-system-time", &past], name, "ed25519", "never");
        let before =
            (Timestamp::now() - SignedDuration::from_hours(24)).strftime("%Y%m%dT%H%M%S").to_string();
        assert!(story.signed(name, &["--faked-system-time", &before, "--local-user", &key]));
        story.keys.revoke_for(&key, reason);
        story.add(name, "k.gpg", story.keys.public(&key, false));
    }
    let many = story.keys.make("many", "ed25519", "never");
    story.keys.gpg(&["--quick-add-uid", &many, "Second <second@otoshi.test>"]);
    story.keys.gpg(&["--quick-revoke-uid", &many, "Second <second@otoshi.test>"]);
    let content = story.keys.public(&many, false);
    story.case("many-names", &many, "k.gpg", content);
    // A signature of a time to come, and one that was made before the key says that it lives.
    let later = (Timestamp::now() + SignedDuration::from_hours(2)).strftime("%Y%m%dT%H%M%S").to_string();
    assert!(story.signed("to-come", &["--faked-system-time", &later, "--local-user", &many]));
    story.add("to-come", "k.gpg", story.keys.public(&many, false));
    let before = (Timestamp::now() - SignedDuration::from_hours(24)).strftime("%Y%m%dT%H%M%S").to_string();
    let renewed = story.keys.make_with(&["--faked-system-time", &before], "renewed", "ed25519", "never");
    assert!(story.signed("renewed", &["--faked-system-time", &before, "--local-user", &renewed]));
    story.keys.gpg(&["--quick-set-expire", &renewed, "1y"]);
    story.add(
        "renewed",
        "k.gpg",
        story.keys.gpg(&["--export-options", "export-minimal", "--export", &renewed]),
    );
    // Two signatures: by a stranger besides, and one besides that does not match.
    let stranger = story.keys.make("stranger", "ed25519", "never");
    assert!(story.signed("and-a-stranger", &["--local-user", &stranger, "--local-user", &many]));
    story.add("and-a-stranger", "k.gpg", story.keys.public(&many, false));
    both(&story, "and-a-bad-one", &many, &stranger);
    let two = [story.keys.public(&many, false), story.keys.public(&stranger, false)].concat();
    story.add("and-a-bad-one", "k.gpg", two);
    compare(&story);
}

/// Signs a suite beside it, with a second signature that is of something else.
fn both(story: &Story, name: &str, good: &str, bad: &str) {
    assert!(story.signed(name, &["--local-user", good]));
    let directory = story.root.path().join("dists").join(name);
    fs::remove_file(directory.join("InRelease")).unwrap();
    let other = directory.join("other");
    fs::write(&other, "something else").unwrap();
    let sign = |key: &str, of: &Path| {
        story.keys.gpg(&["--local-user", key, "--detach-sign", "--output", "-", of.to_str().unwrap()])
    };
    let both = [sign(bad, &other), sign(good, &directory.join("Release"))].concat();
    let packets = directory.join("both");
    fs::write(&packets, both).unwrap();
    let armoured = story.keys.gpg(&["--enarmor", "--output", "-", packets.to_str().unwrap()]);
    let armoured = String::from_utf8(armoured).unwrap().replace("ARMORED FILE", "SIGNATURE");
    let armoured: String = armoured
        .lines()
        .filter(|line| !line.starts_with("Comment"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(directory.join("Release.gpg"), armoured).unwrap();
}

#[test]
fn sources_name_keys_as_for_each_apt() {
    let mut story = given!(Story::new());
    let certifier = story.keys.make_for("certifier", "rsa3072", "cert", "never");
    story.keys.gpg(&["--quick-add-key", &certifier, "ed25519", "sign", "never"]);
    let fingerprints = story.keys.fingerprints(&certifier);
    let (primary, subkey) = (&fingerprints[0], &fingerprints[1]);
    let other = story.keys.make("other", "ed25519", "never");
    let plain = story.keys.public(&certifier, false);
    let armoured = String::from_utf8(story.keys.public(&certifier, true)).unwrap();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("own.gpg", plain.clone()),
        ("own.key", armoured.clone().into_bytes()),
        ("other.gpg", story.keys.public(&other, false)),
        ("cut.gpg", [story.keys.public(&other, false), plain[..100].to_vec()].concat()),
        ("keybox.gpg", keyring(&story.keys, "", &[primary])),
        ("plain.asc", plain.clone()),
        ("armour.gpg", armoured.clone().into_bytes()),
    ];
    let absent = "A".repeat(40);
    let by = [
        "/srv/own.gpg".to_owned(),
        "/srv/own.gpg,/srv/gone.gpg".into(),
        "/srv/gone.gpg,/srv/own.gpg".into(),
        "/srv/gone.gpg".into(),
        "/srv/cut.gpg,/srv/own.gpg".into(),
        "/srv/own.gpg,/srv/cut.gpg".into(),
        "/srv/keybox.gpg,/srv/own.gpg".into(),
        "/srv/plain.asc,/srv/own.gpg".into(),
        "/srv/other.gpg,/srv/own.gpg".into(),
        "/srv/own.key".into(),
        "/srv/other.gpg".into(),
        format!("/srv/own.gpg,{primary}"),
        format!("/srv/own.gpg,{subkey}"),
        format!("/srv/own.gpg,{subkey}!"),
        format!("/srv/own.gpg,{primary}!"),
        format!("/srv/own.gpg,{absent}"),
        format!("/srv/own.gpg,{absent},{primary}"),
        format!("/srv/own.gpg,{}", primary.to_lowercase()),
    ];
    for number in 0..=by.len() {
        let name = format!("case-{number}");
        assert!(story.signed(&name, &["--local-user", primary]));
        story.add(&name, "", Vec::new());
    }
    for (release, configuration) in kinds() {
        let inside = Inside::new(release);
        inside.write("etc/apt/apt.conf.d/90gpgv", configuration.as_bytes());
        for (name, content) in &files {
            inside.write(&format!("srv/{name}"), content);
        }
        let mut lines = String::new();
        for (number, by) in by.iter().enumerate() {
            lines += &story.line(&format!("case-{number}"), &format!("[signed-by={by}]"));
        }
        inside.write("etc/apt/sources.list", lines.as_bytes());
        let key: String =
            armoured.lines().map(|line| format!(" {}\n", if line.is_empty() { "." } else { line })).collect();
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: case-{}\nComponents: main\nSigned-By:\n{key}",
            story.server.url(),
            by.len()
        );
        inside.write("etc/apt/sources.list.d/x.sources", source.as_bytes());
        let suites: Vec<&str> = story.cases.iter().map(|(name, ..)| &name[..]).collect();
        let named: Vec<String> = files.iter().map(|(name, _)| format!("srv/{name}")).collect();
        let (theirs, ours) = (inside.takes(&suites), ours(&inside, &suites, &named));
        let differ: Vec<_> = (0..suites.len())
            .filter(|number| theirs[*number] != ours[*number])
            .map(|number| format!("{:?}: apt {}", by.get(number), theirs[number]))
            .collect();
        assert!(differ.is_empty(), "{release} {configuration}: {differ:#?}");
        assert!(theirs.iter().any(|taken| *taken) && theirs.iter().any(|taken| !taken));
    }
}

#[test]
fn keys_that_a_root_trusts_are_found_as_each_apt_finds_them() {
    let mut story = given!(Story::new());
    let (one, two) = (story.keys.make("one", "ed25519", "never"), story.keys.make("two", "rsa3072", "never"));
    let (plain, other) = (story.keys.public(&one, false), story.keys.public(&two, false));
    let armoured = story.keys.public(&one, true);
    let cut = [&other[..], &plain[..100]].concat();
    let keybox = keyring(&story.keys, "", &[&one]);
    let ring = old_ring(&story.keys, &[&two, &one]);
    story.case("suite", &one, "", Vec::new());
    let parts = "trusted.gpg.d";
    let cases: Vec<Vec<(&str, &str, &[u8])>> = vec![
        vec![],
        vec![(parts, "a.gpg", &plain)],
        vec![(parts, "a.gpg", &ring)],
        vec![(parts, "a.asc", &armoured)],
        vec![(parts, "a.gpg", &armoured)],
        vec![(parts, "a.asc", &plain)],
        vec![(parts, "a.gpg", &keybox)],
        vec![(parts, "a.gpg", &keybox), (parts, "b.gpg", &plain)],
        vec![(parts, "a.gpg", &cut), (parts, "b.gpg", &plain)],
        vec![(parts, "a.gpg", &plain), (parts, "b.gpg", &cut)],
        vec![(parts, "a.asc", &plain), (parts, "b.gpg", &plain)],
        vec![(parts, "a:b.gpg", &plain)],
        vec![(parts, "a b.gpg", &plain)],
        vec![(parts, "a+b.gpg", &plain)],
        vec![(parts, "a~b.gpg", &plain)],
        vec![(parts, "a@b.gpg", &plain)],
        vec![(parts, ".a.gpg", &plain)],
        vec![(parts, "a.GPG", &plain)],
        vec![(parts, "a.gpg.asc", &armoured)],
        vec![(parts, "a.key", &plain)],
        vec![(parts, "agpg", &plain)],
        vec![(".", "trusted.gpg", &plain)],
        vec![(".", "trusted.gpg", &keybox)],
        vec![(".", "trusted.gpg", &armoured)],
        vec![(".", "trusted.gpg", &[]), (parts, "a.gpg", &plain)],
    ];
    let mut counts = [0_usize; 2];
    for (release, configuration) in kinds() {
        let inside = Inside::new(release);
        inside.write("etc/apt/apt.conf.d/90gpgv", configuration.as_bytes());
        inside.write("etc/apt/sources.list", story.line("suite", "").as_bytes());
        for case in &cases {
            inside.remove("etc/apt/trusted.gpg.d");
            inside.remove("etc/apt/trusted.gpg");
            fs::create_dir_all(inside.path().join("etc/apt/trusted.gpg.d")).unwrap();
            for (place, name, content) in case {
                inside.write(&format!("etc/apt/{place}/{name}"), content);
            }
            let names: Vec<_> =
                case.iter().map(|(_, name, content)| format!("{name} ({} bytes)", content.len())).collect();
            let theirs = inside.takes(&["suite"]);
            assert_eq!(ours(&inside, &["suite"], &[]), theirs, "{release} {configuration}: {names:?}");
            counts[usize::from(theirs[0])] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "all cases have one answer: {counts:?}");
}

/// The keys of a file as GnuPG lists them, by their fingerprints; none where it cannot read it.
fn listed(inside: &Inside, path: &str) -> Vec<String> {
    let mut gpg = std::process::Command::new("chroot");
    gpg.arg(inside.path()).args(["gpg", "--homedir", "/tmp", "--batch", "--quiet", "--show-keys"]);
    gpg.args(["--with-colons", "--no-auto-check-trustdb"]).arg(format!("/{path}"));
    let listed = String::from_utf8(gpg.output().unwrap().stdout).unwrap();
    let mut found = Vec::new();
    let mut is_primary = false;
    for line in listed.lines() {
        match line.split(':').next() {
            Some("pub") => is_primary = true,
            Some("fpr") if std::mem::take(&mut is_primary) => {
                found.push(line.split(':').nth(9).unwrap().to_owned());
            }
            _ => {}
        }
    }
    found.sort();
    found
}

#[test]
fn every_key_of_every_distribution_is_read() {
    given!(require(NEEDS));
    let inside = Inside::new("trixie");
    let mut directories = vec!["usr/share/keyrings".to_owned(), "usr/share/distribution-gpg-keys".to_owned()];
    let (mut files, mut keys) = (0, 0);
    let mut differ = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(inside.path().join(&directory))
            .expect("the root has ubuntu-keyring and distribution-gpg-keys")
        {
            let entry = entry.unwrap();
            let path = format!("{directory}/{}", entry.file_name().display());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                directories.push(path.clone());
            }
            if !kind.is_file() {
                continue;
            }
            let mut keyring = otoshi_packages::apt::Keyring::default();
            let read = keyring.add(&fs::read(entry.path()).unwrap());
            let ours = keyring.fingerprints();
            // Of several blocks in armour GnuPG shows the first, and newer kinds of keys it does not know.
            let theirs = listed(&inside, &path);
            if !theirs.iter().all(|key| ours.contains(key)) {
                differ.push(format!("{path}: {read:?} {ours:?}, and GnuPG {theirs:?}"));
            }
            (files, keys) = (files + 1, keys + theirs.len());
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(files > 200 && keys > 200, "{files} files with {keys} keys");
}
