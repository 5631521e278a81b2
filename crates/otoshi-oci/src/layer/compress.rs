//! From a tar stream to a blob: one pass that hashes the tar, compresses it on several threads, and writes the result.
//!
//! ```text
//! producer ──blocks──▶ workers (compress) ──▶ writer (in order; hashes the blob)
//!    └─ hashes the tar
//! ```
//!
//! The stream is cut into blocks of a fixed size that are compressed on their own, so the bytes do not depend on how many
//! workers there are. For gzip the blocks are runs of one member, each ended at a byte (see [`super::deflate`]); for zstd
//! each is a frame. Blocks in flight are bounded, so memory is too.

use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::deflate::Deflate;
use super::{Compression, LayerError};
use crate::digest::{DiffId, Digest, Hasher};
use crate::layout::{BlobWriter, Layout};

/// The block of gzip: large enough that starting with an empty window costs a fraction of a percent.
const GZIP_BLOCK: usize = 1 << 20;
/// The frame of zstd, which gains from more.
const ZSTD_BLOCK: usize = 2 << 20;
/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;
const MAX_THREADS: usize = 16;

/// A member's header: deflate, no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block, which ends the deflate stream.
const DEFLATE_END: [u8; 2] = [3, 0];

/// Describes a stored blob and the tar it holds.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: DiffId,
    pub(super) uncompressed_size: u64,
}

struct Job {
    block: Vec<u8>,
    length: usize,
    reply: SyncSender<io::Result<Compressed>>,
}

struct Compressed {
    bytes: Vec<u8>,
    crc: crc32fast::Hasher,
    input: usize,
}

/// Buffers that were used and can be used again.
#[derive(Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        self.0.lock().map_or_else(|_| Vec::new(), |mut pool| pool.pop().unwrap_or_default())
    }

    fn give(&self, buffer: Vec<u8>) {
        if let Ok(mut pool) = self.0.lock() {
            pool.push(buffer);
        }
    }
}

/// Stores what `produce` writes as a compressed blob.
pub(super) fn store<T>(
    layout: &Layout,
    compression: Compression,
    threads: usize,
    produce: impl FnOnce(&mut TarSink) -> Result<T, LayerError>,
) -> Result<(T, Stored), LayerError> {
    let blob = layout.blob_writer()?;
    let block = match compression {
        Compression::None => {
            let mut sink = TarSink::new(GZIP_BLOCK, Output::Plain(Box::new(blob)));
            let value = produce(&mut sink)?;
            let (diff_id, uncompressed_size, output) = sink.finish().map_err(|e| failed(layout, e))?;
            let Output::Plain(blob) = output else { unreachable!("the output stays the one it was") };
            let (digest, size) = blob.commit()?;
            return Ok((value, Stored { digest, size, diff_id, uncompressed_size }));
        }
        Compression::Gzip => GZIP_BLOCK,
        Compression::Zstd => ZSTD_BLOCK,
    };
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
    .min(MAX_THREADS);

    let pool = Pool::default();
    let (jobs, queue) = sync_channel::<Job>(threads);
    let queue = Mutex::new(queue);
    let (order, replies) = sync_channel(threads + 2);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(compression, &queue, &pool));
        }
        // The writer owns its end of the channel: if it fails, the producer must not wait for it.
        let buffers = &pool;
        let writer = scope.spawn(move || write(compression, blob, replies, buffers));
        let mut sink = TarSink::new(block, Output::Threads { jobs, order, pool: &pool });
        let produced = produce(&mut sink)
            .and_then(|value| sink.finish().map(|end| (value, end)).map_err(|e| failed(layout, e)));
        // Whatever happened, both channels are closed now, and every thread comes to its end.
        let produced = produced.map(|(value, (diff_id, size, _))| (value, diff_id, size));
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("a compression thread died")));
        // If the writer failed, the producer only saw a closed channel: the writer's error is the cause.
        let blob = written.map_err(|e| failed(layout, e))?;
        let (value, diff_id, uncompressed_size) = produced?;
        let (digest, size) = blob.commit()?;
        Ok((value, Stored { digest, size, diff_id, uncompressed_size }))
    })
}

/// Passes what `produce` writes on to a stream and returns its digest.
pub(super) fn stream<T>(
    out: &mut dyn Write,
    produce: impl FnOnce(&mut TarSink) -> Result<T, LayerError>,
) -> Result<(T, DiffId), LayerError> {
    let mut sink = TarSink::new(GZIP_BLOCK, Output::Stream(&mut *out));
    let value = produce(&mut sink)?;
    let (diff_id, _, output) = sink.finish().map_err(written)?;
    drop(output);
    out.flush().map_err(written)?;
    Ok((value, diff_id))
}

fn written(source: io::Error) -> LayerError {
    LayerError::Io { action: "write", path: "the archive".into(), source }
}

fn failed(layout: &Layout, source: io::Error) -> LayerError {
    LayerError::Io { action: "write a layer to", path: layout.root().to_owned(), source }
}

