//! A source directory as a build sees it: scanned, filtered by `.dockerignore`, with the digest of every file.
//!
//! The digests of files that did not change since the last scan are remembered with the stat data they had (inode,
//! size, times); a file that changed so recently that its next change might carry the same times is hashed again.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use otoshi_dockerfile::{Ignore, glob};
use otoshi_oci::{Digest, Fields, contents::inside};
use otoshi_store::{Home, SnapshotId};
use rayon::prelude::*;
use rustix::fs::{CWD, FileType, Mode};

use crate::{
    EngineError,
    content::hash_file,
    data,
    embedded::mount::OverlayMount,
    names,
    records::{Scanned, SourceSnapshot},
};

mod bytecode;
mod entry;
mod scan;
mod stat_cache;

pub use entry::{ContextEntry, EntryKind};
use scan::Scan;

/// A scanned source directory; a value that does not change when the directory does.
#[derive(Debug)]
pub struct Context {
    root: PathBuf,
    entries: Vec<ContextEntry>,
    tree_digest: OnceLock<Digest>,
    /// The directory that somebody works in; of a merged view that of what is below, and of nobody's `None`.
    checkout: Option<PathBuf>,
    /// Keeps a merged view mounted while the context lives.
    _mount: Option<OverlayMount>,
}

/// Files whose content is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub files: usize,
    /// Their size together.
    pub bytes: u64,
}

impl Context {
    /// A context with nothing in it.
    pub fn empty() -> Self {
        Self {
            root: PathBuf::from("/nonexistent"),
            entries: Vec::new(),
            tree_digest: OnceLock::new(),
            checkout: None,
            _mount: None,
        }
    }

    /// Scans `root`, leaving out what `ignore_text` (the content of a `.dockerignore`) excludes, and the files that this
    /// process writes its output to.
    ///
    /// What cannot be read is an error only of whoever wants its content.
    ///
    /// Fails where `root` itself cannot be read, a pattern is malformed, or what was read cannot be remembered.
    pub fn scan(home: &Home, root: &Path, ignore_text: Option<&str>) -> Result<Self, EngineError> {
        Self::scan_telling(home, root, ignore_text, &|_| {})
    }

    /// The same; says what will be read before it is, where something is new.
    ///
    /// Fails as [`Context::scan`] does.
    pub fn scan_telling(
        home: &Home,
        root: &Path,
        ignore_text: Option<&str>,
        tell: &dyn Fn(Unread),
    ) -> Result<Self, EngineError> {
        let root = root.canonicalize().map_err(EngineError::io("opening the source directory", root))?;
        let ignore = Ignore::parse(ignore_text.unwrap_or_default())?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut entries = Scan::new(&root, &ignore).run()?;
        bytecode::note(&root, &mut entries);

        let key = Fields::new("scanned 1")
            .text(root.as_os_str().as_encoded_bytes())
            .text(ignore.canonical())
            .digest();
        let remembered = home.records().get::<Scanned>(key.hex()).unwrap_or_default();
        let unknown = stat_cache::fill(&remembered.0, &mut entries);
        if !unknown.is_empty() {
            let bytes = unknown.iter().map(|index| entries[*index].size).sum();
            tell(Unread { files: unknown.len(), bytes });
            hash(&root, &mut entries, unknown);
            home.records().remember(key.hex(), &Scanned(stat_cache::encode(&entries, started)))?;
        }
        let checkout = Some(root.clone());
        Ok(Self { root, entries, tree_digest: OnceLock::new(), checkout, _mount: None })
    }

    /// The source snapshot with the compiled output on top, merged; needs the right to mount.
    ///
    /// `checkout` is the directory that the source was scanned in.
    ///
    /// Fails where the overlay cannot be mounted or the merged tree cannot be read.
    pub fn overlay(
        home: &Home,
        lower: &SnapshotId,
        upper: &SnapshotId,
        checkout: &Path,
    ) -> Result<Self, EngineError> {
        let tree = |id| home.snapshots().sound(id).ok_or_else(|| EngineError::lost(id));
        let lowers = [tree(upper)?, tree(lower)?];
        let mount = OverlayMount::new(home, &lowers)?;
        let mut context = Self::scan_uncached(mount.path())?;
        (context._mount, context.checkout) = (Some(mount), Some(checkout.to_path_buf()));
        Ok(context)
    }

    fn scan_uncached(root: &Path) -> Result<Self, EngineError> {
        let mut entries = Scan::new(root, &Ignore::default()).run()?;
        let files = (0..entries.len()).filter(|index| entries[*index].kind == EntryKind::File).collect();
        hash(root, &mut entries, files);
        let root = root.to_path_buf();
        Ok(Self { root, entries, tree_digest: OnceLock::new(), checkout: None, _mount: None })
    }

