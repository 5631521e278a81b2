//! Ignore files of contexts.

use std::path::PathBuf;

use otoshi_engine::read_ignore_file;

use crate::failure::Failure;

/// The text of the first of these ignore files that is there.
///
/// Fails where one that is there cannot be read.
pub(super) fn first_text(files: impl IntoIterator<Item = PathBuf>) -> Result<Option<String>, Failure> {
    for file in files {
        let text = read_ignore_file(&file);
        if let Some(text) = text.map_err(Failure::io("reading", file.display().to_string()))? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}
