//! One version of a package, borrowed from the text of an index or from our own form of it.

use std::borrow::Cow;

use super::{MultiArch, Priority, Record};

/// How many fields an entry has beside its name.
const FIELDS: usize = 16;

const ESSENTIAL: u16 = 1;
const IMPORTANT: u16 = 2;
const PRIORITY: u16 = 2;
const MULTI_ARCH: u16 = 4;
const PHASED: u16 = 8;

/// A field; the number is its tag in our own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Version,
    Architecture,
    Source,
    SourceVersion,
    PreDepends,
    Depends,
    Recommends,
    Conflicts,
    Breaks,
    Provides,
    Replaces,
    Section,
    Filename,
    Sha256,
    Size,
    InstalledSize,
}

/// What an index says of one version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    pub(super) name: &'a str,
    fields: [Cow<'a, str>; FIELDS],
    pub(super) flags: u16,
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self {
            name: "",
            fields: [const { Cow::Borrowed("") }; FIELDS],
            flags: (Priority::Optional as u16) << PRIORITY,
        }
    }
}

impl<'a> Entry<'a> {
    /// Borrows from a record.
    pub(super) fn of(record: &'a Record) -> Self {
        let mut entry = Self { name: &record.name, ..Self::default() };
        for (field, text) in [
            (Field::Version, &record.version),
            (Field::Architecture, &record.architecture),
            (Field::Source, &record.source),
            (Field::SourceVersion, &record.source_version),
            (Field::PreDepends, &record.pre_depends),
            (Field::Depends, &record.depends),
            (Field::Recommends, &record.recommends),
            (Field::Conflicts, &record.conflicts),
            (Field::Breaks, &record.breaks),
            (Field::Provides, &record.provides),
            (Field::Replaces, &record.replaces),
            (Field::Section, &record.section),
            (Field::Filename, &record.filename),
            (Field::Sha256, &record.sha256),
        ] {
            entry.set(field, Cow::Borrowed(text));
        }
        for (field, number) in [(Field::Size, record.size), (Field::InstalledSize, record.installed_size)] {
            if number != 0 {
                entry.set(field, number.to_string().into());
            }
        }
        entry.set_flag(ESSENTIAL, record.essential);
        entry.set_flag(IMPORTANT, record.important);
        entry.set_priority(record.priority);
        entry.set_multi_arch(record.multi_arch);
        entry.set_phased(record.phased);
        entry
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns its version.
    pub fn version(&self) -> &str {
        self.field(Field::Version)
    }

    /// Returns its architecture.
    pub fn architecture(&self) -> &str {
        self.field(Field::Architecture)
    }

    pub(super) fn field(&self, field: Field) -> &str {
        &self.fields[field as usize]
    }

    /// The names that it provides.
    pub(super) fn provided(&self) -> Vec<Cow<'a, str>> {
        fn names(text: &str) -> impl Iterator<Item = &str> {
            let names = text.split(',').map(|one| one.split(['(', ':']).next().unwrap_or_default().trim());
            names.filter(|name| !name.is_empty() && name.len() <= 1000)
        }
        match &self.fields[Field::Provides as usize] {
            Cow::Borrowed(text) => names(text).map(Cow::Borrowed).collect(),
            Cow::Owned(text) => names(text).map(|name| Cow::Owned(name.to_owned())).collect(),
        }
    }

    pub(super) fn set(&mut self, field: Field, value: Cow<'a, str>) {
        self.fields[field as usize] = value;
    }

    pub(super) fn set_essential(&mut self, set: bool) {
        self.set_flag(ESSENTIAL, set);
    }

    pub(super) fn set_important(&mut self, set: bool) {
        self.set_flag(IMPORTANT, set);
    }

    pub(super) fn set_priority(&mut self, priority: Priority) {
        self.flags = self.flags & !(3 << PRIORITY) | (priority as u16) << PRIORITY;
    }

    pub(super) fn set_multi_arch(&mut self, multi_arch: MultiArch) {
        self.flags = self.flags & !(3 << MULTI_ARCH) | (multi_arch as u16) << MULTI_ARCH;
    }

