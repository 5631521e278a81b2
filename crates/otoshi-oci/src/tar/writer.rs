//! Writing headers, in the one form that a given entry has.
//!
//! ustar wherever it can hold the values; a PAX header before it for what it cannot: long names, large owners, files of 8 GiB
//! and more, fractions of seconds, extended attributes. Owners have no names.

use super::header::{self, Block};
use super::{BLOCK, Entry, Kind, Time, pax};

/// The two blocks of zeros that end an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Appends an entry's header blocks. Its data must follow, then [`write_padding`].
///
/// `Entry::sparse` is not written: files are stored whole, because holes depend on the file system they came from.
pub fn write_header(out: &mut Vec<u8>, entry: &Entry) {
    let mut records = Vec::new();
    let mut block: Block = [0; BLOCK];

    if !put_name(&mut block, &entry.name) {
        record(&mut records, b"path", &entry.name);
        put_text(&mut block[header::NAME], &entry.name);
    }
    if entry.link.len() > header::LINK.len() {
        record(&mut records, b"linkpath", &entry.link);
    }
    put_text(&mut block[header::LINK], &entry.link);
    put_number(&mut block[header::MODE], u64::from(entry.mode));
    for (range, key, value) in [(header::UID, &b"uid"[..], entry.uid), (header::GID, b"gid", entry.gid)] {
        if !put_number(&mut block[range], u64::from(value)) {
            record(&mut records, key, value.to_string().as_bytes());
        }
    }
    let size = if entry.kind == Kind::File { entry.size } else { 0 };
    if !put_number(&mut block[header::SIZE], size) {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    let whole = u64::try_from(entry.mtime.seconds).ok().filter(|_| entry.mtime.nanos == 0);
    if !whole.is_some_and(|seconds| put_number(&mut block[header::MTIME], seconds)) {
        record(&mut records, b"mtime", decimal(entry.mtime).as_bytes());
        put_number(&mut block[header::MTIME], u64::try_from(entry.mtime.seconds).unwrap_or(0));
    }
    block[header::TYPE] = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char { .. } => b'3',
        Kind::Block { .. } => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let (major, minor) = match entry.kind {
        Kind::Char { major, minor } | Kind::Block { major, minor } => (major, minor),
        _ => (0, 0),
    };
    // Linux has 12 bits of major and 20 of minor number: both always fit.
    put_number(&mut block[header::MAJOR], u64::from(major));
    put_number(&mut block[header::MINOR], u64::from(minor));
    for (name, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }

    if !records.is_empty() {
        write_extension(out, &entry.name, &records);
    }
    seal(&mut block);
    out.extend_from_slice(&block);
}

/// Appends the zeros that fill up a block after `size` bytes of data.
pub fn write_padding(out: &mut Vec<u8>, size: u64) {
    out.extend_from_slice(&ZEROS[..(size.wrapping_neg() % BLOCK as u64) as usize]);
}

fn write_extension(out: &mut Vec<u8>, name: &[u8], records: &[u8]) {
    let mut block: Block = [0; BLOCK];
    let base = name.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty()).unwrap_or_default();
    // Only for tools that do not know PAX and unpack the header as a file.
    put_text(&mut block[header::NAME], &[b"PaxHeaders.0/", base].concat());
    put_number(&mut block[header::MODE], 0o644);
    put_number(&mut block[header::UID], 0);
    put_number(&mut block[header::GID], 0);
    put_number(&mut block[header::SIZE], records.len() as u64);
    put_number(&mut block[header::MTIME], 0);
    put_number(&mut block[header::MAJOR], 0);
    put_number(&mut block[header::MINOR], 0);
    block[header::TYPE] = b'x';
    seal(&mut block);
    out.extend_from_slice(&block);
    out.extend_from_slice(records);
    write_padding(out, records.len() as u64);
}

fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Values are UTF-8 unless this record says otherwise, and names may be anything.
    let is_name = matches!(key, b"path" | b"linkpath");
    if is_name && std::str::from_utf8(value).is_err() && !records.starts_with(b"21 hdrcharset=BINARY\n") {
        let mut with_charset = Vec::new();
        pax::write_record(&mut with_charset, b"hdrcharset", b"BINARY");
        with_charset.append(records);
        *records = with_charset;
    }
    pax::write_record(records, key, value);
}

