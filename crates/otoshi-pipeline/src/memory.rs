//! What the registry remembers: phase key → what the phase made, so that another machine redoes nothing.
//!
//! ```text
//! REPOSITORY:phase-KEY     index (artifactType …phase.v1) of the images that the phase made, or of the compiled application
//!                            annotation dev.otoshi.record: a Record as JSON
//! REPOSITORY:start-KEY     artifact (…start.v1): what planning reads of all bases, for one otoshi.lock
//! REPOSITORY:argument-KEY  artifact (…argument.v1): the value of a computed build argument
//! ```
//!
//! A record is one small document, so a machine that has nothing learns all about a phase with one request: manifests and
//! configs are in it, and of the layers it keeps the place. The registry keeps what an index names for as long as the index.
//! Records say what a key stands for and have no times in them: the same phase gives the same record everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use otoshi_engine::CopiedLayer;
use otoshi_oci::{
    Artifact, Descriptor, Digest, Fields, ImageIndex, ImageManifest, MediaType, Platform, Reference, json,
    layout::Layout, write_artifact,
};
use otoshi_once::hold;
use otoshi_registry::{RegistryError, Repository};
use otoshi_store::SnapshotId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{PipelineError, Remote, bases::Bases, record::Made};

const PHASE_TYPE: &str = "application/vnd.otoshi.phase.v1";
const START_TYPE: &str = "application/vnd.otoshi.start.v1";
const ARGUMENT_TYPE: &str = "application/vnd.otoshi.argument.v1";
/// The type of the compiled application: an image of two layers, the source and what compiling wrote.
pub(crate) const COMPILED_TYPE: &str = "application/vnd.otoshi.compiled.v1";
/// The type of the recipe: a layer of the few files from which an app image's runner and the image itself are made.
pub(crate) const RECIPE_TYPE: &str = "application/vnd.otoshi.recipe.v1";
/// The annotation that holds a record.
const RECORD: &str = "dev.otoshi.record";
/// A larger record is not made: registries take manifests of 4 MiB.
const MAX_RECORD: usize = 2 << 20;

/// What a phase's record says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Image manifests, by role or process.
    pub(crate) images: BTreeMap<String, Digest>,
    /// The digest of the compiled output's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Digest>,
    /// The compiled application's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact: Option<Digest>,
    /// The paths of the symbolic links in the compiled output; none when they were too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) links: Option<BTreeSet<String>>,
    /// The texts of the manifests and configs, by digest.
    pub(crate) documents: BTreeMap<Digest, String>,
    /// What images hold at the paths that other phases copy out of them.
    #[serde(default)]
    pub(crate) contents: Vec<Content>,
    /// Layers that app images have of paths copied out of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) copied: Vec<CopiedLayer>,
}

/// What an image holds at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) image: Digest,
    pub(crate) path: String,
    pub(crate) content: Option<Digest>,
}

/// What was recalled of a phase.
pub(crate) struct Recalled {
    pub(crate) made: Made,
    pub(crate) contents: Vec<Content>,
    pub(crate) copied: Vec<CopiedLayer>,
}

/// What planning reads of bases.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Start {
    documents: BTreeMap<Digest, String>,
    /// Where each base is: manifest → repository.
    bases: BTreeMap<Digest, Repository>,
}

/// The repository that remembers, as one walk sees it.
pub(crate) struct Memory<'a> {
    remote: &'a Remote,
    pub(crate) reference: Reference,
    platform: Platform,
    /// Why it is no longer asked.
    failed: Mutex<Option<String>>,
}

impl<'a> Memory<'a> {
    pub(crate) fn new(remote: &'a Remote, reference: Reference, platform: Platform) -> Self {
        Self { remote, reference, platform, failed: Mutex::default() }
    }

    /// The same repository, for another walk.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.remote, self.reference.clone(), self.platform.clone())
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::of(&self.reference)
    }

    /// Why it could not be asked, where that is so.
    pub(crate) fn failure(&self) -> Option<String> {
        hold(&self.failed).clone()
    }

    /// What a phase made somewhere for this key.
    pub(crate) fn recall(&self, key: &Digest) -> Option<Recalled> {
        let record = self.ask::<Record>(&phase_tag(key))?;
        let layout = self.remote.layout();
        if !keep_documents(layout, &record.documents) {
            return None;
        }
        let repository = self.repository();
        let manifests = record.images.values().chain(&record.artifact);
        for manifest in manifests {
            // A record that lacks a document is as good as none.
            if self.remote.note_image(manifest, &self.platform, &repository).is_err() {
                return None;
            }
        }
        let made = Made {
            images: record.images,
            output: record.output.zip(record.artifact.as_ref()).map(restored),
            artifact: record.artifact,
            links: record.links,
            ..Made::default()
        };
        // Of its own images only: others are not its to speak of.
        let own = |content: &Content| made.images.values().any(|image| *image == content.image);
        let contents = record.contents.into_iter().filter(own).collect();
        for layer in &record.copied {
            if let Ok(digest) = Digest::of(&layer.descriptor) {
                self.remote.note(&digest, &repository);
            }
        }
        Some(Recalled { made, contents, copied: record.copied })
    }

    /// Brings into the store what planning reads of bases, where it is remembered for this lock.
    pub(crate) fn recall_bases(&self, key: &Digest) {
        let Some(start) = self.ask::<Start>(&start_tag(key)) else { return };
        if keep_documents(self.remote.layout(), &start.documents) {
            for (manifest, repository) in &start.bases {
                let _ = self.remote.note_image(manifest, &self.platform, repository);
            }
        }
    }

    /// The value of a computed argument.
    pub(crate) fn recall_argument(&self, key: &Digest) -> Option<String> {
        self.ask(&argument_tag(key))
    }

    /// Fetches a record; one that is not readable is none. A registry that fails is asked no more in this walk.
    fn ask<T: DeserializeOwned>(&self, tag: &str) -> Option<T> {
        if self.failure().is_some() {
            return None;
        }
        let fetch = || -> Result<Option<T>, RegistryError> {
            let Ok(reference) = self.reference.with_tag(tag) else { return Ok(None) };
            let Some(document) = self.remote.client()?.manifest(&reference)? else { return Ok(None) };
            let value: serde_json::Value = serde_json::from_slice(&document.bytes).unwrap_or_default();
            let text = value.pointer(&format!("/annotations/{RECORD}")).and_then(serde_json::Value::as_str);
            Ok(text.and_then(|text| serde_json::from_str(text).ok()))
        };
        fetch().unwrap_or_else(|error| {
            *hold(&self.failed) = Some(error.to_string());
            None
        })
    }
}

