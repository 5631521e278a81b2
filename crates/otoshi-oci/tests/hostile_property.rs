//! Any sequence of entries with any names: whatever unpacking makes of it, nothing outside the root changes.

mod support;

use std::fs;

use otoshi_oci::layer::{UnpackOptions, unpack_layer};
use otoshi_oci::tar::{Entry, Kind, Reader};
use proptest::prelude::*;
use support::{Archive, look};

/// Stands for the absolute path of the directory that must not change.
const OUTSIDE: &str = "{outside}";

/// A name below the root. Few parts, so that entries meet each other's links; none of them is a name that any machine
/// has, so that a defect does no harm where this runs.
fn any_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => prop::sample::select(vec!["otoshi-a", "otoshi-b"]),
        1 => prop::sample::select(vec!["..", ".", "", "otoshi-secret", ".wh.otoshi-a", "otoshi-outside"]),
    ];
    (prop::bool::weighted(0.1), prop::collection::vec(part, 1..4)).prop_map(|(absolute, parts)| {
        let slash = if absolute { "/" } else { "" };
        format!("{slash}{}", parts.join("/"))
    })
}

fn any_target() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::sample::select(vec!["../otoshi-outside", "../../otoshi-outside", "../otoshi-outside/otoshi-a", ".."])
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec!["", "/otoshi-a", "/otoshi-secret"]).prop_map(|rest| format!("{OUTSIDE}{rest}")),
        1 => any_path(),
    ]
}

fn any_entry() -> impl Strategy<Value = (Entry, bool)> {
    let kind = prop_oneof![
        Just(Kind::File),
        Just(Kind::File),
        Just(Kind::Directory),
        Just(Kind::Symlink),
        Just(Kind::Symlink),
        Just(Kind::HardLink),
        Just(Kind::Fifo),
        Just(Kind::Char { major: 0, minor: 0 }),
        Just(Kind::Char { major: 1, minor: 3 }),
    ];
    (any_path(), kind, any_target(), 0u32..0o10000).prop_map(|(name, kind, link, mode)| {
        let mut entry = Entry::new(name, kind, mode);
        if matches!(kind, Kind::HardLink | Kind::Symlink) {
            entry.link = link.into_bytes();
        }
        (entry.uid, entry.gid) = (1234, 1234);
        if kind == Kind::File {
            entry.size = 3;
        }
        if kind == Kind::Directory {
            entry.xattrs = vec![(b"user.mark".to_vec(), b"1".to_vec())];
        }
        (entry, kind == Kind::File)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_outside_changes(mut entries in prop::collection::vec(any_entry(), 1..14)) {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("otoshi-outside"));
        for path in [&root, &outside.join("otoshi-a/otoshi-b"), &outside.join("otoshi-b")] {
            fs::create_dir_all(path).unwrap();
        }
        for name in ["otoshi-secret", "otoshi-a/otoshi-secret"] {
            fs::write(outside.join(name), "secret").unwrap();
        }
        for (entry, _) in &mut entries {
            let link = String::from_utf8_lossy(&entry.link).replace(OUTSIDE, outside.to_str().unwrap());
            entry.link = link.into_bytes();
        }
        let mut archive = Archive::new();
        for (entry, has_data) in &entries {
            archive = archive.entry(entry, if *has_data { b"new" } else { b"" });
        }
        let before = look(&outside);
        // One after the other, so that an entry that is refused does not keep the rest from trying.
        let whole = archive.finish();
        let _ = unpack_layer(&whole[..], &root, &UnpackOptions::default());
        for (entry, has_data) in &entries {
            let one = Archive::new().entry(entry, if *has_data { b"new" } else { b"" }).finish();
            let _ = unpack_layer(&one[..], &root, &UnpackOptions::default());
        }
        prop_assert_eq!(look(&outside), before);
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn any_bytes_are_an_error_at_most(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let dir = tempfile::tempdir().unwrap();
        let _ = unpack_layer(&bytes[..], dir.path(), &UnpackOptions::default());
    }

    #[test]
    fn a_damaged_archive_never_panics(place in 0usize..4096, byte in any::<u8>(), cut in 0usize..4096) {
        let mut long = Entry::new("long ".repeat(40), Kind::File, 0o644);
        long.xattrs = vec![(b"user.x".to_vec(), b"value".to_vec())];
        let mut bytes = Archive::new().file("a", b"content").entry(&long, b"").symlink("l", "a").finish();
        let place = place % bytes.len();
        bytes[place] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut % 700));
        let mut reader = Reader::new(&bytes[..]);
        while let Ok(Some(_)) = reader.next_entry() {}
    }
}
