//! Images as `docker save` writes them: the config, and the layers laid over one another.
//!
//! This reads archives and applies layers by code of its own, so that a mistake in Otoshi's is seen here.
//! Spec: <https://github.com/opencontainers/image-spec/blob/main/layer.md>

use std::{
    collections::BTreeMap,
    fmt,
    io::Read,
    path::{Component, Path},
};

use serde_json::Value;
use tar::{Archive, Entry, EntryType};

use crate::failure::{Failure, Result};

/// An image, as far as it is compared.
#[derive(Debug)]
pub(super) struct Image {
    /// The whole config document.
    pub(super) config: Value,
    /// Every path of the flattened root file system; the root is `/`.
    pub(super) tree: BTreeMap<String, Node>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
}

/// The type of an object, and what only that type has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(String),
    Fifo,
    Device { block: bool, major: u32, minor: u32 },
}

impl Kind {
    /// Whether this is a directory or a file without content; what is in a directory is not looked at.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Directory => true,
            Self::File(bytes) => bytes.is_empty(),
            _ => false,
        }
    }
}

impl Node {
    fn directory() -> Self {
        Self { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = format!("{}:{}", self.uid, self.gid);
        let mode = self.mode;
        match &self.kind {
            Kind::Directory => write!(f, "dir {mode:04o} {owner}")?,
            Kind::File(bytes) if bytes.len() > 4096 => {
                write!(f, "file {mode:04o} {owner} ({} bytes)", bytes.len())?;
            }
            Kind::File(bytes) => {
                write!(f, "file {mode:04o} {owner} {}", Value::from(String::from_utf8_lossy(bytes)))?;
            }
            // A link's own mode means nothing.
            Kind::Symlink(target) => write!(f, "link {owner} -> {target}")?,
            Kind::Fifo => write!(f, "fifo {mode:04o} {owner}")?,
            Kind::Device { block, major, minor } => {
                let kind = if *block { "block" } else { "char" };
                write!(f, "{kind} {mode:04o} {owner} {major},{minor}")?;
            }
        }
        for (name, value) in &self.xattrs {
            write!(f, " {name}={value:02x?}")?;
        }
        Ok(())
    }
}

impl Image {
    /// Reads an archive that holds one image.
    pub(super) fn read(archive: &Path) -> Result<Self> {
        let wrong = |what: String| Failure::Wrong(format!("reading {}: {what}", archive.display()));
        let files = members(archive)?;
        let json = |name: &str| -> Result<Value> {
            let bytes = files.get(name).ok_or_else(|| wrong(format!("there is no {name}")))?;
            serde_json::from_slice(bytes).map_err(|error| wrong(format!("{name}: {error}")))
        };
        let manifest = json("manifest.json")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let config = json(&text(&manifest[0]["Config"]))?;
        let mut tree = BTreeMap::from([("/".to_owned(), Node::directory())]);
        for layer in manifest[0]["Layers"].as_array().into_iter().flatten() {
            let name = text(layer);
            let bytes = files.get(&name).ok_or_else(|| wrong(format!("there is no {name}")))?;
            apply(&mut tree, bytes).map_err(|error| wrong(format!("{name}: {error}")))?;
        }
        Ok(Self { config, tree })
    }
}

/// The files of an archive by name; a link has the content of what it leads to.
fn members(archive: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let reading = || Failure::file("reading", archive);
    let file = std::fs::File::open(archive).map_err(reading())?;
    let mut files = BTreeMap::new();
    let mut links = Vec::new();
    for entry in Archive::new(file).entries().map_err(reading())? {
        let mut entry = entry.map_err(reading())?;
        let name = entry.path().map_err(reading())?.to_string_lossy().into_owned();
        if let Some(target) = entry.link_name().map_err(reading())? {
            let from = if entry.header().entry_type() == EntryType::Symlink {
                Path::new(&name).parent().unwrap_or(Path::new("")).join(target)
            } else {
                target.into_owned()
            };
            links.push((name, absolute(&from)[1..].to_owned()));
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(reading())?;
        files.insert(name, bytes);
    }
    for (name, target) in links {
        if let Some(bytes) = files.get(&target).cloned() {
            files.insert(name, bytes);
        }
    }
    Ok(files)
}

/// Lays a layer over a tree: first what it removes, then what it has.
fn apply(tree: &mut BTreeMap<String, Node>, layer: &[u8]) -> std::io::Result<()> {
    let mut added = Vec::new();
    for entry in Archive::new(layer).entries()? {
        let mut entry = entry?;
        let path = absolute(&entry.path()?);
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == ".wh..wh..opq" {
            remove_below(tree, if parent.is_empty() { "/" } else { parent });
        } else if let Some(gone) = name.strip_prefix(".wh.") {
            let gone = format!("{parent}/{gone}");
            remove_below(tree, &gone);
            tree.remove(&gone);
        } else if !matches!(entry.header().entry_type(), EntryType::XGlobalHeader) {
            let node = node(&mut entry)?;
            added.push((path, node));
        }
    }
    for (path, node) in added {
        let node = match node {
            Ok(node) => node,
            Err(target) => tree.get(&target).cloned().ok_or_else(|| {
                std::io::Error::other(format!("{path} is a link to {target}, which is not there"))
            })?,
        };
        if node.kind != Kind::Directory {
            remove_below(tree, &path);
        }
        for (end, _) in path.match_indices('/').skip(1) {
            tree.entry(path[..end].to_owned()).or_insert_with(Node::directory);
        }
        tree.insert(path, node);
    }
    Ok(())
}

/// What an entry puts at its path, or the path that it is a hard link to.
fn node(entry: &mut Entry<'_, &[u8]>) -> std::io::Result<std::result::Result<Node, String>> {
    let mut xattrs = BTreeMap::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(name) = extension.key().unwrap_or_default().strip_prefix("SCHILY.xattr.") {
            xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
        }
    }
    let header = entry.header().clone();
    let device = |block| {
        let number = |found: std::io::Result<Option<u32>>| found.map(Option::unwrap_or_default);
        Ok::<_, std::io::Error>(Kind::Device {
            block,
            major: number(header.device_major())?,
            minor: number(header.device_minor())?,
        })
    };
    let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
    let kind = match header.entry_type() {
        EntryType::Link => return Ok(Err(absolute(Path::new(&target)))),
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => device(false)?,
        EntryType::Block => device(true)?,
        _ => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            Kind::File(bytes)
        }
    };
    Ok(Ok(Node { kind, mode: header.mode()? & 0o7777, uid: header.uid()?, gid: header.gid()?, xattrs }))
}