/// Stands for a set of bases.
pub(crate) fn start_key(bases: &Bases, platform: &Platform) -> Digest {
    let digests: BTreeSet<&str> = bases.all().map(|(.., digest)| digest.as_str()).collect();
    Fields::new("start 2").text(platform.to_string()).list(digests).digest()
}

/// The compiled output under a name of its own: that its content is what the record says, nobody has looked.
fn restored((content, artifact): (Digest, &Digest)) -> (SnapshotId, Digest) {
    let key = Fields::new("restored 2").text(artifact.as_str()).digest();
    (SnapshotId::of_key(&key), content)
}

pub(crate) fn phase_tag(key: &Digest) -> String {
    format!("phase-{}", key.hex())
}

pub(crate) fn start_tag(key: &Digest) -> String {
    format!("start-{}", key.hex())
}

pub(crate) fn argument_tag(key: &Digest) -> String {
    format!("argument-{}", key.hex())
}

/// Keeps small documents whose content is what their digest says; false when one's is not.
fn keep_documents(layout: &Layout, documents: &BTreeMap<Digest, String>) -> bool {
    documents.iter().all(|(digest, text)| {
        let put = || {
            let mut writer = layout.blob_writer_with(digest.algorithm())?;
            writer.put(text.as_bytes())?;
            writer.commit_expecting(digest)
        };
        layout.has(digest) || put().is_ok()
    })
}

/// The texts of an image's manifest and config.
pub(crate) fn documents_of(
    layout: &Layout,
    manifest: &Digest,
    into: &mut BTreeMap<Digest, String>,
) -> Result<(), PipelineError> {
    let text = |digest: &Digest| -> Result<String, PipelineError> {
        String::from_utf8(layout.read(digest)?)
            .map_err(|_| PipelineError::NotText { what: digest.to_string() })
    };
    let document: ImageManifest = layout.read_json(manifest)?;
    let config = Digest::of(document.config())?;
    into.insert(manifest.clone(), text(manifest)?);
    into.insert(config.clone(), text(&config)?);
    Ok(())
}

/// Writes a phase's record into a layout, as an index; `None` where it would be too large.
///
/// `also` are manifests that are to live as long as the record.
pub(crate) fn write_record(
    layout: &Layout,
    record: &Record,
    also: &[Descriptor],
) -> Result<Option<Digest>, PipelineError> {
    let text = json_text(record)?;
    if text.len() > MAX_RECORD {
        return Ok(None);
    }
    let mut seen = BTreeSet::new();
    let mut manifests = Vec::new();
    for digest in record.images.values().chain(&record.artifact).filter(|digest| seen.insert(*digest)) {
        manifests.push(layout.describe(digest)?);
    }
    manifests.extend(also.iter().cloned());
    let mut index = ImageIndex::default();
    index.set_schema_version(2);
    index.set_media_type(Some(MediaType::ImageIndex));
    index.set_artifact_type(Some(PHASE_TYPE.into()));
    index.set_manifests(manifests);
    index.set_annotations(Some([(RECORD.to_owned(), text)].into()));
    let bytes = json::canonical(&index)?;
    let put = layout.put(MediaType::ImageIndex, &bytes)?;
    Digest::of(&put).map(Some).map_err(PipelineError::from)
}

/// Writes what planning reads of bases; `None` where one is not known well enough.
pub(crate) fn write_start(
    remote: &Remote,
    bases: &BTreeMap<Digest, Repository>,
) -> Result<Option<Digest>, PipelineError> {
    let mut start = Start { bases: bases.clone(), ..Start::default() };
    for manifest in bases.keys() {
        if documents_of(remote.layout(), manifest, &mut start.documents).is_err() {
            return Ok(None);
        }
    }
    let text = json_text(&start)?;
    if text.len() > MAX_RECORD { Ok(None) } else { artifact(remote.layout(), START_TYPE, text).map(Some) }
}

/// Writes the value of a computed argument.
pub(crate) fn write_argument(layout: &Layout, value: &str) -> Result<Digest, PipelineError> {
    artifact(layout, ARGUMENT_TYPE, json_text(&value)?)
}

fn artifact(layout: &Layout, kind: &str, record: String) -> Result<Digest, PipelineError> {
    let annotations = BTreeMap::from([(RECORD.to_owned(), record)]);
    let written = write_artifact(layout, &[], Artifact { kind, annotations: &annotations, subject: None })?;
    Digest::of(&written).map_err(PipelineError::from)
}

fn json_text<T: Serialize>(value: &T) -> Result<String, PipelineError> {
    let bytes = json::canonical(value)?;
    String::from_utf8(bytes).map_err(|_| PipelineError::Fault("JSON that is not UTF-8".to_owned()))
}
