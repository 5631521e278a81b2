//! Whatever is not as it was signed is refused with the reason, and hides no other source.

use std::fs;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use otoshi_packages::Files;
use otoshi_packages::apt::Kept;
use otoshi_test::{Missing, Server, given, run};

use crate::repository::{Keys, suite};
use crate::{files, kinds, refresh, refresh_at};

const PACKAGES: &str = "Package: shop\nVersion: 1\nArchitecture: all\nDescription: what a shop has\n\n";

/// A repository with two suites, one of which is about to go wrong.
struct Story {
    root: tempfile::TempDir,
    store: tempfile::TempDir,
    keys: Keys,
    key: String,
    server: Server,
}

impl Story {
    fn new() -> Result<Self, Missing> {
        let (root, keys) = (tempfile::tempdir().unwrap(), Keys::new()?);
        let key = keys.make("archive", "ed25519", "never");
        let server = Server::of(root.path());
        let story = Self { root, store: tempfile::tempdir().unwrap(), keys, key, server };
        story.publish("good", &[]);
        story.publish("bad", &[]);
        Ok(story)
    }

    fn publish(&self, name: &str, fields: &[(&str, &str)]) {
        let fields = [&[("Suite", name)], fields].concat();
        let directory = suite(
            self.root.path(),
            name,
            &format!("{PACKAGES}Package: of-{name}\nVersion: 1\nArchitecture: all\n"),
            &["xz"],
            &fields,
        );
        self.keys.sign(&directory, &self.key);
    }

    fn image(&self) -> Files {
        let url = self.server.url();
        let sources = format!("deb {url} bad main\ndeb {url} good main\n");
        let key = self.keys.public(&self.key, false);
        files(&[("etc/apt/sources.list", sources.as_bytes()), ("etc/apt/trusted.gpg.d/a.gpg", &key)])
    }

    /// Says why the one suite is refused, having seen that the other is not.
    fn refused_at(&self, now: Timestamp) -> (String, String, bool) {
        let available = refresh_at(&self.image(), &Kept::new(self.store.path()), now);
        let [failure] = available.failures() else { panic!("{:?}", available.failures()) };
        assert!(failure.place.ends_with("sources.list:1"), "{failure:?}");
        assert!(available.suites().iter().any(|suite| suite.suite == "good"), "the other source is hidden");
        (failure.error.code().to_owned(), failure.error.to_string(), failure.kept)
    }

    fn refused(&self) -> (String, String, bool) {
        self.refused_at(Timestamp::now())
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.root.path().join(path)).unwrap();
        change(&mut bytes);
        fs::write(self.root.path().join(path), bytes).unwrap();
    }
}

#[test]
fn a_release_that_was_changed_after_it_was_signed() {
    let story = given!(Story::new());
    story.change("dists/bad/InRelease", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("Suite: bad", "Suite: mad").into_bytes();
    });
    let (kind, message, _) = story.refused();
    assert_eq!(kind, "tampered");
    assert!(
        message.contains("was tampered with: the signature of") && message.contains(&story.key),
        "{message}"
    );
}

