//! `index.json`: which images the layout keeps, and under which names.
//!
//! A tagged entry carries its complete reference in `org.opencontainers.image.ref.name`. When a tag moves, the manifest it
//! named before stays as an entry without a name until the next sweep.
//!
//! What is written can be read: an index that would be longer than [`MAX_WRITTEN`] is refused before it replaces the one that is
//! there, and of annotations that others gave an entry no more than [`MAX_ANNOTATIONS`] stay. One that is longer all the same, as
//! other programs may leave it, is read up to [`MAX_READ`], and the next change writes it shorter.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError};

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use rustix::fs::FlockOperation;
use serde_json::Value;

use super::Layout;
use super::documents::{parse_json, read_bounded, read_up_to};
use super::entries::{Entries, Stamp, name_of, reference_of};
use super::error::{LayoutError, io_error};
use super::files::{INDEX_FILE, REF_NAME};
use crate::digest::Digest;
use crate::json;
use crate::reference::Reference;

/// The longest index that is written, in bytes: some 200,000 images.
const MAX_WRITTEN: u64 = 64 << 20;
/// The longest index that is read, in bytes.
const MAX_READ: u64 = 256 << 20;
/// How many bytes an entry's annotations may have, names and values together, besides its own name.
const MAX_ANNOTATIONS: usize = 4 << 10;

/// Says in an entry how it came by its name.
const NAMED_BY: &str = "dev.otoshi.named-by";
const GIVEN: &str = "store";
const PULLED: &str = "registry";

/// How an image came by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The name was given here: by a build, an import, or by hand.
    Store,
    /// It was pulled from the registry that the name says, which may have something newer under it.
    Registry,
}

impl NamedBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Store => GIVEN,
            Self::Registry => PULLED,
        }
    }

    fn of(entry: &Descriptor) -> Option<Self> {
        match entry.annotations().as_ref()?.get(NAMED_BY)?.as_str() {
            GIVEN => Some(Self::Store),
            PULLED => Some(Self::Registry),
            _ => None,
        }
    }
}

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

fn without_name(entry: &mut Descriptor) {
    let mut annotations = entry.annotations().clone().unwrap_or_default();
    annotations.remove(REF_NAME);
    annotations.remove(NAMED_BY);
    entry.set_annotations(if annotations.is_empty() { None } else { Some(annotations) });
}

