//! One entry of a context.

use std::path::{Path, PathBuf};

use crate::names;

/// What an entry of a context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link and its target.
    Symlink(String),
    /// A named pipe.
    Fifo,
    /// A socket or a device, which becomes an empty file: it is nothing without its process or machine. (Sockets as with BuildKit; devices
    /// as with that of Docker 20.10, while today's copies them.)
    Empty,
}

/// One file, directory or link of a context.
#[derive(Debug, Clone)]
pub struct ContextEntry {
    /// The path below the root, with slashes; bytes that are not UTF-8 are characters of a private area.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Size in bytes, for a file.
    pub size: u64,
    pub(super) digest: [u8; 32],
    /// Why it could not be read, as the system's number of the error; told when somebody wants its content.
    pub(super) unreadable: Option<i32>,
    /// Of a Python source whose compiled files lie in the same context: the times that these record of it, and whether they are valid.
    ///
    /// A compiled file stays valid by its source's time, so a source with another time is not the same there.
    pub(super) bytecode: Vec<(u32, bool)>,
    pub(super) stat: Stat,
}

impl ContextEntry {
    /// Where it lies below a directory.
    pub fn below(&self, root: &Path) -> PathBuf {
        on_disk(root, &self.path)
    }

    pub(super) fn key(&self) -> Vec<u8> {
        self.key_as(&self.path)
    }

    /// Everything that counts about the entry, under this path.
    pub(crate) fn key_as(&self, path: &str) -> Vec<u8> {
        let mut key = path.as_bytes().to_vec();
        key.push(0);
        match &self.kind {
            EntryKind::Directory => key.push(b'd'),
            EntryKind::File => key.push(b'f'),
            EntryKind::Symlink(target) => {
                key.push(b'l');
                key.extend_from_slice(target.as_bytes());
            }
            EntryKind::Fifo => key.push(b'p'),
            EntryKind::Empty => key.push(b's'),
        }
        key.extend_from_slice(&self.mode.to_le_bytes());
        key.extend_from_slice(&self.digest);
        for (recorded, is_valid) in &self.bytecode {
            key.extend_from_slice(&recorded.to_le_bytes());
            key.push(u8::from(*is_valid));
        }
        key
    }
}

/// The stat data that tell whether a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) mtime: i64,
    /// Nanoseconds since 1970.
    pub(super) ctime: i64,
}

/// The path of an entry on disk.
pub(super) fn on_disk(root: &Path, path: &str) -> PathBuf {
    root.join(names::to_path(path))
}
