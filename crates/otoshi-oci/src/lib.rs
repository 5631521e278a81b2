//! References, digests, manifests, configs, layers and the OCI image layout store.
//!
//! ```text
//! reference, digest, platform     names, parsed once at the edge
//! config, image                   what an image is: config, manifest, layers
//! layout                          where it lies: an OCI image layout, safe under many processes
//! layer                           tree → tar blob → tree, reproducible one way and safe the other
//! contents                        what layers hold, by path: read as streams, put together topmost first
//! diff                            what differs between two images
//! transfer                        import and export: OCI directory and archive, docker-archive, a Docker daemon
//! ```
//!
//! Nothing here uses the network, and nothing prints.

pub mod config;
pub mod contents;
pub mod diff;
mod digest;
mod fields;
mod image;
pub mod json;
pub mod layer;
pub mod layout;
mod platform;
mod reference;
mod source_date;
pub mod tar;
pub mod transfer;

pub use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};

pub use crate::config::{ImageConfig, RunConfig};
pub use crate::digest::{Algorithm, DiffId, Digest, DigestError, Hasher};
pub use crate::fields::Fields;
pub use crate::image::{
    Artifact, Image, ImageError, ImageLayer, features, find_manifest, needed_features, write_artifact,
    write_image, write_image_artifact,
};
pub use crate::layout::{BlobWriter, Layout, LayoutError, NamedBy, Names};
pub use crate::platform::{Platform, PlatformError};
pub use crate::reference::{OWN_HOST, Reference, ReferenceError, is_reserved};
pub use crate::source_date::{SOURCE_DATE_EPOCH, SourceDateError, source_date};
