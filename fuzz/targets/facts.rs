//! A layer's facts, and what the proof makes of them; also one program or library. On the base that it stands on, an application
//! finds all that it found before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_oci::RunConfig;
use otoshi_rebase::Kind;
use otoshi_rebase::proof::{Base, Elf, Swap, of_tar, prove};

fuzz_target!(|bytes: &[u8]| {
    let _ = Elf::parse(bytes);
    let Ok(layer) = of_tar(bytes) else { return };
    let (base, empty) = (Base::new([&layer].into_iter()), Base::new([].into_iter()));
    let (config, app) = (RunConfig::default(), [&layer]);
    let swap = |old, new| Swap { app: &app, old, new, old_config: &config, new_config: &config };
    let unknown = |kind| kind == Kind::Unreadable;
    assert!(prove(swap(&base, &base)).findings.iter().all(|finding| unknown(finding.kind)), "the same base is another");
    let _ = prove(swap(&base, &empty));
    let _ = prove(swap(&empty, &base));
});
