//! Records as bytes, and records by name out of bytes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{MultiArch, Priority, Record};

const MAGIC: &[u8; 16] = b"otoshi-apt-ix 1\n";
const HEAD: usize = 32;
const PACKAGE: usize = 16;
const PROVIDED: usize = 12;
/// The most bytes that tables and names may have; all of Debian takes some 3 MB.
const MOST: usize = 512 << 20;

const ESSENTIAL: u16 = 1;
const IMPORTANT: u16 = 2;

/// Says that an index is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is of another form, or was changed.
    #[error("the index is damaged: {0}")]
    Content(&'static str),
}

/// Writes records in the form that [`Index`] reads.
pub fn write(mut records: Vec<Record>) -> Vec<u8> {
    records.sort_by(|left, right| left.name.cmp(&right.name));
    let (mut packages, mut names, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    let mut provided: Vec<(String, u32)> = Vec::new();
    let mut last: (usize, usize) = (0, 0);
    for (number, record) in records.iter().enumerate() {
        if names.get(last.0..last.0 + last.1) != Some(record.name.as_bytes()) || last.1 == 0 {
            last = (names.len(), record.name.len());
            names.extend_from_slice(record.name.as_bytes());
        }
        let start = bodies.len();
        write_record(record, &mut bodies);
        let sum = crc32fast::hash(&bodies[start..]);
        bodies.extend_from_slice(&sum.to_le_bytes());
        put(&mut packages, last.0 as u32);
        packages.extend_from_slice(&(last.1 as u16).to_le_bytes());
        packages.extend_from_slice(&flags(record).to_le_bytes());
        put(&mut packages, start as u32);
        put(&mut packages, (bodies.len() - start) as u32);
        for one in record.provides.split(',') {
            let name = one.split(['(', ':']).next().unwrap_or_default().trim();
            if !name.is_empty() && name.len() <= 1000 {
                provided.push((name.to_owned(), number as u32));
            }
        }
    }
    provided.sort_unstable();
    let mut virtuals = Vec::new();
    for (name, number) in &provided {
        put(&mut virtuals, names.len() as u32);
        virtuals.extend_from_slice(&(name.len() as u16).to_le_bytes());
        virtuals.extend_from_slice(&[0, 0]);
        put(&mut virtuals, *number);
        names.extend_from_slice(name.as_bytes());
    }
    let mut tables = packages;
    tables.extend_from_slice(&virtuals);
    tables.extend_from_slice(&names);
    let mut bytes = Vec::with_capacity(HEAD + tables.len() + bodies.len());
    bytes.extend_from_slice(MAGIC);
    for number in [records.len(), provided.len(), names.len()] {
        put(&mut bytes, number as u32);
    }
    put(&mut bytes, crc32fast::hash(&tables));
    bytes.extend_from_slice(&tables);
    bytes.extend_from_slice(&bodies);
    bytes
}

fn put(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn flags(record: &Record) -> u16 {
    let bit = |set: bool, bit: u16| if set { bit } else { 0 };
    bit(record.essential, ESSENTIAL)
        | bit(record.important, IMPORTANT)
        | ((record.priority as u16) << 2)
        | ((record.multi_arch as u16) << 4)
        | (u16::from(record.phased.map_or(0, |part| part + 1)) << 8)
}

fn write_record(record: &Record, bytes: &mut Vec<u8>) {
    let (size, installed) = (record.size.to_string(), record.installed_size.to_string());
    let source = if record.source == record.name { "" } else { &record.source };
    let source_version = if record.source_version == record.version { "" } else { &record.source_version };
    let fields: [&str; 16] = [
        &record.version,
        &record.architecture,
        source,
        source_version,
        &record.pre_depends,
        &record.depends,
        &record.recommends,
        &record.conflicts,
        &record.breaks,
        &record.provides,
        &record.replaces,
        &record.section,
        &record.filename,
        &record.sha256,
        &size,
        &installed,
    ];
    for (tag, field) in fields.iter().enumerate().filter(|(_, field)| !field.is_empty()) {
        bytes.push(tag as u8);
        put(bytes, field.len() as u32);
        bytes.extend_from_slice(field.as_bytes());
    }
}

/// An index that is open: its tables are in memory, its records are read when they are asked for.
#[derive(Debug)]
pub struct Index {
    tables: Vec<u8>,
    packages: usize,
    provided: usize,
    records: Records,
}

#[derive(Debug)]
enum Records {
    File(File),
    Memory(Vec<u8>),
}

impl Index {
    /// Opens a file that [`write`] made.
    pub fn open(path: &Path) -> Result<Self, Damaged> {
        let mut file = File::open(path)?;
        let mut head = [0; HEAD];
        file.read_exact(&mut head).map_err(|_| Damaged::Content("it is too short"))?;
        let (packages, provided, length, sum) = read_head(&head)?;
        let mut tables = vec![0; length];
        file.read_exact(&mut tables).map_err(|_| Damaged::Content("it is too short"))?;
        Self::checked(tables, packages, provided, sum, Records::File(file))
    }

    /// Takes bytes that [`write`] made.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Damaged> {
        let head = bytes.first_chunk::<HEAD>().ok_or(Damaged::Content("it is too short"))?;
        let (packages, provided, length, sum) = read_head(head)?;
        let tables = bytes.get(HEAD..HEAD + length).ok_or(Damaged::Content("it is too short"))?.to_vec();
        Self::checked(tables, packages, provided, sum, Records::Memory(bytes))
    }

    fn checked(
        tables: Vec<u8>,
        packages: usize,
        provided: usize,
        sum: u32,
        records: Records,
    ) -> Result<Self, Damaged> {
        if crc32fast::hash(&tables) != sum {
            return Err(Damaged::Content("its tables do not match their checksum"));
        }
        Ok(Self { tables, packages, provided, records })
    }

    /// Returns how many packages it has; several versions of one count each.
    pub fn len(&self) -> usize {
        self.packages
    }

    /// Says whether it has no package.
    pub fn is_empty(&self) -> bool {
        self.packages == 0
    }

    /// Returns the numbers of the packages of a name.
    pub fn find(&self, name: &str) -> std::ops::Range<usize> {
        self.range(self.packages, name, |index, at| index.name_at(at))
    }

    /// Returns the numbers of the packages that provide a name.
    pub fn providers(&self, name: &str) -> Vec<usize> {
        let start = self.packages * PACKAGE;
        let found = self.range(self.provided, name, |index, at| index.name_of(start + at * PROVIDED));
        found
            .map(|at| self.u32(start + at * PROVIDED + 8) as usize)
            .filter(|at| *at < self.packages)
            .collect()
    }

    fn range<'a>(
        &'a self,
        count: usize,
        name: &str,
        name_at: impl Fn(&'a Self, usize) -> &'a [u8],
    ) -> std::ops::Range<usize> {
        let bound = |before: &dyn Fn(&[u8]) -> bool| {
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low.midpoint(high);
                if before(name_at(self, middle)) { low = middle + 1 } else { high = middle }
            }
            low
        };
        let name = name.as_bytes();
        bound(&|other| other < name)..bound(&|other| other <= name)
    }

    /// Returns the name of a package by its number.
    pub fn name(&self, number: usize) -> &str {
        if number < self.packages {
            std::str::from_utf8(self.name_at(number)).unwrap_or_default()
        } else {
            ""
        }
    }

    /// Returns the priority of a package by its number, and whether it is essential.
    pub fn importance(&self, number: usize) -> (Priority, bool) {
        let flags = self.flags(number);
        (priority(flags), flags & ESSENTIAL != 0)
    }

    /// Reads what is known of a package by its number.
    pub fn record(&self, number: usize) -> Result<Record, Damaged> {
        if number >= self.packages {
            return Err(Damaged::Content("it has no such package"));
        }
        let entry = number * PACKAGE;
        let start = HEAD as u64 + self.tables.len() as u64 + u64::from(self.u32(entry + 8));
        let length = self.u32(entry + 12) as usize;
        let read;
        let bytes = match &self.records {
            Records::Memory(bytes) => {
                usize::try_from(start).ok().and_then(|start| bytes.get(start..start + length))
            }
            Records::File(file) => {
                if length > MOST {
                    return Err(Damaged::Content("a record is too long"));
                }
                let mut buffer = vec![0; length];
                read = file.read_exact_at(&mut buffer, start).map(|()| buffer);
                read.as_deref().ok()
            }
        };
        let (body, sum) =
            bytes.and_then(<[u8]>::split_last_chunk::<4>).ok_or(Damaged::Content("a record is cut off"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err(Damaged::Content("a record does not match its checksum"));
        }
        read_record(self.name(number), self.flags(number), body)
            .ok_or(Damaged::Content("a record is of another form"))
    }

    /// Reads all records.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, Damaged>> {
        (0..self.packages).map(|number| self.record(number))
    }

    fn u32(&self, at: usize) -> u32 {
        self.tables.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    fn u16(&self, at: usize) -> u16 {
        self.tables.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_le_bytes)
    }

    fn flags(&self, number: usize) -> u16 {
        if number < self.packages { self.u16(number * PACKAGE + 6) } else { 0 }
    }

    fn name_at(&self, number: usize) -> &[u8] {
        self.name_of(number * PACKAGE)
    }

    /// The name that an entry of a table points to.
    fn name_of(&self, entry: usize) -> &[u8] {
        let names = self.packages * PACKAGE + self.provided * PROVIDED;
        let start = names + self.u32(entry) as usize;
        self.tables.get(start..start + usize::from(self.u16(entry + 4))).unwrap_or_default()
    }
}

