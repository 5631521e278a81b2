//! Finding, opening and locking the home directory.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use otoshi_oci::{Digest, Reference, layout::Layout};
use otoshi_tree::{Lasting, write_whole};
use rustix::{
    fs::{CWD, FallocateFlags, FlockOperation, RenameFlags, fallocate, flock, renameat_with},
    io::Errno,
};

use crate::{Draft, Records, Snapshots, StoreError, owned};

/// The format that is written. Stores of format 1 have records without roots, which are read as they were; they become this one when
/// they are opened, so that no earlier version collects what the records of this one keep.
const FORMAT: u32 = 2;
const FIRST_FORMAT: u32 = 1;

/// Space for what takes things away: even that writes a list of images without them, for which a full disk has none.
const RESERVE: &str = "reserve";
/// How large that is at least, in bytes.
const LEAST_RESERVE: u64 = 64 << 10;

/// The files beside them.
const FILES: [&str; 4] = ["format", "gate", "lock", RESERVE];
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
    // An empty one would be a format that nobody knows.
    let write = || {
        let written = write_whole(&path, format!("{FORMAT}\n").as_bytes(), Lasting::Synced);
        written.map_err(StoreError::io("writing", &path))
    };
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == FORMAT.to_string() => Ok(()),
        Ok(text) if text.trim() == FIRST_FORMAT.to_string() => match write() {
            // Nothing else is written there either.
            Err(error) if error.is_read_only() => Ok(()),
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

/// Sees to it that the reserve has room for another list of images, as far as there is space.
fn keep_reserve(root: &Path) {
    let list = fs::metadata(root.join("images/index.json")).map_or(0, |meta| meta.len());
    let wanted = list.saturating_mul(2).max(LEAST_RESERVE).next_multiple_of(LEAST_RESERVE);
    let path = root.join(RESERVE);
    if fs::metadata(&path).is_ok_and(|meta| meta.len() >= wanted) {
        return;
    }
    let Ok(file) = File::options().create(true).truncate(false).write(true).open(&path) else { return };
    if fallocate(&file, FallocateFlags::empty(), 0, wanted).is_err() {
        // Half of it is of no use; without it a full disk needs other space.
        let _ = fs::remove_file(&path);
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
    /// `None` where there is nothing to lock and nothing can be written: no collector can run there either.
    _lock: Option<File>,
}

impl Home {
    /// Returns the directory that the environment asks for: `OTOSHI_HOME`, else `otoshi` in the XDG data directory.
    ///
    /// Fails where neither these nor `HOME` name a directory.
    pub fn default_path() -> Result<PathBuf, StoreError> {
        Self::path_in(|name| std::env::var_os(name))
    }

    /// The same of other variables. A directory of XDG's that is relative is none (XDG base directory specification), nor is one
    /// below a home that is.
    fn path_in(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, StoreError> {
        let set = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(home) = set("OTOSHI_HOME") {
            return Ok(home);
        }
        let whole = |name: &str| set(name).filter(|path| path.is_absolute());
        whole("XDG_DATA_HOME")
            .or_else(|| whole("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("otoshi"))
            .ok_or(StoreError::NoHome)
    }

    /// Opens the home directory at `root`, making it if it is not there.
    ///
    /// Fails with [`StoreError::Format`] when a later version of Otoshi wrote it, and with [`StoreError::WholeSystem`] for `/`.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = if let Ok(root) = root.canonicalize() {
            root
        } else {
            owned::create_closed(root)?;
            root.canonicalize().map_err(StoreError::io("opening the store", root))?
        };
        if root.parent().is_none() {
            return Err(StoreError::WholeSystem { path: root });
        }
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
        let layout = Layout::create_or_open(root.join("images"))?;
        keep_reserve(&root);
        Ok(Self {
            layout,
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

    /// Takes a name away from its image; says whether it had one. On a full disk as well.
    ///
    /// Fails where index.json cannot be read or written; it is unchanged then.
    pub fn untag(&self, name: &Reference) -> Result<bool, StoreError> {
        self.with_reserve(|| Ok(self.layout.names().untag(name)?))
    }

    /// Takes something away; where the disk is too full even for that, with the space that is kept for it.
    pub(crate) fn with_reserve<T>(
        &self,
        take_away: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match take_away() {
            Err(error) if error.is_full() && fs::remove_file(self.root.join(RESERVE)).is_ok() => {
                let taken = take_away();
                // What comes next may need it as well.
                keep_reserve(&self.root);
                taken
            }
            other => other,
        }
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
    ///
    /// Fails where `fill` does, and where the directory cannot be made.
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
        let gate = self.shared("gate")?;
        let lock = self.shared("lock")?;
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
        Ok(Usage { _lock: Some(lock) })
    }

    /// Takes a lock that others may share. A store that cannot be written is locked by the file that it has, and not at all where it
    /// has none.
    fn shared(&self, name: &str) -> Result<Option<File>, StoreError> {
        let error = match self.locked(name, FlockOperation::LockShared) {
            Ok(file) => return Ok(Some(file)),
            Err(error) => error,
        };
        if !error.is_read_only() {
            return Err(error);
        }
        let path = self.root.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(error),
        };
        flock(&file, FlockOperation::LockShared).map_err(StoreError::io("locking", &path))?;
        Ok(Some(file))
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
    use std::process::Command;

    use otoshi_explain::Explain;
    use otoshi_oci::MediaType;
    use otoshi_test::{Missing, Need, given, require};

    use super::*;
    use crate::{GcPolicy, LayerSnapshot};

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
    fn a_home_is_read_as_xdg_reads_it() {
        use std::os::unix::ffi::OsStringExt;
        let path = |variables: &[(&str, &[u8])]| {
            let of = |name: &str| variables.iter().find(|(other, _)| *other == name);
            Home::path_in(|name| of(name).map(|(_, value)| OsString::from_vec(value.to_vec())))
        };
        let home = |variables: &[(&str, &[u8])]| path(variables).unwrap().into_os_string().into_vec();
        assert_eq!(home(&[("HOME", b"/h")]), b"/h/.local/share/otoshi");
        assert_eq!(home(&[("HOME", b"/h\xff")]), b"/h\xff/.local/share/otoshi");
        assert_eq!(home(&[("HOME", b"/h"), ("XDG_DATA_HOME", b"/d")]), b"/d/otoshi");
        assert_eq!(home(&[("HOME", b"/h"), ("XDG_DATA_HOME", b"rel")]), b"/h/.local/share/otoshi");
        assert_eq!(home(&[("HOME", b"/h"), ("XDG_DATA_HOME", b"")]), b"/h/.local/share/otoshi");
        assert_eq!(home(&[("HOME", b"/"), ("OTOSHI_HOME", b"")]), b"/.local/share/otoshi");
        assert_eq!(home(&[("OTOSHI_HOME", b"store")]), b"store", "ours is as `--home` is");
        let nones: [&[(&str, &[u8])]; 4] =
            [&[], &[("HOME", b"")], &[("HOME", b"me")], &[("HOME", b"."), ("XDG_DATA_HOME", b"x")]];
        for none in nones {
            let error = path(none).unwrap_err();
            assert!(matches!(error, StoreError::NoHome), "{error}");
            assert_eq!(error.kind(), otoshi_explain::Kind::User);
        }
    }

    #[test]
    fn the_whole_system_is_no_store() {
        for path in ["/", "/.", "/usr/.."] {
            let error = Home::open(Path::new(path)).unwrap_err();
            assert!(matches!(error, StoreError::WholeSystem { .. }), "{error}");
        }
        assert!(!Path::new("/snapshots").exists());
    }

    #[test]
    fn a_store_of_the_first_format_becomes_one_of_this() {
        let dir = tempfile::tempdir().unwrap();
        Home::open(dir.path()).unwrap();
        fs::write(dir.path().join("format"), "1\n").unwrap();
        Home::open(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "2\n");
    }

    /// A small file system in memory.
    struct Small(tempfile::TempDir);

    impl Small {
        fn new() -> Result<Self, Missing> {
            require(&[Need::Root])?;
            let dir = tempfile::tempdir().unwrap();
            let mount = Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
                .arg(dir.path())
                .status();
            assert!(mount.unwrap().success());
            Ok(Self(dir))
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }

    #[test]
    fn a_full_disk_gets_space_again_by_taking_names_away() {
        let small = given!(Small::new());
        let path = small.0.path().join("store");
        let home = Home::open(&path).unwrap();
        let name = |text: &str| Reference::parse(text).unwrap();
        let layer = home.layout().put(MediaType::ImageLayer, &vec![7; 500_000]).unwrap();
        home.layout().names().tag(&name("a:1"), layer).unwrap();
        let fill = |file: &str| {
            let written = fs::write(small.0.path().join(file), vec![1; 8 << 20]);
            assert_eq!(written.unwrap_err().kind(), ErrorKind::StorageFull);
        };
        fill("full");
        assert!(home.layout().names().untag(&name("a:1")).is_err(), "without the reserve there is no space");
        assert!(home.untag(&name("a:1")).unwrap());
        fill("fuller");
        let policy = GcPolicy { unused_for: Duration::ZERO, caches: false, wait: Duration::ZERO };
        assert!(home.gc(policy).unwrap().bytes >= 500_000);
        // From now on there is one again.
        drop(Home::open(&path).unwrap());
        assert_eq!(fs::metadata(path.join(RESERVE)).unwrap().len(), LEAST_RESERVE);
    }

    #[test]
    fn a_store_that_is_read_only_can_be_used_and_claimed() {
        let small = given!(Small::new());
        let path = small.0.path().join("store");
        let name = Reference::parse("a:1").unwrap();
        {
            let home = Home::open(&path).unwrap();
            let layer = home.layout().put(MediaType::ImageLayer, b"layer").unwrap();
            home.layout().names().tag(&name, layer).unwrap();
        }
        let set = |options: &str| {
            let status = Command::new("mount").args(["-o", options]).arg(small.0.path()).status();
            assert!(status.unwrap().success());
        };
        for with_locks in [false, true] {
            if with_locks {
                set("remount,rw");
                drop(Home::open(&path).unwrap().claim().unwrap());
            }
            set("remount,ro");
            let home = Home::open(&path).unwrap();
            let _usage = home.claim().unwrap();
            assert!(home.layout().names().resolve(&name).unwrap().is_some());
            let fact = LayerSnapshot(crate::SnapshotId::of_key(&Digest::sha256_of(b"x")));
            home.records().remember("abcd", &fact).unwrap();
            let policy = GcPolicy { unused_for: Duration::ZERO, caches: false, wait: Duration::ZERO };
            for error in [home.records().put("abcd", &fact).unwrap_err(), home.gc(policy).unwrap_err()] {
                assert!(error.is_read_only() && error.hint().is_some(), "{error}");
            }
        }
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
