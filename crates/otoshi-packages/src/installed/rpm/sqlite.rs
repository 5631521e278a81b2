//! A database of SQLite, as far as rpm's is one: the rows of the table `Packages`, read page by page.
//!
//! Nothing is trusted: every page is read at most once, so that a file that points in circles ends, and takes no longer than
//! its size allows.
//!
//! Format: <https://www.sqlite.org/fileformat2.html>

const MAGIC: &[u8] = b"SQLite format 3\0";
const TABLE: &[u8] = b"Packages";
/// The bytes of the first page before its tree begins.
const FILE_HEADER: usize = 100;
/// How deep a tree can be: SQLite's own limit.
const DEPTH: usize = 20;

const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// Calls a function with every header.
pub(super) fn headers(
    database: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = Reader::open(database)?;
    let mut root = None;
    reader.rows(1, DEPTH, &mut |row| {
        // type, name, tbl_name, rootpage, sql
        let columns = columns(row).ok_or("its schema is damaged")?;
        if let [kind, name, _, page, ..] = &columns[..]
            && *kind == b"table"
            && *name == TABLE
        {
            root = Some(page.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)));
        }
        Ok(())
    })?;
    let root = root.ok_or("it has no table Packages")?;
    let root = usize::try_from(root).map_err(|_| "its schema is damaged")?;
    reader.rows(root, DEPTH, &mut |row| {
        // hnum, which is the row's own number, and blob
        let columns = columns(row).ok_or("a row is damaged")?;
        each(columns.get(1).ok_or("a row has no header")?)
    })
}

/// Returns the database with what its write-ahead log has committed; `None` where that is nothing.
pub(super) fn with_journal(database: &[u8], journal: &[u8]) -> Result<Option<Vec<u8>>, String> {
    const FRAME: usize = 24;
    let reader = Reader::open(database)?;
    if journal.len() < 32 {
        return Ok(None);
    }
    let big = match word(journal, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return Err("its write-ahead log is damaged".to_owned()),
    };
    if word(journal, 8) as usize != reader.page {
        return Err("its write-ahead log has pages of another size".to_owned());
    }
    let salt = &journal[16..24];
    let mut sum = checksum(big, (0, 0), &journal[..24]);
    if sum != (word(journal, 24), word(journal, 28)) {
        return Ok(None);
    }
    // Frames count up to the last one that ends a transaction; a wrong checksum or salt ends the log.
    let mut pending = Vec::new();
    let mut committed = None;
    for frame in journal[32..].chunks_exact(FRAME + reader.page) {
        let (header, page) = frame.split_at(FRAME);
        sum = checksum(big, checksum(big, sum, &header[..8]), page);
        if &header[8..16] != salt || sum != (word(header, 16), word(header, 20)) {
            break;
        }
        pending.push((word(header, 0) as usize, page));
        let size = word(header, 4) as usize;
        if size > 0 {
            committed = Some((pending.len(), size));
        }
    }
    let Some((frames, size)) = committed else { return Ok(None) };
    let mut bytes = database.to_vec();
    if size > bytes.len() / reader.page + frames {
        return Err("its write-ahead log is damaged".to_owned());
    }
    bytes.resize(size * reader.page, 0);
    for (number, page) in &pending[..frames] {
        let place = number.checked_sub(1).and_then(|number| number.checked_mul(reader.page));
        let room = place.and_then(|place| bytes.get_mut(place..place.checked_add(reader.page)?));
        // A page behind the end was cut off later.
        if let Some(room) = room {
            room.copy_from_slice(page);
        }
    }
    Ok(Some(bytes))
}

