//! What overlayfs makes of layers: a change becomes a layer, and the layer makes the same change again. And rootless.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use otoshi_explain::Explain;
use otoshi_oci::Digest;
use otoshi_oci::layer::{LayerError, OverlayXattrs, UnpackOptions, WriteOptions, unpack_layer, write_layer};
use otoshi_oci::tar::{Entry, Kind};
use otoshi_test::{Need, given, require};
use support::{Archive, Overlay, keep, layout, look};

#[test]
fn a_change_becomes_a_layer_and_a_layer_the_same_change() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    for path in ["keep", "gone/deep", "again/old", "replaced", "moved"] {
        fs::create_dir_all(base.join(path)).unwrap();
        fs::write(base.join(path).join("file"), path).unwrap();
    }
    fs::write(base.join("deleted"), "x").unwrap();
    fs::write(base.join("changed"), "old").unwrap();
    fs::set_permissions(base.join("keep"), fs::Permissions::from_mode(0o1777)).unwrap();
    let before = look(&base);

    let overlay = given!(Overlay::mount(dir.path(), &[&base], "upper"));
    let at = |name: &str| overlay.0.join(name);
    fs::remove_file(at("deleted")).unwrap();
    fs::remove_dir_all(at("gone")).unwrap();
    fs::remove_dir_all(at("again")).unwrap();
    fs::create_dir(at("again")).unwrap();
    fs::write(at("again/new"), "new").unwrap();
    fs::remove_dir_all(at("replaced")).unwrap();
    symlink("keep", at("replaced")).unwrap();
    fs::write(at("changed"), "new").unwrap();
    fs::hard_link(at("changed"), at("keep/hard")).unwrap();
    let changed = look(&overlay.0);
    drop(overlay);

    let layout = layout(dir.path());
    let layer = write_layer(&layout, &dir.path().join("upper"), &keep()).unwrap();
    let applied = dir.path().join("applied");
    fs::create_dir(&applied).unwrap();
    let blob = layout.open_blob(&Digest::of(&layer.descriptor).unwrap()).unwrap();
    unpack_layer(blob, &applied, &UnpackOptions::default()).unwrap();
    let overlay = given!(Overlay::mount(dir.path(), &[&applied, &base], "second"));
    let again = look(&overlay.0);
    assert_eq!(again.keys().collect::<Vec<_>>(), changed.keys().collect::<Vec<_>>());
    for (name, seen) in &changed {
        assert_eq!(*seen, again[name], "{}", name.escape_ascii());
    }
    assert_eq!(look(&base), before);
    // The first layer again, from what was unpacked.
    assert_eq!(write_layer(&layout, &applied, &keep()).unwrap(), layer);
}

/// Not a test of its own: the next test runs it in a user namespace in which only root has an id, and says where. Whoever runs
/// all that is ignored runs it without that, and it does nothing.
#[test]
#[ignore = "started by without_root_a_layer_is_unpacked_as_far_as_possible"]
fn child_in_a_user_namespace() {
    let Some(dir) = std::env::var_os("OTOSHI_TEST_ROOTLESS").map(PathBuf::from) else { return };
    let options =
        UnpackOptions { xattr_namespace: OverlayXattrs::User, in_userns: true, ..UnpackOptions::default() };
    let unpack = |name: &str, archive: Archive| {
        let into = dir.join(name);
        fs::create_dir(&into).unwrap();
        unpack_layer(&archive.finish()[..], &into, &options).map(|_| into)
    };
    let mut marked = Entry::new("f", Kind::File, 0o4755);
    marked.xattrs = vec![(b"trusted.x".to_vec(), b"1".to_vec()), (b"user.x".to_vec(), b"1".to_vec())];
    let good = Archive::new()
        .entry(&marked, b"")
        .file(".wh.gone", b"")
        .directory("d")
        .file("d/.wh..wh..opq", b"")
        .entry(&Entry::new("pipe", Kind::Fifo, 0o600), b"");
    let tree = unpack("good", good).unwrap();
    let seen = look(&tree);
    assert_eq!((seen[&b"gone"[..]].kind, seen[&b"gone"[..]].device), ("char", 0));
    assert_eq!(seen[&b"d"[..]].xattrs[&b"user.overlay.opaque"[..]], b"y");
    assert_eq!((seen[&b"f"[..]].mode, seen[&b"f"[..]].xattrs.len()), (0o4755, 1));

    // Below /dev a device is left out; elsewhere somebody wants that very one.
    let device = |name: &str| {
        Archive::new()
            .entry(&Entry::new(name, Kind::Char { major: 1, minor: 3 }, 0o666), b"")
            .file("after", b"x")
    };
    let without = unpack("without", device("./dev/null")).unwrap();
    assert!(!without.join("dev/null").exists() && without.join("after").exists());
    let error = unpack("device", device("jail/dev/null")).unwrap_err();
    assert!(matches!(&error, LayerError::Entry { entry, .. } if entry == "jail/dev/null"), "{error:?}");
    assert!(error.hint().unwrap().contains("root"), "{error}");
    let mut owned = Entry::new("owned", Kind::File, 0o644);
    owned.uid = 1000;
    let error = unpack("owned", Archive::new().entry(&owned, b"")).unwrap_err();
    assert!(error.hint().unwrap().contains("/etc/subuid"), "{error}");

    // The same layer as root would write.
    let write = WriteOptions { xattr_namespace: OverlayXattrs::User, ..WriteOptions::default() };
    let layer = write_layer(&layout(&dir), &tree, &write).unwrap();
    fs::write(dir.join("digest"), layer.descriptor.digest().as_ref()).unwrap();
}

#[test]
fn without_root_a_layer_is_unpacked_as_far_as_possible() {
    given!(require(&[Need::Root, Need::UserNamespaces]));
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_in_a_user_namespace", "--ignored", "--nocapture"])
        .env("OTOSHI_TEST_ROOTLESS", dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rootless = fs::read_to_string(dir.path().join("digest")).unwrap();

    let mut marked = Entry::new("f", Kind::File, 0o4755);
    marked.xattrs = vec![(b"user.x".to_vec(), b"1".to_vec())];
    let archive = Archive::new()
        .entry(&marked, b"")
        .file(".wh.gone", b"")
        .directory("d")
        .file("d/.wh..wh..opq", b"")
        .entry(&Entry::new("pipe", Kind::Fifo, 0o600), b"");
    let tree = tempfile::tempdir().unwrap();
    unpack_layer(&archive.finish()[..], tree.path(), &UnpackOptions::default()).unwrap();
    let store = tempfile::tempdir().unwrap();
    let layer = write_layer(&layout(store.path()), tree.path(), &WriteOptions::default()).unwrap();
    assert_eq!(layer.descriptor.digest().as_ref(), rootless);
}
