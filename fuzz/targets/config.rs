//! An image's config: what is read and written again means the same.
//!
//! Numbers with a fraction are passed over: no field of a config has one, and of those in unknown fields the last digit may change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otoshi_oci::ImageConfig;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ImageConfig::from_slice(bytes) else { return };
    config.platform();
    let written = config.to_vec().expect("what was read can be written");
    let again = ImageConfig::from_slice(&written).expect("what was written can be read");
    if !serde_json::from_slice(&written).is_ok_and(|value| has_fraction(&value)) {
        assert_eq!(again.to_vec().expect("writing it again"), written);
    }
});

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        _ => false,
    }
}
