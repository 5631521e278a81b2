//! What is compared of the files of layers: not their content, but its digest.

use std::collections::BTreeMap;
use std::io;

use crate::contents::{Data, Layer, Node, Piece};
use crate::digest::{Digest, Hasher};
use crate::image::ImageLayer;
use crate::layer::LayerError;
use crate::layout::Layout;
use crate::tar::{self, Entry, Kind, TarError};

/// The longest value of an attribute that is shown; of a longer one, the digest.
const VALUE: usize = 128;
/// Holes up to this size are hashed as the zeros they stand for; of larger ones, the place.
const HOLES: u64 = 4 << 30;

/// What is compared of a file besides its kind and the target of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    content: Option<Digest>,
    xattrs: BTreeMap<String, String>,
}

/// Its facts, by name, for people.
pub(super) fn facts(node: &Node<File>) -> BTreeMap<String, String> {
    let kind = match node.kind {
        Kind::File | Kind::HardLink => "file".to_owned(),
        Kind::Symlink => "symbolic link".to_owned(),
        Kind::Char { major, minor } => format!("character device {major}:{minor}"),
        Kind::Block { major, minor } => format!("block device {major}:{minor}"),
        Kind::Directory => "directory".to_owned(),
        Kind::Fifo => "named pipe".to_owned(),
    };
    let file = &node.facts;
    let mut facts = BTreeMap::from([
        ("type".to_owned(), kind),
        ("owner".to_owned(), format!("{}:{}", file.owner.0, file.owner.1)),
    ]);
    // Nothing looks at the mode of a symbolic link.
    if node.kind == Kind::Symlink {
        facts.insert("target".into(), tar::display(&node.link));
    } else {
        facts.insert("mode".into(), format!("{:04o}", file.mode));
    }
    if let Some(content) = &file.content {
        facts.insert("size".into(), file.size.to_string());
        facts.insert("content".into(), content.to_string());
    }
    let xattrs = file.xattrs.iter().map(|(name, value)| (format!("xattr {name}"), value.clone()));
    facts.extend(xattrs);
    facts
}

/// Reads a layer, and checks that it is the one that the config names.
pub(super) fn read(layout: &Layout, layer: &ImageLayer) -> Result<Layer<File>, LayerError> {
    let found = Layer::read(layout, layer, |_| true, file)?;
    if let Some((path, _)) = found.unresolved().first() {
        let reason = "its hard link target is not in this layer".into();
        let source = TarError::Invalid { place: tar::display(path), reason };
        return Err(LayerError::Archive { layer: format!("layer {}", layer.digest), source });
    }
    Ok(found)
}

fn file(_: &[u8], entry: &Entry, data: &mut Data<'_>) -> Result<File, TarError> {
    let content = if entry.kind == Kind::File { Some(hash(data)?) } else { None };
    Ok(File {
        mode: if entry.kind == Kind::Symlink { 0 } else { entry.mode },
        owner: (entry.uid, entry.gid),
        size: entry.size,
        content,
        xattrs: entry.xattrs.iter().map(|(name, value)| (tar::display(name), shown(value))).collect(),
    })
}

/// A value for people, or the digest of a long one.
fn shown(value: &[u8]) -> String {
    if value.len() > VALUE { Digest::sha256_of(value).to_string() } else { tar::display(value) }
}

/// Hashes a file's content, holes as the zeros they stand for.
fn hash(data: &mut Data<'_>) -> io::Result<Digest> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let fill = data.holes() <= HOLES;
    let mut hasher = Hasher::sha256();
    data.pieces(|piece| match piece {
        Piece::Bytes(bytes) => hasher.update(bytes),
        Piece::Hole { from, to } if fill => {
            let mut left = to - from;
            while left > 0 {
                let length = left.min(ZEROS.len() as u64) as usize;
                hasher.update(&ZEROS[..length]);
                left -= length as u64;
            }
        }
        Piece::Hole { from, to } => {
            hasher.update(&from.to_le_bytes());
            hasher.update(&to.to_le_bytes());
        }
    })?;
    Ok(hasher.finish())
}
