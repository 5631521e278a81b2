//! PAX records: `length key=value\n`, overriding what the header that follows says.

use std::collections::BTreeMap;

use super::{Segment, Time, header};

/// Holds the records that mean something to a layer.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: Sparse,
}

/// Holds the `GNU.sparse.*` records.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) version: (Option<u64>, Option<u64>),
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Version 0.1: all offsets and lengths in one record. Version 0.0: one record each, in order.
    pub(super) map: Option<Vec<Segment>>,
    numbers: Vec<u64>,
}

impl Sparse {
    /// Says whether the records describe a sparse file at all.
    pub(super) fn is_present(&self) -> bool {
        self.version.0.is_some() || self.map.is_some() || !self.numbers.is_empty()
    }

    /// Returns the map of version 0.0 or 0.1.
    pub(super) fn take_map(&mut self) -> Option<Vec<Segment>> {
        match self.map.take() {
            Some(map) => Some(map),
            None if self.numbers.is_empty() => None,
            None => pairs(&self.numbers),
        }
    }
}

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The longest name of an extended attribute, the longest value, and how long all names of a file may be together, each with a
/// byte that ends it: Linux keeps no more. Source: `XATTR_NAME_MAX`, `XATTR_SIZE_MAX`, `XATTR_LIST_MAX` in `linux/limits.h`.
const NAME_MAX: usize = 255;
const VALUE_MAX: usize = 64 << 10;
const NAMES_MAX: usize = 64 << 10;

/// Parses all records of an extension header, in time that grows with its length; an error says which record is wrong.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Records, String> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let (key, value, rest) = record(bytes).ok_or("malformed PAX record")?;
        bytes = rest;
        records.set(key, value).ok_or_else(|| format!("bad value in PAX record {}", shown(key)))?;
    }
    records.check_attributes()?;
    Ok(records)
}

/// A key for people; a long one is cut.
fn shown(key: &[u8]) -> String {
    super::display(&key[..key.len().min(NAME_MAX)])
}

/// Splits off one record.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    if length <= space + 1 || length > bytes.len() {
        return None;
    }
    let (record, rest) = bytes.split_at(length);
    let content = record[space + 1..].strip_suffix(b"\n")?;
    let equals = content.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&content[..equals], &content[equals + 1..]);
    (!key.is_empty()).then_some((key, value, rest))
}

