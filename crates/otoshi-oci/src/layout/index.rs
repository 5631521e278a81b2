//! `index.json`: which images the layout keeps, and under which names.
//!
//! A tagged entry carries its complete reference in `org.opencontainers.image.ref.name`. When a tag moves, the manifest it
//! named before stays as an entry without a name until the next sweep.

use std::collections::HashMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use rustix::fs::FlockOperation;
use serde_json::Value;

use super::{INDEX_FILE, Layout, LayoutError, REF_NAME, parse_json, read_bounded};
use crate::digest::Digest;
use crate::json;
use crate::reference::Reference;

/// Returns the document of an index that names nothing.
pub(super) fn empty() -> Result<Vec<u8>, LayoutError> {
    to_vec(&from_manifests(Vec::new()))
}

fn from_manifests(manifests: Vec<Descriptor>) -> ImageIndex {
    ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()
        .unwrap_or_else(|_| unreachable!("all required fields are set"))
}

fn to_vec(index: &ImageIndex) -> Result<Vec<u8>, LayoutError> {
    json::canonical(index).map_err(|source| LayoutError::Json { what: INDEX_FILE.to_owned(), source })
}

/// Returns the name that an entry carries.
pub(super) fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}

fn reference_of(entry: &Descriptor) -> Option<Reference> {
    Reference::parse(name_of(entry)?).ok()
}

fn without_name(entry: &mut Descriptor) {
    let mut annotations = entry.annotations().clone().unwrap_or_default();
    annotations.remove(REF_NAME);
    entry.set_annotations(if annotations.is_empty() { None } else { Some(annotations) });
}

impl Layout {
    /// Reads `index.json`.
    pub(crate) fn index(&self) -> Result<ImageIndex, LayoutError> {
        let path = self.root().join(INDEX_FILE);
        let bytes = read_bounded(&path, INDEX_FILE)?;
        parse_json(&bytes, || path.display().to_string())
    }

    /// Changes the list of manifests under the lock; nothing is written if it stays the same.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<Descriptor>) -> Result<T, LayoutError>,
    ) -> Result<T, LayoutError> {
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        self.change_locked(change)
    }

    pub(super) fn change_locked<T>(
        &self,
        change: impl FnOnce(&mut Vec<Descriptor>) -> Result<T, LayoutError>,
    ) -> Result<T, LayoutError> {
        let mut index = self.index()?;
        let mut manifests = index.manifests().clone();
        let outcome = change(&mut manifests)?;
        if manifests != *index.manifests() {
            index.set_manifests(manifests);
            self.replace(INDEX_FILE, &to_vec(&index)?)?;
        }
        Ok(outcome)
    }

    /// Returns all entries of `index.json`.
    pub fn manifests(&self) -> Result<Vec<Descriptor>, LayoutError> {
        Ok(self.index()?.manifests().clone())
    }

    /// Returns the named entries, sorted by name.
    pub fn tagged(&self) -> Result<Vec<(Reference, Descriptor)>, LayoutError> {
        let mut tagged: Vec<_> =
            self.manifests()?.into_iter().filter_map(|entry| Some((reference_of(&entry)?, entry))).collect();
        tagged.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tagged)
    }

    /// Names a manifest. If the name was taken, what had it stays without a name until the next sweep.
    ///
    /// Of a reference with both tag and digest, the tag is the name.
    pub fn tag(&self, reference: &Reference, descriptor: Descriptor) -> Result<(), LayoutError> {
        self.tag_all(&[(reference.clone(), descriptor)])
    }

    /// Names several manifests at once, as [`Layout::tag`] does one: all have their names, or none.
    pub fn tag_all(&self, named: &[(Reference, Descriptor)]) -> Result<(), LayoutError> {
        self.change(|manifests| {
            for (reference, descriptor) in named {
                let reference = reference.filed();
                let mut entry = descriptor.clone();
                let mut annotations: HashMap<String, String> =
                    entry.annotations().clone().unwrap_or_default();
                annotations.insert(REF_NAME.to_owned(), reference.to_string());
                entry.set_annotations(Some(annotations));
                if manifests.contains(&entry) {
                    continue;
                }
                for old in manifests.iter_mut().filter(|old| reference_of(old).as_ref() == Some(&reference)) {
                    without_name(old);
                }
                manifests.push(entry);
                tidy(manifests);
            }
            Ok(())
        })
    }

    /// Takes a name away and says whether it was there; the manifest stays until the next sweep.
    pub fn untag(&self, reference: &Reference) -> Result<bool, LayoutError> {
        let reference = reference.filed();
        self.change(|manifests| {
            let mut found = false;
            for entry in manifests.iter_mut().filter(|entry| reference_of(entry).as_ref() == Some(&reference))
            {
                without_name(entry);
                found = true;
            }
            tidy(manifests);
            Ok(found)
        })
    }

    /// Lists a manifest without a name.
    pub fn add_untagged(&self, descriptor: Descriptor) -> Result<(), LayoutError> {
        self.change(|manifests| {
            manifests.push(descriptor);
            tidy(manifests);
            Ok(())
        })
    }

    /// Finds what a reference names: by its digest if it has one, else by its tag.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, LayoutError> {
        let manifests = self.manifests()?;
        let Some(digest) = reference.digest() else {
            return Ok(manifests.into_iter().find(|entry| reference_of(entry).as_ref() == Some(reference)));
        };
        let listed = manifests.into_iter().find(|entry| entry.digest().as_ref() == digest.as_str());
        match listed {
            Some(mut entry) => {
                without_name(&mut entry);
                Ok(Some(entry))
            }
            None if self.has(digest) => self.describe(digest).map(Some),
            None => Ok(None),
        }
    }

    /// Makes the descriptor of a manifest or index that is in the layout, from its content.
    pub fn describe(&self, digest: &Digest) -> Result<Descriptor, LayoutError> {
        let bytes = self.read(digest)?;
        let value: Value = parse_json(&bytes, || format!("blob {digest}"))?;
        let media_type = match value.get("mediaType").and_then(Value::as_str) {
            Some(media_type) => MediaType::from(media_type),
            None if value.get("manifests").is_some() => MediaType::ImageIndex,
            None => MediaType::ImageManifest,
        };
        Ok(Descriptor::new(media_type, bytes.len() as u64, digest.to_oci()))
    }
}

/// Drops entries without a name whose manifest is listed elsewhere as well.
fn tidy(manifests: &mut Vec<Descriptor>) {
    let mut kept: Vec<Descriptor> = Vec::with_capacity(manifests.len());
    for entry in std::mem::take(manifests) {
        let same = |other: &Descriptor| other.digest() == entry.digest();
        match name_of(&entry) {
            Some(_) => {
                kept.retain(|other| !(same(other) && name_of(other).is_none()));
                kept.push(entry);
            }
            None if !kept.iter().any(same) => kept.push(entry),
            None => {}
        }
    }
    *manifests = kept;
}
