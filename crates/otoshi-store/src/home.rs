//! Finding, opening and locking the home directory.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use otoshi_oci::{Digest, layout::Layout};
use rustix::{
    fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with},
    io::Errno,
};

use crate::{Draft, Records, Snapshots, StoreError, owned};

/// The format that is written. Stores of format 1 have records without roots, which are read as they were; they become this one when
/// they are opened, so that no earlier version collects what the records of this one keep.
const FORMAT: u32 = 2;
const FIRST_FORMAT: u32 = 1;

/// The files beside them.
const FILES: [&str; 3] = ["format", "gate", "lock"];
/// What the store's directory holds. Nobody else may enter any of them: snapshots have setuid programs and device nodes.
const DIRECTORIES: [&str; 7] = ["images", "snapshots", "records", "caches", "packages", "http", "work"];

/// Whether a name in the store's directory is one of the store's own; temporary names of its files count.
fn is_own(name: &str) -> bool {
    DIRECTORIES.contains(&name)
        || FILES.iter().any(|file| name == *file || name.starts_with(&format!("{file}.")))
}

/// Says of which format the store is; fails where it is of another.
fn settle_format(root: &Path) -> Result<(), StoreError> {
    let path = root.join("format");
    let write = || crate::records::write_atomically(&path, format!("{FORMAT}\n").as_bytes());
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == FORMAT.to_string() => Ok(()),
        Ok(text) if text.trim() == FIRST_FORMAT.to_string() => match write() {
            // Nothing else is written there either.
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::ReadOnlyFilesystem => Ok(()),
            written => written,
        },
        Ok(text) => {
            let found = text.trim().chars().take(40).collect();
            Err(StoreError::Format { path: root.to_owned(), found, supported: FORMAT })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => write(),
        Err(error) => Err(StoreError::io("reading", &path)(error)),
    }
}

/// An opened home directory.
///
/// Open it once per process and share it.
#[derive(Debug)]
pub struct Home {
    root: PathBuf,
    layout: Layout,
    records: Records,
    snapshots: Snapshots,
}

/// A shared claim on the store: while it lives, the garbage collector waits.
#[derive(Debug)]
pub struct Usage {
    _lock: File,
}

