//! Reading `Packages`.
//!
//! Spec: <https://wiki.debian.org/DebianRepository/Format#A.22Packages.22_Indices>

use memchr::{memchr, memmem};
use rayon::prelude::*;

use super::{MultiArch, Priority, Record};
use crate::apt::error::Malformed;

/// About how many bytes are read at a time.
const PIECE: usize = 1 << 20;

/// Reads all packages of an index; those in parts of a text are read at the same time.
///
/// Fields that nobody here asks for are passed over. Fails with the first thing that cannot be understood.
pub fn parse(text: &[u8]) -> Result<Vec<Record>, Malformed> {
    let pieces = pieces(text);
    let read: Vec<Result<Vec<Record>, (usize, String)>> =
        pieces.par_iter().map(|piece| parse_piece(text, *piece)).collect();
    let mut records = Vec::with_capacity(read.iter().flatten().map(Vec::len).sum());
    for piece in read {
        records.extend(piece.map_err(|(at, reason)| {
            Malformed::new(text[..at].iter().filter(|byte| **byte == b'\n').count() + 1, reason)
        })?);
    }
    Ok(records)
}

/// Cuts a text between paragraphs.
fn pieces(text: &[u8]) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let least = (start + PIECE).min(text.len());
        let end = memmem::find(&text[least..], b"\n\n").map_or(text.len(), |at| least + at + 2);
        pieces.push((start, end));
        start = end;
    }
    pieces
}

fn parse_piece(text: &[u8], (start, end): (usize, usize)) -> Result<Vec<Record>, (usize, String)> {
    let mut records = Vec::new();
    let mut at = start;
    while at < end {
        // Blank lines part paragraphs; there may be several.
        if text[at] == b'\n' || text[at..end].starts_with(b"\r\n") {
            at += 1 + usize::from(text[at] == b'\r');
            continue;
        }
        let (record, next) = parse_paragraph(text, at, end)?;
        records.push(record);
        at = next;
    }
    Ok(records)
}

/// Reads a paragraph, and says where the next one may begin.
fn parse_paragraph(text: &[u8], start: usize, end: usize) -> Result<(Record, usize), (usize, String)> {
    let mut record = Record::default();
    let mut at = start;
    while at < end {
        let line_end = memchr(b'\n', &text[at..end]).map_or(end, |length| at + length);
        let line = &text[at..line_end];
        if line.is_empty() || line == b"\r" {
            break;
        }
        let mut value_end = line_end;
        let mut next = (line_end + 1).min(end);
        while next < end && matches!(text[next], b' ' | b'\t') {
            value_end = memchr(b'\n', &text[next..end]).map_or(end, |length| next + length);
            next = (value_end + 1).min(end);
        }
        let colon = memchr(b':', line).ok_or_else(|| (at, "the line has no `Name: value`".to_owned()))?;
        let value = text[at + colon + 1..value_end].trim_ascii();
        set(&mut record, &line[..colon], value).map_err(|reason| (at, reason))?;
        at = next;
    }
    if record.name.is_empty() || record.version.is_empty() || record.architecture.is_empty() {
        return Err((start, "a package lacks its name, version or architecture".to_owned()));
    }
    if record.source.is_empty() {
        record.source.clone_from(&record.name);
    }
    if record.source_version.is_empty() {
        record.source_version.clone_from(&record.version);
    }
    Ok((record, at))
}

