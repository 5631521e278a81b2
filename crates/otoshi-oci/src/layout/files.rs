//! The files at the top of a layout.

pub(super) const LAYOUT_FILE: &str = "oci-layout";
pub(super) const INDEX_FILE: &str = "index.json";
pub(super) const INGEST: &str = "ingest";
pub(super) const LOCK_FILE: &str = ".lock";
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The annotation that holds an image's name in `index.json`.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
