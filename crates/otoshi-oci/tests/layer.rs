//! Trees to layers and back: nothing is lost, and the bytes are always the same.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use otoshi_explain::Explain;
use otoshi_oci::layer::{
    Compression, LayerError, Mtime, OverlayXattrs, PrefixDir, UnpackOptions, WriteOptions, decoder,
    store_tar, unpack_layer, write_layer, write_tar,
};
use otoshi_oci::tar::{Entry, Kind, Reader, Time};
use otoshi_oci::{DiffId, Digest};
use otoshi_test::{Need, given, require};

use rustix::fs::FileType;
use support::{ALL, Archive, keep, layout, look, node, round_trip, sample, set_xattr, unpack};

/// Writes a tree and returns its entries.
fn entries(tree: &Path, options: &WriteOptions) -> Vec<Entry> {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    let layer = write_layer(&layout, tree, options).unwrap();
    let blob = layout.open_blob(&Digest::of(&layer.descriptor).unwrap()).unwrap();
    let mut bytes = Vec::new();
    decoder(blob).unwrap().1.read_to_end(&mut bytes).unwrap();
    assert_eq!(layer.diff_id, DiffId(Digest::sha256_of(&bytes)));
    assert_eq!(layer.uncompressed_size, bytes.len() as u64);
    let mut reader = Reader::new(&bytes[..]);
    let entries: Vec<_> = std::iter::from_fn(|| reader.next_entry().unwrap()).collect();
    assert_eq!(layer.entries, entries.len() as u64);
    entries
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(Entry::display_name).collect()
}

