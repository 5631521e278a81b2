//! A package's file: an `ar` archive of a version, an archive of what the package says of itself, and one of its files.
//!
//! Spec: <https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html>

use std::io::{self, Read};

use otoshi_oci::layer::decoder;
use otoshi_oci::tar::{Kind, Reader, TarError};

/// The most that the archive of what a package says of itself may hold, in bytes.
const CONTROL_LIMIT: u64 = 64 << 20;
/// The most that the archive of a package's files may hold, in bytes.
const DATA_LIMIT: u64 = 8 << 30;

/// Says why a package's file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// It is not what a package's file is.
    #[error("{0}")]
    Form(String),
    /// An archive in it cannot be read.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// It cannot be decompressed, or is larger than can be.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file of what a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its permission bits.
    pub mode: u32,
    /// What it holds.
    pub content: Vec<u8>,
}

/// A package's file, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Deb<'a> {
    control: &'a [u8],
    data: &'a [u8],
}

impl<'a> Deb<'a> {
    /// Takes a file apart; nothing is decompressed yet.
    ///
    /// Fails where the file is not a deb of version 2.0, or is larger than may be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DebError> {
        let form = |reason: &str| DebError::Form(reason.to_owned());
        let mut rest = bytes.strip_prefix(b"!<arch>\n").ok_or_else(|| form("it is not an ar archive"))?;
        let (mut version, mut control, mut data) = (false, None, None);
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(60).ok_or_else(|| form("it ends within a header"))?;
            if &head[58..] != b"`\n" {
                return Err(form("it has an invalid header"));
            }
            let text =
                |range: std::ops::Range<usize>| std::str::from_utf8(&head[range]).unwrap_or_default().trim();
            let size: usize = text(48..58).parse().map_err(|_| form("a member has no size"))?;
            let (content, after) =
                after.split_at_checked(size).ok_or_else(|| form("it ends within a member"))?;
            rest = after.get(size % 2..).unwrap_or_default();
            let name = text(0..16).trim_end_matches('/');
            if name == "debian-binary" {
                version = content.starts_with(b"2.");
            } else if name.starts_with("control.tar") {
                control = Some(content);
            } else if name.starts_with("data.tar") {
                data = Some(content);
            } else if !name.starts_with('_') {
                return Err(DebError::Form(format!("it has an unexpected member {name:?}")));
            }
        }
        match (version, control, data) {
            (true, Some(control), Some(data)) => Ok(Self { control, data }),
            _ => Err(form("it lacks a part, or its format version is not 2")),
        }
    }

    /// Returns a file of what the package says of itself, such as `control` or `md5sums`.
    ///
    /// Fails where the file is not a deb of version 2.0, or is larger than may be read.
    pub fn control(&self, name: &str) -> Result<Option<Vec<u8>>, DebError> {
        let (_, stream) = decoder(self.control)?;
        let mut reader = Reader::new(io::BufReader::new(stream.take(CONTROL_LIMIT)));
        while let Some(entry) = reader.next_entry()? {
            let own = entry.name.strip_prefix(b"./").unwrap_or(&entry.name);
            if entry.kind == Kind::File && own == name.as_bytes() {
                return Ok(Some(read_data(&mut reader)?));
            }
        }
        Ok(None)
    }

    /// Returns all files of what the package says of itself.
    pub(crate) fn control_files(&self) -> Result<Vec<ControlFile>, DebError> {
        let (_, stream) = decoder(self.control)?;
        let mut reader = Reader::new(io::BufReader::new(stream.take(CONTROL_LIMIT)));
        let mut files: Vec<ControlFile> = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let content = read_data(&mut reader)?;
            if entry.kind != Kind::File {
                continue;
            }
            let own = entry.name.strip_prefix(b"./").unwrap_or(&entry.name);
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
            if own.is_empty() || own.starts_with(b".") || !own.iter().all(plain) {
                return Err(DebError::Form(format!(
                    "{} is not the name of a control file",
                    entry.display_name()
                )));
            }
            let name = String::from_utf8_lossy(own).into_owned();
            files.push(ControlFile { name, mode: entry.mode & 0o777, content });
        }
        Ok(files)
    }

    /// Decompresses the archive of the package's files.
    ///
    /// Fails where the file is not a deb of version 2.0, or is larger than may be read.
    pub fn data(&self) -> Result<Vec<u8>, DebError> {
        let (_, stream) = decoder(self.data)?;
        let mut bytes = Vec::new();
        stream.take(DATA_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > DATA_LIMIT {
            return Err(DebError::Form(format!("its files are larger than {DATA_LIMIT} bytes")));
        }
        Ok(bytes)
    }
}

/// Reads the data of an entry to its end.
pub(super) fn read_data<R: io::BufRead>(reader: &mut Reader<R>) -> Result<Vec<u8>, DebError> {
    let mut content = Vec::new();
    loop {
        let data = reader.data()?;
        if data.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(data);
        let count = data.len();
        reader.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).into_bytes();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    }

    #[test]
    fn a_file_is_taken_apart_and_damage_is_told() {
        let parts =
            [member("debian-binary", b"2.0\n"), member("control.tar", b"abc"), member("data.tar/", b"de")];
        let whole = [&b"!<arch>\n"[..], &parts.concat()].concat();
        let deb = Deb::parse(&whole).unwrap();
        assert_eq!((deb.control, deb.data), (&b"abc"[..], &b"de"[..]));
        for length in 0..whole.len() {
            assert!(Deb::parse(&whole[..length]).is_err(), "{length}");
        }
        let other = [&whole[..], &member("surprise", b"")].concat();
        assert!(Deb::parse(&other).is_err());
    }
}
