//! An otoshi.toml.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_project::Manifest;

fuzz_target!(|text: &str| {
    let _ = Manifest::parse("otoshi.toml", text);
});
