//! How images are imported, and what became of them.

use oci_spec::image::Descriptor;

use super::error::TransferError;
use crate::digest::Digest;
use crate::layer::Compression;
use crate::layout::Layout;
use crate::platform::Platform;
use crate::reference::Reference;

/// Says how images are imported.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The name of the image, instead of the one it has where it comes from.
    pub name: Option<Reference>,
    /// The platform, where a source has several and not all of them are whole, or none is said.
    pub platform: Platform,
    /// How layers that come uncompressed are stored.
    pub compression: Compression,
    /// How many threads compress; 0 means one per core.
    pub threads: usize,
}

impl Default for ImportOptions {
    /// The names that images have, this machine's platform, gzip, one thread per core.
    fn default() -> Self {
        Self { name: None, platform: Platform::host(), compression: Compression::default(), threads: 0 }
    }
}

/// Describes an image that is now in the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name; without one it is listed, but only until the next sweep.
    pub reference: Option<Reference>,
    /// Its manifest or index.
    pub descriptor: Descriptor,
    /// The digest of that.
    pub digest: Digest,
}

/// Names images in the layout, and lists those without a name: all, or none.
pub(super) fn file_images(
    layout: &Layout,
    images: Vec<(Option<Reference>, Descriptor)>,
) -> Result<Vec<Imported>, TransferError> {
    layout.names().file_all(&images)?;
    let imported = |(reference, descriptor): (Option<Reference>, Descriptor)| {
        Ok(Imported { reference, digest: Digest::of(&descriptor)?, descriptor })
    };
    images.into_iter().map(imported).collect()
}
