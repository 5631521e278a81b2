//! A package's header: a list of tags, and a store of the values that they name.
//!
//! ```text
//! 4 bytes      how many tags            all numbers: most significant byte first
//! 4 bytes      how large the store is
//! 16 bytes     each tag: number, type, place in the store, how many values
//! …            the store
//! ```
//!
//! Source: rpm's manual, "Package format", and rpm's own `header.c`. A database has headers without the eight bytes of magic
//! that stand before one in a package.

/// The tags that matter.
pub(super) mod tag {
    pub(in super::super) const NAME: u32 = 1000;
    pub(in super::super) const VERSION: u32 = 1001;
    pub(in super::super) const RELEASE: u32 = 1002;
    pub(in super::super) const EPOCH: u32 = 1003;
    pub(in super::super) const ARCH: u32 = 1022;
    pub(in super::super) const SOURCERPM: u32 = 1044;
    pub(in super::super) const MODULARITYLABEL: u32 = 5096;
}

const INT32: u32 = 4;
const STRING: u32 = 6;
const I18NSTRING: u32 = 9;

/// The most tags that a header has: rpm's own limit.
const MOST: usize = 0xffff;
/// The longest text that is read.
const LONGEST: usize = 4096;

/// Holds a header's tags.
#[derive(Debug)]
pub(super) struct Header<'a> {
    tags: &'a [[u8; 16]],
    store: &'a [u8],
}

impl<'a> Header<'a> {
    /// Takes a header apart; says what is wrong with one that is shorter than it says.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let damaged = || "the header of a package is damaged".to_owned();
        let (sizes, rest) = bytes.split_at_checked(8).ok_or_else(damaged)?;
        let (count, size) = (word(sizes, 0) as usize, word(sizes, 4) as usize);
        if count > MOST {
            return Err(damaged());
        }
        let (tags, rest) = rest.split_at_checked(count * 16).ok_or_else(damaged)?;
        let store = rest.get(..size).ok_or_else(damaged)?;
        Ok(Self { tags: tags.as_chunks().0, store })
    }

    /// Returns a text; the first where there are several.
    pub(super) fn text(&self, tag: u32) -> Result<Option<String>, String> {
        let Some(bytes) = self.value(tag, &[STRING, I18NSTRING])? else { return Ok(None) };
        let end = bytes.iter().take(LONGEST).position(|byte| *byte == 0);
        let end = end.ok_or_else(|| format!("tag {tag} of a package is too long or has no end"))?;
        Ok(Some(String::from_utf8_lossy(&bytes[..end]).into_owned()))
    }

    /// Returns a number; the first where there are several.
    pub(super) fn number(&self, tag: u32) -> Result<Option<u32>, String> {
        match self.value(tag, &[INT32])? {
            None => Ok(None),
            Some(bytes) if bytes.len() < 4 => Err(format!("tag {tag} of a package is cut off")),
            Some(bytes) => Ok(Some(word(bytes, 0))),
        }
    }

    fn value(&self, tag: u32, types: &[u32]) -> Result<Option<&'a [u8]>, String> {
        let Some(entry) = self.tags.iter().find(|entry| word(*entry, 0) == tag) else { return Ok(None) };
        if !types.contains(&word(entry, 4)) || word(entry, 12) == 0 {
            return Err(format!("tag {tag} of a package has the wrong type"));
        }
        let value = self.store.get(word(entry, 8) as usize..);
        value.map(Some).ok_or_else(|| format!("tag {tag} of a package lies outside its header"))
    }
}

/// Four bytes as a number, the most significant first; the caller knows that they are there.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
