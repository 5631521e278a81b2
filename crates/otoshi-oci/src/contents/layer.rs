//! One layer, read from its tar stream.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use super::data::Data;
use super::follow::{Way, walk};
use crate::image::ImageLayer;
use crate::layer::{LayerError, OPAQUE, WHITEOUT, WHITEOUT_META, with_stream};
use crate::layout::Layout;
use crate::tar::{Entry, Kind, Reader, Segment, TarError};

/// The most entries of a layer that are read.
const MOST: usize = 4_000_000;

/// Describes what a layer has at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node<T> {
    /// What it is; never a hard link, which is the file that it names.
    pub kind: Kind,
    /// The target of a symbolic link, as it stands in the layer.
    pub link: Vec<u8>,
    /// What was made of its entry and content.
    pub facts: T,
}

impl<T> Node<T> {
    /// Says whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// Holds the wanted entries of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer<T> {
    pub(super) files: BTreeMap<Vec<u8>, Node<T>>,
    pub(super) deleted: BTreeSet<Vec<u8>>,
    pub(super) opaque: BTreeSet<Vec<u8>>,
    /// Wanted hard links to files that are not.
    unresolved: Vec<(Vec<u8>, Vec<u8>)>,
    /// The symbolic links of the whole layer, while it is read.
    links: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<T> Default for Layer<T> {
    fn default() -> Self {
        let files = BTreeMap::new();
        let (deleted, opaque) = (BTreeSet::new(), BTreeSet::new());
        Self { files, deleted, opaque, unresolved: Vec::new(), links: BTreeMap::new() }
    }
}

impl<T: Clone> Layer<T> {
    /// Reads a layer out of a layout, and checks that it is the one that the image's config names.
    ///
    /// `facts` is called once for every wanted entry that is no hard link, in the order of the archive. An error names the
    /// layer: it is not in the layout, malformed, not what the config says, or has too many entries.
    pub fn read(
        layout: &Layout,
        layer: &ImageLayer,
        wants: impl Fn(&[u8]) -> bool,
        facts: impl FnMut(&[u8], &Entry, &mut Data<'_>) -> Result<T, TarError>,
    ) -> Result<Self, LayerError> {
        let failed = |source| LayerError::Archive { layer: format!("layer {}", layer.digest), source };
        let blob = layout.open_blob(&layer.digest)?;
        let (found, streamed) =
            with_stream(blob, |stream| Self::of_tar(stream, wants, facts)).map_err(failed)?;
        if streamed.diff_id != layer.diff_id {
            let text = format!("its content is not {}, which the image's config names", layer.diff_id.0);
            return Err(failed(TarError::Io(io::Error::new(io::ErrorKind::InvalidData, text))));
        }
        Ok(found)
    }

    /// Reads a layer out of an uncompressed tar stream; what comes after the archive's end is left there.
    ///
    /// Fails where the archive cannot be read or is malformed, where it has too many entries, and where `facts` fails.
    pub fn of_tar(
        stream: impl BufRead,
        wants: impl Fn(&[u8]) -> bool,
        mut facts: impl FnMut(&[u8], &Entry, &mut Data<'_>) -> Result<T, TarError>,
    ) -> Result<Self, TarError> {
        let (mut found, mut reader) = (Self::default(), Reader::new(stream));
        while let Some(entry) = reader.next_entry()? {
            found.entry(entry, &mut reader, &wants, &mut facts)?;
            let other = found.deleted.len() + found.links.len() + found.unresolved.len();
            if found.files.len() + other > MOST {
                let text = format!("it has more than {MOST} entries, which are not read");
                return Err(TarError::Io(io::Error::other(text)));
            }
        }
        found.links = BTreeMap::new();
        Ok(found)
    }

    fn entry(
        &mut self,
        entry: Entry,
        reader: &mut Reader<impl BufRead>,
        wants: &impl Fn(&[u8]) -> bool,
        facts: &mut impl FnMut(&[u8], &Entry, &mut Data<'_>) -> Result<T, TarError>,
    ) -> Result<(), TarError> {
        let invalid =
            |reason: &'static str| TarError::Invalid { place: entry.display_name(), reason: reason.into() };
        let path = self.path(&entry.name).ok_or_else(|| invalid("its name points outside the root"))?;
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let directory = path[..start.saturating_sub(1)].to_vec();
        let last = &path[start..];
        if path.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT_META)) {
            if last == OPAQUE {
                self.opaque.insert(directory);
            }
            return Ok(());
        }
        if let Some(name) = last.strip_prefix(WHITEOUT) {
            self.deleted.insert([&path[..start], name].concat());
            return Ok(());
        }
        if entry.kind == (Kind::Char { major: 0, minor: 0 }) {
            self.deleted.insert(path);
            return Ok(());
        }
        if entry.kind == Kind::Symlink {
            self.links.insert(path.clone(), entry.link.clone());
        } else {
            self.links.remove(&path);
        }
        if !wants(&path) {
            return Ok(());
        }
        if entry.kind == Kind::HardLink {
            let nowhere = || invalid("its hard link target is not in this layer");
            let target = self.path(&entry.link).ok_or_else(nowhere)?;
            if let Some(node) = self.files.get(&target) {
                self.files.insert(path, node.clone());
            } else {
                self.unresolved.push((path, target));
            }
            return Ok(());
        }
        let mut whole = [Segment { offset: 0, length: 0 }];
        let made = facts(&path, &entry, &mut Data::new(reader, &entry, &mut whole))?;
        self.files.insert(path, Node { kind: entry.kind, link: entry.link, facts: made });
        Ok(())
    }

    /// A name without `.`, `..` and superfluous slashes, with links on the way followed; `None` for one that climbs out.
    fn path(&self, name: &[u8]) -> Option<Vec<u8>> {
        walk(name, Way::ToEntry, |path| self.links.get(path).map(Vec::as_slice))
    }
}

impl<T> Layer<T> {
    /// Puts an entry at a path, as a layer that comes from elsewhere than a tar has it.
    pub fn insert(&mut self, path: Vec<u8>, node: Node<T>) {
        self.files.insert(path, node);
    }

