//! The remembered digests of a directory's files, with the stat data for which they hold.
//!
//! ```text
//! per file, sorted by path:  u16 length, path, u64 inode, u64 size, i64 mtime, i64 ctime (ns), 32 bytes SHA-256
//! ```
//! All numbers are little-endian. A file whose times are not older than the scan by [`RACY`] is not written: its next
//! change might leave the same stat data.

use std::time::Duration;

use super::entry::{ContextEntry, EntryKind, Stat};

/// Kernel time stamps are this coarse at most, with room to spare.
const RACY: Duration = Duration::from_millis(50);

pub(super) fn encode(entries: &[ContextEntry], scanned: Duration) -> Vec<u8> {
    let safe = scanned.saturating_sub(RACY).as_nanos() as i64;
    let mut bytes = Vec::with_capacity(entries.len() * 128);
    let files = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::File && entry.unreadable.is_none())
        .filter(|entry| entry.stat.ctime.max(entry.stat.mtime) < safe);
    for entry in files {
        let Ok(length) = u16::try_from(entry.path.len()) else { continue };
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(entry.path.as_bytes());
        for number in [entry.stat.inode, entry.stat.size, entry.stat.mtime as u64, entry.stat.ctime as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&entry.digest);
    }
    bytes
}

/// Gives remembered digests to unchanged files; returns the indices of the files that must be hashed.
///
/// Both sides are sorted by path, so one pass is enough.
pub(super) fn fill(remembered: &[u8], entries: &mut [ContextEntry]) -> Vec<usize> {
    let mut rest = remembered;
    let mut known = next(&mut rest);
    let mut unknown = Vec::new();
    for (index, entry) in entries.iter_mut().enumerate() {
        if entry.kind != EntryKind::File {
            continue;
        }
        while known.as_ref().is_some_and(|(path, ..)| *path < entry.path.as_bytes()) {
            known = next(&mut rest);
        }
        match &known {
            Some((path, stat, digest)) if *path == entry.path.as_bytes() && *stat == entry.stat => {
                entry.digest = *digest;
            }
            _ => unknown.push(index),
        }
    }
    unknown
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Stat, [u8; 32])> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (path, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (numbers, after) = after.split_first_chunk::<32>()?;
    let (digest, after) = after.split_first_chunk::<32>()?;
    let number = |index: usize| -> u64 {
        let mut eight = [0; 8];
        eight.copy_from_slice(&numbers[index * 8..index * 8 + 8]);
        u64::from_le_bytes(eight)
    };
    *rest = after;
    let stat = Stat { inode: number(0), size: number(1), mtime: number(2) as i64, ctime: number(3) as i64 };
    Some((path, stat, *digest))
}
