//! Scanning a directory: every name in it that counts, with what it is.

use std::os::fd::AsFd;
use std::path::Path;

use otoshi_dockerfile::Ignore;
use rayon::prelude::*;
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
        let mut entries = self.directory(&directory, "").map_err(EngineError::io("reading", self.root))?;
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn directory(
        &self,
        directory: &(impl AsFd + Sync),
        below: &str,
    ) -> rustix::io::Result<Vec<ContextEntry>> {
        let mut entries = Vec::new();
        let mut directories = Vec::new();
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
            let Some(kind) = kind(directory, name, &stat)? else { continue };
            if self.written.contains(&identity(&stat)) {
                continue;
            }
            if kind == EntryKind::Directory {
                directories.push((path.clone(), name.to_owned()));
            } else if excluded {
                continue;
            }
            entries.push((excluded, new_entry(path, kind, &stat)));
        }
        let deeper: Vec<rustix::io::Result<Vec<ContextEntry>>> = directories
            .par_iter()
            .map(|(path, name)| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = rustix::fs::openat(directory, name.as_c_str(), flags, Mode::empty())?;
                self.directory(&child, path)
            })
            .collect();
        let mut all: Vec<ContextEntry> = Vec::new();
        // Directories were noted in the order of their entries.
        let mut deeper = deeper.into_iter();
        for (excluded, mut entry) in entries {
            let inside = if entry.kind == EntryKind::Directory { deeper.next() } else { None };
            let inside = match inside {
                // What is in it is told when somebody wants it.
                Some(Err(error)) => {
                    entry.unreadable = Some(error.raw_os_error());
                    Vec::new()
                }
                Some(Ok(inside)) => inside,
                None => Vec::new(),
            };
            // An excluded directory is there only for what is re-included beneath it.
            if !excluded || !inside.is_empty() {
                all.push(entry);
            }
            all.extend(inside);
        }
        Ok(all)
    }
}

fn identity(stat: &Statx) -> Identity {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

/// What a name is; devices are nothing.
fn kind(directory: &impl AsFd, name: &std::ffi::CStr, stat: &Statx) -> rustix::io::Result<Option<EntryKind>> {
    Ok(Some(match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory => EntryKind::Directory,
        FileType::RegularFile => EntryKind::File,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            EntryKind::Symlink(names::to_text(target.to_bytes()))
        }
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        _ => return Ok(None),
    }))
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
        stat: Stat {
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime: nanos(stat.stx_mtime),
            ctime: nanos(stat.stx_ctime),
        },
    }
}
