//! Reading `Packages`.
//!
//! Spec: <https://wiki.debian.org/DebianRepository/Format#A.22Packages.22_Indices>

use std::borrow::Cow;

use memchr::{memchr, memmem};
use rayon::prelude::*;

use super::entry::{Entry, Field};
use super::form::{Piece, join};
use super::{MultiArch, Priority, Record};
use crate::error::Malformed;

/// About how many bytes are read at a time.
const PIECE: usize = 1 << 20;

/// Reads all packages of an index.
///
/// Fields that nobody here asks for are passed over. Fails with the first thing that cannot be understood.
pub fn parse(text: &[u8]) -> Result<Vec<Record>, Malformed> {
    let mut records = Vec::new();
    for piece in pieces(text) {
        parse_piece(text, piece, |entry| records.extend(entry.record()))
            .map_err(|(at, reason)| malformed(text, at, reason))?;
    }
    Ok(records)
}

/// Reads all packages of an index and writes them in the form that [`super::Index`] reads; parts of the text at the same time.
///
/// It is what [`write`](super::write) makes of what [`parse`] reads, and nothing is copied on the way.
///
/// Fails as [`parse`] does.
pub fn convert(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let convert = |piece: &(usize, usize)| {
        let mut made = Piece::default();
        parse_piece(text, *piece, |entry| made.add(entry)).map(|()| made)
    };
    let made: Vec<Result<Piece<'_>, _>> = pieces(text).par_iter().map(convert).collect();
    let made: Result<Vec<_>, _> = made.into_iter().collect();
    Ok(join(&made.map_err(|(at, reason)| malformed(text, at, reason))?))
}

fn malformed(text: &[u8], at: usize, reason: String) -> Malformed {
    Malformed::new(text[..at].iter().filter(|byte| **byte == b'\n').count() + 1, reason)
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

fn parse_piece<'a>(
    text: &'a [u8],
    (start, end): (usize, usize),
    mut take: impl FnMut(&Entry<'a>),
) -> Result<(), (usize, String)> {
    let mut at = start;
    while at < end {
        // Blank lines part paragraphs; there may be several.
        if text[at] == b'\n' || text[at..end].starts_with(b"\r\n") {
            at += 1 + usize::from(text[at] == b'\r');
            continue;
        }
        let (entry, next) = parse_paragraph(text, at, end)?;
        take(&entry);
        at = next;
    }
    Ok(())
}

/// Reads a paragraph, and says where the next one may begin.
fn parse_paragraph(text: &[u8], start: usize, end: usize) -> Result<(Entry<'_>, usize), (usize, String)> {
    let mut entry = Entry::default();
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
        let colon =
            memchr(b':', line).ok_or_else(|| (at, "the line is not of the form `Name: value`".to_owned()))?;
        let value = text[at + colon + 1..value_end].trim_ascii();
        set(&mut entry, &line[..colon], value).map_err(|reason| (at, reason))?;
        at = next;
    }
    if entry.name.is_empty() || entry.version().is_empty() || entry.architecture().is_empty() {
        return Err((start, "a package lacks its name, version or architecture".to_owned()));
    }
    Ok((entry, at))
}

