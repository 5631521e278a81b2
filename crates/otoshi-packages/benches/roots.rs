//! What making a root of packages costs when they are kept, beside mmdebstrap, which extracts the same.
//!
//! `cargo bench -p otoshi-packages --bench roots`
//!
//! Packages come from where this machine's apt has bookworm from. mmdebstrap finds the packages in its cache, too; it fetches the indexes
//! each time, as it always does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use divan::Bencher;
use otoshi_packages::apt::{Available, HttpFetcher, Kept, Repositories, Source, read_root};
use otoshi_packages::roots::{Chosen, choose, fetch, layer};

const WANTED: [&str; 4] = ["base-files", "ca-certificates", "libpq5", "ruby"];

fn main() {
    divan::main();
}

fn sources(repositories: &Repositories) -> Vec<Source> {
    let of_bookworm =
        |source: &&Source| source.suite.starts_with("bookworm") && source.components == ["main"];
    repositories.sources().iter().filter(of_bookworm).cloned().collect()
}

fn make(store: &Path) -> usize {
    let (chosen, debs) = packages(store);
    layer(&chosen, &debs).expect("making a layer").len()
}

fn packages(store: &Path) -> (Vec<Chosen>, Vec<PathBuf>) {
    let machine = Repositories::from_files(&read_root("/".as_ref()).expect("reading apt's files"), "amd64");
    let fetcher = HttpFetcher::new(machine.configuration()).expect("making a fetcher");
    let some = sources(&machine);
    let kept = Kept::new(store.join("apt"));
    let available: Available = machine.with_sources(some).refresh(&kept, &fetcher, jiff::Timestamp::now());
    let chosen = choose(&available, &WANTED.map(str::to_owned), &[]).expect("choosing packages");
    let debs = fetch(&available, &chosen, &store.join("deb"), &fetcher).expect("fetching packages");
    (chosen, debs)
}

/// Whether anything is new is asked, signatures are checked, packages chosen, and an archive made of them.
#[divan::bench(sample_count = 10)]
fn otoshi(bencher: Bencher<'_, '_>) {
    let store = tempfile::tempdir().expect("making a directory");
    println!("{} bytes", make(store.path()));
    bencher.bench(|| make(store.path()));
}

/// The same packages, extracted into an archive.
#[divan::bench(sample_count = 5)]
fn mmdebstrap(bencher: Bencher<'_, '_>) {
    let machine = Repositories::from_files(&read_root("/".as_ref()).expect("reading apt's files"), "amd64");
    let lines: Vec<_> = sources(&machine)
        .iter()
        .map(|source| {
            let keys: Vec<_> =
                source.signed_by.paths.iter().map(|path| format!("signed-by={path}")).collect();
            let options = if keys.is_empty() { String::new() } else { format!("[{}] ", keys.join(" ")) };
            format!("deb {options}{} {} main", source.uri, source.suite)
        })
        .collect();
    let directory = tempfile::tempdir().expect("making a directory");
    let cache = directory.path().join("cache");
    fs::create_dir(&cache).expect("making a directory");
    let (chosen, debs) = packages(directory.path());
    for (one, deb) in chosen.iter().zip(debs) {
        let record = &one.record;
        let name =
            format!("{}_{}_{}.deb", record.name, record.version.replace(':', "%3a"), record.architecture);
        fs::copy(deb, cache.join(name)).expect("filling the cache");
    }
    let fill = format!(
        "mkdir -p \"$1/var/cache/apt/archives\" && cp {}/*.deb \"$1/var/cache/apt/archives/\"",
        cache.display()
    );
    bencher.bench(|| {
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--variant=extract", "--mode=root", "--format=tar", "--quiet"]);
        mmdebstrap.arg("--hook-directory=/usr/share/mmdebstrap/hooks/merged-usr");
        mmdebstrap.arg(format!("--setup-hook={fill}"));
        mmdebstrap.arg(format!("--include={}", WANTED.join(",")));
        mmdebstrap.args([
            "--aptopt=APT::Install-Recommends \"false\"",
            "--aptopt=Acquire::Check-Valid-Until \"false\"",
        ]);
        mmdebstrap.arg("bookworm").arg(directory.path().join("root.tar")).args(&lines);
        let output = mmdebstrap.output().expect("starting mmdebstrap");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}
