//! Snapshots: directories in overlayfs form, one per unpacked layer or step result.
//!
//! A snapshot is made as a [`Draft`] in `work/` and renamed into `snapshots/` when it is complete; from then on it is
//! never changed, so it can be the lower directory of any number of overlay mounts.

use std::{
    collections::HashSet,
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use otoshi_oci::{DiffId, Digest};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    StoreError,
    seal::{self, Depth},
};

/// A snapshot's name: `layer-<hex>` for an unpacked layer, `step-<hex>` for what a step made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// The snapshot into which the layer with this diff id is unpacked.
    pub fn of_layer(diff_id: &DiffId) -> Self {
        // Those of before said nothing about what a layer implies.
        Self(format!("layer-2-{}", diff_id.0.hex()))
    }

    /// The snapshot of whatever this key stands for.
    pub fn of_key(key: &Digest) -> Self {
        Self(format!("step-{}", key.hex()))
    }

    /// The snapshot with this name; `None` where none can have it.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Some(Self(name.to_owned())).filter(Self::is_plain)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_plain(&self) -> bool {
        self.0.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !self.0.is_empty()
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a snapshot's tree leaves to the trees below it: directories that had to be made, and that nobody said how they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Implied {
    /// The root directory.
    pub root: bool,
    /// Others, that lead to what the tree has.
    pub parents: bool,
}

impl Implied {
    const FILE: &'static str = "implied";

    /// What the snapshot with this tree left to others.
    pub fn of(tree: &Path) -> Self {
        let text = tree.parent().and_then(|snapshot| fs::read_to_string(snapshot.join(Self::FILE)).ok());
        let text = text.unwrap_or_default();
        let says = |word: &str| text.lines().any(|line| line == word);
        Self { root: says("root"), parents: says("parents") }
    }
}

/// The snapshots of one store.
#[derive(Debug, Clone)]
pub struct Snapshots {
    root: PathBuf,
    work: PathBuf,
    /// Those that this process compared with their seals, or made.
    sound: Arc<Mutex<HashSet<SnapshotId>>>,
}

impl Snapshots {
    pub(crate) fn new(root: PathBuf, work: PathBuf) -> Self {
        Self { root, work, sound: Arc::default() }
    }

    /// The directory that holds the snapshot's tree, or `None` when there is no such snapshot.
    pub fn get(&self, id: &SnapshotId) -> Option<PathBuf> {
        let path = self.path(id);
        path.exists().then_some(path)
    }

    /// The directory of a snapshot's tree that is about to be used: compared with its seal, the first time in this process.
    ///
    /// A damaged one is removed, so that what it held is made or fetched again, and is `None` like one that is not there.
    /// The seal has names, modes, sizes and times: a tree of 10,000 files takes some 10 ms. Contents are read once, after the machine was
    /// started anew.
    pub fn sound(&self, id: &SnapshotId) -> Option<PathBuf> {
        let path = self.get(id)?;
        let is_known = |sound: &Mutex<HashSet<SnapshotId>>| {
            sound.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
        };
        if is_known(&self.sound) {
            return Some(path);
        }
        if let Err(damage) = self.check(id, Depth::Use) {
            tracing::warn!(snapshot = %id, %damage, "a damaged snapshot is removed, to be made again");
            if let Err(error) = self.remove(id) {
                tracing::warn!(%error, "it cannot be removed");
            }
            return None;
        }
        self.note_sound(id);
        Some(path)
    }

    fn note_sound(&self, id: &SnapshotId) {
        self.sound.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
    }

    /// The directory in which the snapshot's tree is, or would be.
    pub fn path(&self, id: &SnapshotId) -> PathBuf {
        let name = if id.is_plain() { id.0.as_str() } else { "invalid" };
        self.root.join(name).join("fs")
    }

