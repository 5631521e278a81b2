//! An archive whose files can be read in any order: a tar on disk and where its entries lie.
//!
//! What is compressed or comes through a pipe is first written, decompressed, to a file in the layout that has no name and
//! is gone with the process.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::{TransferError, io_error};
use crate::layer::{Encoding, decoder};
use crate::layout::{Layout, MAX_JSON};
use crate::tar::{Entry, Kind, Reader, TarError};

/// An archive of images has fewer entries than this; with more it is a root filesystem.
const MAX_ENTRIES: usize = 1 << 16;
/// How many links lead from a name to a file at most.
const MAX_LINKS: usize = 8;

/// Holds an archive and where its files are.
#[derive(Debug)]
pub(super) struct Archive {
    /// What errors call it.
    pub(super) path: PathBuf,
    file: File,
    size: u64,
    entries: HashMap<String, Located>,
}

#[derive(Debug, Clone)]
enum Located {
    File { offset: u64, size: u64 },
    Link(String),
}

/// Reads a part of a file.
#[derive(Debug)]
pub(super) struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Section<'_> {
    /// Returns where the part begins; two sections of one archive with the same start are the same.
    pub(super) fn start(&self) -> u64 {
        self.at
    }

    /// Returns how many bytes are left.
    pub(super) fn size(&self) -> u64 {
        self.end - self.at
    }
}

impl Read for Section<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.size()).unwrap_or(usize::MAX).min(out.len());
        let count = self.file.read_at(&mut out[..length], self.at)?;
        if count == 0 && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Archive {
    /// Opens an archive that is a file.
    pub(super) fn open(layout: &Layout, mut file: File, path: &Path) -> Result<Self, TransferError> {
        let (encoding, decoded) = decoder(&file).map_err(io_error("read", path))?;
        if encoding != Encoding::Plain {
            return Self::write_out(layout, decoded, path);
        }
        drop(decoded);
        file.rewind().map_err(io_error("read", path))?;
        Self::index(file, path)
    }

    /// Takes an archive from a stream.
    pub(super) fn spool(
        layout: &Layout,
        reader: impl Read + Send,
        path: &Path,
    ) -> Result<Self, TransferError> {
        let (_, decoded) = decoder(reader).map_err(io_error("read", path))?;
        Self::write_out(layout, decoded, path)
    }

    fn write_out(layout: &Layout, mut reader: impl Read, path: &Path) -> Result<Self, TransferError> {
        let mut file = layout.nameless_file()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => file.write_all(&buffer[..count]).map_err(io_error("write to", layout.root()))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("read", path)(error)),
            }
        }
        file.rewind().map_err(io_error("write to", layout.root()))?;
        Self::index(file, path)
    }

    fn index(file: File, path: &Path) -> Result<Self, TransferError> {
        let size = file.metadata().map_err(io_error("look at", path))?.len();
        let invalid = |source| TransferError::Archive { path: path.to_owned(), source };
        let copy = file.try_clone().map_err(io_error("read", path))?;
        let mut reader = Reader::new(BufReader::with_capacity(4096, copy));
        let mut entries = HashMap::new();
        while let Some(entry) = reader.next_entry().map_err(invalid)? {
            let offset = reader.position();
            let stored = reader.remaining();
            if offset.checked_add(stored).is_none_or(|end| end > size) {
                return Err(invalid(TarError::Io(io::ErrorKind::UnexpectedEof.into())));
            }
            if let Some((name, located)) = locate(&entry, offset) {
                entries.insert(name, located);
            }
            if entries.len() > MAX_ENTRIES {
                entries.clear();
                break;
            }
            reader.seek_past_data().map_err(|e| invalid(TarError::Io(e)))?;
        }
        Ok(Self { path: path.to_owned(), file, size, entries })
    }

    /// Finds a file by its name in the archive.
    pub(super) fn find(&self, name: &str) -> Option<Section<'_>> {
        let mut name = clean(name.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match self.entries.get(&name)? {
                Located::File { offset, size } => {
                    return Some(Section { file: &self.file, at: *offset, end: offset + size });
                }
                Located::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// Reads a small file whole.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, TransferError> {
        let Some(mut section) = self.find(name) else { return Ok(None) };
        if section.size() > MAX_JSON {
            return Err(TransferError::Invalid {
                path: self.path.clone(),
                reason: format!("{name} has {} bytes; at most {MAX_JSON} are read", section.size()),
            });
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes).map_err(io_error("read", &self.path))?;
        Ok(Some(bytes))
    }

    /// Says whether this is an OCI image layout.
    pub(super) fn is_oci(&self) -> bool {
        self.find("oci-layout").is_some() && self.find("index.json").is_some()
    }

    /// Returns the whole archive as a stream.
    pub(super) fn into_reader(self) -> impl Read + Send {
        Whole { file: self.file, at: 0, end: self.size }
    }
}

struct Whole {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Whole {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut section = Section { file: &self.file, at: self.at, end: self.end };
        let count = section.read(out)?;
        self.at = section.at;
        Ok(count)
    }
}

fn locate(entry: &Entry, offset: u64) -> Option<(String, Located)> {
    let name = clean(&entry.name)?;
    let located = match entry.kind {
        // A sparse blob has no bytes to point at; no tool writes one.
        Kind::File if entry.sparse.is_none() => Located::File { offset, size: entry.size },
        Kind::HardLink => Located::Link(clean(&entry.link)?),
        // `docker save` before version 25 stores a layer once and links to it.
        Kind::Symlink => {
            let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
            Located::Link(clean(&[directory.as_bytes(), b"/", &entry.link].concat())?)
        }
        _ => return None,
    };
    Some((name, located))
}

/// A name without `.`, `..` and superfluous slashes; none if it climbs out or is no UTF-8.
fn clean(name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for part in std::str::from_utf8(name).ok()?.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}
