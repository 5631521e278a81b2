//! Tar archives, as layers use them: one reader that trusts nothing, one writer whose output has one form.
//!
//! The reader understands v7, ustar, GNU (long names, base-256 numbers, sparse files) and PAX (names, sizes, times, extended
//! attributes, sparse files 0.0, 0.1 and 1.0). Extension headers are bounded, so memory is bounded whatever a header claims.
//! Where the formats leave room, it reads as Go's `archive/tar` does, because Docker and containerd do: two tools that
//! read one archive in two ways are a security hole.
//!
//! The writer makes ustar headers, and PAX ones before them only where ustar cannot hold a value.
//!
//! Formats: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13> and
//! <https://www.gnu.org/software/tar/manual/html_node/Tar-Internals.html>

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

use std::borrow::Cow;
use std::io;

pub use self::header::timestamp;
pub use self::reader::Reader;
pub use self::writer::{END, write_header, write_padding};

/// The size of a block; everything in a tar archive is padded to it.
pub const BLOCK: usize = 512;

/// The largest extension header (PAX records, long name) that is read, in bytes; Go has the same limit.
const MAX_EXTENSION: u64 = 1 << 20;

/// Says why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream failed or ended in the middle.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The archive is malformed.
    #[error("{place}: {reason}")]
    Invalid {
        /// The entry's name, or where its header is.
        place: String,
        /// What is wrong.
        reason: Cow<'static, str>,
    },
}

/// Says what an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A regular file, whose data follows.
    File,
    /// Another name of an entry that came before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanos: u32,
}

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it lies in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// Describes one entry, whatever format its header had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, as it stands in the archive.
    pub name: Vec<u8>,
    /// What the entry is.
    pub kind: Kind,
    /// The target of a link, as it stands in the archive.
    pub link: Vec<u8>,
    /// Permission bits, set-id bits and the sticky bit.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content changed last.
    pub mtime: Time,
    /// The size of a regular file in bytes, holes included.
    pub size: u64,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The runs of data, if the file is stored as a sparse file.
    pub sparse: Option<Vec<Segment>>,
}

impl Entry {
    /// Makes an entry of root's, with nothing in it and no time.
    pub fn new(name: impl Into<Vec<u8>>, kind: Kind, mode: u32) -> Self {
        Self {
            name: name.into(),
            kind,
            link: Vec::new(),
            mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: 0,
            xattrs: Vec::new(),
            sparse: None,
        }
    }

    /// Returns the name for people.
    pub fn display_name(&self) -> String {
        display(&self.name)
    }
}

/// Writes bytes for people: what is no UTF-8 and what is not printable is escaped.
pub fn display(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => name.escape_ascii().to_string(),
    }
}
