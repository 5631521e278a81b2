//! Small facts that are worth remembering: step results, phase records, memoized digests.
//!
//! A record is a file of its own, named by its kind and key:
//!
//! ```text
//! records/KIND/ab/abcd…   line 1: "otoshi-record 1 <sha256 of the body>", then the body as JSON
//! ```
//!
//! Many processes read and write them without a lock: a record is written under a temporary name and renamed. A
//! record that is torn, corrupt or of an unknown form is the same as one that is not there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use otoshi_oci::Digest;
use otoshi_tree::{Lasting, write_whole};
use serde::{Serialize, de::DeserializeOwned};

use crate::StoreError;

const MAGIC: &str = "otoshi-record 1 ";

/// What a record is about; each kind has a directory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A build step's key → what it made.
    Step,
    /// A snapshot → the layer blob written from it.
    Layer,
    /// A layer's diff id → the snapshot that holds its content.
    Diff,
    /// A tree and a path in it → the digest of the content.
    Content,
    /// A phase key → what the phase made.
    Phase,
    /// A project and role → what the phase last observed.
    Last,
    /// A computed build argument → its value.
    Argument,
    /// A source directory → the stat data and digests of its files.
    Scan,
    /// A blob or manifest → the repositories of registries that hold it.
    Origin,
    /// A layer's diff id → the files in it that say what is installed.
    Installed,
    /// A layer's diff id → what of its files matters when the layer below or above is another.
    Facts,
    /// A project → what its images and its lock were before each refresh.
    Previous,
    /// Something newer outside → when it was first seen from here.
    Seen,
    /// An address → the table of ends of life that it gave.
    Cycles,
    /// Packages, and how they are put together → the image that was made of them.
    Base,
    /// A snapshot → the time of its files in layers; a place in images → the content that it had last, and the time of that.
    Time,
}

impl Kind {
    pub(crate) const ALL: [Self; 16] = [
        Self::Step,
        Self::Layer,
        Self::Diff,
        Self::Content,
        Self::Phase,
        Self::Last,
        Self::Argument,
        Self::Scan,
        Self::Origin,
        Self::Installed,
        Self::Facts,
        Self::Previous,
        Self::Seen,
        Self::Cycles,
        Self::Base,
        Self::Time,
    ];

    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Layer => "layer",
            Self::Diff => "diff",
            Self::Content => "content",
            Self::Phase => "phase",
            Self::Last => "last",
            Self::Argument => "argument",
            Self::Scan => "scan",
            Self::Origin => "origin",
            Self::Installed => "installed",
            Self::Facts => "facts",
            Self::Previous => "previous",
            Self::Seen => "seen",
            Self::Cycles => "cycles",
            Self::Base => "base",
            Self::Time => "time",
        }
    }
}

/// The records of one store.
#[derive(Debug, Clone)]
pub struct Records {
    root: PathBuf,
}

impl Records {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads the record of this kind and key, or `None` when there is no readable one.
    pub fn get<T: DeserializeOwned>(&self, kind: Kind, key: &str) -> Option<T> {
        serde_json::from_slice(&self.get_bytes(kind, key)?).ok()
    }

    /// Writes the record of this kind and key, in place of an earlier one.
    pub fn put<T: Serialize>(&self, kind: Kind, key: &str, value: &T) -> Result<(), StoreError> {
        let body = serde_json::to_vec(value).map_err(|error| {
            StoreError::io("encoding a record for", &self.path(kind, key))(std::io::Error::from(error))
        })?;
        self.put_bytes(kind, key, &body)
    }

    /// Reads a record's body as bytes; the checksum has been verified.
    pub fn get_bytes(&self, kind: Kind, key: &str) -> Option<Vec<u8>> {
        let path = self.path(kind, key);
        let mut bytes = fs::read(&path).ok()?;
        let end = bytes.iter().take(200).position(|&byte| byte == b'\n')?;
        let sum = std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix(MAGIC)?;
        if Digest::sha256_of(&bytes[end + 1..]).hex() != sum {
            tracing::warn!(path = %path.display(), "ignoring a record whose checksum does not match");
            return None;
        }
        bytes.drain(..=end);
        Some(bytes)
    }

    /// Writes a record's body as bytes.
    pub fn put_bytes(&self, kind: Kind, key: &str, body: &[u8]) -> Result<(), StoreError> {
        let path = self.path(kind, key);
        let mut bytes = format!("{MAGIC}{}\n", Digest::sha256_of(body).hex()).into_bytes();
        bytes.extend_from_slice(body);
        write_atomically(&path, &bytes)
    }

    /// Removes a record; it is no error when there is none.
    pub fn remove(&self, kind: Kind, key: &str) -> Result<(), StoreError> {
        let path = self.path(kind, key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("removing", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Marks a record as used now, so that the garbage collector keeps it and what it names.
    ///
    /// Cheap: the time is written only when the last mark is more than an hour old.
    pub fn touch(&self, kind: Kind, key: &str) {
        let path = self.path(kind, key);
        let fresh = fs::metadata(&path)
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| age(time) < Duration::from_secs(3600));
        if !fresh && let Ok(file) = fs::File::options().append(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Lists every record of a kind: its file name and how long ago it was last written or used.
    pub(crate) fn list(&self, kind: Kind) -> Vec<(PathBuf, Duration)> {
        let mut found = Vec::new();
        let shards = fs::read_dir(self.root.join(kind.directory())).into_iter().flatten().flatten();
        for file in shards.flat_map(|shard| fs::read_dir(shard.path()).into_iter().flatten().flatten()) {
            let time = file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((file.path(), age(time)));
        }
        found
    }

    /// Reads a record by the path that [`Records::list`] gave.
    pub(crate) fn read_listed(&self, kind: Kind, path: &Path) -> Option<serde_json::Value> {
        let name = path.file_name()?.to_str()?;
        self.get_bytes(kind, name).and_then(|body| serde_json::from_slice(&body).ok())
    }

    fn path(&self, kind: Kind, key: &str) -> PathBuf {
        let safe =
            key.len() >= 2 && key.len() <= 128 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let name = if safe { key.to_owned() } else { Digest::sha256_of(key.as_bytes()).hex().to_owned() };
        self.root.join(kind.directory()).join(&name[..2]).join(name)
    }
}

/// How long ago `time` was; zero when the clock went backwards.
pub(crate) fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

/// Writes a file whole; a reader checks it, so that it need not outlast a power cut.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_whole(path, bytes, Lasting::Cached).map_err(StoreError::io("writing", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_a_corrupt_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().into());
        records.put(Kind::Step, "abcd", &vec![1, 2, 3]).unwrap();
        assert_eq!(records.get::<Vec<u8>>(Kind::Step, "abcd"), Some(vec![1, 2, 3]));
        assert_eq!(records.get::<Vec<u8>>(Kind::Phase, "abcd"), None);

        let path = records.path(Kind::Step, "abcd");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(records.get::<Vec<u8>>(Kind::Step, "abcd"), None);

        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(records.get::<Vec<u8>>(Kind::Step, "abcd"), None, "cut at {length}");
        }
    }

    #[test]
    fn any_text_can_be_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().into());
        for key in ["", "/", "../../etc/passwd", "a", "ünïcode", &"x".repeat(4000)] {
            records.put(Kind::Content, key, &key).unwrap();
            assert_eq!(records.get::<String>(Kind::Content, key).as_deref(), Some(key));
        }
    }
}
