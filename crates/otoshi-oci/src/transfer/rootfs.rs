//! Root filesystems: one tar, one layer, one image.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::error::TransferError;
use super::import::{ImportOptions, Imported, file_images};
use crate::config::{History, ImageConfig};
use crate::image::write_image;
use crate::layer::store_tar;
use crate::layout::Layout;

/// Makes an image of one layer from a tar of a root filesystem (plain, gzip or zstd).
///
/// `config` says platform, command and so on; layer and history are added here. `name` is what errors call the archive.
/// The same archive and config give the same image, however the archive was compressed.
///
/// Fails where the archive is damaged or empty, and where the image cannot be written.
pub fn import_rootfs_tar(
    layout: &Layout,
    reader: impl Read + Send,
    mut config: ImageConfig,
    name: &Path,
    options: &ImportOptions,
) -> Result<Imported, TransferError> {
    let layer = store_tar(layout, reader, options.compression, options.threads, &name.display().to_string())?;
    if layer.entries == 0 {
        let reason = "it is an empty archive".to_owned();
        return Err(TransferError::Invalid { path: name.to_owned(), reason });
    }
    config.rootfs.diff_ids.push(layer.diff_id);
    config.history.push(History {
        created: config.created.clone(),
        created_by: Some("otoshi import".to_owned()),
        ..History::default()
    });
    let descriptor = write_image(layout, &config, &[layer.descriptor], &BTreeMap::new())?;
    Ok(file_images(layout, vec![(options.name.clone(), descriptor)])?.remove(0))
}