fn checksum(big: bool, start: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let number = |bytes: &[u8; 4]| if big { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
    let pairs = bytes.as_chunks::<4>().0.as_chunks::<2>().0;
    pairs.iter().fold(start, |(first, second), [a, b]| {
        let first = first.wrapping_add(number(a)).wrapping_add(second);
        (first, second.wrapping_add(number(b)).wrapping_add(first))
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    page: usize,
    /// The bytes of a page that are in use.
    usable: usize,
    read: Vec<bool>,
    /// How many bytes of rows may still come: cells that overlap would be a small file that takes long to read.
    left: usize,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if !bytes.starts_with(MAGIC) || bytes.len() < FILE_HEADER {
            return Err("it is not an SQLite database".to_owned());
        }
        let page = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 65536,
            size => usize::from(size),
        };
        let usable = page.saturating_sub(usize::from(bytes[20]));
        if !page.is_power_of_two() || page < 512 || usable < 480 {
            return Err(format!("its pages have {page} bytes, which is not a valid size"));
        }
        Ok(Self { bytes, page, usable, read: vec![false; bytes.len() / page + 1], left: bytes.len() })
    }

    /// A page that was not read before; pages are counted from one.
    fn page(&mut self, number: usize) -> Result<&'a [u8], String> {
        let start = number.checked_sub(1).and_then(|number| number.checked_mul(self.page));
        let page = start.and_then(|start| self.bytes.get(start..start.checked_add(self.page)?));
        let page = page.ok_or_else(|| format!("page {number} lies outside the file"))?;
        if std::mem::replace(&mut self.read[number - 1], true) {
            return Err(format!("page {number} is named twice"));
        }
        Ok(&page[..self.usable])
    }

    /// Calls a function with every row of a table.
    fn rows(
        &mut self,
        number: usize,
        depth: usize,
        each: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let page = self.page(number)?;
        let start = if number == 1 { FILE_HEADER } else { 0 };
        let kind = page[start];
        let header = match kind {
            INTERIOR => 12,
            LEAF => 8,
            _ => return Err(format!("page {number} is not part of a table")),
        };
        let damaged = || format!("page {number} is damaged");
        if depth == 0 {
            return Err(damaged());
        }
        let cells = usize::from(u16::from_be_bytes([page[start + 3], page[start + 4]]));
        let places = page.get(start + header..start + header + cells * 2).ok_or_else(damaged)?;
        let mut payload = Vec::new();
        for place in places.as_chunks::<2>().0 {
            let cell = page.get(usize::from(u16::from_be_bytes(*place))..).ok_or_else(damaged)?;
            if kind == INTERIOR {
                let child = cell.first_chunk().ok_or_else(damaged)?;
                self.rows(u32::from_be_bytes(*child) as usize, depth - 1, each)?;
                continue;
            }
            let (length, cell) = varint(cell).ok_or_else(damaged)?;
            let (_, cell) = varint(cell).ok_or_else(damaged)?;
            self.payload(length, cell, &mut payload).ok_or_else(damaged)??;
            each(&payload)?;
        }
        if kind == INTERIOR {
            let last = page[start + 8..].first_chunk().ok_or_else(damaged)?;
            self.rows(u32::from_be_bytes(*last) as usize, depth - 1, each)?;
        }
        Ok(())
    }

    /// Gathers a row's bytes: the first in its cell, the others on pages that are a chain.
    fn payload(&mut self, length: u64, cell: &[u8], payload: &mut Vec<u8>) -> Option<Result<(), String>> {
        payload.clear();
        let length = usize::try_from(length).ok().filter(|length| *length <= self.bytes.len())?;
        self.left = self.left.checked_sub(length)?;
        let most = self.usable - 35;
        let least = (self.usable - 12) * 32 / 255 - 23;
        let local = if length <= most {
            length
        } else {
            let local = least + (length - least) % (self.usable - 4);
            if local <= most { local } else { least }
        };
        payload.extend_from_slice(cell.get(..local)?);
        if local == length {
            return Some(Ok(()));
        }
        let mut next = u32::from_be_bytes(*cell[local..].first_chunk()?) as usize;
        while payload.len() < length {
            let page = match self.page(next) {
                Ok(page) => page,
                Err(error) => return Some(Err(error)),
            };
            let (link, data) = page.split_first_chunk()?;
            payload.extend_from_slice(&data[..data.len().min(length - payload.len())]);
            next = u32::from_be_bytes(*link) as usize;
        }
        Some(Ok(()))
    }
}

/// The values of a row as bytes; numbers as they are stored.
fn columns(row: &[u8]) -> Option<Vec<&[u8]>> {
    let (size, mut types) = varint(row)?;
    let size = usize::try_from(size).ok()?;
    let before = row.len() - types.len();
    types = types.get(..size.checked_sub(before)?)?;
    let mut values = row.get(size..)?;
    let mut columns = Vec::new();
    while !types.is_empty() {
        let (kind, rest) = varint(types)?;
        types = rest;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            kind => (kind - 12) / 2,
        };
        let (value, rest) = values.split_at_checked(usize::try_from(length).ok()?)?;
        values = rest;
        columns.push(value);
    }
    Some(columns)
}

/// A number of one to nine bytes, and what comes after it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(9).enumerate() {
        if place == 8 {
            return Some((number << 8 | u64::from(*byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

/// Four bytes as a number, the most significant first; the caller knows that they are there.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
