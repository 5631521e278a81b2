//! Archives that try to get out, and archives that lie. Nothing outside the root may change, whatever happens inside.
//!
//! These run as root: what an attack aims at is in the test's own directory, or is called `otoshi-escaped`, so that a
//! defect leaves a stray file behind and does no harm.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use otoshi_oci::layer::{LayerError, UnpackOptions, unpack_layer};
use otoshi_oci::tar::{END, Entry, Kind};
use otoshi_test::{Need, given, require};

use support::{Archive, look};

/// A directory with a root to unpack into, and next to it things that must stay as they are.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root")).unwrap();
        fs::create_dir_all(dir.path().join("outside/sub")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        fs::set_permissions(dir.path().join("outside/secret"), fs::Permissions::from_mode(0o600)).unwrap();
        Self { dir }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    /// Unpacks, and asserts that the world outside is as before.
    fn unpack(&self, archive: &[u8]) -> Result<(), LayerError> {
        let outside = self.dir.path().join("outside");
        let before = (look(&outside), fs::metadata(&outside).unwrap().mode());
        let host: Vec<_> =
            ["/otoshi-escaped", "/tmp/otoshi-escaped", "otoshi-escaped"].iter().map(Path::new).collect();
        let options = UnpackOptions { layer_name: "layer 3 of app:1".to_owned(), ..UnpackOptions::default() };
        let outcome = unpack_layer(archive, &self.root(), &options);
        assert_eq!((look(&outside), fs::metadata(&outside).unwrap().mode()), before);
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 2, "something new next to the root");
        assert!(host.iter().all(|path| !path.exists()));
        assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
        outcome.map(|_| ())
    }
}

fn with_mode(name: &str, kind: Kind, mode: u32) -> Entry {
    Entry::new(name, kind, mode)
}

#[test]
fn attacks_are_refused_with_layer_and_entry() {
    given!(require(&[Need::Root]));
    let device = Entry::new(".wh..", Kind::Char { major: 1, minor: 3 }, 0o666);
    let attacks: Vec<(&str, &str, Archive)> = vec![
        ("dots", "../outside/new", Archive::new().file("../outside/new", b"x")),
        ("dots after a slash", "/../outside/new", Archive::new().file("/../outside/new", b"x")),
        ("dots in the middle", "a/../../outside/new", Archive::new().file("a/../../outside/new", b"x")),
        ("dots alone", "..", Archive::new().directory("..")),
        ("dots at the end", "a/../..", Archive::new().directory("a").directory("a/../..")),
        ("link out by dots", "l", Archive::new().hard_link("l", "../outside/secret")),
        ("link out by many dots", "l", Archive::new().hard_link("l", "../../../../../../etc/passwd")),
        ("link to the root", "l", Archive::new().hard_link("l", "/")),
        ("link to an absolute host file", "l", Archive::new().hard_link("l", "/etc/passwd")),
        ("link to a lower layer's file", "l", Archive::new().hard_link("l", "bin/sh")),
        ("link to a directory", "l", Archive::new().directory("d").hard_link("l", "d")),
        ("link to a deleted file", "l", Archive::new().file(".wh.f", b"").hard_link("l", "f")),
        (
            "link through a link out",
            "l",
            Archive::new().symlink("up", "../outside").hard_link("l", "up/secret"),
        ),
        ("a file as root", "./", Archive::new().file("./", b"x")),
        ("a link as root", ".", Archive::new().symlink(".", "../outside")),
        ("a file as directory", "f/x", Archive::new().file("f", b"").file("f/x", b"")),
        ("whiteout of ..", ".wh...", Archive::new().file(".wh...", b"")),
        ("whiteout of .", ".wh..", Archive::new().file(".wh..", b"")),
        ("whiteout of nothing", "d/.wh.", Archive::new().file("d/.wh.", b"")),
        ("whiteout device", ".wh..", Archive::new().entry(&device, b"")),
        ("whiteout as directory", ".wh.d/f", Archive::new().file(".wh.d/f", b"")),
        ("whiteout climbing", "a/../../.wh.outside", Archive::new().file("a/../../.wh.outside", b"")),
        ("links in a circle", "a/x", Archive::new().symlink("a", "b").symlink("b", "a").file("a/x", b"")),
        ("an endless name", "", Archive::new().file(vec![b'n'; 300], b"")),
        ("an endless path", "", Archive::new().file("d/".repeat(3000) + "f", b"")),
    ];
    for (what, entry, archive) in attacks {
        let error = Scene::new().unpack(&archive.finish()).expect_err(what);
        let text = error.to_string();
        assert!(text.contains("layer 3 of app:1"), "{what}: {text}");
        assert!(text.contains(entry), "{what}: {text}");
        assert!(matches!(error, LayerError::Refused { .. } | LayerError::Entry { .. }), "{what}: {error:?}");
    }
}

