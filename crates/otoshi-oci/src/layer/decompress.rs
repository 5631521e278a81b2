//! From a blob's bytes to a tar stream: the compression is found out, and undone on a thread of its own.
//!
//! First bytes: RFC 1952, section 2.3.1 (gzip); RFC 8878, section 3.1.1 (zstd); the .xz file format 1.2.1, section 2.1.1.1.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::digest::{DiffId, Hasher};

/// How many bytes of a stream are looked at before it is read.
const START: u64 = 1088;
/// Where a tar archive without entries ends: after two blocks of zeros.
const END: usize = 1024;
/// What stands there in an EROFS file system.
const EROFS: [u8; 4] = [0xe2, 0xe1, 0xf5, 0xe0];
/// How many bytes go through the channel at once.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait in the channel.
const WAITING: usize = 4;
/// The largest window of a zstd frame, as a power of two: what other engines read, and more than zstd's own tool does by default.
/// A frame with a larger one is an error.
const ZSTD_WINDOW: u32 = 29;
/// The memory that an xz stream may ask for, in KiB: its tool's highest level needs 65 MiB.
const XZ_MEMORY: u32 = 128 << 10;

/// Names how a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Plain,
    /// gzip, of one or more members.
    Gzip,
    /// zstd, of one or more frames.
    Zstd,
    /// bzip2, of one or more streams.
    Bzip2,
    /// xz, of one or more streams.
    Xz,
}

/// Says that a stream is compressed in a way that is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is compressed with {0}, which is not supported (gzip, zstd, bzip2 and xz are)")]
pub struct UnsupportedEncoding(&'static str);

impl UnsupportedEncoding {
    /// Returns the command that undoes the compression.
    pub fn command(self) -> String {
        format!("{} -d FILE", self.0)
    }
}

impl Encoding {
    /// Tells the encoding from a stream's first six bytes.
    ///
    /// Fails on encodings that are known and not supported, such as `compress` and lzip.
    pub(crate) fn detect(start: &[u8]) -> Result<Self, UnsupportedEncoding> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Ok(Self::Bzip2),
            [0x1f, 0x9d, ..] => Err(UnsupportedEncoding("compress")),
            [b'L', b'Z', b'I', b'P', 1, ..] => Err(UnsupportedEncoding("lzip")),
            _ => Ok(Self::Plain),
        }
    }
}

/// Says what begins as an archive without entries ends, and goes on: an image of a file system does, and is not empty.
fn not_an_archive(start: &[u8]) -> Option<&'static str> {
    let (end, rest) = start.split_at_checked(END)?;
    if end.iter().any(|byte| *byte != 0) || rest.iter().all(|byte| *byte == 0) {
        return None;
    }
    Some(if rest.starts_with(&EROFS) { "an EROFS file system" } else { "something else" })
}

/// Finds out how a stream is compressed and returns it decompressed.
///
/// Fails where the stream cannot be read, where it begins like an archive but is none, and where it is compressed in another way: then
/// with an error of the kind `Unsupported` that holds [`UnsupportedEncoding`].
pub fn decoder<'a>(mut reader: impl Read + Send + 'a) -> io::Result<(Encoding, Box<dyn Read + Send + 'a>)> {
    let mut start = Vec::with_capacity(START as usize);
    (&mut reader).take(START).read_to_end(&mut start)?;
    let encoding =
        Encoding::detect(&start).map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    if let Some(what) = not_an_archive(&start) {
        let reason = format!("it is not a tar archive: it begins like an empty one, but is {what}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let whole = Cursor::new(start).chain(reader);
    Ok((
        encoding,
        match encoding {
            Encoding::Plain => Box::new(whole),
            Encoding::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, whole))),
            Encoding::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(CHUNK, whole))?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
            Encoding::Bzip2 => Box::new(MultiBzDecoder::new(BufReader::with_capacity(CHUNK, whole))),
            Encoding::Xz => {
                // The dictionary's size stands in the stream: what xz's own tool needs at its highest level is enough.
                let reader = BufReader::with_capacity(CHUNK, whole);
                Box::new(XzReader::new_mem_limit(reader, true, XZ_MEMORY))
            }
        },
    ))
}

/// What went through a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Streamed {
    /// The digest of the decompressed bytes.
    pub(crate) diff_id: DiffId,
    /// How many they were.
    pub(crate) size: u64,
    /// How they were compressed.
    pub(crate) encoding: Encoding,
}

/// Decompresses on another thread what `use_stream` reads, hashes all of it, and reads on to the end after `use_stream`.
pub(crate) fn with_stream<T, E: From<io::Error>>(
    reader: impl Read + Send,
    use_stream: impl FnOnce(&mut Stream) -> Result<T, E>,
) -> Result<(T, Streamed), E> {
    let (encoding, mut source) = decoder(reader)?;
    let (full, chunks) = sync_channel(WAITING);
    let (give_back, empty) = channel();
    thread::scope(|scope| {
        scope.spawn(move || pump(&mut source, &full, &empty));
        let mut stream = Stream {
            chunks,
            give_back,
            chunk: Vec::new(),
            at: 0,
            hasher: Hasher::sha256(),
            size: 0,
            failed: false,
        };
        let value = use_stream(&mut stream)?;
        loop {
            let length = stream.fill_buf()?.len();
            if length == 0 {
                break;
            }
            stream.consume(length);
        }
        let streamed = Streamed { diff_id: DiffId(stream.hasher.finish()), size: stream.size, encoding };
        Ok((value, streamed))
    })
}