fn remove_below(tree: &mut BTreeMap<String, Node>, path: &str) {
    let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
    tree.retain(|other, _| other == "/" || !other.starts_with(&prefix));
}

/// A path as `/a/b`, whatever dots and slashes it was written with.
fn absolute(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Kind, Node, apply};

    fn layer(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            if *kind == tar::EntryType::Link {
                builder.append_link(&mut header, path, text).unwrap();
            } else {
                header.set_size(text.len() as u64);
                builder.append_data(&mut header, path, text.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_layer_takes_away_from_those_below_and_not_from_itself() {
        use tar::EntryType::{Directory, Link, Regular};
        let mut tree = BTreeMap::from([("/".to_owned(), Node::directory())]);
        let below = [("d/old", Regular, "old"), ("e/f", Regular, "f"), ("g", Regular, "g")];
        apply(&mut tree, &layer(&below)).unwrap();
        let above = [
            ("d/new", Regular, "new"),
            ("d/.wh..wh..opq", Regular, ""),
            (".wh.e", Regular, ""),
            ("g", Directory, ""),
            ("h", Link, "d/new"),
        ];
        apply(&mut tree, &layer(&above)).unwrap();
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["/", "/d", "/d/new", "/g", "/h"]);
        assert_eq!(tree["/h"].kind, Kind::File(b"new".to_vec()));
    }
}
