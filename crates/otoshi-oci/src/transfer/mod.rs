//! Import and export: images in the forms that other tools read and write.
//!
//! | form | what it is | who makes it |
//! | --- | --- | --- |
//! | OCI directory | an image layout | `skopeo`, `umoci`, `crane`, Otoshi's own store |
//! | OCI archive | the same in a tar | BuildKit, `skopeo`, `podman save --format oci-archive` |
//! | docker-archive | `manifest.json`, configs and plain layers in a tar | `docker save` |
//! | root filesystem | a tar of `/` | `mmdebstrap`, `debootstrap` and `tar`, `docker export` |
//!
//! Archives may be plain, gzip or zstd, and may come through a pipe. Nothing is believed: digests, sizes and diff ids are
//! computed again, and an image is named only when all of it is in the layout.

mod archive;
mod daemon;
mod docker;
mod error;
mod import;
mod oci;
mod rootfs;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use self::archive::Archive;
pub use self::daemon::{DockerHost, load_into_docker};
pub use self::docker::{export_docker_archive, import_docker_archive};
pub use self::error::TransferError;
use self::error::io_error;
pub use self::import::{ImportOptions, Imported};
pub use self::oci::{export_oci_archive, export_oci_dir, import_oci};
pub use self::rootfs::import_rootfs_tar;
use crate::layout::Layout;

/// Names the form that a source had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A directory that is an image layout.
    OciDirectory,
    /// A tar of one.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// A tar of a root filesystem.
    RootFilesystem,
}

/// Imports images from a directory or file, whichever form it has.
///
/// A root filesystem becomes an image of `options.platform` with an empty config.
///
/// Fails where the source lacks a file, or a blob or diff id does not match; blobs that were stored stay without a
/// name.
pub fn import_any(
    layout: &Layout,
    path: &Path,
    options: &ImportOptions,
) -> Result<(Form, Vec<Imported>), TransferError> {
    let metadata = path.metadata().map_err(io_error("look at", path))?;
    if metadata.is_dir() {
        return Ok((Form::OciDirectory, import_oci(layout, path, options)?));
    }
    let file = File::open(path).map_err(io_error("open", path))?;
    if metadata.is_file() {
        import_archive(layout, Archive::open(layout, file, path)?, options)
    } else {
        import_any_from(layout, file, path, options)
    }
}

/// Imports images from a stream, whichever form it has; `name` is what errors call it.
///
/// Fails as [`import_any`] does.
pub fn import_any_from(
    layout: &Layout,
    reader: impl Read + Send,
    name: &Path,
    options: &ImportOptions,
) -> Result<(Form, Vec<Imported>), TransferError> {
    import_archive(layout, Archive::spool(layout, reader, name)?, options)
}

fn import_archive(
    layout: &Layout,
    archive: Archive,
    options: &ImportOptions,
) -> Result<(Form, Vec<Imported>), TransferError> {
    if archive.is_oci() {
        let images = oci::import(layout, &oci::Source::Archive(archive), options)?;
        Ok((Form::OciArchive, images))
    } else if docker::is_docker(&archive) {
        Ok((Form::DockerArchive, docker::import(layout, &archive, options)?))
    } else {
        let config = crate::config::ImageConfig::new(&options.platform);
        let name = archive.path.clone();
        let image = import_rootfs_tar(layout, archive.into_reader(), config, &name, options)?;
        Ok((Form::RootFilesystem, vec![image]))
    }
}
