//! Seals of snapshots: what a tree is compared with, to notice that its files are not those that were stored.
//!
//! A seal has two parts. Names, modes, sizes and times are compared whenever a snapshot is used. After a machine went down without
//! writing all that it had promised, a file can have the right size and time and hold zeros: so contents have a checksum, too, which is
//! compared once, in the first boot after the one that the snapshot was made in, and by whoever asks for all.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom as From};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::LazyLock;

use otoshi_oci::Hasher;
use otoshi_tree::{Lasting, Met, Walk, write_whole};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::Errno;

/// The seal's file, beside the tree.
pub(crate) const FILE: &str = "seal";
/// What is looked at in one piece; holes that a file system has begin and end at multiples of it.
const BLOCK: usize = 4096;
/// What is read at a time.
const PIECE: usize = 64 * BLOCK;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// How closely a tree is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Contents only where the machine was started anew since they were written, and nobody looked yet.
    Use,
    /// All of it.
    All,
}

/// What is written of a tree.
#[derive(Debug, PartialEq, Eq)]
struct Seal {
    /// The digest of names, modes, sizes and times.
    shape: String,
    /// The checksum of contents; `None` where a file could not be read, and in those of before.
    contents: Option<String>,
    /// The boot in which the tree was written; `None` once it was found whole in a later one.
    boot: Option<String>,
}

impl Seal {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let shape = lines.next().unwrap_or_default().trim().to_owned();
        let (mut contents, mut boot) = (None, None);
        for line in lines {
            match line.split_once(' ') {
                Some(("contents", value)) => contents = Some(value.to_owned()),
                Some(("boot", value)) => boot = Some(value.to_owned()),
                _ => {}
            }
        }
        Self { shape, contents, boot }
    }

    fn text(&self) -> String {
        let line = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{name} {value}\n")).unwrap_or_default()
        };
        format!("{}\n{}{}", self.shape, line("contents", &self.contents), line("boot", &self.boot))
    }
}

/// The seal of a tree, to be written beside it.
///
/// Fails where the tree cannot be read.
pub(crate) fn of(tree: &Path) -> io::Result<String> {
    Ok(Seal { shape: shape(tree)?, contents: contents(tree).ok(), boot: boot() }.text())
}

/// Compares a tree with its seal; says what is wrong. One without a seal is from before there were seals, or could not be sealed.
pub(crate) fn check(directory: &Path, tree: &Path, depth: Depth) -> Result<(), String> {
    let Ok(text) = fs::read_to_string(directory.join(FILE)) else { return Ok(()) };
    let seal = Seal::parse(&text);
    let unreadable = |error| format!("it cannot be read: {error}");
    if shape(tree).map_err(unreadable)? != seal.shape {
        return Err("its files are not the ones that were stored".to_owned());
    }
    let is_of_another_boot = seal.boot.is_some() && seal.boot != boot();
    if let Some(stored) = seal.contents.as_ref().filter(|_| depth == Depth::All || is_of_another_boot) {
        if contents(tree).map_err(unreadable)? != *stored {
            return Err("its files hold something other than what was stored".to_owned());
        }
        if is_of_another_boot {
            // What is there after a boot is on the disk. Without the note it is looked at again.
            let whole = Seal { boot: None, ..seal };
            let _ = write_whole(&directory.join(FILE), whole.text().as_bytes(), Lasting::Cached);
        }
    }
    Ok(())
}

/// Names the time since the machine was started. Source: random(4), "boot_id".
fn boot() -> Option<String> {
    static BOOT: LazyLock<Option<String>> = LazyLock::new(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    });
    BOOT.clone()
}