fn work(compression: Compression, queue: &Mutex<Receiver<Job>>, pool: &Pool) {
    let mut deflate = None;
    let mut zstd = None;
    loop {
        let Ok(Ok(job)) = queue.lock().map(|queue| queue.recv()) else { return };
        let input = &job.block[..job.length];
        let mut bytes = pool.take();
        let mut crc = crc32fast::Hasher::new();
        let outcome = if compression == Compression::Zstd {
            compress_zstd(&mut zstd, input, &mut bytes)
        } else {
            crc.update(input);
            deflate.get_or_insert_with(Deflate::new).compress(input, &mut bytes)
        };
        pool.give(job.block);
        // A writer that failed does not listen any more.
        let _ = job.reply.send(outcome.map(|()| Compressed { bytes, crc, input: job.length }));
    }
}

fn compress_zstd(
    state: &mut Option<zstd::bulk::Compressor<'static>>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let compressor = if let Some(compressor) = state {
        compressor
    } else {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        compressor.include_checksum(true)?;
        state.insert(compressor)
    };
    out.resize(zstd::zstd_safe::compress_bound(input.len()), 0);
    let length = compressor.compress_to_buffer(input, &mut out[..])?;
    out.truncate(length);
    Ok(())
}

/// Writes the compressed blocks in their order.
fn write(
    compression: Compression,
    mut blob: BlobWriter,
    replies: Receiver<Receiver<io::Result<Compressed>>>,
    pool: &Pool,
) -> io::Result<BlobWriter> {
    let gzip = compression == Compression::Gzip;
    let mut crc = crc32fast::Hasher::new();
    // gzip keeps the size modulo 2³².
    let mut size = 0u32;
    if gzip {
        blob.write_all(&GZIP_HEADER)?;
    }
    for reply in replies {
        let compressed = reply.recv().map_err(|_| io::Error::other("a compression thread died"))??;
        size = size.wrapping_add(compressed.input as u32);
        blob.write_all(&compressed.bytes)?;
        crc.combine(&compressed.crc);
        pool.give(compressed.bytes);
    }
    if gzip {
        blob.write_all(&DEFLATE_END)?;
        blob.write_all(&crc.finalize().to_le_bytes())?;
        blob.write_all(&size.to_le_bytes())?;
    }
    Ok(blob)
}

enum Output<'a> {
    Plain(Box<BlobWriter>),
    Stream(&'a mut dyn Write),
    Threads { jobs: SyncSender<Job>, order: SyncSender<Receiver<io::Result<Compressed>>>, pool: &'a Pool },
}

/// Takes a tar stream.
pub(super) struct TarSink<'a> {
    block: Vec<u8>,
    filled: usize,
    capacity: usize,
    hasher: Hasher,
    total: u64,
    output: Output<'a>,
}

impl<'a> TarSink<'a> {
    fn new(capacity: usize, output: Output<'a>) -> Self {
        Self { block: vec![0; capacity], filled: 0, capacity, hasher: Hasher::sha256(), total: 0, output }
    }

    /// Copies exactly `size` bytes from a reader, without a buffer in between.
    ///
    /// A reader that ends before is an error of the kind `UnexpectedEof`.
    pub(super) fn copy_exactly(&mut self, reader: &mut impl Read, mut size: u64) -> Result<(), CopyError> {
        while size > 0 {
            if self.filled == self.capacity {
                self.send().map_err(CopyError::Write)?;
            }
            let room = usize::try_from(size).unwrap_or(usize::MAX).min(self.capacity - self.filled);
            match reader.read(&mut self.block[self.filled..self.filled + room]) {
                Ok(0) => return Err(CopyError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.filled += count;
                    size -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CopyError::Read(error)),
            }
        }
        Ok(())
    }

    /// Hands the current block on.
    fn send(&mut self) -> io::Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        let filled = &self.block[..self.filled];
        self.total += filled.len() as u64;
        match &mut self.output {
            // The blob is the tar: its writer hashes it.
            Output::Plain(blob) => blob.write_all(filled)?,
            Output::Stream(out) => {
                self.hasher.update(filled);
                out.write_all(filled)?;
            }
            Output::Threads { jobs, order, pool } => {
                self.hasher.update(filled);
                let mut next = pool.take();
                next.resize(self.capacity, 0);
                let block = std::mem::replace(&mut self.block, next);
                let (reply, answer) = sync_channel(1);
                let closed = || io::Error::other("the compressed layer could not be written");
                order.send(answer).map_err(|_| closed())?;
                jobs.send(Job { block, length: self.filled, reply }).map_err(|_| closed())?;
            }
        }
        self.filled = 0;
        Ok(())
    }

    fn finish(mut self) -> io::Result<(DiffId, u64, Output<'a>)> {
        self.send()?;
        let digest = match &self.output {
            Output::Plain(blob) => blob.digest_so_far(),
            Output::Stream(_) | Output::Threads { .. } => self.hasher.finish(),
        };
        Ok((DiffId(digest), self.total, self.output))
    }
}

/// Says which side of a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl Write for TarSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == self.capacity {
            self.send()?;
        }
        let length = bytes.len().min(self.capacity - self.filled);
        self.block[self.filled..self.filled + length].copy_from_slice(&bytes[..length]);
        self.filled += length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
