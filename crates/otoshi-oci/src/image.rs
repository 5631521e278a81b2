//! Images: a manifest, its config and its layers, as values read from and written to a layout.
//!
//! An [`Image`] never changes; a new image is written with [`write_image`] from a config and the descriptors of layers that
//! are already in the layout.
//!
//! Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md>

use std::collections::{BTreeMap, HashMap};

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, ImageManifestBuilder, MediaType};
use otoshi_explain::{Explain, Kind, Remedy};
use serde_json::Value;

use crate::config::ImageConfig;
use crate::digest::{DiffId, Digest, DigestError};
use crate::json;
use crate::layout::{Layout, LayoutError, parse_json};
use crate::platform::Platform;

const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// How deep indexes may name indexes.
const MAX_DEPTH: usize = 4;

/// Says why an image could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The layout failed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A descriptor has a digest that cannot be verified.
    #[error("image {image} names content that cannot be verified")]
    Digest {
        /// The image.
        image: Digest,
        /// Why.
        source: DigestError,
    },
    /// The index has no image for the platform.
    #[error("image {index} has no manifest for {platform}; it has {}{}", join(available), left_out(features))]
    NoPlatform {
        /// The index.
        index: Digest,
        /// The platform asked for.
        platform: Platform,
        /// The platforms it has.
        available: Vec<Platform>,
        /// Features of the operating system that variants of it need, which count as not there.
        features: Vec<String>,
    },
    /// The document is neither an image manifest nor an index of them.
    #[error("{digest} is not an image: {reason}")]
    NotAnImage {
        /// The document.
        digest: Digest,
        /// What it is instead.
        reason: String,
    },
    /// The manifest and its config disagree about the layers.
    #[error("image {image} has {layers} layers, but its config lists {diff_ids} diff ids")]
    LayerCount {
        /// The image.
        image: Digest,
        /// Layers in the manifest.
        layers: usize,
        /// Diff ids in the config.
        diff_ids: usize,
    },
    /// A document could not be written as JSON.
    #[error("cannot write the {what} as JSON")]
    Write {
        /// The document.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl ImageError {
    /// Says which platforms there are in place of the one asked for.
    pub(crate) fn no_platform(
        digest: &Digest,
        platform: &Platform,
        index: &ImageIndex,
        needed: &[Vec<String>],
    ) -> Self {
        let mut features = needed.concat();
        features.sort();
        features.dedup();
        let named = index.manifests().iter().filter_map(Platform::of);
        let available = named.filter(|platform| platform.os != "unknown").collect();
        Self::NoPlatform { index: digest.clone(), platform: platform.clone(), available, features }
    }
}

fn join(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none that it names".to_owned();
    }
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn left_out(features: &[String]) -> String {
    if features.is_empty() { String::new() } else { format!(", of which some need {}", features.join(", ")) }
}

/// Holds an image's manifest and config, as they were when it was loaded.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config.
    pub config: ImageConfig,
    /// The config's bytes, as they lie in the layout.
    pub config_bytes: Vec<u8>,
    layers: Vec<ImageLayer>,
}

/// Names a layer in both its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// Describes the blob, as it is stored and pushed.
    pub descriptor: Descriptor,
    /// The digest of the blob.
    pub digest: Digest,
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
}

impl Image {
    /// Loads an image; of an index, the image for `platform`.
    ///
    /// Fails where a document is missing, damaged or not an image, and where an index has no image for the platform.
    pub fn load(layout: &Layout, digest: &Digest, platform: &Platform) -> Result<Self, ImageError> {
        let digest = find_manifest(layout, digest, platform)?;
        let manifest: ImageManifest = layout.read_json(&digest)?;
        let kind = manifest.config().media_type();
        if !is_config(kind) {
            let reason = format!("its config has the type {:?}", kind.to_string());
            return Err(ImageError::NotAnImage { digest, reason });
        }
        let verifiable = |descriptor: &Descriptor| {
            Digest::of(descriptor).map_err(|source| ImageError::Digest { image: digest.clone(), source })
        };
        let config_digest = verifiable(manifest.config())?;
        let config_bytes = layout.read(&config_digest)?;
        let config: ImageConfig = parse_json(&config_bytes, || format!("config {config_digest}"))?;

        let diff_ids = &config.rootfs.diff_ids;
        if manifest.layers().len() != diff_ids.len() {
            return Err(ImageError::LayerCount {
                layers: manifest.layers().len(),
                diff_ids: diff_ids.len(),
                image: digest,
            });
        }
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (descriptor, diff_id) in manifest.layers().iter().zip(diff_ids) {
            layers.push(ImageLayer {
                descriptor: descriptor.clone(),
                digest: verifiable(descriptor)?,
                diff_id: diff_id.clone(),
            });
        }
        Ok(Self { digest, manifest, config, config_bytes, layers })
    }

