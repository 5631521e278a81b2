//! The seam: how many of an image's layers belong to the base below it.
//!
//! An image says so in one of several ways, and none is believed: the whole run of diff ids below the seam must be the
//! base's. Diff ids name uncompressed layers, so a base that was compressed in another way is the same base.
//!
//! ```text
//! dev.otoshi.seam                     the chain id of the layers below the seam (Otoshi's own images)
//! org.opencontainers.image.base.*     the name and digest of the base
//! dev.otoshi.base.*                   the name and digest of the base that an app image's runner was built on (no seam)
//! io.buildpacks.lifecycle.metadata    the run image and its topmost layer (images of buildpacks)
//! ```
//!
//! Specs: <https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md#layer-chainid>,
//! <https://github.com/opencontainers/image-spec/blob/v1.1.0/annotations.md> and
//! <https://github.com/buildpacks/spec/blob/main/platform.md#iobuildpackslifecyclemetadata-json>

use std::collections::BTreeMap;

use otoshi_oci::{DiffId, Digest, Image};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The annotation that has the chain id of the layers below the seam.
pub const SEAM: &str = "dev.otoshi.seam";
/// The annotation that has the name of the base.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The annotation that has the digest of the base.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The annotation of an app image that has the name of its runner's base.
pub const RUNNER_BASE_NAME: &str = "dev.otoshi.base.name";
/// The annotation of an app image that has the digest of its runner's base.
pub const RUNNER_BASE_DIGEST: &str = "dev.otoshi.base.digest";
/// The annotation that has the time of the image.
pub const CREATED: &str = "org.opencontainers.image.created";
/// The label by which an image of buildpacks says whether it may be put on another base.
pub const REBASABLE: &str = "io.buildpacks.rebasable";
/// The label in which buildpacks keep what they know of an image.
pub const BUILDPACKS: &str = "io.buildpacks.lifecycle.metadata";

/// Says how the base was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The caller said which base it is.
    Given,
    /// By the annotations of an image that Otoshi made.
    Otoshi,
    /// By the annotations or labels of the OCI specification.
    Annotations,
    /// By the label of buildpacks.
    Buildpacks,
}

/// Says what an image tells of its base; everything in it is unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who says so.
    pub source: Source,
    /// The base's reference, which usually has moved on since.
    pub name: Option<String>,
    /// The base's digest: of a manifest, or of an index.
    pub digest: Option<Digest>,
    /// The repository that had this digest, where it is not that of the name.
    pub place: Option<String>,
    /// The chain id of its layers.
    pub chain: Option<Digest>,
    /// Its topmost layer.
    pub top: Option<DiffId>,
}

/// Says why there is no seam.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeamError {
    /// The image does not stand on that base.
    #[error(
        "the image was not built on that base: layer {number} of the base is {base}, and the image has {} there",
        app.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
    )]
    Differs {
        /// The layer's number, counted from 1.
        number: usize,
        /// The base's layer.
        base: DiffId,
        /// The image's layer.
        app: Option<DiffId>,
    },
    /// The image does not have the run of layers that it says it has.
    #[error("the image says that its base ends at {what}, and none of its layers matches")]
    Gone {
        /// A chain id or a layer.
        what: String,
    },
    /// The layer at the seam is there more than once, and nothing says which one is meant.
    #[error(
        "the layer {top} occurs {count} times, and the base that would tell which one is the boundary is gone"
    )]
    Ambiguous {
        /// The layer.
        top: DiffId,
        /// How often it is there.
        count: usize,
    },
    /// Nothing says where the seam is.
    #[error("nothing says which base the image was built on")]
    Unknown,
}

/// Says in an app image's annotations what its runner says of its own base; the same runner gives the same words.
pub fn name_base_of_runner(annotations: &mut BTreeMap<String, String>, runner: &BTreeMap<String, String>) {
    for (own, of_runner) in [(RUNNER_BASE_NAME, BASE_NAME), (RUNNER_BASE_DIGEST, BASE_DIGEST)] {
        match runner.get(of_runner) {
            Some(value) => annotations.insert(own.to_owned(), value.clone()),
            None => annotations.remove(own),
        };
    }
}

/// Says whether an image asks not to be put on another base, as one of buildpacks does whose run image was extended.
///
/// Spec: <https://github.com/buildpacks/spec/blob/main/platform.md#iobuildpacksrebasable>
pub fn is_refused(image: &Image) -> bool {
    let label = image.config.config.labels.get(REBASABLE);
    label.is_some_and(|label| label.trim().eq_ignore_ascii_case("false"))
}

/// Computes the chain id of layers; `None` of no layers.
pub fn chain_id(layers: &[DiffId]) -> Option<Digest> {
    let (first, rest) = layers.split_first()?;
    let next = |chain: Digest, layer: &DiffId| Digest::sha256_of(format!("{chain} {layer}").as_bytes());
    Some(rest.iter().fold(first.0.clone(), next))
}

/// Counts the layers that a chain id is of; `None` where it is of no run of them from the lowest on.
pub fn layers_of(layers: &[DiffId], chain: &Digest) -> Option<usize> {
    (1..=layers.len()).find(|count| chain_id(&layers[..*count]).as_ref() == Some(chain))
}

