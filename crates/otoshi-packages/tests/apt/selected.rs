//! Sources that include or exclude packages: each release's own apt is asked which versions it sees.

use otoshi_packages::apt::{Kept, read_root};
use otoshi_test::{Server, given, require};

use crate::inside::{Inside, NEEDS, RELEASES};
use crate::refresh;
use crate::repository::suite;

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "alphabet"];

#[test]
fn included_and_excluded_packages_are_those_of_each_apt() {
    given!(require(NEEDS));
    let root = tempfile::tempdir().unwrap();
    let of = |name: &str| {
        format!(
            "Package: {name}\nSource: source\nVersion: 2\nArchitecture: all\nMaintainer: x\nFilename: p/{name}.deb\nSize: 9\nSHA256: {}\n\n",
            "0".repeat(64)
        )
    };
    let packages: String = NAMES.iter().map(|name| of(name)).collect();
    suite(root.path(), "one", &packages, &["gz"], &[("Suite", "one"), ("Codename", "one")]);
    let server = Server::of(root.path());
    let url = server.url();
    let line = |option: &str| ("x.list", format!("deb [trusted=yes {option}] {url} one main\n"));
    let paragraph = |field: &str| {
        (
            "x.sources",
            format!("Types: deb\nURIs: {url}\nSuites: one\nComponents: main\nTrusted: yes\n{field}\n"),
        )
    };
    let cases = [
        line(""),
        line("include=alpha"),
        line("exclude=alpha"),
        line("include=alpha,beta"),
        line("exclude=alpha*"),
        line("exclude=source"),
        line("exclude=beta:all"),
        line("exclude=ALPHA"),
        line("include+=alpha"),
        line("include=alpha exclude=beta"),
        paragraph("Include: alpha beta"),
        paragraph("Include: alpha, beta"),
        paragraph("Exclude:\n alpha\n beta"),
        paragraph("Exclude: alpha\n beta\n gamma"),
        paragraph("Exclude:\n alpha,\n beta,\n gamma"),
        paragraph("Exclude: alpha\tbeta"),
        paragraph("Include:\n alpha\n beta"),
        paragraph("Include: alpha\nExclude: beta"),
        paragraph("Include:"),
        paragraph("Exclude: alp?a"),
        paragraph("Exclude: alpha beta\nExclude-Remove: beta"),
    ];
    let mut answers = std::collections::BTreeSet::new();
    for release in RELEASES {
        let inside = Inside::new(release);
        for (file, source) in &cases {
            inside.remove("etc/apt/sources.list.d");
            inside.write(&format!("etc/apt/sources.list.d/{file}"), source.as_bytes());
            inside.takes(&[]);
            let sees = |name: &&&str| inside.cache(&["policy", name]).contains("Candidate: 2\n");
            let theirs: Vec<_> = NAMES.iter().filter(sees).collect();
            let store = tempfile::tempdir().unwrap();
            let available = refresh(&read_root(&inside.path()).unwrap(), &Kept::new(store.path()));
            let sees = |name: &&&str| available.candidate(name, "all", None).unwrap().is_some();
            let ours: Vec<_> = NAMES.iter().filter(sees).collect();
            assert_eq!(ours, theirs, "{release}: {source}");
            answers.insert(theirs.len());
        }
    }
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn files_of_sources_have_the_names_that_each_apt_takes() {
    given!(require(NEEDS));
    let root = tempfile::tempdir().unwrap();
    let hash = "0".repeat(64);
    let packages = format!(
        "Package: alpha\nVersion: 2\nArchitecture: all\nMaintainer: x\nFilename: p/alpha.deb\nSize: 9\nSHA256: {hash}\n"
    );
    suite(root.path(), "one", &packages, &["gz"], &[("Suite", "one"), ("Codename", "one")]);
    let server = Server::of(root.path());
    let url = server.url();
    let line = format!("deb [trusted=yes] {url} one main\n");
    let paragraph = format!("Types: deb\nURIs: {url}\nSuites: one\nComponents: main\nTrusted: yes\n");
    let names = ["a", "a:b", "a b", "a+b", "a~b", "a@b", "a_b-c.d", ".a", "ä"];
    let both = names
        .iter()
        .flat_map(|name| [(format!("{name}.list"), &line), (format!("{name}.sources"), &paragraph)]);
    let others =
        [("a.LIST", &line), ("a.sources.save", &paragraph)].map(|(file, source)| (file.to_owned(), source));
    let files: Vec<_> = both.chain(others).collect();
    for release in RELEASES {
        let inside = Inside::new(release);
        let mut counts = [0_usize; 2];
        for (file, source) in &files {
            inside.remove("etc/apt/sources.list.d");
            inside.write(&format!("etc/apt/sources.list.d/{file}"), source.as_bytes());
            inside.takes(&[]);
            let theirs = inside.cache(&["policy", "alpha"]).contains("Candidate: 2\n");
            let store = tempfile::tempdir().unwrap();
            let available = refresh(&read_root(&inside.path()).unwrap(), &Kept::new(store.path()));
            let ours = available.candidate("alpha", "all", None).unwrap().is_some();
            assert_eq!(ours, theirs, "{release}: {file}");
            counts[usize::from(theirs)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 0), "all names have one answer: {counts:?}");
    }
}
