//! An otoshi.toml, and other values in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_project::{Manifest, Setting, SettingTable, edit};

fuzz_target!(|text: &str| {
    let Ok(manifest) = Manifest::parse("otoshi.toml", text) else { return };
    // The same values again are the same file to whoever reads it, wherever and however they stand.
    let same = |(name, value): (&String, &String)| Setting {
        table: SettingTable::Versions,
        name: name.clone(),
        from: value.clone(),
        to: value.clone(),
    };
    let settings: Vec<Setting> = manifest.versions.iter().map(same).collect();
    if let Ok(edited) = edit(text, &settings) {
        assert_eq!(Manifest::parse("otoshi.toml", &edited).unwrap().versions, manifest.versions);
    }
});
