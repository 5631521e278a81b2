//! What of a layer's files matters when the layers below or above become others: read once for each layer, and remembered.

use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::sync::Arc;

use otoshi_oci::contents::{Contents, Data, Layer};
use otoshi_oci::layer::LayerError;
use otoshi_oci::tar::{Entry, Kind, TarError};
use otoshi_oci::{DiffId, Digest, Hasher, ImageLayer, Layout};
use otoshi_store::{Home, Record};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::elf::Elf;

/// The form of remembered facts; another form is another key.
const FORM: &str = "facts 3";
/// The largest ELF file that is read.
const LARGEST_ELF: u64 = 512 << 20;
/// The largest text that is kept.
const LARGEST_TEXT: u64 = 1 << 20;
/// The largest cache of libraries that is read.
const LARGEST_CACHE: u64 = 16 << 20;
const CACHE: &[u8] = b"etc/ld.so.cache";
/// Of a script, how much of the first line counts; the kernel reads no more.
const LINE: usize = 256;

/// Holds what is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The mode.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// What its content is.
    pub content: Content,
}

/// Says what a file's content is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Nothing that matters.
    Other,
    /// A program or library.
    Elf(Arc<Elf>),
    /// A script, by what follows `#!`.
    Script(Arc<str>),
    /// A small text that says how the system is set up.
    Text(Arc<str>),
    /// A file whose change matters, by its digest.
    Sum(Digest),
    /// glibc's list of libraries.
    Cache(Arc<Cache>),
    /// A program or library that cannot be read, and why.
    Unread(Arc<str>),
}

/// Says whether a change of a file below an equal path above would go unseen.
pub(super) fn is_watched(path: &[u8]) -> bool {
    is_sum(path) || [CACHE, b"etc/passwd", b"etc/group"].contains(&path)
}

fn is_sum(path: &[u8]) -> bool {
    const FILES: [&[u8]; 7] = [
        b"var/lib/dpkg/status",
        b"lib/apk/db/installed",
        b"usr/lib/apk/db/installed",
        b"lib/apk/db/installed.adb",
        b"usr/lib/apk/db/installed.adb",
        b"etc/shadow",
        b"etc/gshadow",
    ];
    let rpm = |directory: &[u8]| {
        path.strip_prefix(directory)
            .is_some_and(|name| name == b"rpmdb.sqlite" || name == b"Packages" || name == b"Packages.db")
    };
    FILES.contains(&path) || rpm(b"var/lib/rpm/") || rpm(b"usr/lib/sysimage/rpm/")
}

fn is_text(path: &[u8]) -> bool {
    let text = String::from_utf8_lossy(path);
    let jvm = |text: &str| {
        text.contains("jvm/") || text.contains("java") || text.contains("jdk") || text.contains("jre")
    };
    matches!(path, b"etc/passwd" | b"etc/group" | b"etc/nsswitch.conf" | b"etc/pam.conf")
        || text.starts_with("etc/pam.d/")
        || text.ends_with("R/library/base/DESCRIPTION")
        || text.ends_with("R_ext/GraphicsEngine.h")
        || text.ends_with(".runtimeconfig.json")
        || (text.starts_with("etc/ld-musl-") && text.ends_with(".path"))
        || text.ends_with("include/node/node_version.h")
        || (text.ends_with("/release") && jvm(&text))
}

/// Reads the facts of one entry.
pub(super) fn read(path: &[u8], entry: &Entry, data: &mut Data<'_>) -> Result<Facts, TarError> {
    let content = if entry.kind == Kind::File { content(path, entry, data)? } else { Content::Other };
    Ok(Facts { mode: entry.mode, uid: entry.uid, gid: entry.gid, content })
}