    /// Starts a new snapshot.
    ///
    /// Fails where its directories cannot be made or locked.
    pub fn draft(&self) -> Result<Draft, StoreError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let mut dir = self.work.join(&name);
        let mut attempt = 0;
        // A process id can have been used before: what that process left behind is not ours to reuse.
        while let Err(error) = fs::create_dir(&dir) {
            attempt += 1;
            if error.kind() != std::io::ErrorKind::AlreadyExists || attempt > 10_000 {
                return Err(StoreError::io("creating", &dir)(error));
            }
            dir = self.work.join(format!("{name}-{attempt}"));
        }
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(StoreError::io("creating", &lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(StoreError::io("locking", &lock_path))?;
        let draft = Draft { snapshots: self.clone(), dir, _lock: lock, keep: false };
        for path in [draft.tree(), draft.work()] {
            fs::create_dir(&path).map_err(StoreError::io("creating", &path))?;
        }
        // The root directory of an image that does not say how its own is.
        crate::owned::open_to_all(&draft.tree())?;
        Ok(draft)
    }

    pub(crate) fn list(&self) -> Vec<SnapshotId> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).map(SnapshotId).collect()
    }

    /// The directory of a snapshot: its tree and its seal.
    pub(crate) fn directory(&self, id: &SnapshotId) -> PathBuf {
        self.root.join(&id.0)
    }

    /// Compares a snapshot with its seal; says what is wrong.
    pub(crate) fn check(&self, id: &SnapshotId, depth: Depth) -> Result<(), String> {
        let directory = self.directory(id);
        let tree = directory.join("fs");
        if !tree.is_dir() {
            return Err("its tree is gone".to_owned());
        }
        seal::check(&directory, &tree, depth)
    }

    pub(crate) fn remove(&self, id: &SnapshotId) -> Result<u64, StoreError> {
        // Renamed first, so that a half-removed snapshot is never taken for a whole one.
        let path = self.root.join(&id.0);
        let doomed = self.work.join(format!("removing-{}", id.0));
        fs::rename(&path, &doomed).map_err(StoreError::io("removing", &path))?;
        remove_tree(&doomed)
    }

    /// Removes what processes that are gone left in `work/`; returns bytes freed, and what could not be removed.
    pub(crate) fn sweep_work(&self) -> Result<(u64, Vec<StoreError>), StoreError> {
        let (mut freed, mut failed) = (0, Vec::new());
        for entry in fs::read_dir(&self.work).map_err(StoreError::io("reading", &self.work))?.flatten() {
            let lock = File::open(entry.path().join("lock"));
            let in_use =
                lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err());
            if !in_use {
                let removed = otoshi_tree::remove(&entry.path());
                freed += removed.bytes;
                failed.extend(removed.error.map(StoreError::io("removing", &entry.path())));
            }
        }
        Ok((freed, failed))
    }
}

/// A snapshot in the making; what it holds is thrown away unless it is committed.
#[derive(Debug)]
pub struct Draft {
    snapshots: Snapshots,
    dir: PathBuf,
    _lock: File,
    keep: bool,
}

impl Draft {
    /// The directory to fill: overlayfs upper directory, or a plain tree.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// A directory on the same file system: overlayfs work directory, temporary files.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Notes what the tree leaves to those below; [`Implied::of`] says it of the snapshot.
    ///
    /// Fails where that cannot be written.
    pub fn implies(&self, implied: Implied) -> Result<(), StoreError> {
        let path = self.dir.join(Implied::FILE);
        let words = [(implied.root, "root\n"), (implied.parents, "parents\n")];
        let text: String = words.iter().filter(|(says, _)| *says).map(|(_, word)| *word).collect();
        if text.is_empty() {
            return Ok(());
        }
        fs::write(&path, text).map_err(StoreError::io("writing", &path))
    }