    pub(super) fn set_phased(&mut self, phased: Option<u8>) {
        self.flags = self.flags & 0xff | u16::from(phased.map_or(0, |share| share + 1)) << PHASED;
    }

    fn set_flag(&mut self, bit: u16, set: bool) {
        self.flags = if set { self.flags | bit } else { self.flags & !bit };
    }

    /// What is written of it: which fields have something to say, without what follows from others; their lengths; their texts.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 2]);
        let mut present = 0_u16;
        for (tag, field) in self.fields.iter().enumerate() {
            let follows = match tag {
                _ if tag == Field::Source as usize => **field == *self.name,
                _ if tag == Field::SourceVersion as usize => *field == self.fields[Field::Version as usize],
                _ => false,
            };
            if !field.is_empty() && !follows {
                present |= 1 << tag;
                bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
            }
        }
        bytes[start..start + 2].copy_from_slice(&present.to_le_bytes());
        for (tag, field) in self.fields.iter().enumerate() {
            if present & 1 << tag != 0 {
                bytes.extend_from_slice(field.as_bytes());
            }
        }
    }

    /// Reads what [`Entry::write`] wrote; `None` where it has another format.
    pub(super) fn read(name: &'a str, flags: u16, body: &'a [u8]) -> Option<Self> {
        let (present, rest) = body.split_first_chunk::<2>()?;
        let present = u16::from_le_bytes(*present);
        let (mut lengths, text) = rest.split_at_checked(4 * present.count_ones() as usize)?;
        // All texts at once, which is much faster than each by itself.
        let mut text = std::str::from_utf8(text).ok()?;
        let mut entry = Self { name, flags, ..Self::default() };
        for (tag, field) in entry.fields.iter_mut().enumerate() {
            if present & 1 << tag != 0 {
                let (length, more) = lengths.split_first_chunk::<4>()?;
                let (value, rest) = text.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                *field = Cow::Borrowed(value);
                (lengths, text) = (more, rest);
            }
        }
        text.is_empty().then_some(entry)
    }

    /// Takes it out of what it borrows from; `None` where a number is none.
    pub(super) fn record(&self) -> Option<Record> {
        let text = |field| self.field(field).to_owned();
        let number = |field| match self.field(field) {
            "" => Some(0),
            text => text.parse().ok(),
        };
        let or = |field, other: &str| match self.field(field) {
            "" => other.to_owned(),
            text => text.to_owned(),
        };
        Some(Record {
            name: self.name.to_owned(),
            version: text(Field::Version),
            architecture: text(Field::Architecture),
            source: or(Field::Source, self.name),
            source_version: or(Field::SourceVersion, self.version()),
            pre_depends: text(Field::PreDepends),
            depends: text(Field::Depends),
            recommends: text(Field::Recommends),
            conflicts: text(Field::Conflicts),
            breaks: text(Field::Breaks),
            provides: text(Field::Provides),
            replaces: text(Field::Replaces),
            section: text(Field::Section),
            filename: text(Field::Filename),
            sha256: text(Field::Sha256),
            size: number(Field::Size)?,
            installed_size: number(Field::InstalledSize)?,
            phased: (self.flags >> PHASED).checked_sub(1).map(|share| share as u8),
            essential: is_essential(self.flags),
            important: self.flags & IMPORTANT != 0,
            priority: priority(self.flags),
            multi_arch: match self.flags >> MULTI_ARCH & 3 {
                0 => MultiArch::No,
                1 => MultiArch::Same,
                2 => MultiArch::Foreign,
                _ => MultiArch::Allowed,
            },
        })
    }
}

pub(super) fn is_essential(flags: u16) -> bool {
    flags & ESSENTIAL != 0
}

pub(super) fn priority(flags: u16) -> Priority {
    match flags >> PRIORITY & 3 {
        0 => Priority::Required,
        1 => Priority::Important,
        2 => Priority::Standard,
        _ => Priority::Optional,
    }
}
