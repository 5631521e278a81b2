//! Entries as bytes, and entries by name out of bytes.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;

use super::entry::{Entry, is_essential, priority};
use super::{Priority, Record};

const MAGIC: &[u8; 16] = b"otoshi-apt-ix 2\n";
const HEAD: usize = 32;
const PACKAGE: usize = 16;
const PROVIDED: usize = 12;
/// The most bytes that tables and names may have; all of Debian takes some 3 MB.
const MOST: usize = 512 << 20;
/// How many records are read at a time.
const PART: usize = 1024;

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

impl Damaged {
    const OTHER_FORM: Self = Self::Content("a record has another format");

    /// What it is that a file could not be read: its end, as it says, or whatever else there is.
    fn cut(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Content(what),
            _ => Self::Io(error),
        }
    }
}

/// A part of an index that is being written.
#[derive(Debug, Default)]
pub(super) struct Piece<'a> {
    packages: Vec<Package<'a>>,
    /// Names that packages provide, with the packages' places here.
    provided: Vec<(Cow<'a, str>, u32)>,
    bodies: Vec<u8>,
}

#[derive(Debug)]
struct Package<'a> {
    name: &'a str,
    flags: u16,
    start: u32,
    length: u32,
}

impl<'a> Piece<'a> {
    pub(super) fn add(&mut self, entry: &Entry<'a>) {
        let start = self.bodies.len();
        entry.write(&mut self.bodies);
        let sum = crc32fast::hash(&self.bodies[start..]);
        self.bodies.extend_from_slice(&sum.to_le_bytes());
        let number = self.packages.len() as u32;
        self.provided.extend(entry.provided().into_iter().map(|name| (name, number)));
        let (start, length) = (start as u32, (self.bodies.len() - start) as u32);
        self.packages.push(Package { name: entry.name, flags: entry.flags, start, length });
    }
}

/// Writes records in the form that [`Index`] reads.
pub fn write(records: &[Record]) -> Vec<u8> {
    let mut piece = Piece::default();
    for record in records {
        piece.add(&Entry::of(record));
    }
    join(&[piece])
}

