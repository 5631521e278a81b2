//! What an image has at some paths, out of its layers, topmost first.

use otoshi_oci::contents::{Contents, Layer, Piece, above};
use otoshi_oci::tar::{END, Entry, Kind, write_header, write_padding};

/// A layer's tar: name, kind, and a file's content or a link's target.
fn layer(entries: &[(&str, Kind, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, text) in entries {
        let mut entry = Entry::new(*name, *kind, 0o644);
        let is_file = *kind == Kind::File;
        if is_file {
            entry.size = text.len() as u64;
        } else {
            entry.link = text.as_bytes().to_vec();
        }
        write_header(&mut bytes, &entry);
        if is_file {
            bytes.extend_from_slice(text.as_bytes());
            write_padding(&mut bytes, entry.size);
        }
    }
    bytes.extend_from_slice(&END);
    bytes
}

/// Reads some paths and the directories above them.
fn read(tar: &[u8], wanted: &[&str]) -> Layer<String> {
    let wants = |path: &[u8]| {
        wanted
            .iter()
            .any(|wanted| wanted.as_bytes() == path || above(wanted.as_bytes()).any(|above| above == path))
    };
    Layer::of_tar(tar, wants, |_, _, data| {
        let bytes = data.read_at_most(100)?.unwrap_or_default();
        Ok(String::from_utf8(bytes).unwrap())
    })
    .unwrap()
}

fn contents(layers: &[Vec<u8>], wanted: &[&str]) -> Vec<String> {
    let mut contents = Contents::default();
    layers.iter().rev().for_each(|tar| contents.below(read(tar, wanted)));
    let shown = contents.files().iter().filter(|(_, node)| !node.is_directory()).map(|(path, node)| {
        let text = if node.kind == Kind::Symlink { &node.link[..] } else { node.facts.as_bytes() };
        format!("{} {}", String::from_utf8_lossy(path), String::from_utf8_lossy(text))
    });
    shown.collect()
}

#[test]
fn the_topmost_layer_that_has_a_word_about_a_path_says_what_is_there() {
    let base = layer(&[
        ("etc/", Kind::Directory, ""),
        ("etc/os-release", Kind::Symlink, "../usr/lib/os-release"),
        ("./usr/lib/os-release", Kind::File, "old"),
        ("var/lib/dpkg/status", Kind::File, "old"),
        ("var/lib/dpkg/status.d/a", Kind::File, "a"),
        ("etc/apt/sources.list", Kind::File, "old"),
        ("opt/x", Kind::File, "x"),
    ]);
    let wanted = ["etc/os-release", "usr/lib/os-release", "var/lib/dpkg/status", "var/lib/dpkg/status.d/a"];
    let under = ["etc/os-release ../usr/lib/os-release", "usr/lib/os-release old"];
    let newer = layer(&[("usr/lib/os-release", Kind::File, "new")]);
    let found = contents(&[base.clone(), newer], &wanted);
    assert_eq!(found[..2], [under[0], "usr/lib/os-release new"]);
    assert_eq!(found.len(), 4);

    let whiteout = layer(&[("var/lib/dpkg/.wh.status", Kind::File, "")]);
    assert_eq!(contents(&[base.clone(), whiteout], &wanted)[2..], ["var/lib/dpkg/status.d/a a"]);
    let overlay = layer(&[("var/lib/dpkg", Kind::Char { major: 0, minor: 0 }, "")]);
    assert_eq!(contents(&[base.clone(), overlay], &wanted), under);
    let opaque =
        layer(&[("var/lib/.wh..wh..opq", Kind::File, ""), ("var/lib/dpkg/status", Kind::File, "own")]);
    let own = ["var/lib/dpkg/status own"];
    assert_eq!(contents(&[base.clone(), opaque], &wanted), [&under[..], &own].concat());
    // A link or a file in a directory's place hides all that was in it.
    let link = layer(&[("var/lib", Kind::Symlink, "/opt")]);
    assert_eq!(contents(&[base, link], &wanted), [&under[..], &["var/lib /opt"]].concat());
}

#[test]
fn hard_links_are_the_files_that_they_name() {
    let tar = layer(&[
        ("lib", Kind::Symlink, "usr/lib"),
        ("lib/one", Kind::File, "1"),
        ("two", Kind::HardLink, "lib/one"),
    ]);
    let found = read(&tar, &["two", "usr/lib/one"]);
    let shown: Vec<_> = found.files().iter().map(|(path, node)| (&path[..], &node.facts[..])).collect();
    assert_eq!(shown, [(&b"two"[..], "1"), (b"usr/lib/one", "1")]);
    let found = read(&tar, &["two"]);
    assert!(found.files().is_empty());
    assert_eq!(found.unresolved(), [(b"two".to_vec(), b"usr/lib/one".to_vec())]);
}

#[test]
fn holes_read_as_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("sparse")).unwrap();
    file.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], 1 << 20).unwrap();
    let tar =
        std::process::Command::new("tar").args(["--sparse", "-cC"]).arg(dir.path()).arg("sparse").output();
    let tar = tar.unwrap().stdout;
    assert!(tar.len() < 1 << 20);
    let mut expected = vec![0; 3 << 20];
    expected[1 << 20..(1 << 20) + 4096].fill(7);
    let all =
        Layer::of_tar(&tar[..], |_| true, |_, _, data| Ok(data.read_at_most(4 << 20)?.unwrap())).unwrap();
    assert!(all.files()[&b"sparse"[..]].facts == expected);
    let small = Layer::of_tar(&tar[..], |_| true, |_, _, data| Ok(data.read_at_most(1 << 20)?)).unwrap();
    assert_eq!(small.files()[&b"sparse"[..]].facts, None);
    let pieces = Layer::of_tar(
        &tar[..],
        |_| true,
        |_, _, data| {
            let mut seen = (0, 0);
            data.pieces(|piece| match piece {
                Piece::Bytes(bytes) => seen.0 += bytes.len() as u64,
                Piece::Hole { from, to } => seen.1 += to - from,
            })?;
            Ok((seen, data.holes()))
        },
    );
    let ((bytes, zeros), holes) = pieces.unwrap().files()[&b"sparse"[..]].facts;
    assert_eq!((bytes + zeros, zeros), (3 << 20, holes));
}
