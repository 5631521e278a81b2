//! An image's layers, the topmost first, to the few files that matter.
//!
//! Of each layer those files are kept as a record of the store, under the layer's diff id: a small layer of its own, whiteouts
//! included, compressed. So a layer is read once for all images that have it. A layer that is unpacked in the store is looked
//! into there, which takes a few system calls; only otherwise is its blob read through.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

use otoshi_oci::contents::{Contents, Layer, Node};
use otoshi_oci::tar::{END, Entry, Kind, TarError, write_header, write_padding};
use otoshi_oci::{Digest, Image, ImageLayer};
use otoshi_store::{Home, Record};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::InstalledError;
use super::room::{MOST, Room, TOTAL};
use super::rpm;
use super::tree;
use super::unread::{is_mark, is_there, stored_above};
use super::wanted::{Want, Wanted};
use crate::files::Files;

/// The form of the records; another one makes them anew.
const FORM: &str = "2";
/// How often links and settings may lead to files that were not read.
const ROUNDS: usize = 4;
/// A layer's files; directories, links and others have no content.
type Kept = Layer<Option<Arc<[u8]>>>;

/// A layer's files as they are remembered: a compressed layer.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered(Vec<u8>);

impl Record for Remembered {
    const KIND: otoshi_store::Kind = otoshi_store::Kind::Installed;

    fn encode(&self) -> std::io::Result<Cow<'_, [u8]>> {
        Ok(Cow::Borrowed(&self.0))
    }

    fn decode(body: &[u8]) -> Option<Self> {
        Some(Self(body.to_vec()))
    }
}

/// Brings a layer's blob into the store's layout, where it is not yet.
pub type Fetch<'a> = dyn Fn(&ImageLayer) -> Result<(), Box<dyn Error + Send + Sync>> + Sync + 'a;

/// Reads the files of an image that say what is installed and where more comes from.
pub(super) fn files(home: &Home, image: &Image, fetch: &Fetch<'_>) -> Result<Files, InstalledError> {
    let mut wanted = Wanted::standard();
    if let Some(path) = image.config.config.env_var("PATH") {
        wanted.add_prefixes(path);
    }
    for _ in 0..ROUNDS {
        let key = key(&wanted);
        let layers: Vec<_> =
            image.layers().par_iter().rev().map(|layer| kept(home, layer, &wanted, &key, fetch)).collect();
        let mut contents = Contents::default();
        for layer in layers {
            contents.below(layer?);
        }
        let files = put_together(contents.into_files());
        if !wanted.extend_from(&files) {
            return Ok(files);
        }
    }
    Err(InstalledError::Links)
}

/// A name for what is wanted, and for the form in which it is kept.
fn key(wanted: &Wanted) -> String {
    let paths = wanted.paths();
    let lines: String =
        paths.iter().map(|(path, whole)| format!("{path}{}\n", if *whole { "/" } else { "" })).collect();
    Digest::sha256_of(format!("{FORM}\n{lines}").as_bytes()).hex()[..16].to_owned()
}

/// The files of one layer: from its record, else from its unpacked tree, else from its blob.
fn kept(
    home: &Home,
    layer: &ImageLayer,
    wanted: &Wanted,
    key: &str,
    fetch: &Fetch<'_>,
) -> Result<Kept, InstalledError> {
    let records = home.records();
    let key = format!("{}-{key}", layer.diff_id.0.hex());
    if let Some(kept) = records.get::<Remembered>(&key).and_then(|remembered| decode(&remembered.0)) {
        records.touch::<Remembered>(&key);
        return Ok(kept);
    }
    let unpacked = home.snapshots_of_layer(&layer.diff_id).find_map(|id| home.snapshots().get(&id));
    // What this user cannot read of an unpacked layer is read from the blob.
    let kept = match unpacked.map(|directory| tree::layer(&directory, wanted)) {
        Some(Ok(kept)) => kept,
        None | Some(Err(_)) => from_blob(home, layer, wanted, fetch)?,
    };
    let kept = reduce(kept);
    // Without the record the next run takes longer.
    if let Some(bytes) = encode(&kept, wanted)
        && let Err(error) = records.put(&key, &Remembered(bytes))
    {
        tracing::debug!(%error, "what is installed in a layer was not remembered");
    }
    Ok(kept)
}

