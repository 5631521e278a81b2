//! Objects and values in a block.
//!
//! ```text
//! block    u8 u8 u16 u32      the version that a reader must know (0), the version, nothing, the root; offsets count from here
//! value    u32                type in the four high bits, the value itself or its offset in the others
//! object   u32, value …       how many slots there are with this one, then one for each field, counted from 1; arrays, too
//! blob     length, bytes      the length in one, two or four bytes, by the type
//! ```

/// The most slots of an object or array.
const MOST: usize = 1_000_001;

const BLOB_8: u32 = 0x8;
const BLOB_16: u32 = 0x9;
const BLOB_32: u32 = 0xa;
const ARRAY: u32 = 0xd;
const OBJECT: u32 = 0xe;

/// The bytes of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// Takes bytes; fails with the reason where they are of a later form.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        match bytes {
            [0, _, _, _, _, _, _, _, ..] => Ok(Self { bytes }),
            [_, _, _, _, _, _, _, _, ..] => Err("it is of a later version of ADB than 0".to_owned()),
            _ => Err("its objects are shorter than their header".to_owned()),
        }
    }

    /// Returns the root object.
    pub(super) fn root(self) -> Option<Object<'a>> {
        self.object(word(self.bytes, 4)?)
    }

    fn object(self, value: u32) -> Option<Object<'a>> {
        let (kind, offset) = parts(value);
        if kind != ARRAY && kind != OBJECT {
            return None;
        }
        let slots = usize::try_from(word(self.bytes, offset)?).ok()?;
        if slots == 0 || slots > MOST {
            return None;
        }
        let slots = self.bytes.get(offset..)?.get(..slots * 4)?;
        Some(Object { block: self, slots })
    }

    fn blob(self, value: u32) -> Option<&'a [u8]> {
        let (kind, offset) = parts(value);
        let rest = self.bytes.get(offset..)?;
        let (length, rest) = match kind {
            BLOB_8 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
            BLOB_16 => rest
                .split_first_chunk()
                .map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest))?,
            BLOB_32 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
            }
            _ => return None,
        };
        rest.get(..length)
    }
}

/// An object or an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    block: Block<'a>,
    slots: &'a [u8],
}

impl<'a> Object<'a> {
    /// Returns how many slots there are beside the one that says so.
    pub(super) fn len(self) -> usize {
        self.slots.len() / 4 - 1
    }

    /// Returns the object or array in a slot.
    pub(super) fn object(self, slot: usize) -> Option<Self> {
        self.block.object(self.value(slot)?)
    }

    /// Returns the bytes in a slot.
    pub(super) fn blob(self, slot: usize) -> Option<&'a [u8]> {
        self.block.blob(self.value(slot)?)
    }

    fn value(self, slot: usize) -> Option<u32> {
        word(self.slots, slot.checked_mul(4)?)
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// A value's type, and its offset.
fn parts(value: u32) -> (u32, usize) {
    (value >> 28, (value & 0x0fff_ffff) as usize)
}