    /// Makes the draft the snapshot `id`.
    ///
    /// When that snapshot is there already (another process was quicker), that one stays and the draft is dropped.
    ///
    /// Fails where the draft cannot be renamed, or something damaged that has its name not be removed.
    pub fn commit(mut self, id: &SnapshotId) -> Result<PathBuf, StoreError> {
        let target = self.snapshots.root.join(id.as_str());
        remove_tree(&self.work())?;
        let lock = self.dir.join("lock");
        fs::remove_file(&lock).map_err(StoreError::io("removing", &lock))?;
        // The seal finds damage later; a snapshot that cannot be sealed is as good.
        if let Ok(seal) = seal::of(&self.tree()) {
            let path = self.dir.join(seal::FILE);
            fs::write(&path, seal).map_err(StoreError::io("writing", &path))?;
        }
        // A directory: what a power cut leaves of it, the seal tells.
        match fs::rename(&self.dir, &target) {
            Ok(()) => {
                self.keep = true;
                self.snapshots.note_sound(id);
            }
            Err(_) if target.join("fs").exists() => {}
            // What somebody else removed in part is no snapshot, and must not be in the way of one.
            Err(_) if target.exists() => {
                tracing::warn!(path = %target.display(), "making a damaged snapshot again");
                self.snapshots.remove(id)?;
                fs::rename(&self.dir, &target).map_err(StoreError::io("renaming a snapshot to", &target))?;
                self.keep = true;
            }
            Err(error) => return Err(StoreError::io("renaming a snapshot to", &target)(error)),
        }
        Ok(target.join("fs"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = remove_tree(&self.dir)
        {
            tracing::warn!(%error, "leaving a working directory for the garbage collector");
        }
    }
}

/// Removes a directory tree, also one with directories that nobody may enter; returns about how many bytes it held.
fn remove_tree(path: &Path) -> Result<u64, StoreError> {
    otoshi_tree::remove(path).whole().map_err(StoreError::io("removing", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Home;

    #[test]
    fn a_draft_is_nothing_until_it_is_committed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let id = SnapshotId::of_key(&Digest::sha256_of(b"x"));
        let draft = home.snapshots().draft().unwrap();
        fs::write(draft.tree().join("file"), "content").unwrap();
        let abandoned = home.snapshots().draft().unwrap();
        let abandoned_dir = abandoned.dir.clone();
        drop(abandoned);
        assert!(!abandoned_dir.exists());
        assert_eq!(home.snapshots().get(&id), None);
        draft.commit(&id).unwrap();
        let path = home.snapshots().get(&id).unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "content");
        assert_eq!(fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
    }

    #[test]
    fn the_first_of_two_equal_snapshots_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let id = SnapshotId::of_key(&Digest::sha256_of(b"x"));
        for content in ["first", "second"] {
            let draft = home.snapshots().draft().unwrap();
            fs::write(draft.tree().join("file"), content).unwrap();
            draft.commit(&id).unwrap();
        }
        let path = home.snapshots().get(&id).unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "first");
    }

    #[test]
    fn a_living_process_keeps_its_drafts() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let draft = home.snapshots().draft().unwrap();
        fs::create_dir(dir.path().join("work/left-behind")).unwrap();
        home.snapshots().sweep_work().unwrap();
        assert!(draft.tree().exists());
        assert!(!dir.path().join("work/left-behind").exists());
    }

    #[test]
    fn zeros_of_the_right_size_and_time_are_noticed_after_a_boot_and_by_who_looks_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let snapshots = home.snapshots();
        let [whole, damaged] = [b"whole", b"zeros"].map(|key| SnapshotId::of_key(&Digest::sha256_of(key)));
        for id in [&whole, &damaged] {
            let draft = snapshots.draft().unwrap();
            fs::write(draft.tree().join("file"), "content").unwrap();
            draft.commit(id).unwrap();
        }
        let path = snapshots.path(&damaged).join("file");
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, [0; 7]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(snapshots.check(&damaged, Depth::Use), Ok(()), "the machine was not started anew");
        assert!(snapshots.check(&damaged, Depth::All).unwrap_err().contains("hold something other"));
        assert_eq!(snapshots.check(&whole, Depth::All), Ok(()));

        let seal = |id: &SnapshotId| snapshots.directory(id).join(seal::FILE);
        for id in [&whole, &damaged] {
            let lines = fs::read_to_string(seal(id)).unwrap();
            let lines =
                lines.lines().map(|line| if line.starts_with("boot ") { "boot another" } else { line });
            fs::write(seal(id), lines.collect::<Vec<_>>().join("\n")).unwrap();
        }
        let home = Home::open(dir.path()).unwrap();
        assert!(home.snapshots().sound(&damaged).is_none() && home.snapshots().get(&damaged).is_none());
        assert!(home.snapshots().sound(&whole).is_some());
        assert!(
            !fs::read_to_string(seal(&whole)).unwrap().contains("boot"),
            "it need not be looked at again"
        );
    }
}