    /// Returns the layers, the lowest first.
    pub fn layers(&self) -> &[ImageLayer] {
        &self.layers
    }

    /// Returns the digests of the uncompressed layers, the lowest first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.config.rootfs.diff_ids
    }

    /// Returns the digest of the config, which Docker calls the image's id.
    pub fn id(&self) -> Digest {
        Digest::sha256_of(&self.config_bytes)
    }

    /// Returns the platform.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }

    /// Returns the annotations of the manifest, sorted.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.manifest.annotations().clone().unwrap_or_default().into_iter().collect()
    }
}

/// Says whether a media type is that of an index (or Docker's manifest list).
pub(crate) fn is_index(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::ImageIndex) || media_type.as_ref() == DOCKER_MANIFEST_LIST
}

/// Says whether a media type is that of an image manifest, OCI's or Docker's.
pub(crate) fn is_manifest(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::ImageManifest) || media_type.as_ref() == DOCKER_MANIFEST
}

/// Finds the manifest for a platform, going through indexes. A manifest is taken whatever its platform.
///
/// Fails as [`Image::load`] does, and where indexes are nested too deeply.
pub fn find_manifest(layout: &Layout, digest: &Digest, platform: &Platform) -> Result<Digest, ImageError> {
    let mut digest = digest.clone();
    for _ in 0..MAX_DEPTH {
        let descriptor = layout.describe(&digest)?;
        if is_manifest(descriptor.media_type()) {
            return Ok(digest);
        }
        if !is_index(descriptor.media_type()) {
            let reason = format!("its type is {:?}", descriptor.media_type().to_string());
            return Err(ImageError::NotAnImage { digest, reason });
        }
        let bytes = layout.read(&digest)?;
        let index: ImageIndex = parse_json(&bytes, || format!("index {digest}"))?;
        let needed = features(&parse_json(&bytes, || format!("index {digest}"))?);
        let chosen = choose(index.manifests(), &needed, platform)
            .ok_or_else(|| ImageError::no_platform(&digest, platform, &index, &needed))?;
        digest = Digest::of(chosen).map_err(|source| ImageError::Digest { image: digest, source })?;
    }
    Err(ImageError::NotAnImage { digest, reason: format!("indexes nest deeper than {MAX_DEPTH}") })
}

/// Chooses the entry nearest to a platform; one that names none is taken if no image fits, and an artifact if nothing else does.
fn choose<'a>(
    entries: &'a [Descriptor],
    needed: &[Vec<String>],
    platform: &Platform,
) -> Option<&'a Descriptor> {
    nearest_of(entries, needed, platform, can_be_image)
        .or_else(|| entries.iter().find(|entry| can_be_image(entry) && entry.platform().is_none()))
        .or_else(|| nearest_of(entries, needed, platform, is_artifact))
}

/// Returns the image whose platform is nearest to one, or an artifact if no image fits; those that need features of the operating
/// system do not count.
pub(crate) fn nearest<'a>(
    entries: &'a [Descriptor],
    needed: &[Vec<String>],
    platform: &Platform,
) -> Option<&'a Descriptor> {
    nearest_of(entries, needed, platform, can_be_image)
        .or_else(|| nearest_of(entries, needed, platform, is_artifact))
}

fn nearest_of<'a>(
    entries: &'a [Descriptor],
    needed: &[Vec<String>],
    platform: &Platform,
    is_meant: fn(&Descriptor) -> bool,
) -> Option<&'a Descriptor> {
    let plain = (0..).zip(entries).filter(|(at, _)| needed.get(*at).is_none_or(Vec::is_empty));
    plain
        .filter(|(_, entry)| is_meant(entry))
        .filter_map(|(_, entry)| Some((platform.rank(&Platform::of(entry)?)?, entry)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, entry)| entry)
}

/// Says whether an entry of an index may name an image or an index: an artifact, as SOCI's index is, can name a platform, too.
fn can_be_image(entry: &Descriptor) -> bool {
    !calls_itself_artifact(entry) && (is_manifest(entry.media_type()) || is_index(entry.media_type()))
}

/// Says whether an entry of an index calls itself an artifact of some type, as an image may.
fn is_artifact(entry: &Descriptor) -> bool {
    calls_itself_artifact(entry) && is_manifest(entry.media_type())
}

fn calls_itself_artifact(entry: &Descriptor) -> bool {
    entry.artifact_type().as_ref().is_some_and(|kind| !is_config(kind))
}

