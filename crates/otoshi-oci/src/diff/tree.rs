//! The files of layers, by path, without their content.
//!
//! Layers come topmost first: what is there already covers what comes after.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::sync::Arc;

use super::dpkg::{Status, is_status};
use crate::digest::{Digest, Hasher};
use crate::image::ImageLayer;
use crate::layer::{LayerError, with_stream};
use crate::layout::Layout;
use crate::tar::{self, Entry, Kind, Reader, Segment, TarError};

/// The most entries of a layer that are compared.
const MOST: usize = 4_000_000;
/// The longest value of an attribute that is shown; of a longer one, the digest.
const VALUE: usize = 128;
/// Holes up to this size are hashed as the zeros they stand for; of larger ones, the place.
const HOLES: u64 = 4 << 30;
/// How many links on the way to an entry are followed.
const LINKS: usize = 40;

/// What is compared of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    link: Vec<u8>,
    size: u64,
    content: Option<Digest>,
    xattrs: BTreeMap<String, String>,
    packages: Option<Arc<BTreeMap<String, String>>>,
}

impl File {
    fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Its facts, by name, for people.
    pub(super) fn facts(&self) -> BTreeMap<String, String> {
        let kind = match self.kind {
            Kind::File | Kind::HardLink => "file".to_owned(),
            Kind::Symlink => "symbolic link".to_owned(),
            Kind::Char { major, minor } => format!("character device {major}:{minor}"),
            Kind::Block { major, minor } => format!("block device {major}:{minor}"),
            Kind::Directory => "directory".to_owned(),
            Kind::Fifo => "named pipe".to_owned(),
        };
        let mut facts = BTreeMap::from([
            ("type".to_owned(), kind),
            ("owner".to_owned(), format!("{}:{}", self.owner.0, self.owner.1)),
        ]);
        // Nothing looks at the mode of a symbolic link.
        if self.kind == Kind::Symlink {
            facts.insert("target".into(), tar::display(&self.link));
        } else {
            facts.insert("mode".into(), format!("{:04o}", self.mode));
        }
        if let Some(content) = &self.content {
            facts.insert("size".into(), self.size.to_string());
            facts.insert("content".into(), content.to_string());
        }
        let xattrs = self.xattrs.iter().map(|(name, value)| (format!("xattr {name}"), value.clone()));
        facts.extend(xattrs);
        facts
    }
}

/// The entries of one layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    files: BTreeMap<Vec<u8>, File>,
    deleted: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
}

impl Layer {
    /// Reads a layer, and checks that it is the one that the config names.
    pub(super) fn read(layout: &Layout, layer: &ImageLayer) -> Result<Self, LayerError> {
        let name = format!("layer {}", layer.digest);
        let failed = |source| LayerError::Archive { layer: name.clone(), source };
        let read = |stream: &mut dyn BufRead| {
            let (mut found, mut reader) = (Self::default(), Reader::new(stream));
            while let Some(entry) = reader.next_entry()? {
                found.entry(entry, &mut reader)?;
                if found.files.len() + found.deleted.len() > MOST {
                    let text = format!("it has more than {MOST} entries, which are not compared");
                    return Err(TarError::Io(io::Error::other(text)));
                }
            }
            Ok(found)
        };
        let blob = layout.open_blob(&layer.digest)?;
        let (found, streamed) = with_stream(blob, |stream| read(stream)).map_err(failed)?;
        if streamed.diff_id != layer.diff_id {
            let text = format!("its content is not {}, which the image's config names", layer.diff_id.0);
            return Err(failed(TarError::Io(io::Error::new(io::ErrorKind::InvalidData, text))));
        }
        Ok(found)
    }

    fn entry(&mut self, entry: Entry, reader: &mut Reader<impl BufRead>) -> Result<(), TarError> {
        let invalid =
            |reason: &'static str| TarError::Invalid { place: entry.display_name(), reason: reason.into() };
        let path = self.path(&entry.name).ok_or_else(|| invalid("its name leads out of the root"))?;
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let directory = path[..start.saturating_sub(1)].to_vec();
        let last = &path[start..];
        if path.split(|byte| *byte == b'/').any(|part| part.starts_with(b".wh..wh.")) {
            if last == b".wh..wh..opq" {
                self.opaque.insert(directory);
            }
            return Ok(());
        }
        if let Some(name) = last.strip_prefix(b".wh.") {
            self.deleted.insert([&path[..start], name].concat());
            return Ok(());
        }
        if entry.kind == (Kind::Char { major: 0, minor: 0 }) {
            self.deleted.insert(path);
            return Ok(());
        }
        let file = if entry.kind == Kind::HardLink {
            let target = self.path(&entry.link).and_then(|target| self.files.get(&target));
            target.cloned().ok_or_else(|| invalid("its hard link target is not in this layer"))?
        } else {
            let mut status = is_status(&path).then(Status::default);
            let content = match entry.kind {
                Kind::File => Some(hash(&entry, reader, |bytes| {
                    if let Some(status) = &mut status {
                        status.update(bytes);
                    }
                })?),
                _ => None,
            };
            File {
                kind: entry.kind,
                mode: if entry.kind == Kind::Symlink { 0 } else { entry.mode },
                owner: (entry.uid, entry.gid),
                size: entry.size,
                content,
                xattrs: entry.xattrs.iter().map(|(name, value)| (tar::display(name), shown(value))).collect(),
                packages: status.map(|status| Arc::new(status.finish())),
                link: entry.link,
            }
        };
        self.files.insert(path, file);
        Ok(())
    }

