//! Ignore files of contexts.

use std::{fs, io::ErrorKind, path::PathBuf};

use crate::failure::Failure;

/// The text of the first of these ignore files that is there; one that cannot be read is an error, since it says what must stay out.
pub(super) fn first_text(files: impl IntoIterator<Item = PathBuf>) -> Result<Option<String>, Failure> {
    for file in files {
        match fs::read(&file) {
            Ok(bytes) => return Ok(Some(otoshi_engine::ignore_text(&bytes))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {}
            Err(error) => return Err(Failure::io("reading", file.display().to_string())(error)),
        }
    }
    Ok(None)
}