fn pump(source: &mut dyn Read, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut length = 0;
        let outcome = loop {
            match source.read(&mut chunk[length..]) {
                Ok(0) => break Ok(()),
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if length == CHUNK {
                break Ok(());
            }
        };
        let more = length == CHUNK;
        chunk.truncate(length);
        // A receiver that is gone has failed or seen enough: either way this thread is done.
        if length > 0 && full.send(Ok(chunk)).is_err() {
            return;
        }
        match outcome {
            Ok(()) if more => {}
            Ok(()) => return,
            Err(error) => {
                let _ = full.send(Err(error));
                return;
            }
        }
    }
}

/// Reads what the other thread decompressed.
#[derive(Debug)]
pub(crate) struct Stream {
    chunks: Receiver<io::Result<Vec<u8>>>,
    give_back: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    hasher: Hasher,
    size: u64,
    failed: bool,
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() && !self.failed {
            let next = match self.chunks.recv() {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => {
                    self.failed = true;
                    return Err(error);
                }
                Err(_) => Vec::new(),
            };
            self.hasher.update(&next);
            self.size += next.len() as u64;
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            if !used.is_empty() {
                // Nobody wants it any more at the end of the stream.
                let _ = self.give_back.send(used);
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.chunk.len());
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(out.len());
        out[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::digest::Digest;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<(Vec<u8>, Streamed)> {
        with_stream(bytes, |stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            Ok(all)
        })
    }

    #[test]
    fn every_encoding_is_found_out() {
        let content: Vec<u8> = (0..3 * CHUNK + 7).map(|i| (i % 251) as u8).collect();
        let zstd = zstd::bulk::compress(&content, 1).unwrap();
        let members = [gzip(&content[..1000]), gzip(&content[1000..])].concat();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &zstd[..]].concat();
        for (bytes, encoding) in [
            (content.clone(), Encoding::Plain),
            (gzip(&content), Encoding::Gzip),
            (members, Encoding::Gzip),
            (zstd, Encoding::Zstd),
            (skippable, Encoding::Zstd),
            (bzip2(&content), Encoding::Bzip2),
            ([bzip2(&content[..1000]), bzip2(&content[1000..])].concat(), Encoding::Bzip2),
            (xz(&content), Encoding::Xz),
            ([xz(&content[..1000]), xz(&content[1000..])].concat(), Encoding::Xz),
        ] {
            let (read, streamed) = read(&bytes).unwrap();
            assert!(read == content);
            let diff_id = DiffId(Digest::sha256_of(&content));
            assert_eq!(streamed, Streamed { diff_id, size: content.len() as u64, encoding });
        }
        assert_eq!(read(b"").unwrap().1.size, 0);
        assert_eq!(read(&[0; 10_240]).unwrap().1.size, 10_240);
    }

    #[test]
    fn what_was_not_read_is_hashed_all_the_same() {
        let content = vec![7; CHUNK * 9];
        let ((), streamed) = with_stream(&gzip(&content)[..], |_| io::Result::Ok(())).unwrap();
        assert_eq!(streamed.diff_id.0, Digest::sha256_of(&content));
    }

    #[test]
    fn broken_and_unknown_streams_are_errors() {
        let content = vec![7; CHUNK * 9];
        let mut broken = gzip(&content);
        broken.truncate(broken.len() - 5);
        assert_eq!(read(&broken).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let zstd = zstd::bulk::compress(&content, 1).unwrap();
        assert!(read(&zstd[..zstd.len() - 3]).is_err());
        let xz = xz(&content);
        assert!(read(&xz[..xz.len() - 3]).is_err());
        let bzip2 = bzip2(&content);
        assert!(read(&bzip2[..bzip2.len() - 3]).is_err());
        let error = read(b"\x1f\x9drest").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("compress"));
    }

    #[test]
    fn a_large_window_of_zstd_is_read() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.long_distance_matching(true).unwrap();
        io::copy(&mut io::repeat(7).take(3 << 20), &mut encoder).unwrap();
        assert_eq!(read(&encoder.finish().unwrap()).unwrap().1.size, 3 << 20);
    }

    #[test]
    fn a_file_system_is_no_empty_archive() {
        let mut image = vec![0; 8192];
        image[1024..1028].copy_from_slice(&EROFS);
        assert!(read(&image).unwrap_err().to_string().contains("EROFS"));
        image[1024..1082].fill(0);
        image[1080..1082].copy_from_slice(&[0x53, 0xef]);
        assert!(read(&image).unwrap_err().to_string().contains("something else"));
    }

    #[test]
    fn an_early_end_of_reading_ends_the_thread() {
        let content = vec![7; CHUNK * 50];
        let outcome = with_stream(&content[..], |_| Err::<(), _>(io::Error::other("enough")));
        assert_eq!(outcome.unwrap_err().to_string(), "enough");
    }
}
