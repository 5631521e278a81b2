//! The 512-byte header block: fields, numbers, checksum.
//!
//! ```text
//! 0 name[100]  100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 checksum[8]  156 type[1]
//! 157 link[100]  257 magic[6]  263 version[2]  265 uname[32]  297 gname[32]  329 major[8]  337 minor[8]
//! 345 prefix[155]  (GNU: 386 sparse[4 × 24]  482 extended[1]  483 real size[12])
//! ```

use std::io::{self, BufRead};
use std::ops::Range;

use super::{BLOCK, Time};

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;

pub(super) type Block = [u8; BLOCK];

/// Names the flavour of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Gnu,
}

pub(super) fn format(block: &Block) -> Format {
    match &block[MAGIC] {
        b"ustar  \0" => Format::Gnu,
        magic if magic.starts_with(b"ustar\0") => Format::Ustar,
        _ => Format::V7,
    }
}

/// Says whether the checksum is right, computed over unsigned or (as some old tools did) over signed bytes.
pub(super) fn checksum_matches(block: &Block) -> bool {
    let Some(stored) = number(&block[CHECKSUM]) else { return false };
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (index, &byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&index) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    stored == unsigned || stored == signed
}

pub(super) fn checksum(block: &Block) -> u32 {
    block
        .iter()
        .enumerate()
        .map(|(index, &byte)| u32::from(if CHECKSUM.contains(&index) { b' ' } else { byte }))
        .sum()
}

pub(super) fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// Returns a text field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Reads a number: octal digits between spaces and NULs, or base 256 if the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (&first, _) = field.split_first()?;
    if first & 0x80 != 0 {
        // Two's complement of the remaining bits; the bit after the marker is the sign.
        let negative = first & 0x40 != 0;
        let mut value: i64 = if negative { -1 } else { 0 };
        for (index, &byte) in field.iter().enumerate() {
            let byte = if index == 0 { if negative { byte | 0x80 } else { byte & 0x7f } } else { byte };
            let shifted = value.checked_mul(256)?;
            value = shifted | i64::from(byte);
        }
        return Some(value);
    }
    let digits = field.trim_ascii_end();
    let digits = match digits.iter().position(|&byte| byte == 0) {
        Some(end) => &digits[..end],
        None => digits,
    };
    let mut value: i64 = 0;
    for &byte in digits.trim_ascii() {
        if !(b'0'..=b'7').contains(&byte) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?;
    }
    Some(value)
}

/// Parses PAX's decimal time, `[-]seconds[.fraction]`.
pub fn timestamp(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || !digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut seconds: i64 = digits.parse().ok()?;
    let mut nanos: u32 = 0;
    for place in 0..9 {
        nanos = nanos * 10 + fraction.as_bytes().get(place).map_or(0, |&digit| u32::from(digit - b'0'));
    }
    if negative {
        seconds = -seconds;
        if nanos > 0 {
            seconds -= 1;
            nanos = 1_000_000_000 - nanos;
        }
    }
    Some(Time { seconds, nanos })
}

/// Reads one block; nothing at the end of the stream, an error in the middle of a block.
pub(super) fn read_block(stream: &mut impl BufRead) -> io::Result<Option<Block>> {
    let mut block = [0; BLOCK];
    let buffer = stream.fill_buf()?;
    if buffer.is_empty() {
        return Ok(None);
    }
    if let Some(start) = buffer.first_chunk::<BLOCK>() {
        block = *start;
        stream.consume(BLOCK);
    } else {
        stream.read_exact(&mut block)?;
    }
    Ok(Some(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_forms() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"644\0junk", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\x80\0\0\0\x02\0\0\0\0", Some(1 << 33)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x00\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn times_may_have_fractions_and_be_negative() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1700000000.5", Some((1_700_000_000, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("", None),
            ("-", None),
            ("1e5", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(timestamp(text).map(|t| (t.seconds, t.nanos)), expected, "{text:?}");
        }
    }
}
