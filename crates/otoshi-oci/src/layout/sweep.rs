//! Removing what nothing needs: temporary files whose writer is gone, manifests that lost their name, unreachable blobs.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::Layout;
use super::documents::MAX_JSON;
use super::entries::name_of;
use super::error::{LayoutError, io_error};
use super::files::INGEST;
use crate::digest::Digest;

/// Says what a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Entries without a name taken out of `index.json`.
    pub untagged: usize,
    /// Blobs removed.
    pub blobs: usize,
    /// Left-over temporary files removed.
    pub temporary: usize,
    /// Bytes freed.
    pub bytes: u64,
}

impl Layout {
    /// Returns the given blobs and everything that they name, directly or not: manifests of indexes, configs, layers.
    ///
    /// Blobs that are not there are named all the same.
    pub fn reachable(&self, roots: impl IntoIterator<Item = Digest>) -> HashSet<Digest> {
        self.reachable_documents(roots, |_, _| {})
    }

    /// The same, and shows the documents among them, each once: manifests, indexes, and whatever else is JSON.
    pub fn reachable_documents(
        &self,
        roots: impl IntoIterator<Item = Digest>,
        mut seen: impl FnMut(&Digest, &Value),
    ) -> HashSet<Digest> {
        follow(self, roots.into_iter().collect(), &mut HashMap::new(), &mut seen)
    }

    /// Removes what neither a named image nor `keep` needs, and returns what that was.
    ///
    /// `keep` holds manifests or blobs; what they name is kept as well. So are manifests whose `subject` is kept, and
    /// everything younger than `grace`, which another process may be about to name.
    ///
    /// Fails where index.json or a manifest that is to be kept cannot be read; nothing is removed then.
    pub fn sweep(&self, keep: &HashSet<Digest>, grace: Duration) -> Result<Swept, LayoutError> {
        let mut swept = Swept::default();
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        let needed = self.names().change_locked(|manifests| {
            let mut roots: Vec<Digest> = keep.iter().cloned().collect();
            // What is attached to a kept manifest stays, and what is attached to that.
            let mut attached: HashMap<Digest, Vec<Digest>> = HashMap::new();
            for entry in manifests.iter() {
                let digest = Digest::of(entry)?;
                if name_of(entry).is_some() || is_young(&self.blob_path(&digest), grace) {
                    roots.push(digest);
                } else if let Some(subject) = document(self, &digest).as_ref().and_then(subject_of) {
                    attached.entry(subject).or_default().push(digest);
                }
            }
            let needed = follow(self, roots, &mut attached, &mut |_, _| {});
            let before = manifests.len();
            manifests.retain(|entry| Digest::of(entry).is_ok_and(|digest| needed.contains(&digest)));
            swept.untagged = before - manifests.len();
            Ok(needed)
        })?;

        let blobs = self.root().join("blobs");
        for directory in entries(&blobs)? {
            let algorithm = directory.file_name();
            for blob in entries(&directory.path())? {
                let name = format!("{}:{}", algorithm.display(), blob.file_name().display());
                // What is no blob is not ours to remove.
                let Ok(digest) = name.parse::<Digest>() else { continue };
                if needed.contains(&digest) || is_young(&blob.path(), grace) {
                    continue;
                }
                let size = blob.metadata().map_or(0, |m| m.len());
                remove(&blob.path())?;
                swept.blobs += 1;
                swept.bytes += size;
            }
        }
        sweep_temporary(self, &mut swept)?;
        Ok(swept)
    }
}

/// What roots name, with what is attached to what is found: `attached` says what is to which digest, and has what was not found afterwards.
fn follow(
    layout: &Layout,
    mut open: Vec<Digest>,
    attached: &mut HashMap<Digest, Vec<Digest>>,
    shown: &mut dyn FnMut(&Digest, &Value),
) -> HashSet<Digest> {
    let mut seen = HashSet::new();
    while let Some(digest) = open.pop() {
        if seen.contains(&digest) {
            continue;
        }
        if let Some(document) = document(layout, &digest) {
            shown(&digest, &document);
            open.extend(named_by(&document));
        }
        open.extend(attached.remove(&digest).into_iter().flatten());
        seen.insert(digest);
    }
    seen
}

/// Removes temporary files whose writer is gone: nobody holds their lock.
fn sweep_temporary(layout: &Layout, swept: &mut Swept) -> Result<(), LayoutError> {
    for entry in entries(&layout.root().join(INGEST))? {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        swept.bytes += file.metadata().map_or(0, |m| m.len());
        swept.temporary += 1;
        remove(&path)?;
    }
    Ok(())
}

/// Reads a blob as JSON if it can be a manifest or an index.
fn document(layout: &Layout, digest: &Digest) -> Option<Value> {
    use std::io::Read;
    let mut file = layout.open_blob(digest).ok()?;
    if file.metadata().ok()?.len() > MAX_JSON {
        return None;
    }
    let mut first = [0];
    file.read_exact(&mut first).ok()?;
    if first[0] != b'{' && !first[0].is_ascii_whitespace() {
        return None;
    }
    serde_json::from_slice(&layout.read(digest).ok()?).ok()
}

/// Says whether a file was written within the grace period, or in the future as a wrong clock sees it.
fn is_young(path: &Path, grace: Duration) -> bool {
    let Ok(modified) = fs::symlink_metadata(path).and_then(|m| m.modified()) else { return false };
    match SystemTime::now().duration_since(modified) {
        Ok(age) => age < grace,
        Err(_) => !grace.is_zero(),
    }
}

fn named_by(document: &Value) -> Vec<Digest> {
    let mut found = Vec::new();
    let mut add = |value: &Value| {
        if let Some(digest) = value.get("digest").and_then(Value::as_str).and_then(|d| d.parse().ok()) {
            found.push(digest);
        }
    };
    for field in ["manifests", "layers", "blobs"] {
        document.get(field).and_then(Value::as_array).into_iter().flatten().for_each(&mut add);
    }
    document.get("config").into_iter().for_each(&mut add);
    found
}

fn subject_of(document: &Value) -> Option<Digest> {
    document.get("subject")?.get("digest")?.as_str()?.parse().ok()
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, LayoutError> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<io::Result<_>>().map_err(io_error("list", directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(error) => Err(io_error("list", directory)(error)),
    }
}

fn remove(path: &Path) -> Result<(), LayoutError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}