fn set(record: &mut Record, name: &[u8], value: &[u8]) -> Result<(), String> {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    // Most fields are told apart by their length and first letter alone.
    let field = match (name.len(), name.first().map_or(0, u8::to_ascii_lowercase)) {
        (7, b'p') if is("Package") => {
            record.name = word(value)?;
            return Ok(());
        }
        (7, b'v') if is("Version") => {
            record.version = word(value)?;
            return Ok(());
        }
        (12, b'a') if is("Architecture") => {
            record.architecture = word(value)?;
            return Ok(());
        }
        (6, b's') if is("Source") => {
            let value = text(value)?;
            let (source, version) = value.split_once(' ').unwrap_or((&value, ""));
            source.clone_into(&mut record.source);
            version
                .trim()
                .trim_start_matches('(')
                .trim_end_matches(')')
                .clone_into(&mut record.source_version);
            return Ok(());
        }
        (4, b's') if is("Size") => {
            record.size = number("Size", value)?;
            return Ok(());
        }
        (14, b'i') if is("Installed-Size") => {
            record.installed_size = number("Installed-Size", value).unwrap_or(0);
            return Ok(());
        }
        (24, b'p') if is("Phased-Update-Percentage") => {
            record.phased =
                u8::try_from(number("Phased-Update-Percentage", value)?).ok().filter(|part| *part < 100);
            return Ok(());
        }
        (9, b'e') if is("Essential") => {
            record.essential = value.eq_ignore_ascii_case(b"yes");
            return Ok(());
        }
        (9, b'i') if is("Important") => {
            record.important = value.eq_ignore_ascii_case(b"yes");
            return Ok(());
        }
        (8, b'p') if is("Priority") => {
            record.priority = match value {
                b"required" => Priority::Required,
                b"important" => Priority::Important,
                b"standard" => Priority::Standard,
                _ => Priority::Optional,
            };
            return Ok(());
        }
        (10, b'm') if is("Multi-Arch") => {
            record.multi_arch = match value {
                b"same" => MultiArch::Same,
                b"foreign" => MultiArch::Foreign,
                b"allowed" => MultiArch::Allowed,
                _ => MultiArch::No,
            };
            return Ok(());
        }
        (6, b's') if is("SHA256") => {
            record.sha256 = word(value)?.to_ascii_lowercase();
            return Ok(());
        }
        (8, b'f') if is("Filename") => &mut record.filename,
        (11, b'p') if is("Pre-Depends") => &mut record.pre_depends,
        (7, b'd') if is("Depends") => &mut record.depends,
        (10, b'r') if is("Recommends") => &mut record.recommends,
        (9, b'c') if is("Conflicts") => &mut record.conflicts,
        (6, b'b') if is("Breaks") => &mut record.breaks,
        (8, b'p') if is("Provides") => &mut record.provides,
        (8, b'r') if is("Replaces") => &mut record.replaces,
        (7, b's') if is("Section") => &mut record.section,
        _ => return Ok(()),
    };
    *field = text(value)?;
    Ok(())
}

fn text(value: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(value).map_err(|_| "a field is no UTF-8".to_owned())?;
    if memchr(b'\n', value).is_none() {
        return Ok(text.to_owned());
    }
    Ok(text.split('\n').map(str::trim).collect::<Vec<_>>().join(" "))
}

/// Names and versions have no blanks, no control characters, and an end.
fn word(value: &[u8]) -> Result<String, String> {
    if value.is_empty() || value.len() > 1000 || !value.iter().all(u8::is_ascii_graphic) {
        let shown: String = String::from_utf8_lossy(value).chars().take(80).collect();
        return Err(format!("{shown:?} is no name or version"));
    }
    text(value)
}

fn number(name: &str, value: &[u8]) -> Result<u64, String> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{name} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: libc6\nSource: glibc (2.36-9)\nVersion: 2.36-9+b1\nArchitecture: amd64\n\
        Multi-Arch: same\nDepends: libgcc-s1,\n libcrypt1 (>= 1)\nDescription: C\n long\nEssential: no\nPriority: required\n\
        Size: 12\nFilename: pool/libc6.deb\nSHA256: ABCD\nphased-update-percentage: 20\n\n\n\n\
        package: x\nVersion: 1\nArchitecture: all\nPhased-Update-Percentage: 100\n";

    #[test]
    fn packages_are_read_whatever_the_case_of_their_fields() {
        let records = parse(TEXT.as_bytes()).unwrap();
        assert_eq!(records.len(), 2);
        let libc = &records[0];
        assert_eq!((&*libc.source, &*libc.source_version), ("glibc", "2.36-9"));
        assert_eq!(libc.depends, "libgcc-s1, libcrypt1 (>= 1)");
        assert_eq!((libc.phased, libc.size, libc.priority), (Some(20), 12, Priority::Required));
        assert_eq!((libc.multi_arch, &*libc.sha256), (MultiArch::Same, "abcd"));
        assert_eq!((&*records[1].source, records[1].phased), ("x", None));
    }

    #[test]
    fn lines_may_end_as_on_windows() {
        assert_eq!(parse(TEXT.replace('\n', "\r\n").as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn damage_is_named_by_its_line() {
        assert_eq!(parse(b"Package: a\nVersion: 1\n\n").unwrap_err().line, 1);
        assert_eq!(
            parse(b"Package: a\nVersion: 1\nArchitecture: all\n\nPackage: b\nnothing\n").unwrap_err().line,
            6
        );
        assert_eq!(parse(b"Package: a b\nVersion: 1\n").unwrap_err().line, 1);
    }

    #[test]
    fn a_long_text_is_the_same_as_its_pieces() {
        let paragraph = |number: usize| {
            format!("Package: p{number}\nVersion: 1\nArchitecture: all\nDescription: {}\n\n", "x".repeat(500))
        };
        let text: String = (0..8000).map(paragraph).collect();
        assert!(text.len() > 3 * PIECE);
        let records = parse(text.as_bytes()).unwrap();
        assert_eq!(records.len(), 8000);
        assert_eq!(records[7999].name, "p7999");
    }
}