impl Records {
    /// Refuses extended attributes that no file can have.
    fn check_attributes(&self) -> Result<(), String> {
        let long = |(name, value): &(&Vec<u8>, &Vec<u8>)| name.len() > NAME_MAX || value.len() > VALUE_MAX;
        if let Some((name, value)) = self.xattrs.iter().find(long) {
            let (name, lengths) = (shown(name), (name.len(), value.len()));
            return Err(format!(
                "the extended attribute {name} has a name of {} and a value of {} bytes; Linux takes {NAME_MAX} and {VALUE_MAX}",
                lengths.0, lengths.1
            ));
        }
        let names: usize = self.xattrs.keys().map(|name| name.len() + 1).sum();
        if names > NAMES_MAX {
            let count = self.xattrs.len();
            return Err(format!(
                "{count} extended attributes, whose names have {names} bytes together; Linux takes {NAMES_MAX}"
            ));
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        // A record without a value takes back an earlier one.
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, decimal)?,
            b"gid" => self.gid = optional(value, decimal)?,
            b"mtime" => self.mtime = optional(value, time)?,
            b"GNU.sparse.major" => self.sparse.version.0 = optional(value, decimal)?,
            b"GNU.sparse.minor" => self.sparse.version.1 = optional(value, decimal)?,
            b"GNU.sparse.name" => self.sparse.name = text(value)?,
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = optional(value, decimal)?,
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> =
                    value.split(|&byte| byte == b',').filter(|n| !n.is_empty()).map(decimal).collect();
                self.sparse.map = Some(pairs(&numbers?)?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let expects_offset = self.sparse.numbers.len().is_multiple_of(2);
                if expects_offset != key.ends_with(b"offset") {
                    return None;
                }
                self.sparse.numbers.push(decimal(value)?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    if name.is_empty() || name.contains(&0) {
                        return None;
                    }
                    self.xattrs.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        Some(())
    }
}

fn pairs(numbers: &[u64]) -> Option<Vec<Segment>> {
    if !numbers.len().is_multiple_of(2) {
        return None;
    }
    Some(numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect())
}

#[allow(clippy::option_option, reason = "invalid, absent and present are three things here")]
fn optional<T>(value: &[u8], parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

/// A name: not empty (that takes it back) and without NUL.
#[allow(clippy::option_option, reason = "invalid, absent and present are three things here")]
fn text(value: &[u8]) -> Option<Option<Vec<u8>>> {
    if value.contains(&0) {
        return None;
    }
    Some((!value.is_empty()).then(|| value.to_owned()))
}

fn time(value: &[u8]) -> Option<Time> {
    header::timestamp(std::str::from_utf8(value).ok()?)
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends one record; its length counts itself.
pub(super) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let content = key.len() + value.len() + 3;
    let mut length = content + 1;
    while length != content + length.to_string().len() {
        length = content + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_parse_back() {
        let mut bytes = Vec::new();
        for length in [0, 1, 80, 90, 91, 92, 93, 985, 986, 987, 988, 989, 990, 5000] {
            let value = vec![b'x'; length];
            bytes.clear();
            write_record(&mut bytes, b"SCHILY.xattr.user.a", &value);
            write_record(&mut bytes, b"path", b"a\nb=c\xff");
            let records = parse(&bytes).unwrap();
            assert_eq!(records.xattrs, BTreeMap::from([(b"user.a".to_vec(), value)]));
            assert_eq!(records.path.as_deref(), Some(&b"a\nb=c\xff"[..]));
        }
    }

    #[test]
    fn the_last_record_wins_and_an_empty_one_takes_back() {
        let mut bytes = Vec::new();
        write_record(&mut bytes, b"path", b"one");
        write_record(&mut bytes, b"size", b"5");
        write_record(&mut bytes, b"path", b"two");
        write_record(&mut bytes, b"size", b"");
        let records = parse(&bytes).unwrap();
        assert_eq!((records.path.as_deref(), records.size), (Some(&b"two"[..]), None));
    }

    #[test]
    fn attributes_that_no_file_can_have_are_refused_in_linear_time() {
        let many = |count: usize, name: &dyn Fn(usize) -> String, value: usize| {
            let mut bytes = Vec::new();
            for number in 0..count {
                write_record(
                    &mut bytes,
                    format!("SCHILY.xattr.user.{}", name(number)).as_bytes(),
                    &vec![b'x'; value],
                );
            }
            parse(&bytes)
        };
        let number = |number: usize| format!("{number}");
        assert_eq!(many(1000, &number, 3).unwrap().xattrs.len(), 1000);
        // As many as go into a header: work that grew with their square took seconds for each header.
        let comparisons = many(35_000, &number, 0).unwrap_err();
        assert!(comparisons.starts_with("35000 extended attributes, whose names have "), "{comparisons}");
        assert_eq!(many(35_000, &|_| "same".to_owned(), 0).unwrap().xattrs.len(), 1);
        // Ten times as many take about ten times as long, and not a hundred times.
        let time = |count| otoshi_test::processor_time(|| drop(many(count, &number, 0)));
        let (few, all) = (time(3_500), time(35_000));
        assert!(all < few * 40, "{few:?} for 3,500 and {all:?} for 35,000");
        let long = many(1, &|_| "n".repeat(251), 0).unwrap_err();
        assert!(long.contains("has a name of 256"), "{long}");
        let large = many(1, &number, (64 << 10) + 1).unwrap_err();
        assert!(large.contains("a value of 65537 bytes"), "{large}");
    }

    #[test]
    fn malformed_records_are_errors() {
        for bytes in [
            &b"5 a=b"[..],
            b"x a=b\n",
            b"0 a=b\n",
            b"99 a=b\n",
            b"18446744073709551616 a=b\n",
            b"5 ab\n",
            b"5 =b\n",
            b"+6 a=b\n",
            b"11 path=a\0b\n",
            b"10 size=-1\n",
            b"12 size=1e99\n",
            b"28 GNU.sparse.numbytes=100\n",
            b"6\n",
        ] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
