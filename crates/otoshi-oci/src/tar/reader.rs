//! Reading an archive, one entry after the other, from a stream.

use std::io::{self, BufRead, BufReader, Read, Seek};

use super::header::{self, Block, Format, read_block};
use super::pax::{self, Records};
use super::{BLOCK, Entry, Kind, MAX_EXTENSION, TarError, Time, sparse};

/// Reads entries from a stream. The data of an entry is read with [`Reader::data`]; what is not read is skipped.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    /// Where the next byte of the stream lies in the archive.
    position: u64,
    /// Bytes of the current entry's data that were not read yet.
    remaining: u64,
    /// Bytes after them up to the next block.
    padding: u64,
    finished: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from a stream that starts at an archive's first byte.
    pub fn new(stream: R) -> Self {
        Self { stream, position: 0, remaining: 0, padding: 0, finished: false }
    }

    /// Returns the stream, which is then somewhere after the last entry.
    pub fn into_inner(self) -> R {
        self.stream
    }

    /// Returns where the next unread byte lies in the archive: after [`Reader::next_entry`], where the data begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns how many bytes of the current entry are stored and not yet read.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Returns the next entry, or nothing at the end of the archive.
    ///
    /// Fails on a header with a wrong checksum, malformed or oversized extension records, an unsupported type, or an
    /// archive that ends too early.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_data()?;
        let mut records = Records::default();
        let mut long_name = None;
        let mut long_link = None;
        let mut extended = false;
        loop {
            let Some(block) = self.header()? else {
                if extended {
                    return Err(self.invalid("the archive ends after an extension header"));
                }
                return Ok(None);
            };
            match block[header::TYPE] {
                b'x' => {
                    let bytes = self.extension(&block)?;
                    records = pax::parse(&bytes).map_err(|reason| self.invalid_owned(reason))?;
                }
                // Global records: Docker and containerd skip them, and so must we; nobody looks into them.
                b'g' => {
                    let size = self.number(&block, header::SIZE, "size")?;
                    (self.remaining, self.padding) = (size, padding(size));
                    self.skip_data()?;
                    continue;
                }
                b'L' => long_name = Some(header::text(&self.extension(&block)?).to_owned()),
                b'K' => long_link = Some(header::text(&self.extension(&block)?).to_owned()),
                _ => return self.entry(&block, records, long_name, long_link).map(Some),
            }
            extended = true;
        }
    }

    /// Returns a slice of the current entry's stored data, at most what is buffered; empty at its end.
    ///
    /// For a sparse file this is the data of its segments, one after the other.
    ///
    /// Fails where the stream cannot be read, or ends too early.
    pub fn data(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let buffer = self.stream.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..length])
    }

    /// Marks bytes of the slice that [`Reader::data`] returned as read.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count as u64 <= self.remaining);
        self.stream.consume(count);
        self.remaining -= count as u64;
        self.position += count as u64;
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let (data, padding) = (self.remaining, self.padding);
        (self.remaining, self.padding) = (0, 0);
        if !self.skip(data)? {
            return Err(TarError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        // Some tools (umoci, for one) leave the last padding away; as Go does, take that for the end.
        if !self.skip(padding)? {
            self.finished = true;
        }
        Ok(())
    }

    /// Skips bytes, and says whether there were that many.
    fn skip(&mut self, mut left: u64) -> io::Result<bool> {
        while left > 0 {
            let buffer = self.stream.fill_buf()?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.stream.consume(length);
            self.position += length as u64;
            left -= length as u64;
        }
        Ok(true)
    }

    /// Reads a header block and checks it; nothing at the end of the archive.
    fn header(&mut self) -> Result<Option<Block>, TarError> {
        if self.finished {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            // No closing blocks: tolerated, as everywhere.
            self.finished = true;
            return Ok(None);
        };
        if header::is_zero(&block) {
            self.finished = true;
            return match self.block()? {
                Some(second) if !header::is_zero(&second) => {
                    Err(self.invalid("data after the end of the archive"))
                }
                _ => Ok(None),
            };
        }
        if !header::checksum_matches(&block) {
            return Err(self.invalid("not a tar header (wrong checksum)"));
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let block = read_block(&mut self.stream)?;
        if block.is_some() {
            self.position += BLOCK as u64;
        }
        Ok(block)
    }

    /// Reads the whole data of an extension header, which is bounded.
    fn extension(&mut self, block: &Block) -> Result<Vec<u8>, TarError> {
        let size = self.number(block, header::SIZE, "size")?;
        if size > MAX_EXTENSION {
            return Err(
                self.invalid_owned(format!("an extension header of {size} bytes; at most 1 MiB is read"))
            );
        }
        (self.remaining, self.padding) = (size, padding(size));
        let mut bytes = Vec::new();
        (&mut self.stream).take(size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(TarError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.remaining = 0;
        self.position += size;
        self.skip_data()?;
        Ok(bytes)
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each kind of entry, in the order of the format")]
    fn entry(
        &mut self,
        block: &Block,
        mut records: Records,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, TarError> {
        let format = header::format(block);
        let mut name = long_name.unwrap_or_else(|| short_name(block, format));
        if let Some(path) = records.path.take() {
            name = path;
        }
        let is_sparse = records.sparse.is_present();
        if is_sparse && let Some(path) = records.sparse.name.take() {
            name = path;
        }
        let place = super::display(&name);
        let invalid =
            |reason: &'static str| TarError::Invalid { place: place.clone(), reason: reason.into() };
        if name.is_empty() {
            return Err(self.invalid("an entry without a name"));
        }

        let number = |range, what| {
            header::number(&block[range]).ok_or_else(|| TarError::Invalid {
                place: place.clone(),
                reason: format!("bad {what}").into(),
            })
        };
        let unsigned = |range, what| {
            u64::try_from(number(range, what)?).map_err(|_| TarError::Invalid {
                place: place.clone(),
                reason: format!("negative {what}").into(),
            })
        };
        // u32::MAX means "leave as it is" to chown.
        let id = |value: u64| {
            u32::try_from(value)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| invalid("owner out of range"))
        };
        let device = || -> Result<(u32, u32), TarError> {
            let part = |range, what| {
                u32::try_from(unsigned(range, what)?).map_err(|_| invalid("device number out of range"))
            };
            Ok((part(header::MAJOR, "major number")?, part(header::MINOR, "minor number")?))
        };

        let kind = match block[header::TYPE] {
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => device().map(|(major, minor)| Kind::Char { major, minor })?,
            b'4' => device().map(|(major, minor)| Kind::Block { major, minor })?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let reason = format!("unsupported entry type {:?}", char::from(other));
                return Err(TarError::Invalid { place, reason: reason.into() });
            }
        };
        let link = match kind {
            Kind::HardLink | Kind::Symlink => {
                let short = || header::text(&block[header::LINK]).to_owned();
                records.link.take().or(long_link).unwrap_or_else(short)
            }
            _ => Vec::new(),
        };
        let mtime = match records.mtime {
            Some(time) => time,
            None => Time { seconds: number(header::MTIME, "time")?, nanos: 0 },
        };
        let uid = id(match records.uid {
            Some(uid) => uid,
            None => unsigned(header::UID, "owner")?,
        })?;
        let gid = id(match records.gid {
            Some(gid) => gid,
            None => unsigned(header::GID, "group")?,
        })?;

        // Only files have data, whatever the header says: this is how Go reads it.
        let mut stored = match (kind, records.size) {
            (Kind::File, Some(size)) => size,
            (Kind::File, None) => unsigned(header::SIZE, "size")?,
            _ => 0,
        };
        if stored > i64::MAX as u64 {
            return Err(invalid("size out of range"));
        }
        let mut size = stored;
        let mut segments = None;
        let mut map_read = 0;
        if block[header::TYPE] == b'S' {
            if format != Format::Gnu {
                return Err(invalid("a sparse file in an archive that is not GNU's"));
            }
            let (map, real_size, read) = sparse::read_gnu(&mut self.stream, block)?;
            self.position += read;
            (segments, size) = (Some(map), real_size);
        } else if is_sparse && kind == Kind::File {
            size = records.sparse.real_size.ok_or_else(|| invalid("a sparse file without its size"))?;
            let map = match records.sparse.version {
                (Some(1), Some(0)) => {
                    let (map, read) = sparse::read_pax(&mut self.stream, stored, block)?;
                    self.position += read;
                    map_read = read;
                    map
                }
                (None | Some(0), _) => {
                    records.sparse.take_map().ok_or_else(|| invalid("a sparse file without its map"))?
                }
                _ => return Err(invalid("unknown version of the sparse format")),
            };
            segments = Some(map);
        }
        // The map of PAX 1.0 is part of the stored data and a whole number of blocks.
        stored -= map_read;
        if let Some(map) = &segments {
            sparse::check(map, size, stored).map_err(invalid)?;
        }
        if size > i64::MAX as u64 {
            return Err(invalid("size out of range"));
        }
        (self.remaining, self.padding) = (stored, padding(stored));
        Ok(Entry {
            name,
            kind,
            link,
            mode: (number(header::MODE, "mode")? & 0o7777) as u32,
            uid,
            gid,
            mtime,
            size,
            xattrs: records.xattrs.into_iter().collect(),
            sparse: segments,
        })
    }

    fn number(&self, block: &Block, range: std::ops::Range<usize>, what: &str) -> Result<u64, TarError> {
        header::number(&block[range])
            .and_then(|value| u64::try_from(value).ok())
            .ok_or_else(|| self.invalid_owned(format!("bad {what}")))
    }

    fn invalid(&self, reason: &'static str) -> TarError {
        self.invalid_owned(reason.to_owned())
    }

    /// An error in a header that has no name yet.
    fn invalid_owned(&self, reason: String) -> TarError {
        let place = format!("the header at byte {}", self.position.saturating_sub(BLOCK as u64));
        TarError::Invalid { place, reason: reason.into() }
    }
}

impl<S: Read + Seek> Reader<BufReader<S>> {
    /// Moves behind the current entry's data without reading it.
    ///
    /// The end of the stream is not noticed here: compare [`Reader::position`] and [`Reader::remaining`] with its length.
    pub(crate) fn seek_past_data(&mut self) -> io::Result<()> {
        let left = self.remaining + self.padding;
        let distance = i64::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.stream.seek_relative(distance)?;
        self.position += left;
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }
}

fn short_name(block: &Block, format: Format) -> Vec<u8> {
    let name = header::text(&block[header::NAME]);
    let prefix = match format {
        Format::Ustar => header::text(&block[header::PREFIX]),
        Format::V7 | Format::Gnu => &[],
    };
    if prefix.is_empty() { name.to_owned() } else { [prefix, b"/", name].concat() }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
