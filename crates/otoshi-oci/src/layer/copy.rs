//! A tree copied through the form that layers have, so that all of it goes along that a layer can hold.

use std::io::{self, BufWriter, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use super::{LayerError, UnpackOptions, WriteOptions, unpack_layer, write_tar};

/// Copies a tree into a directory, over what is there; nothing outside the directory is touched.
///
/// Fails where the tree cannot be read or the copy not be written, with the reason that came first.
pub fn copy_tree(
    root: &Path,
    directory: &Path,
    write: &WriteOptions,
    unpack: &UnpackOptions,
) -> Result<(), LayerError> {
    let failed = |source| LayerError::Io { action: "copy", path: root.to_path_buf(), source };
    let (reader, writer) = io::pipe().map_err(failed)?;
    thread::scope(|scope| {
        let written = scope.spawn(move || {
            let mut out = BufWriter::new(writer);
            write_tar(root, &mut out, write)?;
            out.flush().map_err(|source| LayerError::Io { action: "write", path: root.to_path_buf(), source })
        });
        let unpacked = unpack_layer(reader, directory, unpack);
        let written = written.join().unwrap_or_else(|panic| resume_unwind(panic));
        // What could not be unpacked is why writing ended.
        unpacked?;
        written
    })
}