fn from_blob(
    home: &Home,
    layer: &ImageLayer,
    wanted: &Wanted,
    fetch: &Fetch<'_>,
) -> Result<Kept, InstalledError> {
    let layout = home.layout();
    if !layout.has(&layer.digest) {
        fetch(layer).map_err(|source| InstalledError::Fetch { layer: layer.digest.clone(), source })?;
    }
    let read = |wanted: &Wanted| {
        let mut room = Room::default();
        let implied = RefCell::new(BTreeSet::new());
        let mut kept: Kept = Layer::read(
            layout,
            layer,
            |path| {
                if let Some(package) = stored_above(path).filter(|_| implied.borrow().len() <= MOST) {
                    implied.borrow_mut().insert(package.to_vec());
                }
                wanted.wants(path).is_some()
            },
            |path, entry, data| {
                let invalid = |reason| TarError::Invalid { place: entry.display_name(), reason };
                let is_content = entry.kind == Kind::File && wanted.wants(path) == Some(Want::Content);
                let is_mark = is_content && is_mark(path);
                let size = if is_content && !is_mark { data.size() } else { 0 };
                room.take(path, size).map_err(|reason| invalid(reason.into()))?;
                if is_mark {
                    return Ok(Some(Arc::default()));
                }
                Ok(if is_content { data.read_at_most(size)?.map(Into::into) } else { None })
            },
        )?;
        for package in implied.into_inner() {
            if wanted.wants(&package).is_some() && !kept.files().contains_key(&package) {
                kept.insert(package, Node { kind: Kind::Directory, link: Vec::new(), facts: None });
            }
        }
        // Hard links have the content of their files, which was counted once.
        let sizes = kept.files().values().filter_map(|node| Some(node.facts.as_deref()?.len() as u64));
        let too_much = sizes.sum::<u64>() > TOTAL || kept.files().len() + kept.unresolved().len() > MOST;
        if too_much { Err(InstalledError::TooMuch { layer: layer.digest.clone() }) } else { Ok(kept) }
    };
    let kept = read(wanted)?;
    if kept.unresolved().is_empty() {
        return Ok(kept);
    }
    // Hard links to files that nobody asked for: now somebody does.
    let mut more = wanted.clone();
    for (_, target) in kept.unresolved() {
        more.add(&String::from_utf8_lossy(target), false);
    }
    read(&more)
}

/// Puts the list of its packages in the place of every database of rpm.
fn reduce(kept: Kept) -> Kept {
    let mut reduced = BTreeMap::new();
    for (path, node) in kept.files() {
        if let Some(content) = &node.facts
            && let Ok(path) = std::str::from_utf8(path)
            && rpm::is_database(path)
        {
            let journal = format!("{path}-wal").into_bytes();
            let beside = kept.files().get(&journal).and_then(|node| node.facts.as_deref());
            reduced.insert(path.as_bytes().to_vec(), rpm::reduce(path, content, beside));
            reduced.insert(journal, Vec::new());
        }
    }
    kept.map(|path, content| content.map(|content| reduced.remove(path).map_or(content, Into::into)))
}

/// Writes a layer with those whiteouts that matter.
fn encode(kept: &Kept, wanted: &Wanted) -> Option<Vec<u8>> {
    let mut tar = Vec::new();
    let mut put = |name: Vec<u8>, kind, link: &[u8], content: &[u8]| {
        let mut entry = Entry::new(name, kind, 0o644);
        entry.link = link.to_vec();
        entry.size = content.len() as u64;
        write_header(&mut tar, &entry);
        tar.extend_from_slice(content);
        write_padding(&mut tar, entry.size);
    };
    let matters = |path: &&Vec<u8>| path.is_empty() || wanted.wants(path).is_some();
    for path in kept.deleted().iter().filter(matters) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        put([&path[..path.len() - name.len()], b".wh.", name].concat(), Kind::File, &[], &[]);
    }
    for path in kept.opaque().iter().filter(matters) {
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        put([path, slash, b".wh..wh..opq"].concat(), Kind::File, &[], &[]);
    }
    for (path, node) in kept.files() {
        let content = node.facts.as_deref().unwrap_or_default();
        put(path.clone(), node.kind, &node.link, content);
    }
    tar.extend_from_slice(&END);
    zstd::bulk::compress(&tar, 1).ok()
}

fn decode(bytes: &[u8]) -> Option<Kept> {
    let tar = zstd::stream::decode_all(bytes).ok()?;
    Layer::of_tar(
        &tar[..],
        |_| true,
        |_, entry, data| {
            let content = if entry.kind == Kind::File { data.read_at_most(TOTAL)? } else { None };
            Ok(content.map(Into::into))
        },
    )
    .ok()
}

fn put_together(nodes: BTreeMap<Vec<u8>, Node<Option<Arc<[u8]>>>>) -> Files {
    let mut files = Files::new();
    for (path, node) in nodes {
        let Ok(path) = std::str::from_utf8(&path) else { continue };
        match (node.kind, node.facts) {
            // That it is there is all that is asked of it, be it a directory, a file or a link.
            _ if is_there(path.as_bytes()) => files.insert(path, Vec::new()),
            (Kind::File, Some(content)) => files.insert(path, content),
            (Kind::Symlink, _) => {
                if let Ok(target) = std::str::from_utf8(&node.link) {
                    files.insert_link(path, target);
                }
            }
            _ => {}
        }
    }
    files
}

/// Reads the same files out of an unpacked root.
pub(super) fn files_of_root(root: &std::path::Path) -> Result<Files, InstalledError> {
    let mut wanted = Wanted::standard();
    for _ in 0..ROUNDS {
        let mut contents = Contents::default();
        let read = tree::layer(root, &wanted);
        contents
            .below(reduce(read.map_err(|source| InstalledError::Root { path: root.to_owned(), source })?));
        let files = put_together(contents.into_files());
        if !wanted.extend_from(&files) {
            return Ok(files);
        }
    }
    Err(InstalledError::Links)
}
