//! What differs between two images, whatever their layers hold: hidden files, opaque directories, hard links, attributes;
//! and layers that lie.

mod support;

use otoshi_oci::config::{History, ImageConfig};
use otoshi_oci::diff::{Change, compare};
use otoshi_oci::layer::{Compression, store_tar};
use otoshi_oci::tar::{Entry, Kind};
use otoshi_oci::{Descriptor, DiffId, Digest, Image, Layout, MediaType, Platform, write_image};
use support::{Archive, layout};

/// An image of these layers.
fn image(store: &Layout, layers: Vec<Archive>) -> Image {
    let written = layers.into_iter().map(|layer| {
        let written = store_tar(store, &layer.finish()[..], Compression::Zstd, 1, "a layer").unwrap();
        (written.descriptor, written.diff_id)
    });
    image_of(store, written)
}

/// An image of a layer that could not be stored as one.
fn image_of_hostile(store: &Layout, layer: Archive) -> Image {
    let descriptor = store.put(MediaType::ImageLayer, &layer.finish()).unwrap();
    let diff_id = DiffId(Digest::of(&descriptor).unwrap());
    image_of(store, std::iter::once((descriptor, diff_id)))
}

fn image_of(store: &Layout, layers: impl Iterator<Item = (Descriptor, DiffId)>) -> Image {
    let platform = Platform::host();
    let mut config = ImageConfig::new(&platform);
    let mut descriptors = Vec::new();
    for (descriptor, diff_id) in layers {
        config.rootfs.diff_ids.push(diff_id);
        config.history.push(History::default());
        descriptors.push(descriptor);
    }
    let descriptor = write_image(store, &config, &descriptors, &std::collections::BTreeMap::new()).unwrap();
    Image::load(store, &Digest::of(&descriptor).unwrap(), &platform).unwrap()
}

/// The lines of a comparison: a sign, a path, and what differs of it.
fn lines(store: &Layout, old: Vec<Archive>, new: Vec<Archive>) -> Vec<String> {
    let (old, new) = (image(store, old), image(store, new));
    let diff = compare(store, &old, &new).unwrap();
    let line = |file: &otoshi_oci::diff::ChangedFile| {
        let sign = match file.change {
            Change::Added => "+",
            Change::Removed => "-",
            Change::Changed => "~",
        };
        let what: Vec<&str> = file.what.iter().map(|what| what.name.as_str()).collect();
        format!("{sign} {} {}", file.path, what.join(",")).trim_end().to_owned()
    };
    diff.files.iter().map(line).collect()
}

fn base() -> Archive {
    Archive::new().directory("d").file("d/a", b"a").file("d/b", b"b").file("e", b"e")
}

#[test]
fn what_a_layer_hides_is_gone_and_what_it_brings_back_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = layout(dir.path());
    let nothing: [&str; 0] = [];
    // Opaque: all that was below is gone, what the layer has is there, wherever in the archive the marker stands.
    let opaque = || Archive::new().directory("d").file("d/c", b"c").file("d/.wh..wh..opq", b"");
    assert_eq!(lines(&store, vec![base()], vec![base(), opaque()]), ["- /d/a", "- /d/b", "+ /d/c"]);
    // A removed directory, and the same with a file of its name.
    assert_eq!(
        lines(&store, vec![base()], vec![base(), Archive::new().file(".wh.d", b"")]),
        ["- /d", "- /d/a", "- /d/b"]
    );
    let replaced = Archive::new().file("d", b"file");
    assert_eq!(
        lines(&store, vec![base()], vec![base(), replaced]),
        ["~ /d content,mode,size,type", "- /d/a", "- /d/b"]
    );
    // Removed in one layer and back in the next, it is what it was.
    let back = || Archive::new().file("e", b"e");
    assert_eq!(lines(&store, vec![base()], vec![base(), Archive::new().file(".wh.e", b""), back()]), nothing);
    // A whiteout hides what is below its layer, not what its own layer has.
    let both = Archive::new().file("e", b"e").file(".wh.e", b"");
    assert_eq!(lines(&store, vec![base()], vec![base(), both]), nothing);
    // Other layers, the same files.
    let (one, two) =
        (Archive::new().directory("d").file("d/a", b"a"), Archive::new().file("d/b", b"b").file("e", b"e"));
    assert_eq!(lines(&store, vec![base()], vec![one, two]), nothing);
    // A layer that is there twice.
    assert_eq!(lines(&store, vec![base()], vec![base(), opaque(), base()]), ["+ /d/c"]);
}

#[test]
fn attributes_links_and_devices_count() {
    let dir = tempfile::tempdir().unwrap();
    let store = layout(dir.path());
    let nothing: [&str; 0] = [];
    let with = |name: &[u8], value: &[u8]| {
        let mut entry = Entry::new("f", Kind::File, 0o755);
        entry.xattrs = vec![(name.to_vec(), value.to_vec())];
        vec![Archive::new().entry(&entry, b"")]
    };
    let capability = || with(b"security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(lines(&store, capability(), capability()), nothing);
    assert_eq!(
        lines(&store, with(b"user.a", b"1"), capability()),
        ["~ /f xattr security.capability,xattr user.a"]
    );
    // A hard link is the file that it names; a copy of it is the same to whoever reads it.
    let linked = || vec![base().hard_link("h", "d/a")];
    assert_eq!(lines(&store, linked(), vec![base().file("h", b"a")]), nothing);
    assert_eq!(lines(&store, linked(), vec![base().hard_link("h", "d/b")]), ["~ /h content"]);
    let device = |major, minor| {
        vec![Archive::new().entry(&Entry::new("dev", Kind::Block { major, minor }, 0o600), b"")]
    };
    assert_eq!(lines(&store, device(8, 1), device(8, 2)), ["~ /dev type"]);
    // Names that are no text.
    let odd = vec![base().file(&b"caf\xe9\n"[..], b"")];
    assert_eq!(lines(&store, vec![base()], odd), ["+ /caf\\xe9\\n"]);
}

#[test]
fn layers_that_lie_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = layout(dir.path());
    let good = image(&store, vec![base()]);
    let refused = |bad: &Image| {
        let error = compare(&store, &good, bad).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    let outside = refused(&image_of_hostile(&store, Archive::new().file("../../etc/passwd", b"x")));
    assert!(outside.contains("points outside the root"), "{outside}");
    let dangling = refused(&image_of_hostile(&store, Archive::new().hard_link("h", "not/there")));
    assert!(dangling.contains("hard link target is not in this layer"), "{dangling}");
    let circle = Archive::new().symlink("x", "y").symlink("y", "x").file("x/f", b"");
    assert!(refused(&image_of_hostile(&store, circle)).contains("points outside the root"));

    // A blob that is not what the config says: its bytes are cut off, changed, or those of another layer.
    let lying = image(&store, vec![base().file("big", &vec![7; 100_000])]);
    let layer = lying.layers()[0].digest.clone();
    let path = dir.path().join("layout/blobs/sha256").join(layer.hex());
    let whole = std::fs::read(&path).unwrap();
    let other =
        std::fs::read(dir.path().join("layout/blobs/sha256").join(good.layers()[0].digest.hex())).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 0xff;
    for bytes in [&whole[..whole.len() / 2], &changed[..], &other[..], b""] {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let text = refused(&lying);
        assert!(text.contains(layer.hex()), "{text}");
    }
}
