//! Layers of other tools: directories that lead to an entry and have none of their own, and the root directory.

mod support;

use std::{collections::BTreeMap, io::Write};

use otoshi_oci::{
    Digest, Image, ImageConfig, Platform, Reference,
    layer::{Compression, store_tar},
    tar::{END, Entry, Kind, write_header, write_padding},
    write_image,
};
use otoshi_test::given;
use support::{World, world};

/// An archive of directories and files: path, mode, owner and group; a path with a slash at its end is a directory, and with ` -> ` a link.
fn archive(entries: &[(&str, u32, u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, mode, uid, gid) in entries {
        let (path, link) = path.split_once(" -> ").unwrap_or((path, ""));
        let kind = match (path.ends_with('/'), link) {
            (true, _) => Kind::Directory,
            (false, "") => Kind::File,
            _ => Kind::Symlink,
        };
        let mut entry = Entry::new(path, kind, *mode);
        (entry.uid, entry.gid, entry.link) = (*uid, *gid, link.into());
        write_header(&mut bytes, &entry);
        write_padding(&mut bytes, entry.size);
    }
    bytes.write_all(&END).unwrap();
    bytes
}

/// An image of busybox and these layers, as `layered`.
fn layered(world: &World, layers: &[&[(&str, u32, u32, u32)]]) {
    let layout = world.home.layout();
    let busybox = layout.names().resolve(&Reference::parse("busybox").unwrap()).unwrap().unwrap();
    let base = Image::load(layout, &Digest::of(&busybox).unwrap(), &Platform::host()).unwrap();
    let mut config = ImageConfig::new(&Platform::host());
    config.config.env.push("PATH=/bin".into());
    let mut descriptors = Vec::new();
    for layer in base.layers() {
        config.rootfs.diff_ids.push(layer.diff_id.clone());
        descriptors.push(layer.descriptor.clone());
    }
    for layer in layers {
        let stored = store_tar(layout, &archive(layer)[..], Compression::Gzip, 1, "the layer").unwrap();
        config.rootfs.diff_ids.push(stored.diff_id);
        descriptors.push(stored.descriptor);
    }
    let image = write_image(layout, &config, &descriptors, &BTreeMap::new()).unwrap();
    layout.names().tag(&Reference::parse("layered").unwrap(), image).unwrap();
}

const STAT: &str = "cd / && stat -c '%a %u:%g %n'";

#[test]
fn directories_that_are_not_listed_are_as_below() {
    let world = given!(world());
    layered(
        &world,
        &[
            &[
                ("tmp/", 0o1777, 0, 0),
                ("secret/", 0o700, 1000, 1000),
                ("secret/deep/", 0o750, 7, 8),
                ("srv/", 0o2775, 0, 50),
                ("gone/", 0o700, 5, 5),
                ("usr/", 0o755, 0, 0),
                ("usr/lib/", 0o711, 3, 3),
                ("lib -> usr/lib", 0o777, 0, 0),
                ("opt -> /srv", 0o777, 0, 0),
            ],
            &[(".wh.gone", 0o600, 0, 0)],
            &[
                ("tmp/x", 0o644, 0, 0),
                ("secret/deep/y", 0o644, 0, 0),
                ("srv/z", 0o644, 0, 0),
                ("gone/w", 0o644, 0, 0),
                ("lib/linked", 0o644, 0, 0),
                ("opt/a/b", 0o644, 0, 0),
                ("new/v", 0o644, 0, 0),
            ],
        ],
    );
    let expected = "1777 0:0 tmp\n700 1000:1000 secret\n750 7:8 secret/deep\n2775 0:50 srv\n755 0:0 gone\n711 3:3 usr/lib\n755 0:0 new\n";
    let list = format!("{STAT} tmp secret secret/deep srv gone usr/lib new");
    let image = world
        .build(&format!("FROM layered\nRUN {list} > /seen && touch /tmp/1 /secret/1 /srv/1 /usr/lib/1\n"));
    assert_eq!(world.output(&image, "cat /seen"), expected);
    // What a step touches is written with the mode that it had.
    assert_eq!(world.output(&image, &list), expected);
    assert_eq!(
        world.output(&image, "ls /usr/lib /srv/a && test -L /lib && test -L /opt"),
        "/srv/a:\nb\n\n/usr/lib:\n1\nlinked\n"
    );
    // The same layer on other ones is as those have it.
    layered(&world, &[&[("tmp/", 0o700, 9, 9)], &[("tmp/x", 0o644, 0, 0)]]);
    let image = world.build("FROM layered\nRUN true\n");
    assert_eq!(world.output(&image, &format!("{STAT} tmp")), "700 9:9 tmp\n");
}

#[test]
fn the_root_directory_is_as_the_topmost_layer_that_lists_it_has_it() {
    let world = given!(world());
    layered(&world, &[&[("./", 0o555, 0, 9)], &[("file", 0o644, 0, 0)]]);
    world.write("copied", "x");
    let dockerfile = format!(
        "FROM layered\nRUN {STAT} . > /a\nCOPY copied /\nWORKDIR /w\nRUN {STAT} . >> /a && chmod 711 /\nCOPY copied /again\nRUN {STAT} . >> /a\n"
    );
    let image = world.build(&dockerfile);
    assert_eq!(world.output(&image, "cat /a"), "555 0:9 .\n555 0:9 .\n711 0:9 .\n");
}
