//! A reference, digest or platform: what is read and written again is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_oci::{Digest, Platform, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        let written = reference.to_string();
        assert_eq!(Reference::parse(&written).expect("its own text is a reference"), reference, "{text:?}");
        let familiar = reference.familiar();
        assert_eq!(
            Reference::parse(&familiar).expect("its short text is a reference"),
            reference,
            "{text:?}"
        );
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse::<Platform>().expect("its own text is a platform"), platform);
    }
});