    /// A name without `.`, `..` and superfluous slashes, with links on the way followed; `None` for one that climbs out.
    fn path(&self, name: &[u8]) -> Option<Vec<u8>> {
        let mut left: Vec<Vec<u8>> = name.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
        let mut path: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." if path.is_empty() && links == 0 => return None,
                b".." => {
                    path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let parent = path.len();
            if parent > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&part);
            let more = left.iter().any(|part| !part.is_empty() && part != b".");
            if let Some(file) = self.files.get(&path)
                && file.kind == Kind::Symlink
                && more
            {
                links += 1;
                if links > LINKS {
                    return None;
                }
                path.truncate(if file.link.starts_with(b"/") { 0 } else { parent });
                left.extend(file.link.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            }
        }
        Some(path)
    }
}

/// A value for people, or the digest of a long one.
fn shown(value: &[u8]) -> String {
    if value.len() > VALUE { Digest::sha256_of(value).to_string() } else { tar::display(value) }
}

/// Hashes a file's content, holes as the zeros they stand for.
fn hash(
    entry: &Entry,
    reader: &mut Reader<impl BufRead>,
    mut each: impl FnMut(&[u8]),
) -> Result<Digest, TarError> {
    let mut hasher = Hasher::sha256();
    let whole = [Segment { offset: 0, length: entry.size }];
    let segments = entry.sparse.as_deref().unwrap_or(&whole);
    let stored: u64 = segments.iter().map(|segment| segment.length).sum();
    let fill = entry.size.saturating_sub(stored) <= HOLES;
    let mut at = 0;
    let hole = |hasher: &mut Hasher, from: u64, to: u64| {
        let mut left = to.saturating_sub(from);
        if !fill {
            hasher.update(&from.to_le_bytes());
            hasher.update(&to.to_le_bytes());
            return;
        }
        const ZEROS: [u8; 4096] = [0; 4096];
        while left > 0 {
            let length = left.min(ZEROS.len() as u64) as usize;
            hasher.update(&ZEROS[..length]);
            left -= length as u64;
        }
    };
    for segment in segments {
        hole(&mut hasher, at, segment.offset);
        let mut left = segment.length;
        while left > 0 {
            let data = reader.data()?;
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
            if length == 0 {
                return Err(TarError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            hasher.update(&data[..length]);
            each(&data[..length]);
            reader.consume(length);
            left -= length as u64;
        }
        at = segment.offset.saturating_add(segment.length);
    }
    hole(&mut hasher, at, entry.size);
    Ok(hasher.finish())
}

/// What layers so far cover of those below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cover {
    /// Every path that an entry has or implies, and whether it is a directory.
    there: BTreeMap<Vec<u8>, bool>,
    deleted: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
}

impl Cover {
    /// Says whether something above hides what lies below at a path, its own entry aside.
    fn hides(&self, path: &[u8]) -> bool {
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
    pub(super) fn touches(&self, path: &[u8]) -> bool {
        self.there.contains_key(path) || self.hides(path)
    }
}

/// The directories above a path, without the root.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(slash, _)| &path[..slash])
}

/// An image's files, as far as its layers were read.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) files: BTreeMap<Vec<u8>, File>,
    cover: Cover,
}

impl Side {
    /// Puts a layer below those that are there; of its files only those that `counts` wants.
    pub(super) fn below(&mut self, layer: Layer, counts: impl Fn(&[u8]) -> bool) {
        let mut there = Vec::new();
        for (path, file) in layer.files {
            if self.cover.hides(&path) {
                continue;
            }
            let is_directory = file.is_directory();
            // A directory that a layer above implies has its facts from here.
            let free = match self.cover.there.get(&path) {
                None => true,
                Some(above) => *above && is_directory && !self.files.contains_key(&path),
            };
            if free {
                if counts(&path) {
                    self.files.insert(path.clone(), file);
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

    /// Says whether what lies below counts for neither image or in the same way for both.
    pub(super) fn covers_the_same(&self, other: &Self) -> bool {
        self.cover == other.cover && self.files.keys().eq(other.files.keys())
    }

    /// The packages of all status files.
    pub(super) fn packages(&self) -> BTreeMap<String, String> {
        let found = self.files.values().filter_map(|file| file.packages.as_deref());
        found.flatten().map(|(name, version)| (name.clone(), version.clone())).collect()
    }

    /// What the layers so far cover.
    pub(super) fn cover(&self) -> Cover {
        self.cover.clone()
    }
}
