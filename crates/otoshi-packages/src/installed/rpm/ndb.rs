//! rpm's own database, NDB.
//!
//! ```text
//! 32 bytes     "RpmP", version, generation, how many pages of slots, …      all numbers: least significant byte first
//! 16 bytes     each slot up to the end of those pages: "Slot", number, first block, how many blocks
//! …            blobs, in blocks of 16 bytes: "BlbS", number, generation, length, the header, padding, and 12 bytes at the end
//! ```
//!
//! Source: `rpmpkg.c` of rpm.

const PAGE: usize = 4096;
const SLOT: usize = 16;
const BLOCK: usize = 16;
/// Two slots' room.
const HEADER: usize = 32;

/// Calls a function with every header.
pub(super) fn headers(
    database: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    if !database.starts_with(b"RpmP") || database.len() < HEADER {
        return Err("it is not an NDB database".to_owned());
    }
    let version = word(database, 4);
    if version != 0 {
        return Err(format!("it is of version {version} of NDB, which is not known"));
    }
    let pages = word(database, 12) as usize;
    let end = pages.checked_mul(PAGE).filter(|end| (HEADER..=database.len()).contains(end));
    let end = end.ok_or("its slots are cut off")?;
    let mut read = 0;
    for slot in database[HEADER..end].chunks_exact(SLOT) {
        if !slot.starts_with(b"Slot") {
            return Err("a slot is damaged".to_owned());
        }
        let number = word(slot, 4);
        if number == 0 {
            continue;
        }
        let blob = blob(database, number, word(slot, 8), word(slot, 12));
        let blob = blob.ok_or_else(|| format!("the record of package {number} is damaged"))?;
        // Slots that share blocks would be a small file that takes long to read.
        read += blob.len();
        if read > database.len() {
            return Err("its records overlap".to_owned());
        }
        each(blob)?;
    }
    Ok(())
}

fn blob(database: &[u8], number: u32, block: u32, blocks: u32) -> Option<&[u8]> {
    let start = (block as usize).checked_mul(BLOCK)?;
    let length = (blocks as usize).checked_mul(BLOCK)?;
    let bytes = database.get(start..start.checked_add(length)?)?;
    let rest = bytes.strip_prefix(b"BlbS")?;
    if rest.len() < 12 || word(rest, 0) != number {
        return None;
    }
    rest[12..].get(..word(rest, 8) as usize)
}

/// Four bytes as a number, the least significant first; the caller knows that they are there.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
