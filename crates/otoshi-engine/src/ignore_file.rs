//! Ignore files, whatever bytes they hold.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use otoshi_dockerfile::encoding::is_utf16;

use crate::names;

/// The patterns of an ignore file, as [`crate::Context::scan`] takes them; `None` where there is no such file.
///
/// Fails where there is one that cannot be read or is UTF-16, since it says what must stay out.
pub fn read_ignore_file(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) if is_utf16(&bytes) => {
            Err(io::Error::new(ErrorKind::InvalidData, "it is UTF-16; save it as UTF-8"))
        }
        Ok(bytes) => Ok(Some(names::to_text(&bytes))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
