//! The files of an image, outside of the store.

use std::{fs, io::Write, path::Path};

use otoshi_engine::EmbeddedEngine;
use otoshi_oci::{
    Image,
    layer::{self, Mtime, UnpackOptions, WriteOptions},
};

use crate::failure::Failure;

/// Writes the files of an image as a tar, the same one in every store.
pub(crate) fn write_tar(engine: &EmbeddedEngine, image: &Image, out: &mut dyn Write) -> Result<(), Failure> {
    engine.with_written_root_of(image, |root| layer::write_tar(root, out, &with_their_times()))??;
    Ok(())
}

/// Writes the files of an image into a directory, owned by this user, with the times that they have in every store.
pub(crate) fn write_directory(
    engine: &EmbeddedEngine,
    image: &Image,
    directory: &Path,
) -> Result<(), Failure> {
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let options = UnpackOptions {
        layer_name: "the image".into(),
        whiteouts: false,
        owner: Some(owner),
        ..UnpackOptions::default()
    };
    engine.with_written_root_of(image, |root| copy(root, directory, &with_their_times(), &options))?
}

fn with_their_times() -> WriteOptions {
    WriteOptions { mtime: Mtime::Keep, ..WriteOptions::default() }
}

/// Copies a tree into a directory, over what is there; nothing outside the directory is touched.
pub(crate) fn copy(
    root: &Path,
    directory: &Path,
    write: &WriteOptions,
    unpack: &UnpackOptions,
) -> Result<(), Failure> {
    let shown = directory.display().to_string();
    fs::create_dir_all(directory).map_err(Failure::io("creating", &shown))?;
    Ok(layer::copy_tree(root, directory, write, unpack)?)
}