/// Says whether a media type is that of an image's config, OCI's or Docker's; some tools give it as the type of an artifact.
pub(crate) fn is_config(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::ImageConfig) || media_type.as_ref() == DOCKER_CONFIG
}

/// Returns what each entry of an index needs of the operating system: its `os.features`, which are mandatory.
///
/// They are read from the document itself: `oci-spec` 0.10 has another name for them.
/// Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md>
pub fn features(index: &Value) -> Vec<Vec<String>> {
    let entries = index.get("manifests").and_then(Value::as_array);
    entries.into_iter().flatten().map(needed_features).collect()
}

/// Returns what an entry of an index needs of the operating system.
pub fn needed_features(entry: &Value) -> Vec<String> {
    match entry.pointer("/platform/os.features") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(features)) => features
            .iter()
            .map(|feature| feature.as_str().map_or_else(|| feature.to_string(), str::to_owned))
            .collect(),
        Some(other) => vec![other.to_string()],
    }
}

/// Writes an image's config and manifest and returns the manifest's descriptor, which names its platform.
///
/// The layers' blobs must be in the layout or be on their way to it. The same arguments give the same bytes.
///
/// Fails where the number of layers is not that of the diff ids, and where a blob cannot be written.
pub fn write_image(
    layout: &Layout,
    config: &ImageConfig,
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Result<Descriptor, ImageError> {
    let bytes = config.to_vec().map_err(|source| ImageError::Write { what: "image config", source })?;
    write_image_bytes(layout, &bytes, config, layers, annotations)
}

/// Writes an image whose config is already written: `config` is what the bytes say.
pub(crate) fn write_image_bytes(
    layout: &Layout,
    config_bytes: &[u8],
    config: &ImageConfig,
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Result<Descriptor, ImageError> {
    let config_descriptor = layout.put(MediaType::ImageConfig, config_bytes)?;
    let layers = layers.iter().map(to_oci_layer).collect();
    let manifest = manifest(config_descriptor, layers, annotations, None, None);
    let mut descriptor = put_manifest(layout, &manifest)?;
    descriptor.set_platform(Some(config.platform().to_oci()));
    Ok(descriptor)
}

/// What a manifest says of itself that is an artifact.
#[derive(Debug, Clone, Copy)]
pub struct Artifact<'a> {
    /// Its type, in the form of a media type.
    pub kind: &'a str,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// What it is attached to.
    pub subject: Option<&'a Descriptor>,
}

impl Artifact<'_> {
    fn write(
        self,
        layout: &Layout,
        config: Descriptor,
        layers: Vec<Descriptor>,
    ) -> Result<Descriptor, ImageError> {
        let subject =
            self.subject.map(|s| Descriptor::new(s.media_type().clone(), s.size(), s.digest().clone()));
        let kind = MediaType::from(self.kind);
        let manifest = manifest(config, layers, self.annotations, Some(kind.clone()), subject);
        let mut descriptor = put_manifest(layout, &manifest)?;
        descriptor.set_artifact_type(Some(kind));
        Ok(descriptor)
    }
}

/// Writes an artifact: a manifest over blobs, with an empty config.
///
/// Fails where a blob cannot be written.
///
/// Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md#guidelines-for-artifact-usage>
pub fn write_artifact(
    layout: &Layout,
    blobs: &[Descriptor],
    artifact: Artifact<'_>,
) -> Result<Descriptor, ImageError> {
    let empty = layout.put(MediaType::EmptyJSON, b"{}")?;
    // A manifest has at least one layer; an artifact without blobs lists the empty one.
    let blobs = if blobs.is_empty() { vec![empty.clone()] } else { blobs.to_vec() };
    artifact.write(layout, empty, blobs)
}

/// Writes an image that is an artifact as well: what mounts images can mount it, and its type says what it is.
///
/// Fails where a blob cannot be written.
pub fn write_image_artifact(
    layout: &Layout,
    config: &ImageConfig,
    layers: &[Descriptor],
    artifact: Artifact<'_>,
) -> Result<Descriptor, ImageError> {
    let bytes = config.to_vec().map_err(|source| ImageError::Write { what: "image config", source })?;
    let config_descriptor = layout.put(MediaType::ImageConfig, &bytes)?;
    let mut descriptor = artifact.write(layout, config_descriptor, layers.to_vec())?;
    descriptor.set_platform(Some(config.platform().to_oci()));
    Ok(descriptor)
}

