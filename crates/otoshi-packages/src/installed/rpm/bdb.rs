//! A hash of Berkeley DB.
//!
//! ```text
//! page 0       at 12 the magic, at 20 the size of a page, at 25 the type 8, at 32 the last page
//! other pages  at 16 the next page, at 20 how many items, at 22 bytes used, at 25 the type; from 26 on places of items or data
//! ```
//!
//! Items of a page of type 2 or 13 are keys and values by turns. A value is there itself (1), or lies on pages of its own (3),
//! which are of type 7. The key is the package's number, the value its header; the key zero has no header.
//!
//! Source: `dbinc/db_page.h` of Berkeley DB 5.3. Both byte orders are read.

const MAGIC: u32 = 0x0006_1561;
const HASH_META: u8 = 8;
const HASH_UNSORTED: u8 = 2;
const HASH: u8 = 13;
const OVERFLOW: u8 = 7;
/// The bytes of a page before its items.
const PAGE_HEADER: usize = 26;

const KEYDATA: u8 = 1;
const OFFPAGE: u8 = 3;

/// Calls a function with every header.
pub(super) fn headers(
    database: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let reader = Reader::open(database)?;
    // Every page is part of one value at most.
    let mut used = vec![false; reader.pages()];
    let mut value = Vec::new();
    for number in 1..reader.pages() {
        let page = reader.page(number)?;
        if !matches!(page[25], HASH_UNSORTED | HASH) {
            continue;
        }
        let items = reader.half(page, 20) as usize;
        if !items.is_multiple_of(2) || PAGE_HEADER + items * 2 > page.len() {
            return Err(format!("page {number} is damaged"));
        }
        for pair in 0..items / 2 {
            let damaged = || format!("item {pair} of page {number} is damaged");
            let key = reader.item(page, pair * 2).ok_or_else(damaged)?;
            let item = reader.item(page, pair * 2 + 1).ok_or_else(damaged)?;
            if matches!(key, [KEYDATA, 0, 0, 0, 0]) {
                continue;
            }
            match item {
                [KEYDATA, header @ ..] => each(header)?,
                [OFFPAGE, _, _, _, rest @ ..] if rest.len() >= 8 => {
                    let (first, length) = (reader.word(rest, 0), reader.word(rest, 4));
                    reader.value(first as usize, length as usize, &mut used, &mut value)?;
                    each(&value)?;
                }
                _ => return Err(damaged()),
            }
        }
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    page: usize,
    swapped: bool,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let mut reader = Self { bytes, page: 512, swapped: false };
        if bytes.len() < 512 {
            return Err("it is not a Berkeley DB database".to_owned());
        }
        reader.swapped = reader.word(bytes, 12) == MAGIC.swap_bytes();
        if reader.word(bytes, 12) != MAGIC || bytes[25] != HASH_META {
            return Err("it is not a Berkeley DB hash database".to_owned());
        }
        if bytes[24] != 0 {
            return Err("it is encrypted".to_owned());
        }
        reader.page = reader.word(bytes, 20) as usize;
        if !reader.page.is_power_of_two() || !(512..=65536).contains(&reader.page) {
            return Err(format!("its pages have {} bytes, which is not a valid size", reader.page));
        }
        if reader.word(bytes, 32) as usize >= reader.pages() {
            return Err("it is cut off".to_owned());
        }
        Ok(reader)
    }

    fn pages(&self) -> usize {
        self.bytes.len() / self.page
    }

    fn page(&self, number: usize) -> Result<&'a [u8], String> {
        let start = number.checked_mul(self.page);
        let page = start.and_then(|start| self.bytes.get(start..start.checked_add(self.page)?));
        page.ok_or_else(|| format!("page {number} lies outside the file"))
    }

    /// An item reaches from its own place to that of the item before it; the first one to the page's end.
    fn item(&self, page: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let place = |index: usize| self.half(page, PAGE_HEADER + index * 2) as usize;
        let end = if index == 0 { page.len() } else { place(index - 1) };
        page.get(place(index)..end)
    }

    fn value(
        &self,
        first: usize,
        length: usize,
        used: &mut [bool],
        value: &mut Vec<u8>,
    ) -> Result<(), String> {
        value.clear();
        let mut number = first;
        while value.len() < length {
            let damaged = || format!("page {number} is damaged");
            let page = self.page(number)?;
            if std::mem::replace(used.get_mut(number).ok_or_else(damaged)?, true) || page[25] != OVERFLOW {
                return Err(damaged());
            }
            let data = page[PAGE_HEADER..].get(..self.half(page, 22) as usize).ok_or_else(damaged)?;
            value.extend_from_slice(data);
            number = self.word(page, 16) as usize;
        }
        value.truncate(length);
        Ok(())
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if self.swapped { word.swap_bytes() } else { word }
    }

    fn half(&self, bytes: &[u8], at: usize) -> u16 {
        let half = bytes[at..].first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
        if self.swapped { half.swap_bytes() } else { half }
    }
}