/// Puts pieces together: packages by name, and those of one name in their order.
pub(super) fn join(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut packages: Vec<(&str, u32, u16, &[u8])> = Vec::new();
    let mut firsts = Vec::new();
    for piece in pieces {
        let first = packages.len() as u32;
        firsts.push(first);
        packages.extend(piece.packages.iter().zip(first..).map(|(one, number)| {
            let body = &piece.bodies[one.start as usize..][..one.length as usize];
            (one.name, number, one.flags, body)
        }));
    }
    packages.par_sort_unstable_by_key(|(name, number, ..)| (*name, *number));
    let mut places = vec![0_u32; packages.len()];
    for (place, (_, number, ..)) in packages.iter().enumerate() {
        places[*number as usize] = place as u32;
    }
    let mut provided: Vec<(&str, u32)> = Vec::new();
    for (piece, first) in pieces.iter().zip(firsts) {
        let of_piece = piece.provided.iter();
        provided.extend(of_piece.map(|(name, number)| (&**name, places[(first + number) as usize])));
    }
    provided.par_sort_unstable();

    let (mut tables, mut names) = (Vec::with_capacity(packages.len() * (PACKAGE + 24)), Vec::new());
    let mut last = (0, "");
    let mut start = 0_usize;
    for (name, _, flags, body) in &packages {
        if *name != last.1 || names.is_empty() {
            last = (names.len() as u32, name);
            names.extend_from_slice(name.as_bytes());
        }
        put(&mut tables, last.0);
        tables.extend_from_slice(&(name.len() as u16).to_le_bytes());
        tables.extend_from_slice(&flags.to_le_bytes());
        put(&mut tables, start as u32);
        put(&mut tables, body.len() as u32);
        start += body.len();
    }
    for (name, place) in &provided {
        put(&mut tables, names.len() as u32);
        tables.extend_from_slice(&(name.len() as u16).to_le_bytes());
        tables.extend_from_slice(&[0, 0]);
        put(&mut tables, *place);
        names.extend_from_slice(name.as_bytes());
    }
    tables.extend_from_slice(&names);
    let mut bytes = Vec::with_capacity(HEAD + tables.len() + start);
    bytes.extend_from_slice(MAGIC);
    for number in [packages.len(), provided.len(), names.len()] {
        put(&mut bytes, number as u32);
    }
    put(&mut bytes, crc32fast::hash(&tables));
    bytes.extend_from_slice(&tables);
    for (.., body) in &packages {
        bytes.extend_from_slice(body);
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
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
    ///
    /// Fails with `Damaged` where the content does not match its checksums.
    pub fn open(path: &Path) -> Result<Self, Damaged> {
        let mut file = File::open(path)?;
        let mut head = [0; HEAD];
        file.read_exact(&mut head).map_err(Damaged::cut("it is too short"))?;
        let (packages, provided, length, sum) = read_head(&head)?;
        let mut tables = vec![0; length];
        file.read_exact(&mut tables).map_err(Damaged::cut("it is too short"))?;
        Self::checked(tables, packages, provided, sum, Records::File(file))
    }

    /// Takes bytes that [`write`] made.
    ///
    /// Fails with `Damaged` where the content does not match its checksums.
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
    pub(crate) fn importance(&self, number: usize) -> (Priority, bool) {
        let flags = self.flags(number);
        (priority(flags), is_essential(flags))
    }

    /// Reads what is known of a package by its number.
    ///
    /// Fails with `Damaged` where the content does not match its checksums.
    pub fn record(&self, number: usize) -> Result<Record, Damaged> {
        let (start, length) = self.place(number)?;
        let read;
        let bytes = match &self.records {
            Records::Memory(bytes) => bytes.get(self.bodies()..).unwrap_or_default(),
            Records::File(file) => {
                if length > MOST {
                    return Err(Damaged::Content("a record is too long"));
                }
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, (self.bodies() + start) as u64)
                    .map_err(Damaged::cut("a record is cut off"))?;
                read = buffer;
                return self.entry(number, &read)?.record().ok_or(Damaged::OTHER_FORM);
            }
        };
        let body = bytes.get(start..start + length).ok_or(Damaged::Content("a record is cut off"))?;
        self.entry(number, body)?.record().ok_or(Damaged::OTHER_FORM)
    }

    /// Reads all records, each by itself.
    ///
    /// Each fails as [`Index::record`] does.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, Damaged>> {
        (0..self.packages).map(|number| self.record(number))
    }

    /// Makes something of every package, by name and on all cores; nothing is copied of one that is not asked for more.
    ///
    /// Fails where one of them is damaged.
    pub fn map<T: Send>(&self, make: impl Fn(&Entry<'_>) -> T + Sync) -> Result<Vec<T>, Damaged> {
        let parts: Vec<_> = (0..self.packages).step_by(PART).map(|from| (from, from + PART)).collect();
        let part = |buffer: &mut Vec<u8>, (from, to): &(usize, usize)| {
            let numbers = *from..(*to).min(self.packages);
            let (base, bodies) = self.span(numbers.clone(), buffer)?;
            let one = |number| {
                let (start, length) = self.place(number)?;
                let body = start.checked_sub(base).and_then(|start| bodies.get(start..start + length));
                let body = body.ok_or(Damaged::Content("a record is cut off"))?;
                Ok::<T, Damaged>(make(&self.entry(number, body)?))
            };
            numbers.map(one).collect::<Result<Vec<T>, Damaged>>()
        };
        let made: Result<Vec<Vec<T>>, Damaged> = parts.par_iter().map_init(Vec::new, part).collect();
        Ok(made?.into_iter().flatten().collect())
    }

    /// The records of some packages, which lie side by side, and where the first begins.
    fn span<'a>(
        &'a self,
        mut numbers: std::ops::Range<usize>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<(usize, &'a [u8]), Damaged> {
        let file = match &self.records {
            Records::Memory(bytes) => return Ok((0, bytes.get(self.bodies()..).unwrap_or_default())),
            Records::File(file) => file,
        };
        let from = self.place(numbers.start)?.0;
        let to = numbers
            .try_fold(from, |to, number| self.place(number).map(|(start, length)| to.max(start + length)))?;
        if to - from > MOST {
            return Err(Damaged::Content("its records are too long"));
        }
        buffer.resize(to - from, 0);
        file.read_exact_at(buffer, (self.bodies() + from) as u64)
            .map_err(Damaged::cut("a record is cut off"))?;
        Ok((from, buffer))
    }

    /// Where the records begin.
    fn bodies(&self) -> usize {
        HEAD + self.tables.len()
    }

    /// Where a package's record is, from where the records begin, and its length.
    fn place(&self, number: usize) -> Result<(usize, usize), Damaged> {
        if number >= self.packages {
            return Err(Damaged::Content("it has no such package"));
        }
        let entry = number * PACKAGE;
        Ok((self.u32(entry + 8) as usize, self.u32(entry + 12) as usize))
    }

    fn entry<'a>(&'a self, number: usize, bytes: &'a [u8]) -> Result<Entry<'a>, Damaged> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(Damaged::Content("a record is cut off"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err(Damaged::Content("a record does not match its checksum"));
        }
        Entry::read(self.name(number), self.flags(number), body).ok_or(Damaged::OTHER_FORM)
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
        return Err(Damaged::Content("it has another format"));
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

#[cfg(test)]
mod tests {
    use super::super::MultiArch;
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
        let bytes = write(&records);
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
            let shown = index.map(|entry| entry.record().unwrap()).unwrap();
            assert_eq!(shown, index.records().collect::<Result<Vec<_>, _>>().unwrap());
            assert_eq!((shown.len(), &*shown[0].name), (4, "bash"));
        }
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let bytes = write(&[record("a", "1"), record("b", "2")]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let whole = Index::from_bytes(damaged)
                .is_ok_and(|index| index.records().all(|record| record.is_ok()) || index.map(|_| ()).is_ok());
            assert!(!whole, "byte {at}");
        }
        for length in 0..bytes.len() {
            let cut = Index::from_bytes(bytes[..length].to_vec());
            assert!(!cut.is_ok_and(|index| index.records().all(|record| record.is_ok())), "{length}");
        }
    }
}