    /// Fails on the first of these that cannot be read.
    pub(crate) fn readable<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e ContextEntry>,
    ) -> Result<(), EngineError> {
        match entries.into_iter().find_map(|entry| Some((entry, entry.unreadable?))) {
            None => Ok(()),
            Some((entry, error)) => {
                let path = entry.below(&self.root);
                Err(EngineError::io("reading", &path)(std::io::Error::from_raw_os_error(error)))
            }
        }
    }

    /// The directory that somebody works in, and whether what was made of it lies over it.
    pub(crate) fn checkout(&self) -> Option<(&Path, bool)> {
        Some((self.checkout.as_deref()?, self._mount.is_some()))
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything in it, sorted by path.
    pub fn entries(&self) -> &[ContextEntry] {
        &self.entries
    }

    /// The digest of all names, kinds, modes and contents.
    ///
    /// Fails where something in it cannot be read.
    pub fn tree_digest(&self) -> Result<Digest, EngineError> {
        self.readable(&self.entries)?;
        Ok(self
            .tree_digest
            .get_or_init(|| {
                Fields::new("entries 2").list(self.entries.iter().map(ContextEntry::key)).digest()
            })
            .clone())
    }

    /// The digest of a file's bytes; of a directory or link, the digest of nothing.
    ///
    /// Never fails; its form is that of all digests of a context.
    #[allow(clippy::unnecessary_wraps, reason = "one form for every digest of a context")]
    pub fn entry_digest(&self, entry: &ContextEntry) -> Result<Digest, EngineError> {
        Ok(Fields::new("entry 2").text(entry.digest).digest())
    }

    /// The entry at exactly this path.
    pub fn entry(&self, path: &str) -> Option<&ContextEntry> {
        self.entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .ok()
            .map(|index| &self.entries[index])
    }

    /// Everything beneath the directory `path`, without the directory itself; all entries when `path` is empty.
    pub fn beneath(&self, path: &str) -> impl Iterator<Item = &ContextEntry> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let start = self.entries.partition_point(|entry| entry.path.as_str() < prefix.as_str());
        self.entries[start..].iter().take_while(move |entry| entry.path.starts_with(&prefix))
    }

    /// Follows symbolic links inside the context, also in the last component; `None` when there is nothing there.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let here = done.join("/");
            if let EntryKind::Symlink(target) = &self.entry(&here)?.kind {
                links += 1;
                if links > 40 {
                    return None;
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                todo.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        Some(done.join("/"))
    }

    /// The paths that one source of COPY names: the path itself, links followed, or all that match a pattern.
    ///
    /// The empty path is the whole context. A path that is not there gives nothing.
    ///
    /// Fails where a pattern is malformed, and where it matches a symbolic link to something that does not exist.
    pub fn sources(&self, pattern: &str) -> Result<Vec<String>, EngineError> {
        Ok(self.named_sources(&inside(pattern))?.into_iter().map(|(_, path)| path).collect())
    }

    /// The same for a clean pattern, each path with the name it has in a destination directory: that before links are followed.
    pub(crate) fn named_sources(&self, pattern: &str) -> Result<Vec<(String, String)>, EngineError> {
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        if !glob::has_meta(pattern) {
            return Ok(self.resolve(pattern).map(|path| (last(pattern), path)).into_iter().collect());
        }
        let (before, wildcards) = glob::split(pattern)?;
        let Some(start) = self.resolve(before) else { return Ok(Vec::new()) };
        let cut = if start.is_empty() { 0 } else { start.len() + 1 };
        let depth = wildcards.matches('/').count();
        let mut found = Vec::new();
        for entry in self.beneath(&start) {
            let path = &entry.path[cut..];
            if path.matches('/').count() == depth && glob::matches(wildcards, path)? {
                let place = self.resolve(&entry.path).ok_or_else(|| EngineError::Invalid {
                    message: format!("{} is a symbolic link to something that does not exist", entry.path),
                    hint: Some("remove it, or list it in .dockerignore".into()),
                })?;
                found.push((last(&entry.path), place));
            }
        }
        Ok(found)
    }

    /// Everything that these sources of COPY reach, sorted, each once.
    ///
    /// Fails as [`Context::sources`] does, and where a file cannot be read.
    pub fn select(&self, patterns: &[String]) -> Result<Vec<&ContextEntry>, EngineError> {
        let mut found = Vec::new();
        for pattern in patterns {
            for path in self.sources(pattern)? {
                found.extend(self.entry(&path));
                found.extend(self.beneath(&path));
            }
        }
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        found.dedup_by(|a, b| a.path == b.path);
        Ok(found)
    }

    /// The digest of everything that these sources of COPY reach.
    ///
    /// Fails as [`Context::sources`] does, and where a file cannot be read.
    pub fn select_digest(&self, patterns: &[String]) -> Result<Digest, EngineError> {
        if patterns.iter().any(|pattern| inside(pattern).is_empty()) {
            return self.tree_digest();
        }
        let selected = self.select(patterns)?;
        self.readable(selected.iter().copied())?;
        Ok(Fields::new("entries 2").list(selected.into_iter().map(ContextEntry::key)).digest())
    }

    /// Keeps a copy of the context as a snapshot, owned by `owner`, with the files' own modification times.
    ///
    /// What the previous snapshot of the same directory holds unchanged is linked, not copied.
    ///
    /// Fails where a file changed since the scan, and where the copy cannot be written.
    pub fn snapshot(&self, home: &Home, owner: (u32, u32)) -> Result<SnapshotId, EngineError> {
        let tree = self.tree_digest()?;
        let id = SnapshotId::of_key(
            &Fields::new("source 2").text(tree.as_str()).number(owner.0).number(owner.1).digest(),
        );
        let last_key = Fields::new("source of 1").text(self.root.as_os_str().as_encoded_bytes()).digest();
        if home.snapshots().sound(&id).is_none() {
            let previous: Option<SourceSnapshot> = home.records().get(last_key.hex());
            let previous = previous.and_then(|SourceSnapshot(id)| home.snapshots().sound(&id));
            let draft = home.snapshots().draft()?;
            self.materialize(&draft.tree(), previous.as_deref(), owner)?;
            draft.commit(&id)?;
        }
        home.records().put(last_key.hex(), &SourceSnapshot(id.clone()))?;
        Ok(id)
    }

    fn materialize(
        &self,
        tree: &Path,
        previous: Option<&Path>,
        owner: (u32, u32),
    ) -> Result<(), EngineError> {
        for entry in &self.entries {
            let (source, target) = (entry.below(&self.root), entry.below(tree));
            match &entry.kind {
                EntryKind::Directory => {
                    fs::create_dir(&target).map_err(EngineError::io("creating", &target))?;
                }
                EntryKind::Symlink(link) => {
                    std::os::unix::fs::symlink(names::to_path(link), &target)
                        .map_err(EngineError::io("linking", &target))?;
                }
                EntryKind::Fifo => rustix::fs::mknodat(CWD, &target, FileType::Fifo, Mode::RUSR, 0)
                    .map_err(EngineError::io("creating the named pipe", &target))?,
                EntryKind::Empty => {
                    fs::File::create_new(&target).map_err(EngineError::io("creating", &target))?;
                }
                EntryKind::File => {
                    let kept = previous.map(|previous| entry.below(previous));
                    let kept = kept.filter(|kept| same_file(kept, entry, owner));
                    if let Some(kept) = kept
                        && hash_file(&kept).is_ok_and(|digest| raw(&digest) == entry.digest)
                        && fs::hard_link(&kept, &target).is_ok()
                    {
                        continue;
                    }
                    self.copy_file(&source, &target, entry)?;
                }
            }
            lchown(&target, Some(owner.0), Some(owner.1)).map_err(EngineError::io("owning", &target))?;
            if !matches!(entry.kind, EntryKind::Symlink(_)) {
                // After the change of owner, which clears set-id bits.
                fs::set_permissions(&target, fs::Permissions::from_mode(entry.mode))
                    .map_err(EngineError::io("setting the mode of", &target))?;
            }
        }
        fs::set_permissions(tree, fs::Permissions::from_mode(0o755))
            .map_err(EngineError::io("setting the mode of", tree))?;
        lchown(tree, Some(owner.0), Some(owner.1)).map_err(EngineError::io("owning", tree))
    }

    /// Copies a file that was scanned.
    fn copy_file(&self, source: &Path, target: &Path, entry: &ContextEntry) -> Result<(), EngineError> {
        data::copy(source, target)?;
        // The phase that reads this was decided on by the scanned content: nothing else may take its place.
        if raw(&hash_file(target)?) != entry.digest {
            return Err(EngineError::Invalid {
                message: format!("{} changed while it was being read", source.display()),
                hint: Some("run the command again".into()),
            });
        }
        let file = fs::File::open(target).map_err(EngineError::io("opening", target))?;
        let time = UNIX_EPOCH + std::time::Duration::from_nanos(entry.stat.mtime.max(0) as u64);
        file.set_modified(time).map_err(EngineError::io("setting the time of", target))
    }
}