/// Writes a name, split between the name and prefix fields if need be; says whether it fits.
fn put_name(block: &mut Block, name: &[u8]) -> bool {
    if name.len() <= header::NAME.len() {
        put_text(&mut block[header::NAME], name);
        return true;
    }
    let longest = name.len().min(header::PREFIX.len() + 1);
    let Some(slash) = name[..longest].iter().rposition(|&byte| byte == b'/') else { return false };
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    if prefix.is_empty() || rest.is_empty() || rest.len() > header::NAME.len() {
        return false;
    }
    put_text(&mut block[header::PREFIX], prefix);
    put_text(&mut block[header::NAME], rest);
    true
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Writes an octal number; says whether it fits, and writes zero if not.
fn put_number(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = value >> (3 * digits) == 0;
    let text = format!("{:0digits$o}", if fits { value } else { 0 });
    put_text(field, text.as_bytes());
    fits
}

fn decimal(time: Time) -> String {
    if time.nanos == 0 {
        return time.seconds.to_string();
    }
    // The fraction counts away from zero, as the sign does.
    let (sign, seconds, nanos) = if time.seconds < 0 {
        ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - time.nanos)
    } else {
        ("", time.seconds.unsigned_abs(), time.nanos)
    };
    format!("{sign}{seconds}.{}", format!("{nanos:09}").trim_end_matches('0'))
}

fn seal(block: &mut Block) {
    block[header::MAGIC].copy_from_slice(b"ustar\x0000");
    let sum = header::checksum(block);
    put_text(&mut block[header::CHECKSUM], format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Reader;
    use super::*;

    fn round_trip(entry: &Entry) -> (Entry, usize) {
        let mut bytes = Vec::new();
        write_header(&mut bytes, entry);
        let length = bytes.len();
        (Reader::new(&bytes[..]).next_entry().unwrap().unwrap(), length)
    }

    #[test]
    fn what_fits_needs_no_extension() {
        let long = format!("{}/{}", "d".repeat(155), "f".repeat(100));
        for name in ["a", "dir/", &"n".repeat(100), &long] {
            let mut entry = Entry::new(name, Kind::File, 0o4755);
            (entry.size, entry.uid, entry.gid) = ((8 << 30) - 1, 0o7_777_777, 0o7_777_777);
            entry.mtime.seconds = 0o77_777_777_777;
            assert_eq!(round_trip(&entry), (entry, BLOCK), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_gets_one() {
        let changes: [fn(&mut Entry); 8] = [
            |e| e.name = vec![b'n'; 101],
            |e| e.name = [vec![b'n'; 200], b"/".to_vec()].concat(),
            |e| e.size = 8 << 30,
            |e| e.uid = 0o10_000_000,
            |e| e.mtime.nanos = 1_500,
            |e| e.mtime = Time { seconds: -2, nanos: 250_000_000 },
            |e| e.xattrs = vec![(b"user.x".to_vec(), b"\0\n=\xff".to_vec())],
            |e| e.name = vec![0xff; 300],
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut entry = Entry::new("name", Kind::File, 0o644);
            change(&mut entry);
            let (read, length) = round_trip(&entry);
            assert_eq!(read, entry, "{index}");
            assert!(length > BLOCK, "{index}");
        }
        let mut link = Entry::new("name", Kind::Symlink, 0o777);
        link.link = vec![b'l'; 101];
        assert_eq!(round_trip(&link).0, link);
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        let name = prop::collection::vec(1u8..=255, 1..300);
        let kind = prop_oneof![
            Just(Kind::File),
            Just(Kind::HardLink),
            Just(Kind::Symlink),
            Just(Kind::Directory),
            Just(Kind::Fifo),
            (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Kind::Char { major, minor }),
            (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Kind::Block { major, minor }),
        ];
        let xattr = ("user\\.[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..200));
        (
            (name.clone(), kind, name, 0u32..0o10000),
            (0..u32::MAX, 0..u32::MAX, any::<i32>(), 0u32..1_000_000_000, 0u64..1 << 40),
            prop::collection::btree_map(xattr.0, xattr.1, 0..4),
        )
            .prop_map(|((name, kind, link, mode), (uid, gid, seconds, nanos, size), xattrs)| Entry {
                link: if matches!(kind, Kind::HardLink | Kind::Symlink) { link } else { Vec::new() },
                name,
                kind,
                mode,
                uid,
                gid,
                mtime: Time { seconds: i64::from(seconds), nanos },
                size: if kind == Kind::File { size } else { 0 },
                xattrs: xattrs.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect(),
                sparse: None,
            })
    }

    proptest! {
        #[test]
        fn any_entry_reads_back(entry in any_entry()) {
            prop_assert_eq!(round_trip(&entry).0, entry);
        }

        #[test]
        fn the_reader_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..2048), kind in "[0-7SxgLK]") {
            if let Some(block) = bytes.first_chunk_mut::<BLOCK>() {
                block[header::TYPE] = kind.as_bytes()[0];
                seal(block);
            }
            let mut reader = Reader::new(&bytes[..]);
            while let Ok(Some(_)) = reader.next_entry() {}
        }
    }
}
