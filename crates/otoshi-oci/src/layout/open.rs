//! Making and opening a layout.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use serde_json::Value;

use super::documents::{parse_json, read_bounded};
use super::entries::Read;
use super::error::{LayoutError, io_error};
use super::files::{INDEX_FILE, INGEST, LAYOUT, LAYOUT_FILE, LOCK_FILE};
use super::{Layout, index};

impl Layout {
    /// Opens the layout in a directory, making both where they are missing.
    ///
    /// Fails where the directory has other files in it and no layout, where its layout is of another version than 1.0.0, and where it
    /// cannot be made.
    pub fn create_or_open(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self { root: root.into(), read: Read::default() };
        match check_version(&layout) {
            Ok(()) if layout.root.join(INGEST).is_dir() && layout.root.join(INDEX_FILE).is_file() => {
                Ok(layout)
            }
            Ok(()) => complete(layout),
            Err(LayoutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let foreign = match fs::read_dir(&layout.root) {
                    Ok(entries) => entries.filter_map(Result::ok).any(|e| {
                        ![INGEST, LOCK_FILE, INDEX_FILE, "blobs"].iter().any(|own| e.file_name() == *own)
                    }),
                    Err(_) => false,
                };
                // Another process may have made the layout since the first look.
                if foreign && check_version(&layout).is_err() {
                    return Err(LayoutError::NotALayout { path: layout.root });
                }
                complete(layout)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an existing layout without writing to it.
    ///
    /// Fails where the directory is not an OCI image layout, or is of another version than 1.0.0.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self { root: root.into(), read: Read::default() };
        match check_version(&layout) {
            Err(LayoutError::Io { source, path, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(LayoutError::NotALayout { path: path.parent().unwrap_or(&path).to_owned() })
            }
            other => other.map(|()| layout),
        }
    }
}

/// Fails where there is no layout, or one of another version.
fn check_version(layout: &Layout) -> Result<(), LayoutError> {
    let path = layout.root.join(LAYOUT_FILE);
    let bytes = read_bounded(&path, "the layout's version")?;
    let value: Value = parse_json(&bytes, || path.display().to_string())?;
    match value.get("imageLayoutVersion").and_then(Value::as_str) {
        Some("1.0.0") => Ok(()),
        version => Err(LayoutError::Version {
            path: layout.root.clone(),
            version: version.unwrap_or_default().to_owned(),
        }),
    }
}

/// Makes what is missing.
fn complete(layout: Layout) -> Result<Layout, LayoutError> {
    for directory in [layout.root.join("blobs/sha256"), layout.root.join(INGEST)] {
        fs::create_dir_all(&directory).map_err(io_error("create the directory", &directory))?;
    }
    let lock = layout.lock(FlockOperation::LockExclusive)?;
    if !layout.root.join(INDEX_FILE).exists() {
        layout.replace(INDEX_FILE, &index::empty()?)?;
    }
    if !layout.root.join(LAYOUT_FILE).exists() {
        layout.replace(LAYOUT_FILE, LAYOUT)?;
    }
    drop(lock);
    Ok(layout)
}
