//! JSON documents of a bounded size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{LayoutError, io_error};

/// The largest JSON document (manifest, index, config) that is read, in bytes.
pub const MAX_JSON: u64 = 16 << 20;

/// Reads a small file whole.
pub(super) fn read_bounded(path: &Path, what: &str) -> Result<Vec<u8>, LayoutError> {
    read_up_to(path, what, MAX_JSON)
}

pub(super) fn read_up_to(path: &Path, what: &str, most: u64) -> Result<Vec<u8>, LayoutError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error("open", path))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > most {
        return Err(LayoutError::TooLarge { what: what.to_owned(), size: bytes.len() as u64, most });
    }
    Ok(bytes)
}

pub(crate) fn parse_json<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|source| LayoutError::Json { what: what(), source })
}