impl Home {
    /// Returns the directory that the environment asks for: `OTOSHI_HOME`, else `otoshi` in the XDG data directory.
    pub fn default_path() -> Result<PathBuf, StoreError> {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(home) = set("OTOSHI_HOME") {
            return Ok(home);
        }
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("otoshi"))
            .ok_or(StoreError::NoHome)
    }

    /// Opens the home directory at `root`, making it if it is not there.
    ///
    /// Fails with [`StoreError::Format`] when a later version of Otoshi wrote it.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = if let Ok(root) = root.canonicalize() {
            root
        } else {
            owned::create_closed(root)?;
            root.canonicalize().map_err(StoreError::io("opening the store", root))?
        };
        settle_format(&root)?;
        // A directory that holds other things as well is not ours to close; the store's own in it are.
        let entries = fs::read_dir(&root).map_err(StoreError::io("reading", &root))?.flatten();
        if entries.into_iter().all(|entry| entry.file_name().to_str().is_some_and(is_own)) {
            owned::close(&root)?;
        }
        for directory in DIRECTORIES.map(|name| root.join(name)) {
            owned::create_closed(&directory)?;
            owned::close(&directory)?;
        }
        Ok(Self {
            layout: Layout::create_or_open(root.join("images"))?,
            records: Records::new(root.join("records")),
            snapshots: Snapshots::new(root.join("snapshots"), root.join("work")),
            root,
        })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The image layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The records: step results, phase records, memoized digests.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The snapshots: unpacked layers and step results.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// The directory of answers to steps' plain HTTP; which files are there is the matter of `otoshi-relay`.
    pub fn kept_answers(&self) -> PathBuf {
        self.root.join("http")
    }

    /// The directory kept for the cache mount `id`.
    ///
    /// One that is not there yet is filled by `fill` in a draft that nobody else sees (mode 0755, owned by whoever runs this), and
    /// appears whole: a cache may be mounted writable in any number of steps, so once it has its name, no path in it is
    /// looked up from outside a sandbox again.
    pub fn cache<E: From<StoreError>>(
        &self,
        id: &Digest,
        fill: impl FnOnce(&Draft) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let path = self.root.join("caches").join(id.hex());
        if fs::symlink_metadata(&path).is_ok() {
            return Ok(path);
        }
        let draft = self.snapshots.draft()?;
        fill(&draft)?;
        match renameat_with(CWD, draft.tree(), CWD, &path, RenameFlags::NOREPLACE) {
            // Another step was quicker; its cache has the same beginning.
            Ok(()) | Err(Errno::EXIST) => Ok(path),
            Err(error) => Err(StoreError::io("creating the cache", &path)(error).into()),
        }
    }

    /// Claims the store for use until the result is dropped, so that no garbage collector runs meanwhile.
    ///
    /// Waits while a collector runs, or waits for its turn.
    ///
    /// Fails with `Busy` where a garbage collector still runs after the wait.
    pub fn claim(&self) -> Result<Usage, StoreError> {
        let gate = self.locked("gate", FlockOperation::LockShared)?;
        let lock = self.locked("lock", FlockOperation::LockShared)?;
        drop(gate);
        Ok(Usage { _lock: lock })
    }

    /// Claims the store alone, for the garbage collector; fails when somebody still uses it after `wait`.
    ///
    /// Meanwhile nobody new gets in, so that a store that is always in use has its turn.
    pub(crate) fn claim_alone(&self, wait: Duration) -> Result<Usage, StoreError> {
        let busy = |error| match error {
            StoreError::Io { source, .. } if source.kind() == ErrorKind::WouldBlock => {
                StoreError::Busy { path: self.root.clone() }
            }
            error => error,
        };
        let asked = Instant::now();
        let again = Duration::from_millis(10);
        let patient = |name: &str| loop {
            match self.locked(name, FlockOperation::NonBlockingLockExclusive).map_err(busy) {
                Err(StoreError::Busy { .. }) if asked.elapsed() < wait => std::thread::sleep(again),
                other => return other,
            }
        };
        let gate = patient("gate")?;
        let lock = patient("lock")?;
        drop(gate);
        Ok(Usage { _lock: lock })
    }

    fn locked(&self, name: &str, operation: FlockOperation) -> Result<File, StoreError> {
        let path = self.root.join(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("opening", &path))?;
        flock(&file, operation).map_err(StoreError::io("locking", &path))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;

    #[test]
    fn a_store_of_a_later_format_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        Home::open(dir.path()).unwrap();
        fs::write(dir.path().join("format"), "3\n").unwrap();
        let error = Home::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Format { .. }), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "3\n");
    }

    #[test]
    fn a_place_that_can_be_no_store_comes_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for place in [file.clone(), file.join("below")] {
            let error = Home::open(&place).unwrap_err();
            assert_eq!(error.hint().as_deref(), Some("set OTOSHI_HOME to a directory"), "{error}");
        }
    }

    #[test]
    fn a_store_of_the_first_format_becomes_one_of_this() {
        let dir = tempfile::tempdir().unwrap();
        Home::open(dir.path()).unwrap();
        fs::write(dir.path().join("format"), "1\n").unwrap();
        Home::open(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "2\n");
    }

    #[test]
    fn the_collector_waits_for_users_and_new_users_wait_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let usage = home.claim().unwrap();
        assert!(matches!(home.claim_alone(Duration::ZERO), Err(StoreError::Busy { .. })));
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| home.claim_alone(Duration::from_secs(10)).map(|_| Instant::now()));
            std::thread::sleep(Duration::from_millis(50));
            let late = scope.spawn(|| home.claim().map(|_| Instant::now()));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!late.is_finished(), "it came after the collector");
            drop(usage);
            assert!(alone.join().unwrap().unwrap() <= late.join().unwrap().unwrap());
        });
    }
}
