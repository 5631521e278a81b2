//! JSON with one spelling: object keys sorted, no spaces.
//!
//! Digests name bytes, so the same manifest or config must always be written as the same bytes, whatever map held it.

use serde::Serialize;

/// Writes a value as JSON with all object keys sorted.
///
/// Fails where the value has no form in JSON, such as a map whose keys are not text.
pub fn canonical<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    serde_json::to_vec(&value)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let map: HashMap<String, HashMap<String, u8>> = (0..50)
            .map(|i| (format!("k{i:02}"), (0..50).map(|j| (format!("{j:02}"), j)).collect()))
            .collect();
        let text = String::from_utf8(super::canonical(&map).unwrap()).unwrap();
        let positions: Vec<_> = (0..50).map(|i| text.find(&format!("\"k{i:02}\"")).unwrap()).collect();
        assert!(positions.is_sorted());
        assert_eq!(super::canonical(&map.clone()).unwrap(), text.as_bytes());
    }
}