/// Makes an entry fit for the index: without the content that others embed, and without annotations beyond a bound.
fn trimmed(mut entry: Descriptor) -> Descriptor {
    entry.set_data(None);
    let Some(annotations) = entry.annotations() else { return entry };
    let is_own = |name: &String| name == REF_NAME || name == NAMED_BY;
    let length = |(name, value): (&String, &String)| if is_own(name) { 0 } else { name.len() + value.len() };
    if annotations.iter().map(length).sum::<usize>() > MAX_ANNOTATIONS {
        let own: HashMap<String, String> = annotations
            .iter()
            .filter(|(name, _)| is_own(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        entry.set_annotations((!own.is_empty()).then_some(own));
    }
    entry
}

/// The names of a layout: which images it keeps, and what they are called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'l>(&'l Layout);

impl Layout {
    /// Returns the layout's names.
    pub fn names(&self) -> Names<'_> {
        Names(self)
    }

    /// Makes the descriptor of a manifest or index that is in the layout, from its content.
    ///
    /// Fails where it is missing, is larger than may be read, does not have its digest, or is not JSON.
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

impl Names<'_> {
    fn stamp(self) -> Result<Stamp, LayoutError> {
        let path = self.0.root().join(INDEX_FILE);
        let meta = fs::metadata(&path).map_err(io_error("look at", &path))?;
        let (file, changed) = ((meta.dev(), meta.ino()), (meta.mtime(), meta.mtime_nsec()));
        Ok(Stamp { file, size: meta.size(), changed })
    }

    /// Reads the `index.json` of a layout that somebody else made.
    pub(crate) fn index(self) -> Result<ImageIndex, LayoutError> {
        let path = self.0.root().join(INDEX_FILE);
        parse_json(&read_bounded(&path, INDEX_FILE)?, || path.display().to_string())
    }

    /// Reads `index.json`.
    fn read_index(self) -> Result<ImageIndex, LayoutError> {
        let path = self.0.root().join(INDEX_FILE);
        let bytes = read_up_to(&path, INDEX_FILE, MAX_READ)?;
        parse_json(&bytes, || path.display().to_string())
    }

    /// Returns the entries of `index.json`, which is read again only when it is another file than last time.
    fn entries(self) -> Result<Arc<Entries>, LayoutError> {
        let stamp = self.stamp()?;
        let known = self.0.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((of, entries)) = known
            && of == stamp
        {
            return Ok(entries);
        }
        let entries = Arc::new(Entries::new(self.read_index()?.manifests().clone()));
        // What was read meanwhile may be newer than the stamp; then it is read once more than it had to be.
        if stamp.is_settled() {
            *self.0.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, Arc::clone(&entries)));
        }
        Ok(entries)
    }

    /// Changes the list of manifests under the lock; nothing is written if it stays the same.
    pub(super) fn change<T>(
        self,
        change: impl FnOnce(&mut Vec<Descriptor>) -> Result<T, LayoutError>,
    ) -> Result<T, LayoutError> {
        let _lock = self.0.lock(FlockOperation::LockExclusive)?;
        self.change_locked(change)
    }

    pub(super) fn change_locked<T>(
        self,
        change: impl FnOnce(&mut Vec<Descriptor>) -> Result<T, LayoutError>,
    ) -> Result<T, LayoutError> {
        let mut index = self.read_index()?;
        let mut manifests: Vec<Descriptor> = index.manifests().iter().cloned().map(trimmed).collect();
        let outcome = change(&mut manifests)?;
        if manifests != *index.manifests() {
            index.set_manifests(manifests);
            let bytes = to_vec(&index)?;
            if bytes.len() as u64 > MAX_WRITTEN {
                return Err(LayoutError::Full { root: self.0.root().to_owned(), size: bytes.len() as u64 });
            }
            self.0.replace(INDEX_FILE, &bytes)?;
        }
        Ok(outcome)
    }

    /// Returns all entries of `index.json`.
    ///
    /// Fails where index.json cannot be read.
    pub fn manifests(self) -> Result<Vec<Descriptor>, LayoutError> {
        Ok(self.entries()?.list.clone())
    }

    /// Writes `index.json` anew where it holds more than Otoshi writes there, and says whether it did.
    ///
    /// Fails where index.json cannot be read or written, or would become too large; it is unchanged then.
    pub fn trim(self) -> Result<bool, LayoutError> {
        let before = self.stamp()?;
        self.change(|_| Ok(()))?;
        Ok(self.stamp()? != before)
    }

    /// Returns the named entries, sorted by name.
    ///
    /// Fails where index.json cannot be read.
    pub fn tagged(self) -> Result<Vec<(Reference, Descriptor)>, LayoutError> {
        let entries = self.entries()?;
        let mut tagged: Vec<_> =
            entries.list.iter().filter_map(|entry| Some((reference_of(entry)?, entry.clone()))).collect();
        tagged.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tagged)
    }

    /// Names a manifest. If the name was taken, what had it stays without a name until the next sweep.
    ///
    /// Of a reference with both tag and digest, the tag is the name.
    ///
    /// Fails where index.json cannot be read or written, or would become too large; it is unchanged then.
    pub fn tag(self, reference: &Reference, descriptor: Descriptor) -> Result<(), LayoutError> {
        self.tag_all(&[(reference.clone(), descriptor)])
    }

    /// Names a manifest that was pulled from the registry of the name, as [`Names::tag`] does one that was made here.
    ///
    /// Fails where index.json cannot be read or written, or would become too large; it is unchanged then.
    pub fn tag_pulled(self, reference: &Reference, descriptor: Descriptor) -> Result<(), LayoutError> {
        self.file(&[(Some(reference.clone()), descriptor)], Some(NamedBy::Registry))
    }

    /// Says how a name came to be in the layout; `None` where it is not, and where an older Otoshi or another tool put it there.
    ///
    /// Fails where index.json cannot be read.
    pub fn named_by(self, reference: &Reference) -> Result<Option<NamedBy>, LayoutError> {
        let entries = self.entries()?;
        Ok(entries.by_name.get(&reference.filed()).and_then(|at| NamedBy::of(&entries.list[*at])))
    }

    /// Names several manifests at once, as [`Names::tag`] does one: all have their names, or none.
    ///
    /// Fails where index.json cannot be read or written, or would become too large; it is unchanged then.
    pub fn tag_all(self, named: &[(Reference, Descriptor)]) -> Result<(), LayoutError> {
        let named: Vec<_> = named.iter().map(|(name, entry)| (Some(name.clone()), entry.clone())).collect();
        self.file(&named, Some(NamedBy::Store))
    }

    /// Names several manifests at once, and lists those without a name: all, or none.
    ///
    /// Fails where index.json cannot be read or written, or would become too large; it is unchanged then.
    pub(crate) fn file_all(self, filed: &[(Option<Reference>, Descriptor)]) -> Result<(), LayoutError> {
        self.file(filed, Some(NamedBy::Store))
    }

    /// The same for a layout that is another's: nothing says how its names came about.
    pub(crate) fn file_elsewhere(self, filed: &[(Option<Reference>, Descriptor)]) -> Result<(), LayoutError> {
        self.file(filed, None)
    }

    fn file(self, filed: &[(Option<Reference>, Descriptor)], by: Option<NamedBy>) -> Result<(), LayoutError> {
        // Of several with one name, the last has it.
        let mut named: HashMap<Reference, Descriptor> = HashMap::new();
        let mut order = Vec::new();
        let mut added = Vec::new();
        for (name, descriptor) in filed {
            let mut entry = trimmed(descriptor.clone());
            let Some(name) = name else {
                added.push(entry);
                continue;
            };
            let reference = name.filed();
            let mut annotations: HashMap<String, String> = entry.annotations().clone().unwrap_or_default();
            annotations.insert(REF_NAME.to_owned(), reference.to_string());
            annotations.remove(NAMED_BY);
            annotations.extend(by.map(|by| (NAMED_BY.to_owned(), by.as_str().to_owned())));
            entry.set_annotations(Some(annotations));
            if let Some(replaced) = named.insert(reference.clone(), entry) {
                let mut replaced = replaced;
                without_name(&mut replaced);
                added.push(replaced);
            } else {
                order.push(reference);
            }
        }
        self.change(|manifests| {
            for old in manifests.iter_mut() {
                let Some(reference) = reference_of(old) else { continue };
                let Some(new) = named.get(&reference) else { continue };
                if new == old {
                    named.remove(&reference);
                } else {
                    without_name(old);
                }
            }
            let before = manifests.len();
            manifests.extend(added);
            manifests.extend(order.into_iter().filter_map(|reference| named.remove(&reference)));
            if manifests.len() > before {
                tidy(manifests);
            }
            Ok(())
        })
    }

    /// Takes a name away and says whether it was there; the manifest stays until the next sweep.
    ///
    /// Fails where index.json cannot be read or written, or would become too large; it is unchanged then.
    pub fn untag(self, reference: &Reference) -> Result<bool, LayoutError> {
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
    ///
    /// Fails where index.json cannot be read or written, or would become too large; it is unchanged then.
    pub fn add_untagged(self, descriptor: Descriptor) -> Result<(), LayoutError> {
        self.file_all(&[(None, descriptor)])
    }

    /// Finds what a reference names: by its digest if it has one, else by its tag.
    ///
    /// Fails where index.json cannot be read, and as [`Layout::describe`] does for a digest that it does not list.
    pub fn resolve(self, reference: &Reference) -> Result<Option<Descriptor>, LayoutError> {
        let entries = self.entries()?;
        let Some(digest) = reference.digest() else {
            return Ok(entries.by_name.get(reference).map(|at| {
                let mut entry = entries.list[*at].clone();
                let annotations = entry.annotations().clone();
                entry.set_annotations(annotations.map(|mut all| {
                    all.remove(NAMED_BY);
                    all
                }));
                entry
            }));
        };
        match entries.by_digest.get(digest.as_str()) {
            Some(at) => {
                let mut entry = entries.list[*at].clone();
                without_name(&mut entry);
                Ok(Some(entry))
            }
            None if self.0.has(digest) => self.0.describe(digest).map(Some),
            None => Ok(None),
        }
    }
}

/// Drops entries without a name whose manifest is listed elsewhere as well.
fn tidy(manifests: &mut Vec<Descriptor>) {
    let named: HashSet<String> =
        manifests.iter().filter(|entry| name_of(entry).is_some()).map(|e| e.digest().to_string()).collect();
    let mut seen = HashSet::new();
    manifests.retain(|entry| {
        let digest = entry.digest().to_string();
        name_of(entry).is_some() || !named.contains(&digest) && seen.insert(digest)
    });
}
