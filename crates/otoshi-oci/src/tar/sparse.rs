//! Sparse files: the map of their data, from the three places where formats keep it.

use std::io::BufRead;

use super::header::{self, Block, read_block};
use super::pax::decimal;
use super::{BLOCK, Segment, TarError};

/// How many runs of data one file may have.
const MAX_SEGMENTS: usize = 1 << 20;

/// Reads the map of an old GNU sparse file: four runs in the header, then blocks of twenty-one.
///
/// Returns the map, the real size, and how many bytes of the archive were read.
pub(super) fn read_gnu(
    stream: &mut impl BufRead,
    first: &Block,
) -> Result<(Vec<Segment>, u64, u64), TarError> {
    let invalid = |reason| invalid(first, reason);
    let real_size = header::number(&first[483..495])
        .and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| invalid("bad size of a sparse file"))?;
    let mut segments = Vec::new();
    let mut more = first[482] != 0;
    let mut read = 0;
    add(&mut segments, &first[386..482]).ok_or_else(|| invalid("bad sparse map"))?;
    while more {
        let block = read_block(stream)?.ok_or_else(|| invalid("the archive ends in a sparse map"))?;
        read += BLOCK as u64;
        add(&mut segments, &block[..504]).ok_or_else(|| invalid("bad sparse map"))?;
        more = block[504] != 0;
    }
    Ok((segments, real_size, read))
}

fn add(segments: &mut Vec<Segment>, fields: &[u8]) -> Option<()> {
    for field in fields.chunks_exact(24) {
        if field[0] == 0 {
            break;
        }
        if segments.len() == MAX_SEGMENTS {
            return None;
        }
        let offset = u64::try_from(header::number(&field[..12])?).ok()?;
        let length = u64::try_from(header::number(&field[12..])?).ok()?;
        segments.push(Segment { offset, length });
    }
    Some(())
}

/// Reads the map of a PAX 1.0 sparse file, which stands before its data: decimal numbers, each on a line, padded to a
/// block. Returns the map and how many bytes of the archive were read, at most `available`.
pub(super) fn read_pax(
    stream: &mut impl BufRead,
    available: u64,
    first: &Block,
) -> Result<(Vec<Segment>, u64), TarError> {
    let invalid = |reason| invalid(first, reason);
    let mut read = 0;
    let mut block = [0; BLOCK];
    let mut at = BLOCK;
    let mut next = |stream: &mut _, read: &mut u64| -> Result<u64, TarError> {
        let mut digits = Vec::with_capacity(20);
        loop {
            if at == BLOCK {
                if available - *read < BLOCK as u64 {
                    return Err(invalid("the sparse map is longer than the entry"));
                }
                block = read_block(stream)?.ok_or_else(|| invalid("the archive ends in a sparse map"))?;
                *read += BLOCK as u64;
                at = 0;
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' => return decimal(&digits).ok_or_else(|| invalid("bad sparse map")),
                _ if digits.len() == 20 => return Err(invalid("bad sparse map")),
                _ => digits.push(byte),
            }
        }
    };
    let count = next(stream, &mut read)?;
    if count > MAX_SEGMENTS as u64 {
        return Err(invalid("the sparse map has too many runs"));
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        let offset = next(stream, &mut read)?;
        let length = next(stream, &mut read)?;
        segments.push(Segment { offset, length });
    }
    Ok((segments, read))
}

/// Checks that a map is ordered, does not overlap, ends inside the file and accounts for the stored data.
pub(super) fn check(segments: &[Segment], real_size: u64, stored: u64) -> Result<(), &'static str> {
    let mut end = 0u64;
    let mut total = 0u64;
    for segment in segments {
        let next = segment.offset.checked_add(segment.length).ok_or("the sparse map overflows")?;
        if segment.offset < end || next > real_size {
            return Err("the sparse map is out of order or goes beyond the file");
        }
        end = next;
        total += segment.length;
    }
    if total == stored { Ok(()) } else { Err("the sparse map does not add up to the stored data") }
}

fn invalid(block: &Block, reason: &'static str) -> TarError {
    TarError::Invalid { place: super::display(header::text(&block[header::NAME])), reason: reason.into() }
}