#[test]
fn an_index_that_was_changed() {
    let story = given!(Story::new());
    story.change("dists/bad/main/binary-amd64/Packages.xz", |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (kind, message, _) = story.refused();
    assert_eq!(kind, "tampered");
    assert!(message.contains("its SHA-256 is"), "{message}");
}

#[test]
fn an_index_that_is_cut_off_or_too_long() {
    let story = given!(Story::new());
    story.change("dists/bad/main/binary-amd64/Packages.xz", |bytes| bytes.truncate(50));
    let (kind, message, _) = story.refused();
    assert_eq!(kind, "truncated");
    assert!(message.contains("it has 50 bytes instead of"), "{message}");
    story.publish("bad", &[]);
    story.change("dists/bad/main/binary-amd64/Packages.xz", |bytes| bytes.resize(100_000, 0));
    assert_eq!(story.refused().0, "tampered");
}

#[test]
fn a_release_that_is_cut_off_within_its_signature() {
    let story = given!(Story::new());
    story.change("dists/bad/InRelease", |bytes| bytes.truncate(bytes.len() - 60));
    let (kind, message, _) = story.refused();
    assert_eq!(kind, "tampered");
    assert!(message.contains("it ends within its signature"), "{message}");
}

#[test]
fn a_release_past_its_end_or_of_a_time_to_come() {
    let story = given!(Story::new());
    let format = "%a, %d %b %Y %H:%M:%S UTC";
    let in_an_hour = Timestamp::now() + SignedDuration::from_hours(1);
    story.publish("bad", &[("Valid-Until", &in_an_hour.strftime(format).to_string())]);
    assert!(refresh(&story.image(), &Kept::new(story.store.path())).failures().is_empty());
    let (kind, message, kept) = story.refused_at(in_an_hour + SignedDuration::from_secs(1));
    assert_eq!((&*kind, kept), ("expired", false));
    assert!(message.contains("expired at"), "{message}");

    // An image may say that this does not matter to it.
    let mut image = story.image();
    image.insert("etc/apt/apt.conf.d/99old", &b"Acquire::Check-Valid-Until \"false\";\n"[..]);
    let later = in_an_hour + SignedDuration::from_hours(48);
    assert!(refresh_at(&image, &Kept::new(story.store.path()), later).failures().is_empty());

    story.publish("bad", &[("Date", &in_an_hour.strftime(format).to_string())]);
    assert_eq!(story.refused().0, "not-yet-valid");
}

#[test]
fn a_release_that_is_older_than_one_that_was_seen() {
    let story = given!(Story::new());
    story.publish("bad", &[("Date", "Mon, 03 Jun 2024 00:00:00 UTC")]);
    assert!(refresh(&story.image(), &Kept::new(story.store.path())).failures().is_empty());
    story.publish("bad", &[("Date", "Sun, 02 Jun 2024 00:00:00 UTC")]);
    let (kind, message, kept) = story.refused();
    assert_eq!(kind, "replayed");
    assert!(
        message.contains("it is dated 2024-06-02T00:00:00Z, and one dated 2024-06-03T00:00:00Z was seen"),
        "{message}"
    );
    assert!(kept, "what was kept of it still counts");
}

#[test]
fn a_release_that_nobody_signed() {
    let story = given!(Story::new());
    fs::remove_file(story.root.path().join("dists/bad/InRelease")).unwrap();
    assert_eq!(story.refused().0, "unsigned");
    fs::copy(story.root.path().join("dists/bad/Release"), story.root.path().join("dists/bad/InRelease"))
        .unwrap();
    assert_eq!(story.refused().0, "unsigned");

    // Unless the source says that it does not matter.
    let image = files(&[(
        "etc/apt/sources.list",
        format!("deb [trusted=yes] {} bad main\n", story.server.url()).as_bytes(),
    )]);
    assert!(refresh(&image, &Kept::new(story.store.path())).failures().is_empty());
    fs::remove_dir_all(story.root.path().join("dists/bad")).unwrap();
    assert_eq!(story.refused().0, "missing");
}

#[test]
fn a_release_signed_by_a_stranger_or_with_a_weak_hash() {
    let story = given!(Story::new());
    let stranger = story.keys.make("stranger", "ed25519", "never");
    let directory = story.root.path().join("dists/bad");
    story.keys.sign(&directory, &stranger);
    let (kind, message, _) = story.refused();
    assert_eq!(kind, "unknown-key");
    assert!(message.contains(&stranger), "{message}");

    // With a key that is known besides, it is fine.
    story.keys.sign_with(&directory, &["--local-user", &stranger, "--local-user", &story.key]);
    assert!(refresh(&story.image(), &Kept::new(story.store.path())).failures().is_empty());

    let old = story.keys.make("old", "rsa2048", "never");
    story.keys.sign_with(&directory, &["--local-user", &old, "--digest-algo", "SHA1"]);
    let mut image = story.image();
    image.insert("etc/apt/trusted.gpg.d/old.gpg", story.keys.public(&old, false));
    let available = refresh(&image, &Kept::new(tempfile::tempdir().unwrap().path()));
    assert_eq!(kinds(&available), ["useless-key"]);
}

#[test]
fn a_release_signed_by_a_key_that_expired_or_was_revoked() {
    let story = given!(Story::new());
    let directory = story.root.path().join("dists/bad");
    let short = story.keys.make("short", "ed25519", "1d");
    story.keys.sign(&directory, &short);
    let mut image = story.image();
    image.insert("etc/apt/trusted.gpg.d/short.gpg", story.keys.public(&short, false));
    let fresh = || Kept::new(tempfile::tempdir().unwrap().keep());
    assert!(refresh(&image, &fresh()).failures().is_empty());
    let later = refresh_at(&image, &fresh(), Timestamp::now() + SignedDuration::from_hours(25));
    assert_eq!(kinds(&later), ["useless-key"]);
    assert!(later.failures()[0].error.to_string().contains("which expired at"), "{:?}", later.failures());

    story.keys.revoke(&short);
    image.insert("etc/apt/trusted.gpg.d/short.gpg", story.keys.public(&short, false));
    let revoked = refresh(&image, &fresh());
    assert!(revoked.failures()[0].error.to_string().contains("which is revoked"), "{:?}", revoked.failures());
}

#[test]
fn a_key_that_is_not_there_and_a_source_that_makes_no_sense() {
    let story = given!(Story::new());
    let url = story.server.url();
    let sources = format!(
        "deb [signed-by=/usr/share/keyrings/gone.gpg] {url} bad main\ndeb file:/srv bad main\nnonsense\n\
         deb {url} good main other\n"
    );
    let mut image = story.image();
    image.insert("etc/apt/sources.list", sources.into_bytes());
    let available = refresh(&image, &Kept::new(story.store.path()));
    assert_eq!(kinds(&available), ["configuration", "keyring", "method", "malformed"]);
    let gone = available.failures()[1].error.to_string();
    assert!(gone.contains("/usr/share/keyrings/gone.gpg does not exist"), "{gone}");
    assert!(available.candidate("shop", "amd64", None).unwrap().is_some());
}

#[test]
fn a_mirror_that_is_away_leaves_what_was_kept() {
    let story = given!(Story::new());
    assert!(refresh(&story.image(), &Kept::new(story.store.path())).failures().is_empty());
    let mut image = story.image();
    fs::remove_dir_all(story.root.path().join("dists/bad")).unwrap();
    let (kind, _, kept) = story.refused();
    assert_eq!((&*kind, kept), ("missing", true));
    // An image that does not trust the key gets nothing of what was kept for others.
    image.remove("etc/apt/trusted.gpg.d/a.gpg");
    let available = refresh(&image, &Kept::new(story.store.path()));
    assert!(available.suites().is_empty() && !available.failures()[0].kept);
}

/// GnuPG says the same of the same files: the verdicts above are not ours alone.
#[test]
fn gnupg_agrees_on_what_is_signed() {
    let story = given!(Story::new());
    let path = story.root.path().join("dists/bad/InRelease");
    let keyring = story.root.path().join("keyring.gpg");
    fs::write(&keyring, story.keys.public(&story.key, false)).unwrap();
    run(Command::new("gpgv").arg("--keyring").arg(&keyring).arg(&path));
    story.change("dists/bad/InRelease", |bytes| {
        let at = bytes.windows(10).position(|window| window == b"Suite: bad").unwrap();
        bytes[at + 7] = b'B';
    });
    assert!(
        !Command::new("gpgv").arg("--keyring").arg(&keyring).arg(&path).output().unwrap().status.success()
    );
    assert_eq!(story.refused().0, "tampered");
}