/// Reads what an image says of its base; `outer` are the annotations of the index that lists it.
pub fn claim(image: &Image, outer: &BTreeMap<String, String>) -> Option<Claim> {
    let own = image.annotations();
    let labels = &image.config.config.labels;
    let said = |key: &str| {
        own.get(key).or_else(|| outer.get(key)).or_else(|| labels.get(key)).filter(|text| !text.is_empty())
    };
    let chain = own.get(SEAM).and_then(|text| text.parse().ok());
    let (name, digest) = (said(BASE_NAME).cloned(), said(BASE_DIGEST).and_then(|text| text.parse().ok()));
    if chain.is_some() || name.is_some() || digest.is_some() {
        let source = if chain.is_some() { Source::Otoshi } else { Source::Annotations };
        return Some(Claim { source, name, digest, place: None, chain, top: None });
    }
    buildpacks(labels.get(BUILDPACKS)?)
}

fn buildpacks(label: &str) -> Option<Claim> {
    let value: Value = serde_json::from_str(label).ok()?;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    // The lifecycle writes `runImage.image` since platform API 0.12, and `stack.runImage.image` before.
    let name = text("/runImage/image").or_else(|| text("/stack/runImage/image"));
    let (place, digest) = match text("/runImage/reference").and_then(|text| text.rsplit_once('@')) {
        Some((place, digest)) => (Some(place.to_owned()), digest.parse().ok()),
        None => (None, None),
    };
    let top = text("/runImage/topLayer").and_then(|text| text.parse().ok()).map(DiffId);
    top.as_ref()?;
    Some(Claim { source: Source::Buildpacks, name: name.map(str::to_owned), digest, place, chain: None, top })
}

/// Verifies that an image stands on a base, and returns how many layers are the base's.
///
/// Fails where the image was not built on that base, and where nothing says where its base ends.
pub fn verify(app: &[DiffId], base: &[DiffId]) -> Result<usize, SeamError> {
    for (index, layer) in base.iter().enumerate() {
        let there = app.get(index);
        if there != Some(layer) {
            return Err(SeamError::Differs { number: index + 1, base: layer.clone(), app: there.cloned() });
        }
    }
    Ok(base.len())
}

/// Finds the seam: by the layers of the old base where it is there, else by what the image claims.
///
/// Fails where the image was not built on that base, and where nothing says where its base ends.
pub fn find(app: &[DiffId], claim: Option<&Claim>, base: Option<&[DiffId]>) -> Result<usize, SeamError> {
    if let Some(base) = base {
        return verify(app, base);
    }
    let claim = claim.ok_or(SeamError::Unknown)?;
    if let Some(wanted) = &claim.chain {
        return layers_of(app, wanted).ok_or_else(|| SeamError::Gone { what: format!("the chain {wanted}") });
    }
    let top = claim.top.as_ref().ok_or(SeamError::Unknown)?;
    let places: Vec<usize> =
        app.iter().enumerate().filter(|(_, layer)| *layer == top).map(|(index, _)| index + 1).collect();
    match places[..] {
        [] => Err(SeamError::Gone { what: format!("the layer {top}") }),
        [count] => Ok(count),
        _ => Err(SeamError::Ambiguous { top: top.clone(), count: places.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(names: &str) -> Vec<DiffId> {
        names.chars().map(|name| DiffId(Digest::sha256_of(&[name as u8]))).collect()
    }

    fn claim_of(chain: Option<&[DiffId]>, top: Option<DiffId>) -> Claim {
        let chain = chain.and_then(chain_id);
        Claim { source: Source::Otoshi, name: None, digest: None, place: None, chain, top }
    }

    #[test]
    fn the_whole_run_must_match_and_not_the_first_equal_layer() {
        let app = layers("abacX");
        assert_eq!(verify(&app, &layers("abac")), Ok(4));
        assert_eq!(verify(&app, &layers("aba")), Ok(3));
        let error = verify(&app, &layers("abb")).unwrap_err();
        assert!(matches!(error, SeamError::Differs { number: 3, .. }), "{error}");
        let error = verify(&app, &layers("abacXY")).unwrap_err().to_string();
        assert!(error.contains("the image has none there"), "{error}");
    }

    #[test]
    fn a_chain_says_which_of_several_equal_layers_is_meant() {
        let app = layers("abaaX");
        for count in 1..=5 {
            assert_eq!(find(&app, Some(&claim_of(Some(&app[..count]), None)), None), Ok(count));
        }
        let other = claim_of(Some(&layers("ba")), None);
        assert!(matches!(find(&app, Some(&other), None), Err(SeamError::Gone { .. })));
    }

    #[test]
    fn a_topmost_layer_that_is_there_twice_needs_the_base() {
        let app = layers("abaX");
        let claim = claim_of(None, Some(app[0].clone()));
        assert!(matches!(find(&app, Some(&claim), None), Err(SeamError::Ambiguous { count: 2, .. })));
        assert_eq!(find(&app, Some(&claim), Some(&app[..3])), Ok(3));
        assert_eq!(find(&app, Some(&claim_of(None, Some(app[1].clone()))), None), Ok(2));
        assert_eq!(find(&app, None, None), Err(SeamError::Unknown));
    }

    #[test]
    fn the_label_of_buildpacks_names_run_image_and_topmost_layer() {
        let (digest, top) = (Digest::sha256_of(b"run"), Digest::sha256_of(b"top"));
        let label = format!(
            r#"{{"runImage":{{"topLayer":"{top}","reference":"r.example/run@{digest}"}},"stack":{{"runImage":{{"image":"r.example/run:22"}}}}}}"#
        );
        let claim = buildpacks(&label).unwrap();
        assert_eq!(claim.name.as_deref(), Some("r.example/run:22"));
        assert_eq!((claim.place.as_deref(), claim.digest), (Some("r.example/run"), Some(digest)));
        assert_eq!(claim.top, Some(DiffId(top)));
        assert_eq!(buildpacks("{}"), None);
        assert_eq!(buildpacks("no json"), None);
    }
}
