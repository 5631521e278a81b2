//! The image on its new base: config, layers and annotations, from the manifests and configs of three images.
//!
//! The new manifest has the form of the old one: an image in Docker's form stays in it whatever form the base has, and media
//! types never mix. The same arguments give the same bytes: no clock is read.

use std::collections::{BTreeMap, HashMap};

use otoshi_oci::config::History;
use otoshi_oci::{Descriptor, Digest, Image, ImageConfig, ImageError, Layout, MediaType, json};
use serde_json::Value;

use crate::index::SOCI_INDEX;
use crate::merge::{Conflict, merge, merge_extra};
use crate::seam::{BASE_DIGEST, BASE_NAME, BUILDPACKS, CREATED, SEAM, chain_id, name_base_of_runner};

/// Media types of layers: OCI's and Docker's name for the same thing.
const FORMS: [(&str, &str); 6] = [
    ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"),
    ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ("application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar.zstd"),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd",
    ),
];

/// Says why an image cannot be put on a base.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The base is for another platform.
    #[error("the new base is for {base}, and the image for {app}")]
    Platform {
        /// The image's platform.
        app: String,
        /// The base's platform.
        base: String,
    },
    /// A layer of the base has a media type that the image's manifest cannot list.
    #[error(
        "the new base has a layer of the type {media_type:?}, which a manifest of the image's format cannot list"
    )]
    MediaType {
        /// The media type.
        media_type: String,
    },
    /// A document could not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Names the three images, and what the new one is to say of its base.
#[derive(Debug, Clone, Copy)]
pub struct Bases<'a> {
    /// The image as it is.
    pub app: &'a Image,
    /// Its old base, where that is known.
    pub old: Option<&'a Image>,
    /// The new base.
    pub new: &'a Image,
    /// How many layers of the image are its old base's; see [`crate::seam::find`].
    pub seam: usize,
    /// The name of the new base to be written down.
    pub name: Option<&'a str>,
    /// The digest of the new base to be written down: of its manifest, or of the index that lists it.
    pub digest: &'a Digest,
}

/// Holds an image on its new base, not yet written.
#[derive(Debug, Clone)]
pub struct Composed {
    /// The config.
    pub config: ImageConfig,
    /// The layers, the lowest first; the new base's are the first [`Self::base_layers`].
    pub layers: Vec<Descriptor>,
    /// How many layers are the new base's.
    pub base_layers: usize,
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What both the application and the new base changed.
    pub conflicts: Vec<Conflict>,
}

/// Composes the image on its new base.
///
/// Fails where platforms differ, or the manifest's format cannot list a layer of the base.
pub fn compose(bases: Bases<'_>) -> Result<Composed, ComposeError> {
    let Bases { app, old, new, seam, .. } = bases;
    let (of_app, of_new) = (app.platform(), new.platform());
    if (&of_app.os, &of_app.architecture) != (&of_new.os, &of_new.architecture) {
        return Err(ComposeError::Platform { app: of_app.to_string(), base: of_new.to_string() });
    }
    let merged = merge(old.map(|old| &old.config.config), &app.config.config, &new.config.config);
    let diff_ids = [new.diff_ids(), &app.diff_ids()[seam..]].concat();
    let docker = is_docker(app);
    let base = new.layers().iter().map(|layer| in_form(&layer.descriptor, docker));
    let mut layers = base.collect::<Result<Vec<_>, _>>()?;
    let own = app.layers()[seam..].iter().map(|layer| &layer.descriptor);
    layers.extend(own.map(|layer| in_form(layer, docker).unwrap_or_else(|_| layer.clone())));

    let mut config = app.config.clone();
    config.config = merged.config;
    config.rootfs.diff_ids = diff_ids;
    config.created = latest(app.config.created.as_deref(), new.config.created.as_deref());
    config.author = if old.is_some_and(|old| old.config.author == app.config.author) {
        new.config.author.clone()
    } else {
        app.config.author.clone()
    };
    config.variant = app.config.variant.clone().or_else(|| new.config.variant.clone());
    // Windows' version and features are those of the layers below.
    config.extra = merge_extra(old.map(|old| &old.config.extra), &app.config.extra, &new.config.extra);
    for key in ["os.version", "os.features"] {
        match new.config.extra.get(key) {
            Some(value) => _ = config.extra.insert(key.to_owned(), value.clone()),
            None => _ = config.extra.remove(key),
        }
    }
    config.history = history(app, old, new, seam);
    let base_layers = new.layers().len();
    let chain = chain_id(&config.rootfs.diff_ids[..base_layers]);
    buildpacks(&mut config, bases);
    Ok(Composed {
        annotations: annotations(bases, chain, config.created.as_deref()),
        config,
        layers,
        base_layers,
        conflicts: merged.conflicts,
    })
}

impl Composed {
    /// Writes config and manifest into a layout, in the form that `app` has, and describes the manifest.
    ///
    /// Fails where a blob cannot be written.
    pub fn write(&self, layout: &Layout, app: &Image) -> Result<Descriptor, ImageError> {
        let write = |what| move |source| ImageError::Write { what, source };
        let config = self.config.to_vec().map_err(write("image config"))?;
        let config = layout.put(app.manifest.config().media_type().clone(), &config)?;
        let mut manifest = app.manifest.clone();
        manifest.set_config(config).set_layers(self.layers.clone());
        let annotations: HashMap<_, _> = self.annotations.clone().into_iter().collect();
        manifest.set_annotations((!annotations.is_empty()).then_some(annotations));
        let bytes = json::canonical(&manifest).map_err(write("image manifest"))?;
        let media_type = manifest.media_type().clone().unwrap_or(MediaType::ImageManifest);
        let mut descriptor = layout.put(media_type, &bytes)?;
        descriptor.set_platform(Some(self.config.platform().to_oci()));
        Ok(descriptor)
    }
}

