//! The content of one entry, holes included.

use std::io::{self, BufRead, Read};

use crate::tar::{Entry, Reader, Segment};

/// Reads the content of an entry of a layer; holes of a sparse file read as zeros.
///
/// What is not read is skipped.
pub struct Data<'a> {
    stored: &'a mut dyn Stored,
    segments: &'a [Segment],
    size: u64,
    holes: u64,
    at: u64,
}

/// A run of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes.
    Bytes(&'a [u8]),
    /// Zeros that are not stored.
    Hole {
        /// Where they begin in the file.
        from: u64,
        /// Where they end.
        to: u64,
    },
}

/// The stored bytes of an archive's current entry.
trait Stored {
    fn data(&mut self) -> io::Result<&[u8]>;
    fn consume(&mut self, count: usize);
}

impl<R: BufRead> Stored for Reader<R> {
    fn data(&mut self) -> io::Result<&[u8]> {
        Self::data(self)
    }

    fn consume(&mut self, count: usize) {
        Self::consume(self, count);
    }
}

/// What comes next in a file: so many bytes.
enum Run {
    Hole(u64),
    Stored(u64),
}

impl<'a> Data<'a> {
    /// `whole` has room for the one segment that a file without holes is.
    pub(super) fn new<R: BufRead>(
        reader: &'a mut Reader<R>,
        entry: &'a Entry,
        whole: &'a mut [Segment; 1],
    ) -> Self {
        whole[0] = Segment { offset: 0, length: entry.size };
        let segments = entry.sparse.as_deref().unwrap_or(whole);
        let stored = segments.iter().map(|segment| segment.length).sum();
        Self { stored: reader, segments, size: entry.size, holes: entry.size.saturating_sub(stored), at: 0 }
    }

    /// Returns the whole size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns how many bytes lie in holes.
    pub fn holes(&self) -> u64 {
        self.holes
    }

    /// Reads what is left, piece by piece, without a copy.
    ///
    /// Fails where the archive cannot be read, or ends too early.
    pub fn pieces(&mut self, mut each: impl FnMut(Piece<'_>)) -> io::Result<()> {
        while let Some(run) = self.run() {
            match run {
                Run::Hole(length) => {
                    each(Piece::Hole { from: self.at, to: self.at + length });
                    self.at += length;
                }
                Run::Stored(left) => {
                    let data = self.stored.data()?;
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    if length == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    each(Piece::Bytes(&data[..length]));
                    self.stored.consume(length);
                    self.at += length as u64;
                }
            }
        }
        Ok(())
    }

    /// Reads all of it, or nothing where it is larger than `most` bytes.
    ///
    /// Fails where the archive cannot be read, or ends too early.
    pub fn read_at_most(&mut self, most: u64) -> io::Result<Option<Vec<u8>>> {
        if self.size > most {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn run(&mut self) -> Option<Run> {
        while let Some((first, rest)) = self.segments.split_first() {
            let end = first.offset.saturating_add(first.length);
            if self.at < first.offset {
                return Some(Run::Hole(first.offset - self.at));
            }
            if self.at < end {
                return Some(Run::Stored(end - self.at));
            }
            self.segments = rest;
        }
        (self.at < self.size).then(|| Run::Hole(self.size - self.at))
    }
}

impl Read for Data<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let fit = |left: u64, length: usize| usize::try_from(left).unwrap_or(usize::MAX).min(length);
        let length = match self.run() {
            None => 0,
            Some(Run::Hole(left)) => {
                let length = fit(left, out.len());
                out[..length].fill(0);
                length
            }
            Some(Run::Stored(left)) => {
                let data = self.stored.data()?;
                let length = fit(left, data.len().min(out.len()));
                if length == 0 && !out.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                out[..length].copy_from_slice(&data[..length]);
                self.stored.consume(length);
                length
            }
        };
        self.at += length as u64;
        Ok(length)
    }
}

impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("size", &self.size).field("at", &self.at).finish_non_exhaustive()
    }
}