    /// Notes that the layer deletes a path from those below.
    pub fn delete(&mut self, path: Vec<u8>) {
        self.deleted.insert(path);
    }

    /// Notes that nothing is left of what the layers below have in a directory.
    pub fn make_opaque(&mut self, directory: Vec<u8>) {
        self.opaque.insert(directory);
    }

    /// Returns its entries, sorted by path.
    pub fn files(&self) -> &BTreeMap<Vec<u8>, Node<T>> {
        &self.files
    }

    /// Returns the paths that it deletes from the layers below.
    pub fn deleted(&self) -> &BTreeSet<Vec<u8>> {
        &self.deleted
    }

    /// Returns the directories of which nothing is left that the layers below have; the root's path is empty.
    pub fn opaque(&self) -> &BTreeSet<Vec<u8>> {
        &self.opaque
    }

    /// Returns wanted hard links whose files were not wanted, or are not in this layer: path and target.
    ///
    /// They are not among the entries. Read the layer again and want the targets as well, or refuse the layer.
    pub fn unresolved(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.unresolved
    }

    /// Turns what was found at each path into something else.
    pub fn map<U>(self, mut each: impl FnMut(&[u8], T) -> U) -> Layer<U> {
        let files = self
            .files
            .into_iter()
            .map(|(path, node)| {
                let facts = each(&path, node.facts);
                (path, Node { kind: node.kind, link: node.link, facts })
            })
            .collect();
        let (deleted, opaque) = (self.deleted, self.opaque);
        Layer { files, deleted, opaque, unresolved: self.unresolved, links: self.links }
    }
}
