//! Indexes: which of their entries are images, and the index in which these are replaced.

use std::collections::BTreeMap;

use otoshi_oci::{Descriptor, Digest, ImageConfig, ImageError, Layout, MediaType, Platform, json};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::seam::{BASE_DIGEST, BASE_NAME, CREATED};

/// The annotations of an entry that is about another one.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// The annotation of SOCI's index, in its second version, with the manifest that it is about.
const SOCI_ABOUT: &str = "com.amazon.soci.image-manifest-digest";
/// The annotation of a manifest with SOCI's index of its layers.
pub(crate) const SOCI_INDEX: &str = "com.amazon.soci.index-digest";
/// What an entry's platform has of a config.
const PLATFORM: [&str; 3] = ["variant", "os.version", "os.features"];
/// Annotations that an entry may have without the manifest, and that are the manifest's all the same.
const FOLLOWED: [&str; 3] = [BASE_DIGEST, BASE_NAME, CREATED];

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

/// Says what an entry of an index is, as far as the entry itself tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An image, or an index of images, for this platform.
    Image(Platform),
    /// It names no platform; what it is only the document that it names says.
    Unsaid,
    /// Something about another entry, as BuildKit's attestations and SOCI's index are, or that cannot move.
    About(LeftBehind),
    /// Something that is no image, and that goes along as it is.
    Other,
}

/// Reads what an entry is, and what it needs of the operating system ([`otoshi_oci::features`]).
pub fn entry(entry: &Descriptor, needed: &[String]) -> Entry {
    let annotations = entry.annotations().clone().unwrap_or_default();
    let about = |kind: String, about: String| {
        Entry::About(LeftBehind { kind, digest: entry.digest().to_string(), about })
    };
    if let Some(kind) = annotations.get(REFERENCE_TYPE) {
        return about(kind.clone(), annotations.get(REFERENCE_DIGEST).cloned().unwrap_or_default());
    }
    if let Some(image) = annotations.get(SOCI_ABOUT) {
        let kind = entry.artifact_type().as_ref().map(ToString::to_string);
        return about(kind.unwrap_or_else(|| "SOCI index".to_owned()), image.clone());
    }
    if !needed.is_empty() {
        // Its layers have a form of their own: it can neither move nor stay on the old base.
        return about(format!("os.features {}", needed.join(", ")), String::new());
    }
    match Platform::of(entry) {
        Some(platform) if platform.os == "unknown" => Entry::Other,
        Some(platform) => Entry::Image(platform),
        None => Entry::Unsaid,
    }
}

/// A manifest, or a nested index, that takes the place of another one.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// The new one.
    pub descriptor: Descriptor,
    /// Config and annotations of the old image; none of an index.
    pub old: Option<Facts>,
    /// Config and annotations of the new image; none of an index.
    pub new: Option<Facts>,
}

/// What entries of indexes repeat of an image.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// The variant of the architecture, and Windows' version and features, as the config has them.
    pub platform: BTreeMap<&'static str, Value>,
}

impl Facts {
    /// Gathers them of an image.
    pub fn new(annotations: BTreeMap<String, String>, config: &ImageConfig) -> Self {
        let value = |key: &str| match key {
            "variant" => config.variant.clone().map(Value::from),
            other => config.extra.get(other).cloned(),
        };
        let platform = PLATFORM.into_iter().filter_map(|key| Some((key, value(key)?)));
        Self { annotations, platform: platform.collect() }
    }
}

/// What an index says of the base that its images stand on now.
#[derive(Debug, Clone, Copy)]
pub struct NewBase<'a> {
    /// Its name, where it is to be written down.
    pub name: Option<&'a str>,
    /// Its digest: of the index, where there is one.
    pub digest: &'a Digest,
    /// When the newest of the images was made.
    pub created: Option<&'a str>,
}