/// Says whether a manifest has Docker's form (schema 2): by its own type, or where it has none by those of its layers. The
/// config's type says nothing: tools put Docker's into manifests of OCI's form.
fn is_docker(image: &Image) -> bool {
    let of_docker = |media_type: &MediaType| media_type.as_ref().starts_with("application/vnd.docker.");
    match image.manifest.media_type() {
        Some(own) => of_docker(own),
        None => image.layers().iter().any(|layer| of_docker(layer.descriptor.media_type())),
    }
}

/// The descriptor of a layer as a manifest of this form lists it.
fn in_form(layer: &Descriptor, docker: bool) -> Result<Descriptor, ComposeError> {
    let media_type = layer.media_type().as_ref().to_owned();
    let form = FORMS.iter().find(|(oci, of_docker)| media_type == *oci || media_type == *of_docker);
    let (oci, of_docker) = form.ok_or(ComposeError::MediaType { media_type })?;
    let mut layer = layer.clone();
    layer.set_media_type(MediaType::from(if docker { *of_docker } else { *oci }));
    Ok(layer)
}

/// The later of two times; what is no time is earlier than any.
fn latest(app: Option<&str>, new: Option<&str>) -> Option<String> {
    let time = |text: Option<&str>| text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let later = if time(new) > time(app) { new } else { app.or(new) };
    later.map(str::to_owned)
}

/// Says whether the new base is older than the old one, as far as their times say.
pub fn is_older(old: &Image, new: &Image) -> bool {
    let time = |image: &Image| image.config.created.as_deref()?.parse::<jiff::Timestamp>().ok();
    match (time(old), time(new)) {
        (Some(before), Some(now)) if before != now => now < before,
        // Times that say nothing: what has only the first layers of another is what that was made from.
        _ => {
            let (before, now) = (old.diff_ids(), new.diff_ids());
            now.len() < before.len() && before.starts_with(now)
        }
    }
}

/// The new base's history, and the application's own. Layers of an image without history get entries without a text, where
/// the other image has a history; so the number of entries always fits the layers.
fn history(app: &Image, old: Option<&Image>, new: &Image, seam: usize) -> Vec<History> {
    if app.config.history.is_empty() && new.config.history.is_empty() {
        return Vec::new();
    }
    let fits = |image: &Image| made(&image.config.history) == image.layers().len();
    let mut merged = if fits(new) { new.config.history.clone() } else { unsaid(new.layers().len()) };
    if !fits(app) {
        merged.extend(unsaid(app.layers().len() - seam));
        return merged;
    }
    let history = &app.config.history;
    let below = old
        .map(|old| &old.config.history)
        .filter(|below| !below.is_empty() && made(below) == seam && history.starts_with(below));
    let cut = below.map_or_else(|| after(history, seam), Vec::len);
    merged.extend_from_slice(&history[cut..]);
    merged
}

/// How many layers a history tells of.
fn made(history: &[History]) -> usize {
    history.iter().filter(|entry| !entry.empty_layer).count()
}

/// Where a history has told of so many layers.
fn after(history: &[History], layers: usize) -> usize {
    let mut left = layers;
    history
        .iter()
        .position(|entry| {
            if left == 0 {
                return true;
            }
            left -= usize::from(!entry.empty_layer);
            false
        })
        .unwrap_or(history.len())
}

fn unsaid(layers: usize) -> Vec<History> {
    vec![History::default(); layers]
}

fn annotations(bases: Bases<'_>, chain: Option<Digest>, created: Option<&str>) -> BTreeMap<String, String> {
    let mut found = bases.app.annotations();
    // SOCI's index is of the old layers; whoever takes it for that of the new ones is refused, or reads what is not there.
    found.remove(SOCI_INDEX);
    if found.contains_key(SEAM) {
        match chain {
            Some(chain) => found.insert(SEAM.to_owned(), chain.to_string()),
            None => found.remove(SEAM),
        };
        name_base_of_runner(&mut found, &bases.new.annotations());
    }
    // Docker's form has no annotations; a label that says the same is the application's, and stays true.
    if !is_docker(bases.app) {
        found.insert(BASE_DIGEST.to_owned(), bases.digest.to_string());
        if let Some(name) = bases.name {
            found.insert(BASE_NAME.to_owned(), name.to_owned());
        }
    }
    if let (Some(created), true) = (created, found.contains_key(CREATED)) {
        found.insert(CREATED.to_owned(), created.to_owned());
    }
    found
}

/// Keeps labels true that name the base.
fn buildpacks(config: &mut ImageConfig, bases: Bases<'_>) {
    let labels = &mut config.config.labels;
    if let Some(label) = labels.get_mut(BASE_DIGEST) {
        *label = bases.digest.to_string();
    }
    if let (Some(label), Some(name)) = (labels.get_mut(BASE_NAME), bases.name) {
        name.clone_into(label);
    }
    let Some(label) = labels.get_mut(BUILDPACKS) else { return };
    let Ok(mut value) = serde_json::from_str::<Value>(label) else { return };
    let Some(run) = value.get_mut("runImage").and_then(Value::as_object_mut) else { return };
    if let Some(top) = bases.new.layers().last() {
        run.insert("topLayer".to_owned(), top.diff_id.to_string().into());
    }
    if let Some(name) = bases.name {
        let place =
            name.rsplit_once(':').map_or(name, |(place, tag)| if tag.contains('/') { name } else { place });
        run.insert("reference".to_owned(), format!("{place}@{}", bases.digest).into());
    }
    *label = value.to_string();
}