fn open(tree: &Path) -> io::Result<Walk> {
    Walk::new(rustix::fs::open(tree, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The digest of all names, modes, sizes and times below a directory.
fn shape(tree: &Path) -> io::Result<String> {
    let mut walk = open(tree)?;
    let mut hasher = Hasher::sha256();
    while let Some(met) = walk.next()? {
        let Met::Entry(name, stat) = met else {
            hasher.update(b"/");
            continue;
        };
        // A directory's size is the file system's affair.
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let size = if is_directory { 0 } else { stat.st_size as u64 };
        hasher.update(&name);
        hasher.update(b"\0");
        for number in [u64::from(stat.st_mode), size, stat.st_mtime as u64, stat.st_mtime_nsec] {
            hasher.update(&number.to_le_bytes());
        }
        walk.enter()?;
    }
    Ok(hasher.finish().to_string())
}

/// A checksum of what all files below a directory hold, in the order of a walk. It is no defence against anybody: who can write here can
/// write a seal.
fn contents(tree: &Path) -> io::Result<String> {
    let mut walk = open(tree)?;
    let mut sum = crc32fast::Hasher::new();
    let mut buffer = Vec::with_capacity(PIECE);
    while let Some(met) = walk.next()? {
        if let Met::Entry(name, stat) = met {
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size > 0 {
                add_file(walk.directory(), &name, &mut buffer, &mut sum)?;
            }
            walk.enter()?;
        }
    }
    Ok(format!("crc32:{:08x}", sum.finalize()))
}

/// Adds what a file holds: each block that is not all zeros, and where a run of them begins. So a hole and zeros are the same.
fn add_file(
    directory: BorrowedFd<'_>,
    name: &[u8],
    buffer: &mut Vec<u8>,
    sum: &mut crc32fast::Hasher,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::empty())?);
    let (mut at, mut after_gap) = (0_u64, true);
    loop {
        buffer.clear();
        if file.by_ref().take(PIECE as u64).read_to_end(buffer)? == 0 {
            return Ok(());
        }
        for block in buffer.chunks(BLOCK) {
            if block == &ZEROS[..block.len()] {
                after_gap = true;
            } else {
                if std::mem::take(&mut after_gap) {
                    sum.update(&at.to_le_bytes());
                }
                sum.update(block);
            }
            at += block.len() as u64;
        }
        // A long run of zeros may be a hole, of which nothing need be read.
        if after_gap && buffer.len() == PIECE {
            at = match seek(&file, SeekFrom::Data(at)) {
                Ok(data) => data / BLOCK as u64 * BLOCK as u64,
                Err(Errno::NXIO) => return Ok(()),
                Err(_) => at,
            };
            file.seek(From::Start(at))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_seal_is_read_as_it_was_written() {
        for (contents, boot) in [(None, None), (Some("crc32:1"), Some("b")), (Some("crc32:1"), None)] {
            let [contents, boot] = [contents, boot].map(|text| text.map(str::to_owned));
            let seal = Seal { shape: "sha256:a".to_owned(), contents, boot };
            assert_eq!(Seal::parse(&seal.text()), seal);
        }
    }

    #[test]
    fn a_hole_and_zeros_are_the_same_and_everything_else_counts() {
        let dir = tempfile::tempdir().unwrap();
        let sum_of = |write: &dyn Fn(&File)| {
            let file = File::create(dir.path().join("file")).unwrap();
            write(&file);
            contents(dir.path()).unwrap()
        };
        let far = 40 << 20;
        let holes = sum_of(&|file| file.write_all_at(b"end", far).unwrap());
        let zeros = sum_of(&|file| {
            file.write_all_at(&vec![0; far as usize], 0).unwrap();
            file.write_all_at(b"end", far).unwrap();
        });
        assert_eq!(holes, zeros);
        let others = [
            sum_of(&|file| file.write_all_at(b"enD", far).unwrap()),
            sum_of(&|file| file.write_all_at(b"end", far + 4096).unwrap()),
            sum_of(&|file| file.set_len(far + 3).unwrap()),
            sum_of(&|file| {
                file.write_all_at(b"x", 12_345_678).unwrap();
                file.write_all_at(b"end", far).unwrap();
            }),
        ];
        assert!(others.iter().all(|other| *other != holes), "{others:?}");
    }
}
