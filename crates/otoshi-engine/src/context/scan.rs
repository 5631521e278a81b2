//! Scanning a directory: every name in it that counts, with what it is.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use otoshi_dockerfile::Ignore;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags},
    io::Errno,
};

use super::entry::{ContextEntry, EntryKind, Stat};
use crate::{EngineError, names};

/// One scan.
pub(super) struct Scan<'a> {
    root: &'a Path,
    ignore: &'a Ignore,
    /// Files that this process writes its output to: they change while they are read, and are nobody's source.
    written: Vec<Identity>,
}

/// Device and inode.
type Identity = (u32, u32, u64);

impl<'a> Scan<'a> {
    pub(super) fn new(root: &'a Path, ignore: &'a Ignore) -> Self {
        let output = |fd| {
            let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
            let is_file = FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::RegularFile;
            is_file.then(|| identity(&stat))
        };
        let written = [rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().filter_map(output);
        Self { root, ignore, written: written.collect() }
    }

    /// Everything below the root, sorted by path.
    pub(super) fn run(&self) -> Result<Vec<ContextEntry>, EngineError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.root, flags, Mode::empty())
            .map_err(EngineError::io("opening the source directory", self.root))?;
        let found = Mutex::new(Found::default());
        // A task for each directory, and no call within a call: trees may be as deep as they like.
        rayon::in_place_scope(|scope| self.directory(scope, &found, directory, String::new()));
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = found.unreadable.remove("") {
            return Err(EngineError::io("reading", self.root)(error));
        }
        Ok(found.settle())
    }

    /// Reads one directory, and leaves those in it to others.
    fn directory<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        found: &'s Mutex<Found>,
        directory: OwnedFd,
        below: String,
    ) {
        let read = self.read(&directory, &below);
        let mut found_here = found.lock().unwrap_or_else(PoisonError::into_inner);
        let directories = match read {
            Ok(read) => {
                found_here.entries.extend(read.entries);
                read.directories
            }
            // What is in it is told when somebody wants it.
            Err(error) => {
                found_here.unreadable.insert(below, error);
                return;
            }
        };
        drop(found_here);
        let directory = Arc::new(directory);
        for (path, name) in directories {
            let directory = Arc::clone(&directory);
            scope.spawn(move |scope| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = rustix::fs::openat(&*directory, name.as_c_str(), flags, Mode::empty());
                // So that a deep tree needs few of them at once.
                drop(directory);
                match child {
                    Ok(child) => self.directory(scope, found, child, path),
                    Err(error) => {
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.unreadable.insert(path, error);
                    }
                }
            });
        }
    }

    fn read(&self, directory: &OwnedFd, below: &str) -> rustix::io::Result<Read> {
        let mut read = Read::default();
        for found in Dir::read_from(directory)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let text = names::to_text(name.to_bytes());
            let path = if below.is_empty() { text } else { format!("{below}/{text}") };
            let maybe_directory = matches!(found.file_type(), FileType::Directory | FileType::Unknown);
            let excluded = !self.ignore.is_empty() && self.ignore.excludes(&path, maybe_directory);
            if excluded && (!maybe_directory || self.ignore.can_prune(&path)) {
                continue;
            }
            let stat = rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
            let stat = match stat {
                // It went away meanwhile, as editors' temporary files do.
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            let kind = kind(directory, name, &stat)?;
            if self.written.contains(&identity(&stat)) {
                continue;
            }
            if kind == EntryKind::Directory {
                read.directories.push((path.clone(), name.to_owned()));
            } else if excluded {
                continue;
            }
            read.entries.push((excluded, new_entry(path, kind, &stat)));
        }
        Ok(read)
    }
}

/// What is in one directory.
#[derive(Default)]
struct Read {
    /// Each with whether it is excluded, as only directories are here.
    entries: Vec<(bool, ContextEntry)>,
    directories: Vec<(String, CString)>,
}

/// What is in all of them.
#[derive(Default)]
struct Found {
    entries: Vec<(bool, ContextEntry)>,
    unreadable: BTreeMap<String, Errno>,
}

impl Found {
    /// All that counts, sorted by path.
    fn settle(self) -> Vec<ContextEntry> {
        let Self { mut entries, unreadable } = self;
        let needed = if entries.iter().any(|(excluded, _)| *excluded) {
            above(entries.iter().filter(|(excluded, _)| !excluded).map(|(_, entry)| entry.path.as_str()))
        } else {
            HashSet::new()
        };
        // An excluded directory is there only for what is re-included beneath it.
        entries.retain(|(excluded, entry)| !excluded || needed.contains(&entry.path));
        let mut settled: Vec<ContextEntry> = entries.into_iter().map(|(_, entry)| entry).collect();
        settled.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        for (path, error) in unreadable {
            if let Ok(at) = settled.binary_search_by(|entry| entry.path.cmp(&path)) {
                settled[at].unreadable = Some(error.raw_os_error());
            }
        }
        settled
    }
}

/// All directories above these paths.
fn above<'p>(paths: impl Iterator<Item = &'p str>) -> HashSet<String> {
    let mut above = HashSet::new();
    for mut path in paths {
        while let Some((directory, _)) = path.rsplit_once('/') {
            if !above.insert(directory.to_owned()) {
                break;
            }
            path = directory;
        }
    }
    above
}

fn identity(stat: &Statx) -> Identity {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

/// What a name is.
fn kind(directory: &impl AsFd, name: &std::ffi::CStr, stat: &Statx) -> rustix::io::Result<EntryKind> {
    Ok(match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory => EntryKind::Directory,
        FileType::RegularFile => EntryKind::File,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            EntryKind::Symlink(names::to_text(target.to_bytes()))
        }
        FileType::Fifo => EntryKind::Fifo,
        _ => EntryKind::Empty,
    })
}

fn new_entry(path: String, kind: EntryKind, stat: &Statx) -> ContextEntry {
    let nanos = |time: rustix::fs::StatxTimestamp| time.tv_sec * 1_000_000_000 + i64::from(time.tv_nsec);
    let mode = if matches!(kind, EntryKind::Symlink(_)) { 0o777 } else { u32::from(stat.stx_mode) & 0o7777 };
    ContextEntry {
        path,
        size: if kind == EntryKind::File { stat.stx_size } else { 0 },
        kind,
        mode,
        digest: [0; 32],
        unreadable: None,
        bytecode: Vec::new(),
        stat: Stat {
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime: nanos(stat.stx_mtime),
            ctime: nanos(stat.stx_ctime),
        },
    }
}