/// Whether a kept file looks as the entry does, so that it can take its place.
fn same_file(kept: &Path, entry: &ContextEntry, owner: (u32, u32)) -> bool {
    fs::symlink_metadata(kept).is_ok_and(|meta| {
        meta.is_file()
            && meta.len() == entry.size
            && meta.mode() & 0o7777 == entry.mode
            && (meta.uid(), meta.gid()) == owner
            && i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
                == i128::from(entry.stat.mtime)
    })
}

/// Hashes the files at these places of a list, each once.
fn hash(root: &Path, entries: &mut [ContextEntry], places: Vec<usize>) {
    let hashed: Vec<(usize, Result<[u8; 32], i32>)> = places
        .into_par_iter()
        .map(|place| {
            let digest = hash_file(&entries[place].below(root)).map(|digest| raw(&digest));
            (
                place,
                digest.map_err(|error| error.system_error().unwrap_or(rustix::io::Errno::IO.raw_os_error())),
            )
        })
        .collect();
    for (place, outcome) in hashed {
        match outcome {
            Ok(digest) => entries[place].digest = digest,
            Err(error) => entries[place].unreadable = Some(error),
        }
    }
}

fn raw(digest: &Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    let _ = hex_decode(digest.hex(), &mut bytes);
    bytes
}

fn hex_decode(text: &str, into: &mut [u8; 32]) -> Option<()> {
    for (index, byte) in into.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(())
}
