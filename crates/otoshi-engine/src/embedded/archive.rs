//! ADD of archives: which files are archives, and what unpacking them does.

use std::{fs::File, io::BufReader, path::Path};

use otoshi_oci::{layer, tar};

use super::EmbeddedEngine;
use crate::EngineError;

/// Tells whether ADD unpacks a file: a tar with at least one entry, plain or compressed in a known way.
pub(crate) fn is_archive(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return false;
    }
    let Ok((_, stream)) = layer::decoder(file) else { return false };
    matches!(tar::Reader::new(BufReader::new(stream)).next_entry(), Ok(Some(_)))
}

/// Unpacks an archive into a directory of a merged view; entries replace what is there, directories are merged.
pub(crate) fn unpack(
    engine: &EmbeddedEngine,
    archive: &Path,
    into: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), EngineError> {
    let file = File::open(archive).map_err(EngineError::io("opening", archive))?;
    let mut options = engine.unpack_options(&archive.display().to_string());
    options.whiteouts = false;
    options.owner = owner;
    layer::unpack_layer(file, into, &options)?;
    Ok(())
}