/// Writes the index in which manifests are replaced; entries about what was replaced are left out, and where all images moved those
/// that need features of the operating system, which did not.
///
/// `replaced` has what takes the place of each old digest. What an entry repeats of its manifest (digest, size, embedded
/// content, annotations, platform) follows it; addresses of the old content are dropped; all else, known here or not, stays as it
/// is. `base` is given where all images of the index moved: of one of which some moved, nothing new is true as a whole.
///
/// Fails where the blob cannot be written.
///
/// Spec: <https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md>
pub fn replace(
    layout: &Layout,
    index: &Value,
    replaced: &BTreeMap<String, Replaced>,
    base: Option<NewBase<'_>>,
) -> Result<Descriptor, ImageError> {
    let mut index = index.clone();
    if let Some(manifests) = index.get_mut("manifests").and_then(Value::as_array_mut) {
        manifests.retain(|entry| {
            let annotations = entry.get("annotations");
            let about = annotations.and_then(|all| all.get(REFERENCE_DIGEST).or_else(|| all.get(SOCI_ABOUT)));
            // Where all others moved, what still stands on the old base would be taken for one of them.
            let stays = base.is_none() || otoshi_oci::needed_features(entry).is_empty();
            stays && !about.and_then(Value::as_str).is_some_and(|about| replaced.contains_key(about))
        });
        for entry in manifests.iter_mut().filter_map(Value::as_object_mut) {
            let digest = entry.get("digest").and_then(Value::as_str).unwrap_or_default();
            if let Some(new) = replaced.get(digest) {
                follow(entry, new, base);
            }
        }
    }
    if let (Some(annotations), Some(base)) =
        (index.get_mut("annotations").and_then(Value::as_object_mut), base)
    {
        name_base(annotations, base);
    }
    let bytes = json::canonical(&index).map_err(|source| ImageError::Write { what: "index", source })?;
    let media_type = index.get("mediaType").and_then(Value::as_str).map(MediaType::from);
    Ok(layout.put(media_type.unwrap_or(MediaType::ImageIndex), &bytes)?)
}

/// Makes an entry that of the manifest that takes the place of another one.
fn follow(entry: &mut Map<String, Value>, new: &Replaced, base: Option<NewBase<'_>>) {
    entry.insert("digest".to_owned(), new.descriptor.digest().to_string().into());
    entry.insert("size".to_owned(), new.descriptor.size().into());
    entry.insert("mediaType".to_owned(), new.descriptor.media_type().to_string().into());
    entry.remove("data");
    entry.remove("urls");
    let (old, new) = (new.old.clone().unwrap_or_default(), new.new.clone().unwrap_or_default());
    if let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) {
        if let Some(base) = base {
            name_base(annotations, base);
        }
        annotations.retain(|key, value| {
            let was = old.annotations.get(key).map(String::as_str) == value.as_str();
            let Some(now) = new.annotations.get(key) else { return !was && key != SOCI_INDEX };
            // What was the manifest's follows it; what only stood here stays, unless it is about the base.
            if was || FOLLOWED.contains(&key.as_str()) {
                *value = now.clone().into();
            }
            true
        });
    }
    let Some(platform) = entry.get_mut("platform").and_then(Value::as_object_mut) else { return };
    for key in PLATFORM {
        match new.platform.get(key) {
            Some(value) => _ = platform.insert(key.to_owned(), value.clone()),
            // What the old config did not have either stands in the index alone, and stays.
            None if old.platform.contains_key(key) => _ = platform.remove(key),
            None => {}
        }
    }
}

/// Says in annotations that have it what the base and the time are now.
fn name_base(annotations: &mut Map<String, Value>, base: NewBase<'_>) {
    let digest = base.digest.to_string();
    for (key, value) in
        [(BASE_DIGEST, Some(digest.as_str())), (BASE_NAME, base.name), (CREATED, base.created)]
    {
        if let (Some(known), Some(value)) = (annotations.get_mut(key), value) {
            *known = value.into();
        }
    }
}
