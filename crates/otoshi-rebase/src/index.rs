//! Indexes: which of their entries are images, and the index in which these are replaced.

use std::collections::{BTreeMap, HashMap};

use otoshi_oci::{Descriptor, Digest, ImageError, ImageIndex, Layout, MediaType, Platform, json};
use schemars::JsonSchema;
use serde::Serialize;

use crate::seam::{BASE_DIGEST, BASE_NAME};

/// Describes something that belongs to an image as it was, and not to the image on its new base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftBehind {
    /// What it is: an artifact type, or `attestation-manifest`.
    pub kind: String,
    /// Its digest.
    pub digest: String,
    /// The digest of the manifest that it is about.
    pub about: String,
}

/// Holds the entries of an index.
#[derive(Debug, Clone)]
pub struct Entries {
    /// The images, with their platforms.
    pub images: Vec<(Platform, Descriptor)>,
    /// Entries that are about these images: BuildKit's attestations.
    pub about: Vec<LeftBehind>,
    /// The annotations of the index.
    pub annotations: BTreeMap<String, String>,
}

/// Reads what an index lists.
pub fn entries(index: &ImageIndex) -> Entries {
    let (mut images, mut about) = (Vec::new(), Vec::new());
    for entry in index.manifests() {
        let annotations = entry.annotations().clone().unwrap_or_default();
        if let Some(kind) = annotations.get("vnd.docker.reference.type") {
            about.push(LeftBehind {
                kind: kind.clone(),
                digest: entry.digest().to_string(),
                about: annotations.get("vnd.docker.reference.digest").cloned().unwrap_or_default(),
            });
        } else if let Some(platform) = Platform::of(entry) {
            images.push((platform, entry.clone()));
        }
    }
    let annotations = index.annotations().clone().unwrap_or_default().into_iter().collect();
    Entries { images, about, annotations }
}

/// Writes the index in which manifests are replaced; entries about what was replaced are left out.
///
/// `replaced` has the new descriptor of each old digest.
pub fn replace(
    layout: &Layout,
    index: &ImageIndex,
    replaced: &BTreeMap<String, Descriptor>,
    base: (Option<&str>, &Digest),
) -> Result<Descriptor, ImageError> {
    let mut manifests = Vec::new();
    for entry in index.manifests() {
        let annotations = entry.annotations().clone().unwrap_or_default();
        if annotations.get("vnd.docker.reference.digest").is_some_and(|about| replaced.contains_key(about)) {
            continue;
        }
        let mut entry = entry.clone();
        if let Some(new) = replaced.get(entry.digest().as_ref()) {
            entry.set_digest(new.digest().clone());
            entry.set_size(new.size());
        }
        manifests.push(entry);
    }
    let mut index = index.clone();
    index.set_manifests(manifests);
    if let Some(mut annotations) = index.annotations().clone() {
        if annotations.contains_key(BASE_DIGEST) {
            annotations.insert(BASE_DIGEST.to_owned(), base.1.to_string());
        }
        if let (Some(name), true) = (base.0, annotations.contains_key(BASE_NAME)) {
            annotations.insert(BASE_NAME.to_owned(), name.to_owned());
        }
        index.set_annotations(Some::<HashMap<_, _>>(annotations));
    }
    let bytes = json::canonical(&index).map_err(|source| ImageError::Write { what: "index", source })?;
    let media_type = index.media_type().clone().unwrap_or(MediaType::ImageIndex);
    Ok(layout.put(media_type, &bytes)?)
}
