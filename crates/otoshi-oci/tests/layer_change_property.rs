//! Whatever is changed in a tree: the change becomes a layer, and the layer on the same tree gives the changed tree again.
//! A file system without whiteouts of its own sees the same, as unpacked by another tool.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use otoshi_oci::Digest;
use otoshi_oci::layer::{Compression, Mtime, UnpackOptions, WriteOptions, unpack_layer, write_layer};
use otoshi_test::{Need, given, require};
use proptest::prelude::*;
use support::{Overlay, Seen, keep, layout, look, set_xattr};

/// One change of a tree; paths are of a small set, so that changes meet.
#[derive(Debug, Clone)]
enum Change {
    Write(Vec<u8>),
    Directory,
    Symlink(String),
    HardLink(PathBuf),
    /// A file, or a directory with all in it.
    Remove,
    /// A directory that is removed and made again, so that nothing of what was below is seen.
    Anew,
    Rename(PathBuf),
    Mode(u32),
    Attribute(Vec<u8>),
}

fn any_path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "x y", "é"]), 1..4)
        .prop_map(|parts| parts.into_iter().collect())
}

fn any_change() -> impl Strategy<Value = (PathBuf, Change)> {
    let change = prop_oneof![
        5 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Change::Write),
        5 => Just(Change::Directory),
        2 => "[a-c/.]{1,8}".prop_map(Change::Symlink),
        1 => any_path().prop_map(Change::HardLink),
        4 => Just(Change::Remove),
        2 => Just(Change::Anew),
        2 => any_path().prop_map(Change::Rename),
        1 => (0u32..0o10000).prop_map(|mode| Change::Mode(mode | 0o700)),
        1 => prop::collection::vec(any::<u8>(), 1..9).prop_map(Change::Attribute),
    ];
    (any_path(), change)
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Makes changes; one that is not possible in the tree as it is, is none.
fn change(root: &Path, changes: &[(PathBuf, Change)]) {
    for (path, change) in changes {
        let path = root.join(path);
        let parent = path.parent().unwrap();
        // Nothing is done through a link: it may lead out of the tree.
        let plain = |path: &Path| {
            path.strip_prefix(root).unwrap().ancestors().all(|part| !root.join(part).is_symlink())
        };
        if !plain(parent) {
            continue;
        }
        let meta = fs::symlink_metadata(&path).ok();
        let is_directory = meta.as_ref().is_some_and(fs::Metadata::is_dir);
        let is_file = meta.as_ref().is_some_and(fs::Metadata::is_file);
        match change {
            Change::Write(content) if is_file || (meta.is_none() && fs::create_dir_all(parent).is_ok()) => {
                fs::write(&path, content).unwrap();
            }
            Change::Directory if meta.is_none() => {
                let _ = fs::create_dir_all(&path);
            }
            Change::Symlink(target) if fs::create_dir_all(parent).is_ok() => {
                remove(&path);
                symlink(target, &path).unwrap();
            }
            Change::HardLink(from) => {
                let from = root.join(from);
                if plain(&from) && from.is_file() && meta.is_none() && fs::create_dir_all(parent).is_ok() {
                    fs::hard_link(from, &path).unwrap();
                }
            }
            Change::Remove => remove(&path),
            Change::Anew if is_directory => {
                remove(&path);
                fs::create_dir(&path).unwrap();
            }
            Change::Rename(to) => {
                let to = root.join(to);
                if plain(&to) {
                    // Between directories of a lower layer the kernel refuses it (EXDEV), and tools copy then.
                    let _ = fs::rename(&path, &to);
                }
            }
            Change::Mode(mode) if is_file || is_directory => {
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
            }
            Change::Attribute(value) if is_file || is_directory => set_xattr(&path, "user.color", value),
            _ => {}
        }
    }
}

/// Whose files are the same file is not compared: overlayfs parts hard links when it copies one up.
fn without_links(mut seen: BTreeMap<Vec<u8>, Seen>) -> BTreeMap<Vec<u8>, Seen> {
    for entry in seen.values_mut() {
        entry.first.clear();
    }
    seen
}

/// What another tool makes of an image of these two layers.
fn unpacked_by_umoci(dir: &Path, base: &Path, upper: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let image = dir.join("image");
    let (rootfs, umoci) = (dir.join("bundle/rootfs"), |arguments: &[&str]| {
        let output = Command::new("umoci").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    });
    umoci(&["init", "--layout", image.to_str().unwrap()]);
    let named = format!("{}:one", image.display());
    umoci(&["new", "--image", &named]);
    for tree in [base, upper] {
        let path = dir.join("layer.tar");
        let mut file = fs::File::create(&path).unwrap();
        let options = WriteOptions { compression: Compression::None, mtime: Mtime::Keep, ..keep() };
        otoshi_oci::layer::write_tar(tree, &mut file, &options).unwrap();
        umoci(&["raw", "add-layer", "--image", &named, path.to_str().unwrap()]);
    }
    umoci(&["unpack", "--image", &named, dir.join("bundle").to_str().unwrap()]);
    look(&rootfs)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(48) })]
    #[test]
    fn any_change_comes_back(
        below in prop::collection::vec(any_change(), 0..25),
        above in prop::collection::vec(any_change(), 0..25),
    ) {
        given!(require(&[Need::Root, Need::Tool("umoci")]), else Ok(()));
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        fs::create_dir(&base).unwrap();
        change(&base, &below);
        let before = look(&base);
        let overlay = Overlay::mount(dir.path(), &[&base], "upper").unwrap();
        change(&overlay.0, &above);
        let changed = without_links(look(&overlay.0));
        drop(overlay);

        let upper = dir.path().join("upper");
        let store = layout(dir.path());
        let layer = write_layer(&store, &upper, &keep()).unwrap();
        let applied = dir.path().join("applied");
        fs::create_dir(&applied).unwrap();
        let blob = store.open_blob(&Digest::of(&layer.descriptor).unwrap()).unwrap();
        unpack_layer(blob, &applied, &UnpackOptions::default()).unwrap();
        let overlay = Overlay::mount(dir.path(), &[&applied, &base], "second").unwrap();
        let again = without_links(look(&overlay.0));
        drop(overlay);
        prop_assert_eq!(&changed, &again);
        prop_assert_eq!(before, look(&base));
        prop_assert_eq!(write_layer(&store, &applied, &keep()).unwrap(), layer, "the layer of what was unpacked");

        let theirs = unpacked_by_umoci(dir.path(), &base, &upper);
        // It leaves the times of directories as unpacking made them.
        let plain = |seen: &BTreeMap<Vec<u8>, Seen>| {
            let files = seen.iter().map(|(path, seen)| (path.clone(), (seen.kind, seen.mode, seen.content.clone(), seen.xattrs.clone())));
            files.collect::<BTreeMap<_, _>>()
        };
        prop_assert_eq!(plain(&changed), plain(&theirs));
    }
}
