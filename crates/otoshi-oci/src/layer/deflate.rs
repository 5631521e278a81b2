//! Deflate streams that go on: each block of a layer is compressed on its own, and the results are one stream.
//!
//! libdeflate is about twice as fast as zlib's descendants at the same size, but each of its results is a whole stream: the
//! last of its blocks carries the mark that nothing follows (RFC 1951, section 3.2.3). Whoever wants several of them in one
//! gzip member has to take that mark away, and nothing in the stream says where it is. So the codes are read, not what they
//! stand for, up to the last block; then the stream is filled up to a whole byte, as a sync flush does it.
//!
//! Members put behind one another would need none of this, but some readers of layers see the first one alone
//! (`findings/layers-of-several-frames.sh`).

use std::io;

use libdeflater::{CompressionLvl, Compressor};

/// The fastest level of libdeflate whose results are not larger than those of gzip's own default.
const LEVEL: i32 = 4;
/// What a peek at the stream may read beyond its end.
const PEEK: usize = 8;
/// The longest code of a literal, length or distance, in bits.
const MAX_CODE: usize = 15;
/// The longest code of a code's length, in bits.
const MAX_LENGTH_CODE: usize = 7;
/// An empty stored block behind its three bits of header: its length, and the length's complement.
const EMPTY: [u8; 4] = [0, 0, 0xff, 0xff];
/// The order in which the lengths of the lengths' codes are given (section 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The symbol that ends a block.
const END_OF_BLOCK: usize = 256;

/// In an entry of a table: how many bits a code and its extra bits take.
const BITS: u8 = 31;
/// In an entry of a table: a length, which a distance follows.
const LENGTH: u8 = 32;
/// In an entry of a table: the end of the block.
const END: u8 = 64;

/// Compresses blocks to pieces of one deflate stream.
pub(super) struct Deflate {
    compressor: Compressor,
    codes: Codes,
}

impl Deflate {
    pub(super) fn new() -> Self {
        // `LEVEL` is one that libdeflate has.
        let level = CompressionLvl::new(LEVEL).unwrap_or_default();
        Self { compressor: Compressor::new(level), codes: Codes::default() }
    }

    /// Puts the piece for `input` into `out`, in place of what is there; it ends at a byte, and the stream does not end.
    ///
    /// Fails if libdeflate's result is none.
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let room = self.compressor.deflate_compress_bound(input.len());
        // What is there already need not be zeroed.
        out.resize(room + PEEK, 0);
        let length = self.compressor.deflate_compress(input, &mut out[..room]).map_err(io::Error::other)?;
        out.truncate(length);
        self.codes.open_end(out)
    }
}

/// The codes of a block, as tables of what follows.
#[derive(Default)]
struct Codes {
    literals: Table,
    distances: Table,
}

impl Codes {
    /// Takes the mark of the last block away, and fills the stream up to a whole byte.
    fn open_end(&mut self, stream: &mut Vec<u8>) -> io::Result<()> {
        let length = stream.len();
        stream.resize(length + PEEK, 0);
        let mut bits = Bits { stream, at: 0 };
        let (last, end) = loop {
            let header = bits.at;
            let is_last = bits.take(1)? == 1;
            match bits.take(2)? {
                0 => bits.skip_stored()?,
                1 => {
                    self.fixed();
                    self.skip_block(&mut bits)?;
                }
                2 => {
                    self.dynamic(&mut bits)?;
                    self.skip_block(&mut bits)?;
                }
                _ => return Err(broken()),
            }
            if is_last {
                break (header, bits.at);
            }
        };
        if end.div_ceil(8) != length {
            return Err(broken());
        }
        stream[last / 8] &= !(1 << (last % 8));
        // The bits behind the end are zero: the header of a stored block that is not the last one.
        stream.truncate((end + 3).div_ceil(8));
        stream.extend(EMPTY);
        Ok(())
    }

    /// The codes that need no table in the stream (section 3.2.6).
    fn fixed(&mut self) {
        let lengths = [(8, 144), (9, 112), (7, 24), (8, 8)];
        let literals: Vec<u8> =
            lengths.iter().flat_map(|&(bits, count)| std::iter::repeat_n(bits, count)).collect();
        self.literals.fill(&literals, literal);
        self.distances.fill(&[5; 30], distance);
    }

