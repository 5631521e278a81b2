//! What reading the packages of an image costs, with 400 packages in a layer of some 8,000 files and 120 MB.
//!
//! `cargo xtask bench --packages` runs it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use divan::Bencher;
use otoshi_oci::config::{History, ImageConfig};
use otoshi_oci::layer::{Compression, UnpackOptions, store_tar, unpack_layer};
use otoshi_oci::tar::{END, Entry, Kind, write_header, write_padding};
use otoshi_oci::{Digest, Image, ImageLayer, Platform, write_image};
use otoshi_packages::Installed;
use otoshi_store::{Home, SnapshotId};

const PACKAGES: usize = 400;

fn main() {
    divan::main();
}

/// A record as Debian has it: some 1,500 bytes for each package.
fn status() -> String {
    let paragraph = |number: usize| {
        let depends = (0..20).map(|other| format!("package-{other} (>= 1.{number}), ")).collect::<String>();
        let text = " Some words about what the package is for, which nobody reads here.\n".repeat(12);
        format!(
            "Package: package-{number}\nStatus: install ok installed\nPriority: optional\nSection: libs\nInstalled-Size: 1234\n\
             Maintainer: Somebody <somebody@x.test>\nArchitecture: amd64\nMulti-Arch: same\nSource: source-{number}\n\
             Version: 1:2.{number}-3+deb12u1\nDepends: {depends}\nDescription: words\n{text}Homepage: https://x.test\n\n"
        )
    };
    (0..PACKAGES).map(paragraph).collect()
}

fn image(home: &Home) -> Image {
    let mut tar = Vec::new();
    let mut file = |name: &str, content: &[u8]| {
        let mut entry = Entry::new(name, Kind::File, 0o644);
        entry.size = content.len() as u64;
        write_header(&mut tar, &entry);
        tar.extend_from_slice(content);
        write_padding(&mut tar, entry.size);
    };
    let noise: Vec<u8> = (0_u64..15_000).map(|n| (n.wrapping_mul(n ^ 0x9e37_79b9) >> 7) as u8).collect();
    for number in 0..8000 {
        file(&format!("usr/share/directory-{}/file-{number}", number % 300), &noise);
    }
    file("var/lib/dpkg/status", status().as_bytes());
    file("etc/os-release", b"ID=debian\nVERSION_ID=12\n");
    file("etc/apt/sources.list", b"deb https://x.test/debian bookworm main\n");
    file("etc/apt/trusted.gpg.d/keys.gpg", &noise);
    tar.extend_from_slice(&END);
    let platform = Platform::host();
    let mut config = ImageConfig::new(&platform);
    let written = store_tar(home.layout(), &tar[..], Compression::default(), 2, "a layer").expect("storing");
    config.rootfs.diff_ids.push(written.diff_id);
    config.history.push(History::default());
    let descriptor =
        write_image(home.layout(), &config, &[written.descriptor], &BTreeMap::new()).expect("writing");
    let digest = Digest::of(&descriptor).expect("a digest");
    Image::load(home.layout(), &digest, &platform).expect("loading")
}

fn here(_: &ImageLayer) -> Result<(), Box<dyn Error + Send + Sync>> {
    Err("nothing is fetched".into())
}

fn read(home: &Home, image: &Image) {
    let installed = Installed::of_image(home, image, &here).expect("reading");
    assert_eq!(installed.packages.len(), PACKAGES);
}

fn forget(home: &Home) {
    let _ = fs::remove_dir_all(home.root().join("records/installed"));
}

#[divan::bench]
fn a_layer_that_is_remembered(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a directory");
    let home = Home::open(directory.path()).expect("a store");
    let image = image(&home);
    read(&home, &image);
    bencher.bench_local(|| read(&home, &image));
}

#[divan::bench]
fn a_layer_that_is_unpacked(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a directory");
    let home = Home::open(directory.path()).expect("a store");
    let image = image(&home);
    for layer in image.layers() {
        let draft = home.snapshots().draft().expect("a draft");
        let blob = home.layout().open_blob(&layer.digest).expect("a blob");
        unpack_layer(blob, &draft.tree(), &UnpackOptions::default()).expect("unpacking");
        draft.commit(&SnapshotId::of_layer(&layer.diff_id)).expect("keeping");
    }
    bencher.with_inputs(|| forget(&home)).bench_local_values(|()| read(&home, &image));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn a_layer_that_is_a_blob(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a directory");
    let home = Home::open(directory.path()).expect("a store");
    let image = image(&home);
    bencher.with_inputs(|| forget(&home)).bench_local_values(|()| read(&home, &image));
}
