//! Everything that apt's repositories are read from: sources, pins, settings, releases, signatures, keys, indexes and packages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_packages::Files;
use otoshi_packages::apt::index::{self, Index};
use otoshi_packages::apt::{
    Configuration, Keyring, Preferences, Release, Repositories, Signed, paragraphs, parse_deb822, parse_list,
};
use otoshi_packages::roots::{Deb, parse_dependencies};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for source in
        parse_list(&text, "amd64", "x").into_iter().chain(parse_deb822(&text, "amd64", "x")).flatten()
    {
        let _ = (source.directory(), source.site().len(), source.architectures_of(&["amd64".into()]));
    }
    let _ = paragraphs(&text);
    let _ = Preferences::default().read(&text);
    let _ = Configuration::default().read(&text);
    let _ = Release::parse(&text);
    let mut files = Files::new();
    files.insert("etc/apt/sources.list", bytes);
    files.insert("etc/apt/preferences", bytes);
    files.insert("etc/apt/apt.conf", bytes);
    drop(Repositories::from_files(&files, "amd64"));

    let mut keyring = Keyring::default();
    let _ = keyring.add(bytes);
    if let Ok(Some(signed)) = Signed::in_clear(bytes) {
        let _ = signed.verify("http://x.test/", &keyring, &[], jiff::Timestamp::UNIX_EPOCH);
    }
    // A signature and a key in one input, parted by a line of hyphens.
    if let Some(at) = bytes.windows(5).position(|window| window == b"\n---\n") {
        let mut keyring = Keyring::default();
        let _ = keyring.add(&bytes[at + 5..]);
        if let Ok(signed) = Signed::detached(b"document", &bytes[..at]) {
            let _ = signed.verify("http://x.test/", &keyring, &[], jiff::Timestamp::UNIX_EPOCH);
        }
    }

    // A package's file, and what it depends on.
    if let Ok(deb) = Deb::parse(bytes) {
        let _ = deb.control("control");
    }
    for dependency in parse_dependencies(&text).into_iter().flatten() {
        let shown = dependency.to_string();
        assert_eq!(parse_dependencies(&shown), [vec![dependency]], "{shown}");
    }

    // What is read is found again.
    if let Ok(records) = index::parse(bytes) {
        let count = records.len();
        let written = index::write(&records);
        assert_eq!(index::convert(bytes).unwrap(), written);
        let index = Index::from_bytes(written).unwrap();
        assert_eq!(index.len(), count);
        for number in 0..count {
            let record = index.record(number).unwrap();
            assert!(index.find(&record.name).contains(&number));
        }
    }
    if let Ok(index) = Index::from_bytes(bytes.to_vec()) {
        for number in 0..index.len().min(100) {
            let _ = (
                index.record(number).is_ok(),
                index.find(index.name(number)),
                index.providers(index.name(number)),
            );
        }
    }
});