    /// Reads the codes at the beginning of a block (section 3.2.7).
    fn dynamic(&mut self, bits: &mut Bits<'_>) -> io::Result<()> {
        let (literals, distances, given) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
        let mut of_lengths = [0; ORDER.len()];
        for &symbol in &ORDER[..given.min(ORDER.len())] {
            of_lengths[symbol] = bits.take(3)? as u8;
        }
        let codes = codes_of_lengths(&of_lengths);
        let mut lengths = Vec::with_capacity(literals + distances);
        while lengths.len() < literals + distances {
            let (symbol, taken) = codes[bits.peek()? & (codes.len() - 1)].ok_or_else(broken)?;
            bits.at += taken;
            let (value, times) = match symbol {
                0..=15 => (symbol, 1),
                16 => (*lengths.last().ok_or_else(broken)?, 3 + bits.take(2)?),
                17 => (0, 3 + bits.take(3)?),
                _ => (0, 11 + bits.take(7)?),
            };
            lengths.extend(std::iter::repeat_n(value, times));
        }
        if lengths.len() != literals + distances {
            return Err(broken());
        }
        self.literals.fill(&lengths[..literals], literal);
        self.distances.fill(&lengths[literals..], distance);
        Ok(())
    }

    fn skip_block(&self, bits: &mut Bits<'_>) -> io::Result<()> {
        loop {
            // A length, a distance and their extra bits are 48 at most, and a peek has 57.
            let word = bits.peek()?;
            let entry = self.literals.entry(word)?;
            let mut taken = usize::from(entry & BITS);
            if entry & LENGTH != 0 {
                taken += usize::from(self.distances.entry(word >> taken)? & BITS);
            }
            bits.at += taken;
            if entry & END != 0 {
                return Ok(());
            }
        }
    }
}

/// How many bits follow a literal's or length's code (section 3.2.5), and of what kind it is.
fn literal(symbol: usize) -> Option<u8> {
    match symbol {
        0..END_OF_BLOCK => Some(0),
        END_OF_BLOCK => Some(END),
        257..=264 | 285 => Some(LENGTH),
        265..=284 => Some(LENGTH | ((symbol - 261) / 4) as u8),
        _ => None,
    }
}

/// How many bits follow a distance's code (section 3.2.5).
fn distance(symbol: usize) -> Option<u8> {
    match symbol {
        0..=3 => Some(0),
        4..=29 => Some((symbol / 2 - 1) as u8),
        _ => None,
    }
}

/// Which symbol each seven bits begin with, and how many of them are its code.
fn codes_of_lengths(lengths: &[u8]) -> [Option<(u8, usize)>; 1 << MAX_LENGTH_CODE] {
    let mut codes = [None; 1 << MAX_LENGTH_CODE];
    each_code(lengths, |symbol, length, code| {
        for place in (code..codes.len()).step_by(1 << length) {
            codes[place] = Some((symbol as u8, length));
        }
    });
    codes
}

/// What the bits of a stream begin with, by the bits.
#[derive(Default)]
struct Table {
    entries: Vec<u8>,
}

impl Table {
    /// Takes the codes that these lengths make; `extra` says what the symbol brings with it.
    fn fill(&mut self, lengths: &[u8], extra: impl Fn(usize) -> Option<u8>) {
        let longest = lengths.iter().copied().max().unwrap_or_default().clamp(1, MAX_CODE as u8);
        self.entries.clear();
        self.entries.resize(1 << longest, 0);
        each_code(lengths, |symbol, length, code| {
            if let Some(extra) = extra(symbol) {
                for place in (code..self.entries.len()).step_by(1 << length) {
                    self.entries[place] = extra + length as u8;
                }
            }
        });
    }

    fn entry(&self, word: usize) -> io::Result<u8> {
        // The number of entries is a power of two.
        match self.entries.get(word & self.entries.len().wrapping_sub(1)) {
            Some(0) | None => Err(broken()),
            Some(entry) => Ok(*entry),
        }
    }
}

