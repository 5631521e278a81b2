//! How much of a layer is read.

use super::rpm;

/// What may still be read of a layer.
#[derive(Debug)]
pub(super) struct Room {
    entries: usize,
    bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { entries: MOST, bytes: TOTAL }
    }
}

impl Room {
    /// Takes the room of an entry with content of a size; fails with the reason where there is none.
    pub(super) fn take(&mut self, path: &[u8], size: u64) -> Result<(), String> {
        let most = largest(path);
        if size > most {
            return Err(format!("it is larger than {} MiB", most >> 20));
        }
        let left = (self.entries.checked_sub(1), self.bytes.checked_sub(size));
        let (Some(entries), Some(bytes)) = left else {
            return Err(format!("there are more than {MOST} files like it, or {} MiB", TOTAL >> 20));
        };
        (self.entries, self.bytes) = (entries, bytes);
        Ok(())
    }
}

/// The largest size in bytes at which a file is read.
fn largest(path: &[u8]) -> u64 {
    let path = std::str::from_utf8(path).unwrap_or_default();
    if rpm::is_database(path.strip_suffix("-wal").unwrap_or(path)) {
        TOTAL
    } else if path.starts_with("var/lib/")
        || path.strip_suffix(".adb").unwrap_or(path).ends_with("db/installed")
    {
        64 << 20
    } else {
        8 << 20
    }
}

/// The most files, links and directories that are kept of a layer.
pub(super) const MOST: usize = 20_000;

/// The most bytes that are kept of a layer.
pub(super) const TOTAL: u64 = 512 << 20;