#[test]
fn everything_comes_back() {
    let tree = given!(sample());
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    for compression in ALL {
        let back = round_trip(&layout, tree.path(), &WriteOptions { compression, ..keep() });
        let (before, after) = (look(tree.path()), look(back.path()));
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (name, seen) in &before {
            assert!(*seen == after[name], "{}: {:?}", name.escape_ascii(), compression);
        }
        let blocks = fs::metadata(back.path().join("sparse")).unwrap().blocks();
        assert!(blocks * 512 < 1 << 20, "the holes are there again");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let tree = given!(sample());
    for compression in ALL {
        let mut digests = Vec::new();
        for threads in [1, 2, 3, 7, 0] {
            let dir = tempfile::tempdir().unwrap();
            let options = WriteOptions { compression, threads, ..WriteOptions::default() };
            digests.push(write_layer(&layout(dir.path()), tree.path(), &options).unwrap());
        }
        assert!(digests.iter().all(|layer| *layer == digests[0]), "{compression:?}");
    }
}

#[test]
fn a_tree_may_go_to_any_stream() {
    let tree = given!(sample());
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    let diff_id = write_tar(tree.path(), &mut bytes, &keep()).unwrap();
    assert_eq!(diff_id.0, Digest::sha256_of(&bytes));
    assert_eq!(diff_id, write_layer(&layout(dir.path()), tree.path(), &keep()).unwrap().diff_id);
    let error = write_tar(tree.path(), &mut &mut [0; 4096][..], &keep()).unwrap_err();
    assert!(matches!(error, LayerError::Io { .. }), "{error:?}");
}

#[test]
fn the_bytes_are_these_on_every_machine() {
    given!(require(&[Need::Root]));
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/motd"), "hello\n").unwrap();
    for (path, mode) in [("etc", 0o755), ("etc/motd", 0o644)] {
        fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let options = WriteOptions { mtime: Mtime::Set(315_532_801), ..WriteOptions::default() };
    let store = tempfile::tempdir().unwrap();
    let layer = write_layer(&layout(store.path()), dir.path(), &options).unwrap();
    let reference = Archive::new()
        .entry(&timed("etc/", Kind::Directory, 0o755, 0), b"")
        .entry(&timed("etc/motd", Kind::File, 0o644, 6), b"hello\n")
        .finish();
    assert_eq!(layer.diff_id.0, Digest::sha256_of(&reference));
    assert_eq!(
        layer.diff_id.to_string(),
        "sha256:771fd86580d9d28551e8f0a07e0b0a7540b04420c602861b7620ac83ffe0086a",
        "the form of the archive changed: every layer in the world gets a new digest"
    );
    assert_eq!(
        layer.descriptor.digest().to_string(),
        "sha256:ddcdba23e9338fe3b9da0ff0cec2217b74bf9b25549b2c00020be29d3fccde2b",
        "the form of the compression changed"
    );
}

/// Several blocks of text, of noise, and of nothing: each of deflate's kinds of blocks is among them.
#[test]
fn the_bytes_of_many_blocks_are_these_on_every_machine() {
    given!(require(&[Need::Root]));
    let dir = tempfile::tempdir().unwrap();
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    let text: String = std::iter::repeat_with(|| format!("{} daruma {:x}\n", next() % 97, next() % 4099))
        .take(200_000)
        .collect();
    let noise: Vec<u8> = std::iter::repeat_with(|| next() as u8).take(1_500_000).collect();
    for (name, bytes) in [("noise", &noise[..]), ("nothing", &vec![0; 2_000_000]), ("text", text.as_bytes())]
    {
        fs::write(dir.path().join(name), bytes).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let options = WriteOptions { mtime: Mtime::Set(315_532_801), ..WriteOptions::default() };
    let store = tempfile::tempdir().unwrap();
    let layer = write_layer(&layout(store.path()), dir.path(), &options).unwrap();
    assert_eq!(
        layer.descriptor.digest().to_string(),
        "sha256:58a922ede453e31feeaa492d52ea184195d4f7c5ba572e2799584b218b722aa3",
        "the form of the compression changed"
    );
}

fn timed(name: &str, kind: Kind, mode: u32, size: u64) -> Entry {
    let mut entry = Entry::new(name, kind, mode);
    entry.mtime = Time { seconds: 315_532_801, nanos: 0 };
    entry.size = size;
    entry
}

#[test]
fn an_empty_tree_is_an_empty_archive() {
    let tree = tempfile::tempdir().unwrap();
    assert!(entries(tree.path(), &WriteOptions::default()).is_empty());
}

#[test]
fn deletions_take_the_form_of_the_specification() {
    given!(require(&[Need::Root]));
    let tree = tempfile::tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    fs::create_dir_all(at("d/sub")).unwrap();
    node(&at("d/gone"), FileType::CharacterDevice, 0, 0);
    set_xattr(&at("d/sub"), "trusted.overlay.opaque", b"y");
    set_xattr(&at("d"), "trusted.overlay.impure", b"y");
    let listed = entries(tree.path(), &WriteOptions::default());
    assert_eq!(names(&listed), ["d/", "d/.wh.gone", "d/sub/", "d/sub/.wh..wh..opq"]);
    assert!(listed.iter().all(|entry| entry.xattrs.is_empty()));

    // The other namespace means nothing to root.
    let user = WriteOptions { xattr_namespace: OverlayXattrs::User, ..WriteOptions::default() };
    assert_eq!(names(&entries(tree.path(), &user)), ["d/", "d/.wh.gone", "d/sub/"]);
    set_xattr(&at("d"), "user.overlay.opaque", b"y");
    assert!(names(&entries(tree.path(), &user)).contains(&"d/.wh..wh..opq".to_owned()));
}

#[test]
fn whiteouts_apply_to_what_lies_below_in_any_order() {
    given!(require(&[Need::Root]));
    for archive in [
        Archive::new().file("d/.wh.x", b"").directory("d/x").file("d/x/new", b""),
        Archive::new().directory("d/x").file("d/x/new", b"").file("d/.wh.x", b""),
        Archive::new().file("d/.wh.x", b"").file("d/x/new", b""),
        Archive::new().file("d/x/.wh..wh..opq", b"").file("d/x/new", b""),
        Archive::new().file("d/x/new", b"").file("d/x/.wh..wh..opq", b""),
    ] {
        let tree = unpack(&archive.finish(), &UnpackOptions::default());
        let seen = look(tree.path());
        assert_eq!(seen[&b"d/x"[..]].xattrs[&b"trusted.overlay.opaque"[..]], b"y");
        assert_eq!(seen[&b"d/x/new"[..]].kind, "file");
    }
    for archive in [
        Archive::new().file(".wh.x", b"").file("x", b"new"),
        Archive::new().file("x", b"new").file(".wh.x", b""),
    ] {
        let tree = unpack(&archive.finish(), &UnpackOptions::default());
        assert_eq!(look(tree.path())[&b"x"[..]].content, b"new");
    }
    let notes =
        Archive::new().file(".wh..wh.plnk/1.2", b"").file(".wh..wh.aufs", b"").file(".wh.gone", b"").finish();
    let seen = look(unpack(&notes, &UnpackOptions::default()).path());
    assert_eq!(seen.keys().collect::<Vec<_>>(), [b"gone"]);
    assert_eq!((seen[&b"gone"[..]].kind, seen[&b"gone"[..]].device), ("char", 0));

    let literal = UnpackOptions { whiteouts: false, ..UnpackOptions::default() };
    let seen = look(unpack(&Archive::new().file("d/.wh.x", b"as it is").finish(), &literal).path());
    assert_eq!(seen[&b"d/.wh.x"[..]].content, b"as it is");
}

#[test]
fn directories_that_are_there_can_be_kept() {
    given!(require(&[Need::Root]));
    let keeping = UnpackOptions { whiteouts: false, keep_directories: true, ..UnpackOptions::default() };
    let mut other = Entry::new("etc/", Kind::Directory, 0o700);
    other.uid = 7;
    let archive = Archive::new()
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .directory("etc")
        .directory("lib")
        .file("lib/x", b"in usr")
        .entry(&other, &[])
        .symlink("etc", "usr")
        .finish();
    let seen = look(unpack(&archive, &keeping).path());
    assert_eq!(seen[&b"usr/lib/x"[..]].content, b"in usr");
    assert_eq!((seen[&b"lib"[..]].kind, seen[&b"etc"[..]].kind), ("symlink", "directory"));
    assert_eq!((seen[&b"etc"[..]].mode & 0o777, seen[&b"etc"[..]].owner), (0o755, (0, 0)));

    let root = tempfile::tempdir().unwrap();
    let file = Archive::new().directory("d").file("d", b"").finish();
    let refused = unpack_layer(&file[..], root.path(), &keeping).unwrap_err();
    assert!(refused.to_string().contains("a directory is in its place"), "{refused}");
}

#[test]
fn rootless_trees_have_their_own_attribute() {
    given!(require(&[Need::Root]));
    let archive = Archive::new().file("d/.wh..wh..opq", b"").finish();
    let user = UnpackOptions { xattr_namespace: OverlayXattrs::User, ..UnpackOptions::default() };
    let tree = unpack(&archive, &user);
    assert_eq!(look(tree.path())[&b"d"[..]].xattrs[&b"user.overlay.opaque"[..]], b"y");
}

#[test]
fn the_last_of_two_entries_wins() {
    given!(require(&[Need::Root]));
    let archive = Archive::new()
        .file("a", b"one")
        .hard_link("b", "a")
        .file("a", b"two")
        .directory("d")
        .file("d/f", b"kept")
        .directory("d")
        .directory("e")
        .file("e/f", b"")
        .file("e", b"now a file")
        .hard_link("a", "a")
        .finish();
    let seen = look(unpack(&archive, &UnpackOptions::default()).path());
    let content = |name: &str| seen[name.as_bytes()].content.clone();
    assert_eq!(content("a"), b"two");
    assert_eq!(content("b"), b"one");
    assert_eq!(content("d/f"), b"kept");
    assert_eq!(content("e"), b"now a file");
}

#[test]
fn an_archive_may_lack_its_end_but_no_data() {
    given!(require(&[Need::Root]));
    let whole = Archive::new().file("a", b"one").file("b", b"two").finish();
    let data_ends = 3 * 512 + 3;
    for length in [whole.len() - 512, whole.len() - 1024, data_ends, data_ends + 100] {
        let seen = look(unpack(&whole[..length], &UnpackOptions::default()).path());
        assert_eq!(seen[&b"b"[..]].content, b"two", "{length}");
    }
    for length in [data_ends - 1, 3 * 512 - 1, 2 * 512 + 1, 512 + 2] {
        let dir = tempfile::tempdir().unwrap();
        unpack_layer(&whole[..length], dir.path(), &UnpackOptions::default()).expect_err("cut off");
    }
}

#[test]
fn implied_directories_are_like_the_ones_below() {
    given!(require(&[Need::Root]));
    let lower = tempfile::tempdir().unwrap();
    fs::create_dir_all(lower.path().join("tmp/deep")).unwrap();
    fs::set_permissions(lower.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    chown(lower.path().join("tmp/deep"), Some(7), Some(8)).unwrap();
    let archive = Archive::new().file("tmp/deep/x", b"").file("new/x", b"").finish();
    let options = UnpackOptions { lower: vec![lower.path().to_owned()], ..UnpackOptions::default() };
    let (below, seen) = (look(lower.path()), look(unpack(&archive, &options).path()));
    assert_eq!(seen[&b"tmp"[..]].mode, 0o1777);
    assert_eq!(seen[&b"tmp/deep"[..]].owner, (7, 8));
    assert_eq!(seen[&b"tmp/deep"[..]].mtime, below[&b"tmp/deep"[..]].mtime);
    assert_eq!(
        (seen[&b"new"[..]].mode, seen[&b"new"[..]].owner, seen[&b"new"[..]].mtime),
        (0o755, (0, 0), (0, 0))
    );
}

#[test]
fn prefix_owner_and_time_are_as_asked() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("d")).unwrap();
    fs::write(tree.path().join("d/a"), "a").unwrap();
    fs::hard_link(tree.path().join("d/a"), tree.path().join("d/b")).unwrap();
    node(&tree.path().join("gone"), FileType::CharacterDevice, 0, 0);
    let options = WriteOptions {
        mtime: Mtime::Set(1000),
        owner: Some((10, 20)),
        prefix: vec![
            PrefixDir { path: "/srv".into(), mode: 0o755, uid: 0, gid: 0 },
            PrefixDir { path: "srv/app/".into(), mode: 0o750, uid: 5, gid: 6 },
        ],
        ..WriteOptions::default()
    };
    let listed = entries(tree.path(), &options);
    assert_eq!(
        names(&listed),
        ["srv/", "srv/app/", "srv/app/d/", "srv/app/d/a", "srv/app/d/b", "srv/app/.wh.gone"]
    );
    assert!(listed.iter().all(|entry| entry.mtime == Time { seconds: 1000, nanos: 0 }));
    assert_eq!((listed[1].mode, listed[1].uid, listed[1].gid), (0o750, 5, 6));
    assert!(listed[2..].iter().all(|entry| (entry.uid, entry.gid) == (10, 20)));
    assert_eq!((listed[4].kind, &listed[4].link[..]), (Kind::HardLink, &b"srv/app/d/a"[..]));

    for path in ["", "/", "../x", "a/../../x"] {
        let prefix = vec![PrefixDir { path: path.into(), mode: 0o755, uid: 0, gid: 0 }];
        let dir = tempfile::tempdir().unwrap();
        let options = WriteOptions { prefix, ..WriteOptions::default() };
        assert!(matches!(
            write_layer(&layout(dir.path()), tree.path(), &options),
            Err(LayerError::Tree { .. })
        ));
    }
}

#[test]
fn what_a_layer_cannot_hold_is_an_error() {
    given!(require(&[Need::Root]));
    let refused = |make: &dyn Fn(&Path)| {
        let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(tree.path());
        write_layer(&layout(dir.path()), tree.path(), &WriteOptions::default()).unwrap_err().to_string()
    };
    let error = refused(&|tree| fs::write(tree.join(".wh.x"), "").unwrap());
    assert!(error.contains(".wh.x"), "{error}");
    let error = refused(&|tree| {
        fs::create_dir(tree.join("moved")).unwrap();
        set_xattr(&tree.join("moved"), "trusted.overlay.redirect", b"from");
    });
    assert!(error.contains("moved") && error.contains("redirect_dir"), "{error}");
}

#[test]
fn sockets_are_left_out() {
    let tree = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    fs::write(tree.path().join("file"), "").unwrap();
    assert_eq!(names(&entries(tree.path(), &WriteOptions::default())), ["file"]);
}

#[test]
fn compiled_python_keeps_matching_its_source() {
    fn compiled(source: &Path, recorded: Option<u32>) -> Vec<u8> {
        let metadata = fs::metadata(source).unwrap();
        let mut bytes = 3495u16.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"\r\n\0\0\0\0");
        bytes.extend_from_slice(&recorded.unwrap_or(metadata.mtime() as u32).to_le_bytes());
        bytes.extend_from_slice(&(metadata.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&b"code".repeat(1000));
        bytes
    }
    let (tree, lower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(tree.path().join("lib/__pycache__")).unwrap();
    fs::create_dir_all(lower.path().join("lib")).unwrap();
    let here = tree.path().join("lib/here.py");
    let below = lower.path().join("lib/below.py");
    fs::write(&here, "print()").unwrap();
    fs::write(&below, "pass").unwrap();
    let cache = tree.path().join("lib/__pycache__");
    fs::write(cache.join("here.cpython-311.pyc"), compiled(&here, None)).unwrap();
    fs::write(cache.join("here.cpython-311.opt-1.pyc"), compiled(&here, Some(77))).unwrap();
    fs::write(cache.join("below.cpython-311.pyc"), compiled(&below, None)).unwrap();
    fs::write(tree.path().join("lib/legacy.pyc"), compiled(&here, None)).unwrap();

    let recorded = |options: &WriteOptions| -> BTreeMap<String, u32> {
        let dir = tempfile::tempdir().unwrap();
        let back = round_trip(&layout(dir.path()), tree.path(), options);
        look(back.path())
            .into_iter()
            .filter(|(name, _)| name.ends_with(b".pyc"))
            .map(|(name, seen)| {
                assert_eq!(seen.content.len(), 16 + 4000);
                let name = String::from_utf8(name).unwrap().rsplit('/').next().unwrap().to_owned();
                (name, u32::from_le_bytes(seen.content[8..12].try_into().unwrap()))
            })
            .collect()
    };
    let now = fs::metadata(&here).unwrap().mtime() as u32;
    let kept = recorded(&keep());
    assert_eq!(kept["here.cpython-311.pyc"], now);
    let set = recorded(&WriteOptions { mtime: Mtime::Set(1234), ..WriteOptions::default() });
    assert_eq!(set["here.cpython-311.pyc"], 1234);
    assert_eq!(set["here.cpython-311.opt-1.pyc"], 77, "it was stale before and stays so");
    assert_eq!(set["legacy.pyc"], now, "its source is not there");
    assert_ne!(set["below.cpython-311.pyc"], 1234);
    let normalised_lower = vec![(lower.path().to_owned(), 5678)];
    let set =
        recorded(&WriteOptions { mtime: Mtime::Set(1234), normalised_lower, ..WriteOptions::default() });
    assert_eq!(set["below.cpython-311.pyc"], 5678);
}

#[test]
fn an_imported_archive_keeps_its_bytes() {
    given!(require(&[Need::Root]));
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    let mut archive = Archive::new().file("./etc/motd", b"hello").finish();
    archive.resize(20 * 512, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&archive).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::bulk::compress(&archive, 3).unwrap();
    for compression in ALL {
        let layers: Vec<_> = [&archive, &gzip, &zstd]
            .iter()
            .map(|bytes| store_tar(&layout, &bytes[..], compression, 2, "archive").unwrap())
            .collect();
        assert!(layers.iter().all(|layer| *layer == layers[0]));
        assert_eq!(layers[0].diff_id.0, Digest::sha256_of(&archive));
        assert_eq!((layers[0].entries, layers[0].uncompressed_size), (1, archive.len() as u64));
        let blob = layout.open_blob(&Digest::of(&layers[0].descriptor).unwrap()).unwrap();
        let into = tempfile::tempdir().unwrap();
        assert_eq!(
            unpack_layer(blob, into.path(), &UnpackOptions::default()).unwrap().diff_id,
            layers[0].diff_id
        );
    }
    let error = store_tar(&layout, &b"no archive"[..], Compression::Gzip, 1, "stdin").unwrap_err();
    assert!(error.to_string().contains("stdin"), "{error}");
    let lzip = store_tar(&layout, &b"LZIP\x01..."[..], Compression::Gzip, 1, "stdin").unwrap_err();
    assert!(matches!(lzip, LayerError::Encoding { .. }) && lzip.hint().unwrap().contains("lzip -d"));
}

#[test]
fn a_full_disk_is_an_error_and_not_a_hang() {
    given!(require(&[Need::Root]));
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("small");
    fs::create_dir(&mount).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&mount).status();
    assert!(mounted.unwrap().success());
    let tree = tempfile::tempdir().unwrap();
    let mut noise = vec![0; 40 << 20];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(tree.path().join("noise"), noise).unwrap();
    let outcomes: Vec<_> = ALL
        .iter()
        .map(|&compression| {
            let options = WriteOptions { compression, ..WriteOptions::default() };
            write_layer(&layout(&mount), tree.path(), &options)
        })
        .collect();
    let left = fs::read_dir(mount.join("layout/ingest")).unwrap().count();
    assert!(Command::new("umount").arg(&mount).status().unwrap().success());
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("free space")), "{error:?}");
    }
    assert_eq!(left, 0);
}
