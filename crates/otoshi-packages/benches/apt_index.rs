//! What reading an index costs: all of this machine's `Packages`, or of a file that `OTOSHI_PACKAGES` names.
//!
//! `OTOSHI_PACKAGES=Packages cargo bench -p otoshi-packages --bench apt_index`
//!
//! Without the variable it is the largest index that apt has here, such as that of all of bookworm's main.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use divan::Bencher;
use otoshi_packages::apt::index::{Index, convert};

fn main() {
    divan::main();
}

/// The text of an index.
fn text() -> Vec<u8> {
    if let Some(file) = std::env::var_os("OTOSHI_PACKAGES") {
        return fs::read(file).expect("reading OTOSHI_PACKAGES");
    }
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"]);
    let listed = apt.output().expect("asking apt-get").stdout;
    let listed = String::from_utf8(listed).expect("reading the names of indexes");
    let largest = listed.lines().max_by_key(|file| fs::metadata(file).map_or(0, |meta| meta.len()));
    let largest = largest.expect("apt has no index here: apt-get update");
    Command::new("/usr/lib/apt/apt-helper")
        .args(["cat-file", largest])
        .output()
        .expect("reading an index")
        .stdout
}

/// The text of `Packages` → records → our own form.
#[divan::bench]
fn cold(bencher: Bencher<'_, '_>) {
    let text = text();
    println!("{} bytes", text.len());
    bencher.bench(|| convert(divan::black_box(&text)).expect("parsing").len());
}

fn kept() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("making a directory");
    let path = directory.path().join("index");
    fs::write(&path, convert(&text()).expect("parsing")).expect("writing");
    (directory, path)
}

/// Our own form: opened, and 400 packages looked up, as for an image.
#[divan::bench]
fn kept_and_400_packages_found(bencher: Bencher<'_, '_>) {
    let (_directory, path) = kept();
    let index = Index::open(&path).expect("opening");
    println!("{} packages", index.len());
    let names: Vec<_> = (0..400).map(|part| index.name(part * index.len() / 400).to_owned()).collect();
    bencher.bench(|| {
        let index = Index::open(&path).expect("opening");
        names.iter().flat_map(|name| index.find(name)).filter(|at| index.record(*at).is_ok()).count()
    });
}

/// Our own form: opened, and every record read and checked.
#[divan::bench]
fn kept_and_all_records_read(bencher: Bencher<'_, '_>) {
    let (_directory, path) = kept();
    bencher.bench(|| {
        let index = Index::open(&path).expect("opening");
        index.map(|entry| entry.version().len()).expect("reading").into_iter().sum::<usize>()
    });
}
