//! A file: what is compressed, and the blocks in it.
//!
//! ```text
//! file     "ADB."             not compressed: this is already the header below
//!          "ADBd"             a deflate stream follows
//!          "ADBc" u8 u8       algorithm (0 none, 1 deflate, 2 zstd) and level; a stream follows
//! stream   "ADB." SCHEMA      four bytes that say what the root object is; blocks follow, one of ADB first
//! block    u32                type in the two high bits, size of block with this word in the others; padded to eight bytes
//!          u32 u32 u64        where the two bits are 3: the type, nothing, the size
//! ```
//!
//! Numbers are little-endian.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::DeflateDecoder;

use super::block::{Block, Object};

/// The most bytes of a file that is not compressed.
pub(crate) const LARGEST: u64 = 128 << 20;
/// The schema of an index.
pub(super) const INDEX: [u8; 4] = *b"indx";
/// The schema of a database of what is installed.
pub(super) const INSTALLED: [u8; 4] = *b"idb\0";

/// A file in this form, decompressed.
#[derive(Debug)]
pub(crate) struct Adb<'a> {
    stream: Cow<'a, [u8]>,
}

/// The type of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Adb,
    Signature,
    Data,
}

impl<'a> Adb<'a> {
    /// Decompresses a file; fails with the reason where it is not of this form or too large.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let (form, rest) = bytes.split_at_checked(4).ok_or("it is shorter than its header")?;
        let stream = match form {
            b"ADB." => Cow::Borrowed(bytes),
            b"ADBd" => Cow::Owned(read_all(DeflateDecoder::new(rest))?),
            b"ADBc" => match rest {
                [0, _, rest @ ..] => Cow::Borrowed(rest),
                [1, _, rest @ ..] => Cow::Owned(read_all(DeflateDecoder::new(rest))?),
                [2, _, rest @ ..] => {
                    let decoder = zstd::stream::read::Decoder::with_buffer(rest);
                    Cow::Owned(read_all(decoder.map_err(|error| error.to_string())?)?)
                }
                _ => return Err("its compression is not one that apk 3 has".to_owned()),
            },
            _ => return Err("it does not begin as ADB does".to_owned()),
        };
        if !stream.starts_with(b"ADB.") || stream.len() < 8 {
            return Err("what is compressed in it does not begin as ADB does".to_owned());
        }
        Ok(Self { stream })
    }

    /// Returns the four bytes that say what the root object is.
    pub(super) fn schema(&self) -> [u8; 4] {
        [self.stream[4], self.stream[5], self.stream[6], self.stream[7]]
    }

    /// Returns the bytes of the block that holds all objects; fails with the reason where the file does not begin with one.
    pub(super) fn content(&self) -> Result<&[u8], String> {
        match self.blocks().next() {
            Some(Ok((Type::Adb, content))) => Ok(content),
            Some(Ok(_)) => Err("it does not begin with objects".to_owned()),
            Some(Err(reason)) => Err(reason),
            None => Err("it holds nothing".to_owned()),
        }
    }

    /// Returns the signatures as they stand there.
    pub(super) fn signatures(&self) -> Result<Vec<&[u8]>, String> {
        let mut found = Vec::new();
        for block in self.blocks().skip(1) {
            match block? {
                (Type::Signature, content) => found.push(content),
                (Type::Data, _) => break,
                (Type::Adb, _) => return Err("it holds two blocks of objects".to_owned()),
            }
        }
        Ok(found)
    }

    fn blocks(&self) -> impl Iterator<Item = Result<(Type, &[u8]), String>> {
        let mut rest = &self.stream[8..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let Some((kind, content, more)) = block(rest) else {
                rest = &[];
                return Some(Err("a block of it is longer than what is left".to_owned()));
            };
            rest = more;
            let kind = match kind {
                0 => Type::Adb,
                1 => Type::Signature,
                2 => Type::Data,
                _ => return Some(Err("a block of it is of no type that apk 3 has".to_owned())),
            };
            Some(Ok((kind, content)))
        })
    }

    /// The root object, where the file has that schema.
    pub(super) fn root(&self, schema: [u8; 4]) -> Result<Object<'_>, String> {
        if self.schema() != schema {
            return Err("it is ADB, and of another schema".to_owned());
        }
        Block::new(self.content()?)?.root().ok_or_else(|| "its root is no object".to_owned())
    }
}

/// The first block: its type, its content, and what comes after it.
pub(super) fn block(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let word = u32::from_le_bytes(*bytes.first_chunk()?);
    let (kind, header, size) = match word >> 30 {
        3 => (word & 0x3fff_ffff, 16, u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?)),
        kind => (kind, 4, u64::from(word & 0x3fff_ffff)),
    };
    let size = usize::try_from(size).ok()?;
    let content = bytes.get(header..size)?;
    Some((kind, content, bytes.get(size.checked_next_multiple_of(8)?..)?))
}

fn read_all(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    reader.take(LARGEST + 1).read_to_end(&mut all).map_err(|error| error.to_string())?;
    if all.len() as u64 > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    Ok(all)
}