fn manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
    artifact_type: Option<MediaType>,
    subject: Option<Descriptor>,
) -> ImageManifest {
    let mut manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(layers)
        .build()
        .unwrap_or_else(|_| unreachable!("all required fields are set"));
    if !annotations.is_empty() {
        let annotations: HashMap<_, _> = annotations.clone().into_iter().collect();
        manifest.set_annotations(Some(annotations));
    }
    manifest.set_artifact_type(artifact_type).set_subject(subject);
    manifest
}

fn put_manifest(layout: &Layout, manifest: &ImageManifest) -> Result<Descriptor, ImageError> {
    let bytes =
        json::canonical(manifest).map_err(|source| ImageError::Write { what: "image manifest", source })?;
    Ok(layout.put(MediaType::ImageManifest, &bytes)?)
}

/// Says whether a descriptor is of a layer that is a tar, in whichever compression.
pub(crate) fn is_layer(descriptor: &Descriptor) -> bool {
    matches!(
        to_oci_layer(descriptor).media_type(),
        MediaType::ImageLayer
            | MediaType::ImageLayerGzip
            | MediaType::ImageLayerZstd
            | MediaType::ImageLayerNonDistributable
            | MediaType::ImageLayerNonDistributableGzip
            | MediaType::ImageLayerNonDistributableZstd
    )
}

/// Gives a layer its OCI media type: an OCI manifest must not list Docker's.
fn to_oci_layer(layer: &Descriptor) -> Descriptor {
    let mut layer = layer.clone();
    let media_type = match layer.media_type().as_ref() {
        DOCKER_LAYER => MediaType::ImageLayer,
        DOCKER_LAYER_GZIP => MediaType::ImageLayerGzip,
        DOCKER_LAYER_ZSTD => MediaType::ImageLayerZstd,
        DOCKER_LAYER_FOREIGN => MediaType::ImageLayerNonDistributableGzip,
        _ => return layer,
    };
    layer.set_media_type(media_type);
    layer
}

impl Explain for ImageError {
    fn kind(&self) -> Kind {
        Kind::Machine
    }

    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Layout(error) => error.remedy(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &str) -> Value {
        let entries =
            entries.replace("IMAGE", r#""mediaType":"application/vnd.oci.image.manifest.v1+json","size":2"#);
        serde_json::from_str(&format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#)).unwrap()
    }

    #[test]
    fn an_image_that_needs_features_is_not_chosen() {
        let [with, without] = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
        let listed = |digest: &str, features: &str| {
            format!(
                r#"{{IMAGE,"digest":"{digest}","platform":{{"architecture":"amd64","os":"linux"{features}}}}}"#
            )
        };
        let erofs = listed(&with, r#","os.features":["erofs"]"#);
        let document = index(&[&erofs[..], &listed(&without, r#","os.features":[]"#)].join(","));
        let both: ImageIndex = serde_json::from_value(document.clone()).unwrap();
        let needed = features(&document);
        assert_eq!(needed, [vec!["erofs".to_owned()], vec![]]);
        let platform: Platform = "linux/amd64".parse().unwrap();
        let chosen = choose(both.manifests(), &needed, &platform).unwrap();
        assert_eq!(chosen.digest().to_string(), without);

        let document = index(&erofs);
        let one: ImageIndex = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(choose(one.manifests(), &features(&document), &platform), None);
        let digest = with.parse().unwrap();
        let error = ImageError::no_platform(&digest, &platform, &one, &features(&document)).to_string();
        assert!(error.ends_with("it has linux/amd64, of which some need erofs"), "{error}");
    }

    #[test]
    fn an_artifact_for_the_platform_is_not_chosen() {
        let listed =
            |digit: &str, more: &str| format!(r#"{{IMAGE,"digest":"sha256:{}"{more}}}"#, digit.repeat(64));
        let soci = r#","artifactType":"application/vnd.amazon.soci.index.v2+json""#;
        // Registries give an image's config as the type of what it is.
        let image = r#","artifactType":"application/vnd.oci.image.config.v1+json""#;
        let platform = r#","platform":{"architecture":"amd64","os":"linux"}"#;
        for (entries, expected) in [
            ([listed("a", &[soci, platform].concat()), listed("b", platform)], Some("b")),
            ([listed("a", soci), listed("b", image)], Some("b")),
            ([listed("a", soci), listed("b", &[soci, platform].concat())], Some("b")),
            ([listed("a", soci), listed("b", soci)], None),
        ] {
            let document = index(&entries.join(","));
            let read: ImageIndex = serde_json::from_value(document.clone()).unwrap();
            let chosen = choose(read.manifests(), &features(&document), &"linux/amd64".parse().unwrap());
            let expected = expected.map(|digit| format!("sha256:{}", digit.repeat(64)));
            assert_eq!(chosen.map(|entry| entry.digest().to_string()), expected, "{document}");
        }
    }
}