fn set<'a>(entry: &mut Entry<'a>, name: &[u8], value: &'a [u8]) -> Result<(), String> {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    // Most fields are told apart by their length and first letter alone.
    let field = match (name.len(), name.first().map_or(0, u8::to_ascii_lowercase)) {
        (7, b'p') if is("Package") => {
            entry.name = word(value)?;
            return Ok(());
        }
        (7, b'v') if is("Version") => {
            entry.set(Field::Version, word(value)?.into());
            return Ok(());
        }
        (12, b'a') if is("Architecture") => {
            entry.set(Field::Architecture, word(value)?.into());
            return Ok(());
        }
        (6, b's') if is("Source") => {
            let parts = |value: &str| {
                let end = value.find(' ').unwrap_or(value.len());
                let rest = value[end..].trim_start().trim_start_matches('(');
                let length = rest.trim_end().trim_end_matches(')').len();
                let start = value.len() - rest.len();
                (end, start..start + length)
            };
            match text(value)? {
                Cow::Borrowed(value) => {
                    let (end, version) = parts(value);
                    entry.set(Field::Source, value[..end].into());
                    entry.set(Field::SourceVersion, value[version].into());
                }
                Cow::Owned(value) => {
                    let (end, version) = parts(&value);
                    entry.set(Field::Source, value[..end].to_owned().into());
                    entry.set(Field::SourceVersion, value[version].to_owned().into());
                }
            }
            return Ok(());
        }
        (4, b's') if is("Size") => {
            entry.set(Field::Size, number("Size", value)?);
            return Ok(());
        }
        (14, b'i') if is("Installed-Size") => {
            entry.set(Field::InstalledSize, number("Installed-Size", value).unwrap_or_default());
            return Ok(());
        }
        (24, b'p') if is("Phased-Update-Percentage") => {
            let share = number("Phased-Update-Percentage", value)?;
            let share = if share.is_empty() { Some(0) } else { share.parse().ok() };
            entry.set_phased(share.filter(|share| *share < 100));
            return Ok(());
        }
        (9, b'e') if is("Essential") => {
            entry.set_essential(value.eq_ignore_ascii_case(b"yes"));
            return Ok(());
        }
        (9, b'i') if is("Important") => {
            entry.set_important(value.eq_ignore_ascii_case(b"yes"));
            return Ok(());
        }
        (8, b'p') if is("Priority") => {
            entry.set_priority(match value {
                b"required" => Priority::Required,
                b"important" => Priority::Important,
                b"standard" => Priority::Standard,
                _ => Priority::Optional,
            });
            return Ok(());
        }
        (10, b'm') if is("Multi-Arch") => {
            entry.set_multi_arch(match value {
                b"same" => MultiArch::Same,
                b"foreign" => MultiArch::Foreign,
                b"allowed" => MultiArch::Allowed,
                _ => MultiArch::No,
            });
            return Ok(());
        }
        (6, b's') if is("SHA256") => {
            let sum = word(value)?;
            let upper = sum.bytes().any(|byte| byte.is_ascii_uppercase());
            entry.set(Field::Sha256, if upper { sum.to_ascii_lowercase().into() } else { sum.into() });
            return Ok(());
        }
        (8, b'f') if is("Filename") => Field::Filename,
        (11, b'p') if is("Pre-Depends") => Field::PreDepends,
        (7, b'd') if is("Depends") => Field::Depends,
        (10, b'r') if is("Recommends") => Field::Recommends,
        (9, b'c') if is("Conflicts") => Field::Conflicts,
        (6, b'b') if is("Breaks") => Field::Breaks,
        (8, b'p') if is("Provides") => Field::Provides,
        (8, b'r') if is("Replaces") => Field::Replaces,
        (7, b's') if is("Section") => Field::Section,
        _ => return Ok(()),
    };
    entry.set(field, text(value)?);
    Ok(())
}

fn text(value: &[u8]) -> Result<Cow<'_, str>, String> {
    let text = std::str::from_utf8(value).map_err(|_| "a field is not UTF-8".to_owned())?;
    if memchr(b'\n', value).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ")))
}

/// Names and versions have no blanks, no control characters, and an end.
fn word(value: &[u8]) -> Result<&str, String> {
    let plain = !value.is_empty() && value.len() <= 1000 && value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| plain).ok_or_else(|| {
        let shown: String = String::from_utf8_lossy(value).chars().take(80).collect();
        format!("{shown:?} is not a name or version")
    })
}

/// The text of a number in its plain form; none for 0.
fn number<'a>(name: &str, value: &'a [u8]) -> Result<Cow<'a, str>, String> {
    let text = std::str::from_utf8(value).ok();
    let parsed = text.and_then(|text| Some((text, text.parse::<u64>().ok()?)));
    match parsed.ok_or_else(|| format!("{name} is not a number"))? {
        (_, 0) => Ok(Cow::Borrowed("")),
        (text, _) if text.starts_with(|first: char| matches!(first, '1'..='9')) => Ok(Cow::Borrowed(text)),
        (_, number) => Ok(Cow::Owned(number.to_string())),
    }
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
    fn nothing_is_lost_on_the_way_into_our_own_form() {
        let (text, upper) = (
            TEXT,
            TEXT.replace(
                "all\n",
                "all\nProvides: b (= 1),\n c, d:any\nSource: y\n (3)\nSize: 007\nInstalled-Size: 0\n",
            ),
        );
        for text in [text, &upper] {
            let records = parse(text.as_bytes()).unwrap();
            let bytes = convert(text.as_bytes()).unwrap();
            assert!(bytes == crate::apt::index::write(&records));
            let index = crate::apt::index::Index::from_bytes(bytes).unwrap();
            let again: Vec<_> = index.records().map(|record| record.unwrap()).collect();
            assert_eq!(again, records);
        }
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
        assert!(convert(text.as_bytes()).unwrap() == crate::apt::index::write(&records));
    }
}