/// Names each symbol that has a code, the code's length, and the code as it stands in a stream (section 3.2.2).
fn each_code(lengths: &[u8], mut found: impl FnMut(usize, usize, usize)) {
    let mut counts = [0; MAX_CODE + 1];
    for &length in lengths.iter().filter(|&&length| length > 0) {
        counts[usize::from(length)] += 1;
    }
    let mut next = [0u16; MAX_CODE + 1];
    for length in 1..MAX_CODE {
        next[length + 1] = (next[length] + counts[length]) << 1;
    }
    for (symbol, length) in lengths.iter().map(|&length| usize::from(length)).enumerate() {
        if length > 0 {
            // Codes begin with their highest bit, everything else with its lowest.
            let code = next[length].reverse_bits() >> (16 - length);
            next[length] = next[length].wrapping_add(1);
            found(symbol, length, usize::from(code));
        }
    }
}

/// A place in a stream that has [`PEEK`] bytes behind its end.
struct Bits<'a> {
    stream: &'a [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    /// The next 57 bits, and some.
    fn peek(&self) -> io::Result<usize> {
        let at = self.at / 8;
        let bytes = self.stream.get(at..).and_then(<[u8]>::first_chunk::<PEEK>).ok_or_else(broken)?;
        Ok((u64::from_le_bytes(*bytes) >> (self.at % 8)) as usize)
    }

    fn take(&mut self, count: usize) -> io::Result<usize> {
        let value = self.peek()? & ((1 << count) - 1);
        self.at += count;
        Ok(value)
    }

    /// A block that is stored as it is (section 3.2.4).
    fn skip_stored(&mut self) -> io::Result<()> {
        self.at = self.at.next_multiple_of(8);
        let length = self.take(16)?;
        self.at += 16 + 8 * length;
        Ok(())
    }
}

fn broken() -> io::Error {
    io::Error::other("what libdeflate made is not a deflate stream")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    /// Compresses each block, puts the pieces together, and reads the result as one stream.
    fn through(blocks: &[Vec<u8>]) -> Vec<u8> {
        let (mut deflate, mut stream, mut piece) = (Deflate::new(), Vec::new(), Vec::new());
        for block in blocks {
            deflate.compress(block, &mut piece).unwrap();
            stream.extend(&piece);
        }
        stream.extend([3, 0]);
        let mut read = Vec::new();
        flate2::read::DeflateDecoder::new(&stream[..]).read_to_end(&mut read).unwrap();
        read
    }

    /// Bytes of every kind of block: the same, few, text, many, by turns.
    fn block() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            (any::<u8>(), 0..20_000usize).prop_map(|(byte, times)| vec![byte; times]),
            prop::collection::vec(any::<u8>(), 0..20_000),
            prop::collection::vec(0..4u8, 0..3_000),
            ("[a-z ]{0,40}", 0..400usize).prop_map(|(text, times)| text.repeat(times).into_bytes()),
        ];
        prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn pieces_are_one_stream(blocks in prop::collection::vec(block(), 0..5)) {
            prop_assert_eq!(through(&blocks), blocks.concat());
        }

        #[test]
        fn what_is_no_stream_is_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            // Whatever it says, it says so without a panic and to an end.
            let _ = Codes::default().open_end(&mut bytes);
        }
    }

    #[test]
    fn the_bits_behind_the_last_block_are_enough_or_not() {
        // One to many bytes end at each of a byte's eight places.
        for length in 0..600 {
            let text: Vec<u8> = (0..length).map(|place| b'a' + (place * place % 23) as u8).collect();
            assert_eq!(through(&[text.clone(), text.clone()]), [&text[..], &text[..]].concat(), "{length}");
        }
    }

    #[test]
    fn blocks_that_cannot_be_made_smaller_are_stored() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1 << 20)
        .collect();
        let mut piece = Vec::new();
        Deflate::new().compress(&noise, &mut piece).unwrap();
        assert!(piece.len() <= noise.len() + 5 * 32, "{}", piece.len());
    }
}
