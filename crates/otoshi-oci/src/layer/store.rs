//! From a tar stream that somebody else made to a layer: its bytes are kept, only the compression is ours.

use std::io::{self, BufRead, Read, Write};

use oci_spec::image::Descriptor;

use super::compress::{self, TarSink};
use super::decompress::{Stream, with_stream};
use super::unpack::stream_error;
use super::{Compression, LayerError, WrittenLayer};
use crate::contents::climbs_out;
use crate::digest::DiffId;
use crate::layout::Layout;
use crate::tar::{Entry, Reader, TarError};

/// Stores a tar archive (plain, gzip or zstd) as a layer, compressed anew, and checks on the way that it is one.
///
/// The diff id is the digest of the archive as it is. `name` is what errors call it; `threads` is as in
/// [`super::WriteOptions`].
///
/// Fails where the archive is damaged or has a name that leads out of the root, and where the layer cannot be written.
pub fn store_tar(
    layout: &Layout,
    reader: impl Read + Send,
    compression: Compression,
    threads: usize,
    name: &str,
) -> Result<WrittenLayer, LayerError> {
    let (entries, stored) = compress::store(layout, compression, threads, |sink| {
        let copied = with_stream(reader, |stream| copy(stream, sink, name).map_err(Failure::Layer));
        match copied {
            Ok((entries, _)) => Ok(entries),
            Err(Failure::Layer(error)) => Err(error),
            Err(Failure::Stream(error)) => Err(stream_error(name, error)),
        }
    })?;
    let descriptor = Descriptor::new(compression.media_type(), stored.size, stored.digest.to_oci());
    Ok(WrittenLayer {
        descriptor,
        diff_id: stored.diff_id,
        uncompressed_size: stored.uncompressed_size,
        entries,
        depends_on_lower: false,
    })
}

/// Reads a layer's blob to its end and returns the digest and size of the tar in it; `name` is what errors call it.
///
/// Fails where the blob cannot be read or decompressed.
pub fn measure(reader: impl Read + Send, name: &str) -> Result<(DiffId, u64), LayerError> {
    with_stream(reader, |_| io::Result::Ok(()))
        .map(|((), streamed)| (streamed.diff_id, streamed.size))
        .map_err(|error| stream_error(name, error))
}

/// Reads a layer's blob to its end: a tar whose entries all lie below the root. Returns the digest of that tar; `name` is what
/// errors call the layer.
pub(crate) fn inspect(reader: impl Read + Send, name: &str) -> Result<DiffId, LayerError> {
    let archive_error = |source| LayerError::Archive { layer: name.to_owned(), source };
    let inspected = with_stream(reader, |stream| {
        let mut entries = Reader::new(stream);
        while let Some(entry) = entries.next_entry().map_err(|error| Failure::Layer(archive_error(error)))? {
            check_name(&entry).map_err(|error| Failure::Layer(archive_error(error)))?;
        }
        Ok::<_, Failure>(())
    });
    match inspected {
        Ok(((), streamed)) => Ok(streamed.diff_id),
        Err(Failure::Layer(error)) => Err(error),
        Err(Failure::Stream(error)) => Err(stream_error(name, error)),
    }
}

/// Fails where a name leads out of the root, as no command could use it.
fn check_name(entry: &Entry) -> Result<(), TarError> {
    if climbs_out(&entry.name) {
        let reason = "its name points outside the root".into();
        return Err(TarError::Invalid { place: entry.display_name(), reason });
    }
    Ok(())
}

enum Failure {
    Layer(LayerError),
    Stream(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// Reads the archive's entries while everything that is read goes into the sink.
fn copy(stream: &mut Stream, sink: &mut TarSink<'_>, name: &str) -> Result<u64, LayerError> {
    let archive_error = |source| LayerError::Archive { layer: name.to_owned(), source };
    let mut reader = Reader::new(Tee { stream, sink, failed: None });
    let mut entries = 0;
    let outcome = loop {
        match reader.next_entry() {
            Ok(Some(entry)) => match check_name(&entry) {
                Ok(()) => entries += 1,
                Err(error) => break Err(error),
            },
            Ok(None) => break Ok(entries),
            Err(error) => break Err(error),
        }
    };
    // Padding after the end of the archive belongs to the bytes that the diff id names.
    let mut tee = reader.into_inner();
    let outcome = outcome.and_then(|entries| {
        loop {
            let length = tee.fill_buf().map_err(TarError::Io)?.len();
            if length == 0 {
                return Ok(entries);
            }
            tee.consume(length);
        }
    });
    match tee.failed {
        Some(source) => Err(archive_error(TarError::Io(source))),
        None => outcome.map_err(archive_error),
    }
}

/// Passes everything that is consumed on to the sink.
struct Tee<'a, 'b> {
    stream: &'a mut Stream,
    sink: &'a mut TarSink<'b>,
    failed: Option<io::Error>,
}

impl BufRead for Tee<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.failed.is_some() {
            return Err(io::Error::other("the layer could not be written"));
        }
        self.stream.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // The bytes are buffered: this reads nothing and cannot fail.
        if let Ok(buffer) = self.stream.fill_buf()
            && let Err(error) = self.sink.write_all(&buffer[..count])
        {
            self.failed = Some(error);
        }
        self.stream.consume(count);
    }
}

impl Read for Tee<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(out.len());
        out[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}
