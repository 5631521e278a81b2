//! Any tree becomes a layer and the same tree again.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use otoshi_oci::layer::{WriteOptions, write_layer};
use otoshi_test::{Need, given, require};
use proptest::prelude::*;
use rustix::fs::FileType;
use support::{ALL, keep, layout, look, node, round_trip, set_xattr};

/// One file of a random tree.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Directory { opaque: bool },
    Symlink(String),
    HardLink(usize),
    Whiteout,
    Fifo,
    Device(u32, u32),
}

fn any_node() -> impl Strategy<Value = Node> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..2000).prop_map(Node::File),
        1 => (1usize..300_000, any::<u8>()).prop_map(|(size, byte)| Node::File(vec![byte; size])),
        4 => any::<bool>().prop_map(|opaque| Node::Directory { opaque }),
        2 => "[a-z./]{1,120}".prop_map(Node::Symlink),
        2 => any::<usize>().prop_map(Node::HardLink),
        1 => Just(Node::Whiteout),
        1 => Just(Node::Fifo),
        1 => (1u32..4000, 0u32..100_000).prop_map(|(major, minor)| Node::Device(major, minor)),
    ]
}

type Attributes = (u32, u32, u32, i64, u32, BTreeMap<String, Vec<u8>>);

fn any_attributes() -> impl Strategy<Value = Attributes> {
    (
        0u32..0o10000,
        prop_oneof![Just(0u32), 1u32..70_000, Just(4_000_000_000)],
        0u32..70_000,
        -1_000_000_000i64..4_000_000_000,
        prop_oneof![Just(0u32), 0u32..1_000_000_000],
        prop::collection::btree_map("user\\.[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..60), 0..3),
    )
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c]{1,2}".prop_map(String::into_bytes),
        "\\PC{1,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..200),
    ]
    .prop_filter("a name that a file can have", |name| {
        !name.contains(&0)
            && !name.contains(&b'/')
            && name.len() <= 250
            && !matches!(&name[..], b"." | b"..")
            && !name.starts_with(b".wh.")
    })
}

/// Builds a tree; what clashes with an earlier file is skipped.
fn build(root: &Path, nodes: &[(usize, Vec<u8>, Node, Attributes)]) {
    use std::os::unix::ffi::OsStrExt;
    let mut directories = vec![root.to_owned()];
    let mut files = Vec::new();
    let mut times = Vec::new();
    for (place, name, kind, (mode, uid, gid, seconds, nanos, xattrs)) in nodes {
        let path = directories[place % directories.len()].join(std::ffi::OsStr::from_bytes(name));
        if path.as_os_str().len() > 3000 || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match kind {
            Node::File(content) => fs::write(&path, content).unwrap(),
            Node::Directory { opaque } => {
                fs::create_dir(&path).unwrap();
                if *opaque {
                    set_xattr(&path, "trusted.overlay.opaque", b"y");
                }
                directories.push(path.clone());
            }
            Node::Symlink(target) => symlink(target, &path).unwrap(),
            Node::HardLink(which) => {
                if let Some(target) = files.get(which % files.len().max(1)) {
                    fs::hard_link::<&std::path::PathBuf, _>(target, &path).unwrap();
                }
                continue;
            }
            Node::Whiteout => {
                node(&path, FileType::CharacterDevice, 0, 0);
                continue;
            }
            Node::Fifo => node(&path, FileType::Fifo, 0, 0),
            Node::Device(major, minor) => node(&path, FileType::BlockDevice, *major, *minor),
        }
        std::os::unix::fs::lchown(&path, Some(*uid), Some(*gid)).unwrap();
        if !matches!(kind, Node::Symlink(_)) {
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        if matches!(kind, Node::File(_) | Node::Directory { .. }) {
            for (name, value) in xattrs {
                set_xattr(&path, name, value);
            }
        }
        if !matches!(kind, Node::Directory { .. }) {
            files.push(path.clone());
        }
        times.push((path, *seconds, *nanos));
    }
    for (path, seconds, nanos) in times.iter().rev() {
        let time = rustix::fs::Timespec { tv_sec: *seconds, tv_nsec: i64::from(*nanos) };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_tree_comes_back(
        nodes in prop::collection::vec((any::<usize>(), any_name(), any_node(), any_attributes()), 0..40),
        compression in prop::sample::select(ALL.to_vec()),
    ) {
        given!(require(&[Need::Root]), else Ok(()));
        let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(tree.path(), &nodes);
        let before = look(tree.path());
        let store = layout(dir.path());
        let options = WriteOptions { compression, ..keep() };
        let back = round_trip(&store, tree.path(), &options);
        let after = look(back.path());
        prop_assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (name, seen) in &before {
            prop_assert_eq!(seen, &after[name], "{}", name.escape_ascii());
        }
        // Unpacked and written again, it is the same layer.
        let first = write_layer(&store, tree.path(), &options).unwrap();
        prop_assert_eq!(write_layer(&store, back.path(), &options).unwrap(), first);
    }
}
