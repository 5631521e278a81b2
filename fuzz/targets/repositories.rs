//! Files of repositories of apk and rpm, and the settings that name them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_packages::{Files, OsRelease, apk, rpm};

fuzz_target!(|bytes: &[u8]| {
    rpm::parse_anything(bytes);
    drop(apk::Index::parse(bytes));
    let mut files = Files::new();
    for path in [
        "etc/apk/repositories",
        "etc/apk/keys/k",
        "etc/yum.repos.d/x.repo",
        "etc/dnf/vars/v",
        "etc/dnf/dnf.conf",
    ] {
        files.insert(path, bytes);
    }
    drop(apk::Signed::check(&"index".into(), bytes, &apk::Keys::of(&files)).and_then(|signed| signed.index()));
    drop(apk::sources(&files, "x86_64"));
    let text = String::from_utf8_lossy(bytes);
    let world = apk::World::parse(&text);
    let _ = world.allows(&text, &text, None);
    drop(rpm::Settings::of(&files, Some(&OsRelease::parse(&text)), "x86_64"));
});