fn reseal(block: &mut [u8]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block[..512].iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn tricks_with_links_stay_inside() {
    given!(require(&[Need::Root]));
    // (what, archive, a path below the root where the content must be)
    let tricks: Vec<(&str, Archive, &str)> = vec![
        (
            "a file through an absolute link",
            Archive::new().symlink("l", "/outside").file("l/x", b"in"),
            "outside/x",
        ),
        (
            "a file through dots",
            Archive::new().symlink("l", "../../../outside").file("l/x", b"in"),
            "outside/x",
        ),
        (
            "a file through two links",
            Archive::new().symlink("a", "/").symlink("b", "a/../..").file("b/otoshi-escaped", b"in"),
            "otoshi-escaped",
        ),
        (
            "a link below a link",
            Archive::new().directory("d").symlink("d/up", "../..").file("d/up/up/../x", b"in"),
            "x",
        ),
        ("a file in place of a link", Archive::new().symlink("l", "../outside/secret").file("l", b"in"), "l"),
        (
            "a directory in place of a link",
            Archive::new().symlink("l", "../outside").directory("l").file("l/secret", b"in"),
            "l/secret",
        ),
        (
            "a link in place of a directory",
            Archive::new().directory("d").file("d/f", b"").symlink("d", "../outside").file("d/secret", b"in"),
            "outside/secret",
        ),
        (
            "a hard link to a link, then a file with its name",
            Archive::new().symlink("s", "../outside/secret").hard_link("h", "s").file("h", b"in"),
            "h",
        ),
        (
            "a magic link",
            Archive::new().symlink("l", "/proc/self/cwd").file("l/otoshi-escaped", b"in"),
            "proc/self/cwd/otoshi-escaped",
        ),
        ("an absolute name", Archive::new().file("/tmp/otoshi-escaped", b"in"), "tmp/otoshi-escaped"),
        (
            "usr-merged",
            Archive::new().symlink("lib", "usr/lib").directory("usr/lib").file("lib/x", b"in"),
            "usr/lib/x",
        ),
    ];
    for (what, archive, place) in tricks {
        let scene = Scene::new();
        if let Err(error) = scene.unpack(&archive.finish()) {
            panic!("{what}: {error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        }
        assert_eq!(fs::read(scene.root().join(place)).unwrap(), b"in", "{what}");
    }
}

#[test]
fn attributes_do_not_go_through_links() {
    given!(require(&[Need::Root]));
    let scene = Scene::new();
    let mut link = with_mode("h", Kind::HardLink, 0o777);
    link.link = b"s".to_vec();
    let archive = Archive::new()
        .symlink("s", "../outside/secret")
        .entry(&link, b"")
        .symlink("d", "../outside")
        .entry(&with_mode("d/", Kind::Directory, 0o777), b"");
    scene.unpack(&archive.finish()).unwrap();
    assert!(fs::symlink_metadata(scene.root().join("h")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(scene.root().join("d")).unwrap().is_dir());
}

#[test]
fn a_link_that_was_there_before_is_not_followed_out() {
    given!(require(&[Need::Root]));
    let scene = Scene::new();
    symlink("../outside", scene.root().join("l")).unwrap();
    symlink(scene.dir.path().join("outside"), scene.root().join("m")).unwrap();
    scene.unpack(&Archive::new().file("l/secret", b"in").file("m/secret", b"in").finish()).unwrap();
    assert_eq!(fs::read(scene.root().join("outside/secret")).unwrap(), b"in");
}

#[test]
fn whiteouts_delete_inside_only() {
    given!(require(&[Need::Root]));
    let scene = Scene::new();
    let archive =
        Archive::new().symlink("l", "../outside").file("l/.wh.secret", b"").file("l/.wh..wh..opq", b"");
    scene.unpack(&archive.finish()).unwrap();
    assert_eq!(look(&scene.root())[&b"outside/secret"[..]].kind, "char");
}

#[test]
fn overlay_attributes_of_an_archive_are_left_out() {
    given!(require(&[Need::Root]));
    let scene = Scene::new();
    let mut directory = with_mode("d", Kind::Directory, 0o755);
    directory.xattrs = vec![
        (b"trusted.overlay.redirect".to_vec(), b"/etc".to_vec()),
        (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
        (b"user.overlay.opaque".to_vec(), b"y".to_vec()),
        (b"user.kept".to_vec(), b"1".to_vec()),
    ];
    scene.unpack(&Archive::new().entry(&directory, b"").finish()).unwrap();
    let seen = look(&scene.root());
    assert_eq!(seen[&b"d"[..]].xattrs.keys().collect::<Vec<_>>(), [&b"user.kept".to_vec()]);
}

#[test]
fn headers_that_lie_are_errors_and_cost_no_memory() {
    let file = |name: &str, size: u64| {
        let mut entry = with_mode(name, Kind::File, 0o644);
        entry.size = size;
        entry
    };
    let extension = |kind: u8, size: u64| -> Vec<u8> {
        let mut bytes = Vec::new();
        otoshi_oci::tar::write_header(&mut bytes, &file("x", size));
        bytes[156] = kind;
        reseal(&mut bytes);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a file of 8 EiB", Archive::new().entry(&file("f", i64::MAX as u64), b"short").finish()),
        ("a PAX header of 8 GiB", extension(b'x', (8 << 30) - 1)),
        ("a long name of 8 GiB", extension(b'L', (8 << 30) - 1)),
        ("a long link of 1 MiB + 1", extension(b'K', (1 << 20) + 1)),
        ("a PAX header that is cut off", extension(b'x', 1000)),
        ("a NUL in a name", [extension(b'x', 17), b"17 path=a\0../b12\n".to_vec(), vec![0; 495]].concat()),
        ("an extension and nothing after", [extension(b'L', 2), vec![b'a'; 512]].concat()),
        ("a header that is cut off", Archive::new().file("f", b"").finish()[..300].to_vec()),
        ("a wrong checksum", [vec![1; 512], vec![0; 1024]].concat()),
        ("data after the end", [vec![0; 512], vec![1; 512]].concat()),
        ("no archive at all", b"<!doctype html>".repeat(100)),
    ];
    for (what, bytes) in cases {
        let error = Scene::new().unpack(&bytes).expect_err(what);
        assert!(matches!(error, LayerError::Archive { .. } | LayerError::Entry { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains("layer 3 of app:1"), "{what}: {error}");
    }
}

#[test]
fn a_bomb_fills_neither_memory_nor_disk() {
    given!(require(&[Need::Root]));
    // Half a gigabyte of nothing in a few kilobytes: it becomes a hole.
    let scene = Scene::new();
    let mut header = Vec::new();
    let mut entry = with_mode("zeros", Kind::File, 0o644);
    entry.size = 512 << 20;
    otoshi_oci::tar::write_header(&mut header, &entry);
    let zeros = zstd::bulk::compress(&vec![0; 32 << 20], 1).unwrap();
    let mut bomb = zstd::bulk::compress(&header, 1).unwrap();
    for _ in 0..16 {
        bomb.extend_from_slice(&zeros);
    }
    scene.unpack(&bomb).unwrap();
    let metadata = fs::metadata(scene.root().join("zeros")).unwrap();
    assert_eq!(metadata.len(), 512 << 20);
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    let peak = fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    assert!(peak < 200 << 10, "{peak} kB");
}

/// Docker and containerd skip records that are meant for all entries that follow, and nobody looks into them.
#[test]
fn records_for_all_entries_are_skipped_whatever_they_say() {
    let record = |text: &str| {
        let mut length = text.len() + 3;
        while length != text.len() + 2 + length.to_string().len() {
            length += 1;
        }
        format!("{length} {text}\n")
    };
    let many: String = (0..35_000).map(|number| record(&format!("SCHILY.xattr.user.{number}=x"))).collect();
    let long = record(&format!("comment={}", "x".repeat(3 << 20)));
    for records in [many, long, record("path=/elsewhere"), record("size=9999"), "no record".to_owned()] {
        let mut global = Archive::new().file("pax_global_header", records.as_bytes()).finish();
        global.truncate(global.len() - END.len());
        global[156] = b'g';
        // The sum is made with blanks in its own place.
        global[148..156].fill(b' ');
        let sum: u32 = global[..512].iter().map(|byte| u32::from(*byte)).sum();
        global[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let file = Archive::new().file("file", b"text").finish();
        let scene = Scene::new();
        scene.unpack(&[global, file].concat()).unwrap();
        assert_eq!(fs::read(scene.root().join("file")).unwrap(), b"text");
        assert_eq!(fs::read_dir(scene.root()).unwrap().count(), 1);
    }
}
