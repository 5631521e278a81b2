//! What layers hold, by path: read as streams, never unpacked, put together topmost first.
//!
//! ```text
//! Layer::read(blob, wants, facts)   one layer → for each wanted path its kind, its link, and what `facts` made of its content
//! Contents::below(layer)            layers, the topmost first → what the image has at each path
//! ```
//!
//! A path is relative to the image's root and has no `.`, `..` or superfluous slashes; a name that climbs out of the root is
//! an error. A hard link has the facts of the file that it names. Whiteouts and opaque directories, as layers have them and
//! as overlayfs has them, take away what lies below.
//!
//! An entry that is not wanted is as good as not there: to learn that a link or a file took the place of a directory, also
//! want the directories above ([`above`]).

mod data;
mod follow;
mod layer;

use std::collections::{BTreeMap, BTreeSet};

pub use self::data::{Data, Piece};
pub(crate) use self::follow::climbs_out;
pub use self::follow::{follow, inside, parts};
pub use self::layer::{Layer, Node};

/// Returns the directories above a path, the root's children first, without the root and the path itself.
pub fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(slash, _)| &path[..slash])
}

/// Holds what an image has at each path, as far as its layers were read.
#[derive(Debug, Clone)]
pub struct Contents<T> {
    files: BTreeMap<Vec<u8>, Node<T>>,
    cover: Cover,
}

/// Holds what the layers so far hide of those below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cover {
    /// Every path that an entry has or implies, and whether it is a directory.
    there: BTreeMap<Vec<u8>, bool>,
    deleted: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
}

impl Cover {
    /// Says whether something above hides what lies below at a path, its own entry aside.
    pub fn hides(&self, path: &[u8]) -> bool {
        let hidden = |above: &[u8]| {
            self.deleted.contains(above)
                || self.opaque.contains(above)
                || self.there.get(above) == Some(&false)
        };
        self.deleted.contains(path)
            || (!path.is_empty() && self.opaque.contains(&b""[..]))
            || above(path).any(hidden)
    }

    /// Says whether a layer above has a word about a path.
    pub fn touches(&self, path: &[u8]) -> bool {
        self.there.contains_key(path) || self.hides(path)
    }
}

impl<T> Default for Contents<T> {
    fn default() -> Self {
        Self { files: BTreeMap::new(), cover: Cover::default() }
    }
}

impl<T> Contents<T> {
    /// Puts a layer below those that are there.
    pub fn below(&mut self, layer: Layer<T>) {
        self.below_where(layer, |_| true);
    }

    /// Puts a layer below those that are there; of its files it keeps only those that `counts` wants.
    pub(crate) fn below_where(&mut self, layer: Layer<T>, counts: impl Fn(&[u8]) -> bool) {
        let mut there = Vec::new();
        for (path, node) in layer.files {
            if self.cover.hides(&path) {
                continue;
            }
            let is_directory = node.is_directory();
            // A directory that a layer above implies has its facts from here.
            let free = match self.cover.there.get(&path) {
                None => true,
                Some(above) => *above && is_directory && !self.files.contains_key(&path),
            };
            if free {
                if counts(&path) {
                    self.files.insert(path.clone(), node);
                }
                there.push((path, is_directory));
            }
        }
        for (path, is_directory) in there {
            for directory in above(&path) {
                self.cover.there.entry(directory.to_vec()).or_insert(true);
            }
            self.cover.there.entry(path).or_insert(is_directory);
        }
        self.cover.deleted.extend(layer.deleted);
        self.cover.opaque.extend(layer.opaque);
    }

    /// Returns what there is, sorted by path.
    pub fn files(&self) -> &BTreeMap<Vec<u8>, Node<T>> {
        &self.files
    }

    /// Returns what there is, sorted by path, to keep.
    pub fn into_files(self) -> BTreeMap<Vec<u8>, Node<T>> {
        self.files
    }

    /// Returns what the layers so far hide of those below.
    pub fn cover(&self) -> &Cover {
        &self.cover
    }
}