fn content(path: &[u8], entry: &Entry, data: &mut Data<'_>) -> Result<Content, TarError> {
    if is_text(path) {
        let bytes = data.read_at_most(LARGEST_TEXT)?;
        return Ok(
            bytes.map_or(Content::Other, |bytes| Content::Text(String::from_utf8_lossy(&bytes).into()))
        );
    }
    if path == CACHE {
        let bytes = data.read_at_most(LARGEST_CACHE)?;
        return Ok(bytes.map_or(Content::Other, |bytes| Content::Cache(Arc::new(Cache::parse(&bytes)))));
    }
    if is_sum(path) {
        return Ok(Content::Sum(Hasher::sha256().of_rest(data)?));
    }
    if entry.size < 4 {
        return Ok(Content::Other);
    }
    let mut start = [0; LINE];
    let mut length = 0;
    while length < 4 {
        match data.read(&mut start[length..])? {
            0 => break,
            count => length += count,
        }
    }
    if start.starts_with(b"\x7fELF") {
        if data.size() > LARGEST_ELF || data.holes() > 0 && data.size() > LARGEST_TEXT {
            return Ok(Content::Unread(format!("it has {} bytes", data.size()).into()));
        }
        let mut bytes = start[..length].to_vec();
        bytes.reserve(usize::try_from(data.size()).unwrap_or_default().min(8 << 20));
        data.read_to_end(&mut bytes)?;
        return Ok(match Elf::parse(&bytes) {
            Ok(elf) => Content::Elf(Arc::new(elf)),
            Err(error) => Content::Unread(error.to_string().into()),
        });
    }
    if start.starts_with(b"#!") && entry.mode & 0o111 != 0 {
        while length < LINE && !start[..length].contains(&b'\n') {
            match data.read(&mut start[length..])? {
                0 => break,
                count => length += count,
            }
        }
        let line = start[2..length].split(|byte| *byte == b'\n').next().unwrap_or_default();
        return Ok(Content::Script(String::from_utf8_lossy(line).trim().into()));
    }
    Ok(Content::Other)
}

/// The facts of a layer, as they are remembered.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Remembered(Layer<Facts>);

impl Record for Remembered {
    const KIND: otoshi_store::Kind = otoshi_store::Kind::Facts;

    fn encode(&self) -> std::io::Result<Cow<'_, [u8]>> {
        postcard::to_stdvec(self).map(Cow::Owned).map_err(std::io::Error::other)
    }

    fn decode(body: &[u8]) -> Option<Self> {
        postcard::from_bytes(body).ok()
    }
}

/// The key under which the facts of a layer are remembered.
fn key(diff_id: &DiffId) -> String {
    Digest::sha256_of(format!("{FORM} {diff_id}").as_bytes()).hex().to_owned()
}

/// Recalls the facts of a layer.
fn recall(home: &Home, diff_id: &DiffId) -> Option<Layer<Facts>> {
    let key = key(diff_id);
    let Remembered(facts) = home.records().get(&key)?;
    home.records().touch::<Remembered>(&key);
    Some(facts)
}

/// Reads the facts of a layer, and remembers them. The layer must be in the store.
///
/// Fails as [`of_layer`] does; where they cannot be remembered, they are read again next time.
fn learn(home: &Home, layer: &ImageLayer) -> Result<Layer<Facts>, LayerError> {
    let facts = Remembered(of_layer(home.layout(), layer)?);
    // What is not remembered is read again.
    let _ = home.records().put(&key(&layer.diff_id), &facts);
    Ok(facts.0)
}

/// Recalls the facts of layers, and reads those that are not remembered, several at the same time.
///
/// A layer that is not remembered must be in the store.
///
/// Fails as [`of_layer`] does.
pub fn all(home: &Home, layers: &[ImageLayer]) -> Result<Vec<Layer<Facts>>, LayerError> {
    let one = |layer: &ImageLayer| recall(home, &layer.diff_id).map_or_else(|| learn(home, layer), Ok);
    layers.par_iter().map(one).collect()
}

/// Says whether the facts of a layer are remembered.
pub fn is_known(home: &Home, diff_id: &DiffId) -> bool {
    home.records().has::<Remembered>(&key(diff_id))
}

/// Reads the facts of a layer out of a layout.
///
/// Fails as [`Layer::read`] does.
pub fn of_layer(layout: &Layout, layer: &ImageLayer) -> Result<Layer<Facts>, LayerError> {
    Layer::read(layout, layer, |_| true, read)
}

/// Reads the facts of a layer out of an uncompressed tar stream.
///
/// Fails as [`Layer::of_tar`] does.
pub fn of_tar(stream: impl BufRead) -> Result<Layer<Facts>, TarError> {
    Layer::of_tar(stream, |_| true, read)
}

/// Puts layers together, the lowest first.
pub fn together<'a>(layers: impl DoubleEndedIterator<Item = &'a Layer<Facts>>) -> Contents<Facts> {
    let mut contents = Contents::default();
    for layer in layers.rev() {
        contents.below(layer.clone());
    }
    contents
}