fn read_head(head: &[u8; HEAD]) -> Result<(usize, usize, usize, u32), Damaged> {
    let number = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).unwrap_or_default();
    if &head[..16] != MAGIC {
        return Err(Damaged::Content("it is of another form"));
    }
    let (packages, provided) = (number(16) as usize, number(20) as usize);
    let length = packages
        .checked_mul(PACKAGE)
        .and_then(|length| length.checked_add(provided.checked_mul(PROVIDED)?))
        .and_then(|length| length.checked_add(number(24) as usize))
        .filter(|length| *length <= MOST)
        .ok_or(Damaged::Content("its tables are too long"))?;
    Ok((packages, provided, length, number(28)))
}

fn priority(flags: u16) -> Priority {
    match (flags >> 2) & 3 {
        0 => Priority::Required,
        1 => Priority::Important,
        2 => Priority::Standard,
        _ => Priority::Optional,
    }
}

fn read_record(name: &str, flags: u16, mut body: &[u8]) -> Option<Record> {
    let mut record = Record {
        name: name.to_owned(),
        essential: flags & ESSENTIAL != 0,
        important: flags & IMPORTANT != 0,
        priority: priority(flags),
        multi_arch: match (flags >> 4) & 3 {
            0 => MultiArch::No,
            1 => MultiArch::Same,
            2 => MultiArch::Foreign,
            _ => MultiArch::Allowed,
        },
        phased: (flags >> 8).checked_sub(1).map(|part| part as u8),
        ..Record::default()
    };
    while let Some((tag, rest)) = body.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let value = std::str::from_utf8(value).ok()?;
        body = rest;
        let field = match tag {
            0 => &mut record.version,
            1 => &mut record.architecture,
            2 => &mut record.source,
            3 => &mut record.source_version,
            4 => &mut record.pre_depends,
            5 => &mut record.depends,
            6 => &mut record.recommends,
            7 => &mut record.conflicts,
            8 => &mut record.breaks,
            9 => &mut record.provides,
            10 => &mut record.replaces,
            11 => &mut record.section,
            12 => &mut record.filename,
            13 => &mut record.sha256,
            14 => {
                record.size = value.parse().ok()?;
                continue;
            }
            15 => {
                record.installed_size = value.parse().ok()?;
                continue;
            }
            _ => return None,
        };
        value.clone_into(field);
    }
    if record.source.is_empty() {
        record.source.clone_from(&record.name);
    }
    if record.source_version.is_empty() {
        record.source_version.clone_from(&record.version);
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, version: &str) -> Record {
        Record {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            source: format!("{name}-source"),
            source_version: version.into(),
            depends: "libc6 (>= 2)".into(),
            provides: "editor, mail-agent (= 1)".into(),
            size: 77,
            phased: Some(0),
            essential: true,
            multi_arch: MultiArch::Allowed,
            priority: Priority::Standard,
            ..Record::default()
        }
    }

    #[test]
    fn what_is_written_is_found_by_name() {
        let records = vec![record("vim", "2"), record("bash", "1"), record("vim", "1"), record("zsh", "1")];
        let bytes = write(records.clone());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("index"), &bytes).unwrap();
        for index in
            [Index::open(&directory.path().join("index")).unwrap(), Index::from_bytes(bytes).unwrap()]
        {
            assert_eq!(index.len(), 4);
            let found: Vec<_> = index.find("vim").map(|number| index.record(number).unwrap()).collect();
            assert_eq!(found, [records[0].clone(), records[2].clone()]);
            assert_eq!(index.find("nothing").len() + index.find("").len() + index.find("zzz").len(), 0);
            let names: Vec<_> =
                index.providers("editor").into_iter().map(|number| index.name(number)).collect();
            assert_eq!(names, ["bash", "vim", "vim", "zsh"]);
            assert_eq!(index.importance(0), (Priority::Standard, true));
        }
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let bytes = write(vec![record("a", "1"), record("b", "2")]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let whole =
                Index::from_bytes(damaged).is_ok_and(|index| index.records().all(|record| record.is_ok()));
            assert!(!whole, "byte {at}");
        }
        for length in 0..bytes.len() {
            let cut = Index::from_bytes(bytes[..length].to_vec());
            assert!(!cut.is_ok_and(|index| index.records().all(|record| record.is_ok())), "{length}");
        }
    }
}
