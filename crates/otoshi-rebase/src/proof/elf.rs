//! What the dynamic loader looks at in an ELF file, and nothing else.
//!
//! Names that are needed come from the segments, as the loader reads them; symbols and their versions from the sections, which
//! all but deliberately stripped files have.
//!
//! Source: the System V ABI's generic part, "Dynamic Section"; versions of symbols: LSB Core, "Symbol Versioning".

use std::fmt;

use object::elf::{
    DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, SHT_DYNSYM, STT_OBJECT,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Sym};
use object::{Endianness, FileKind, SymbolIndex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// The most entries of a dynamic section that are read.
const MOST_DYNAMIC: usize = 65_536;
/// The most symbols that are read.
const MOST_SYMBOLS: usize = 4_000_000;
/// The most bytes of names of symbols that are kept.
const MOST_NAMES: usize = 64 << 20;
/// The longest name that is kept.
const LONGEST: usize = 4096;

/// Holds what a file needs and offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elf {
    /// Whether it is a 64-bit file.
    pub is_64: bool,
    /// Whether its numbers are big-endian.
    pub is_big: bool,
    /// The machine, as the specification numbers it.
    pub machine: u16,
    /// The loader of a program.
    pub interp: Option<String>,
    /// Its own name.
    pub soname: Option<String>,
    /// The libraries that it needs.
    pub needed: Vec<String>,
    /// Where they are looked for first; passed on to the libraries.
    pub rpath: Vec<String>,
    /// Where they are looked for before the usual places.
    pub runpath: Vec<String>,
    /// Versions of libraries that it needs: library, version.
    pub versions_needed: Vec<(String, String)>,
    /// Versions that it defines.
    pub versions: Vec<String>,
    /// The undefined symbols that must be found, as `name` or `name@version`, each ended by a zero byte.
    pub imports: Bytes,
    /// The hashes of the symbols that it defines, in both forms, sorted, eight bytes each.
    pub exports: Bytes,
    /// The servers that it is a module of, or is itself, with the number that its own data says: `nginx` and its version,
    /// `apache` and its interface.
    pub modules: Vec<(String, u32)>,
}

/// Bytes that are stored as they are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Raw;
        impl Visitor<'_> for Raw {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_bytes(Raw)
    }
}

/// Computes the hash by which exported symbols are kept (FNV-1a).
pub(super) fn hash(symbol: &[u8]) -> u64 {
    symbol
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Says why a file cannot be read as ELF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It is malformed.
    #[error(transparent)]
    Malformed(#[from] object::Error),
    /// It is a file of another kind.
    #[error("it is not a 32-bit or 64-bit ELF file")]
    Kind,
}

impl Elf {
    /// Reads a file; an error says what is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        Ok(match FileKind::parse(bytes)? {
            FileKind::Elf32 => read::<object::elf::FileHeader32<Endianness>>(bytes)?,
            FileKind::Elf64 => read::<object::elf::FileHeader64<Endianness>>(bytes)?,
            _ => return Err(ElfError::Kind),
        })
    }

    /// Says whether a program of the other file's form can load it.
    pub(super) fn fits(&self, other: &Self) -> bool {
        (self.is_64, self.is_big, self.machine) == (other.is_64, other.is_big, other.machine)
    }

    /// Says whether it defines a symbol.
    pub fn defines(&self, symbol: &[u8]) -> bool {
        let (wanted, exports) = (hash(symbol), &self.exports.0);
        let at = |index: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&exports[index * 8..index * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        let (mut low, mut high) = (0, exports.len() / 8);
        while low < high {
            let middle = usize::midpoint(low, high);
            match at(middle).cmp(&wanted) {
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    /// Returns the undefined symbols that must be found.
    pub(super) fn imports(&self) -> impl Iterator<Item = &[u8]> {
        self.imports.0.split(|byte| *byte == 0).filter(|name| !name.is_empty())
    }

    /// Returns the hashes of the symbols that it defines.
    pub(super) fn exports(&self) -> impl Iterator<Item = u64> {
        self.exports.0.chunks_exact(8).map(|chunk| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            u64::from_le_bytes(bytes)
        })
    }
}

fn read<E: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Elf, object::Error> {
    let header = E::parse(bytes)?;
    let endian = header.endian()?;
    let mut elf = Elf {
        is_64: E::is_type_64_sized(),
        is_big: endian == Endianness::Big,
        machine: header.e_machine(endian).0,
        ..Elf::default()
    };
    let segments = header.program_headers(endian, bytes)?;
    for segment in segments {
        if let Some(interp) = segment.interpreter(endian, bytes)? {
            elf.interp = Some(text(interp));
        }
    }
    needs::<E>(&mut elf, endian, bytes, segments);
    symbols(&mut elf, endian, bytes, header)?;
    modules::<E>(&mut elf, endian, bytes, (header, segments))?;
    Ok(elf)
}

/// What the dynamic segment says.
fn needs<E: FileHeader<Endian = Endianness>>(
    elf: &mut Elf,
    endian: Endianness,
    bytes: &[u8],
    segments: &[E::ProgramHeader],
) {
    let mut found = segments.iter().filter_map(|segment| segment.dynamic(endian, bytes).ok().flatten());
    let Some(entries) = found.next() else { return };
    let entries: Vec<(object::elf::DynamicTag, u64)> = entries
        .iter()
        .take(MOST_DYNAMIC)
        .map(|entry| (entry.tag(endian), entry.val(endian)))
        .take_while(|(tag, _)| *tag != DT_NULL)
        .collect();
    let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let (Some(at), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else { return };
    let strings = segments
        .iter()
        .find_map(|segment| segment.data_range(endian, bytes, at, size).ok().flatten())
        .unwrap_or_default();
    let string = |offset: u64| {
        let rest = strings.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
        Some(text(&rest[..end]))
    };
    let list = |offset: u64| -> Vec<String> {
        let joined = string(offset).unwrap_or_default();
        joined.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    for (tag, value) in &entries {
        match *tag {
            DT_NEEDED => elf.needed.extend(string(*value)),
            DT_SONAME => elf.soname = string(*value),
            DT_RPATH => elf.rpath = list(*value),
            DT_RUNPATH => elf.runpath = list(*value),
            _ => {}
        }
    }
}

/// What the tables of symbols and versions say.
fn symbols<E: FileHeader<Endian = Endianness>>(
    elf: &mut Elf,
    endian: Endianness,
    bytes: &[u8],
    header: &E,
) -> Result<(), object::Error> {
    let sections = header.sections(endian, bytes)?;
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((need, mut versions)) = needs.next()? {
            let library = text(need.file(endian, strings)?);
            while let Some(version) = versions.next()? {
                // A weak version may be missing.
                if version.vna_flags.get(endian).0 & 2 == 0 && elf.versions_needed.len() < MOST_DYNAMIC {
                    elf.versions_needed.push((library.clone(), text(version.name(endian, strings)?)));
                }
            }
        }
    }
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((_, mut names)) = definitions.next()? {
            if let Some(name) = names.next()?
                && elf.versions.len() < MOST_DYNAMIC
            {
                elf.versions.push(text(name.name(endian, strings)?));
            }
        }
    }
    let table = sections.symbols(endian, bytes, SHT_DYNSYM)?;
    let versions = sections.versions(endian, bytes)?;
    let mut exports = Vec::new();
    for (index, symbol) in table.iter().enumerate().take(MOST_SYMBOLS) {
        if symbol.is_local() || symbol.st_name(endian) == 0 {
            continue;
        }
        let Ok(name) = symbol.name(endian, table.strings()) else { continue };
        if name.is_empty() || name.len() > LONGEST {
            continue;
        }
        let version = versions.as_ref().and_then(|versions| {
            let index = versions.version_index(endian, SymbolIndex(index));
            let version = versions.version(index.index()).ok().flatten()?;
            Some((version.name(), index.is_hidden()))
        });
        let with_version = |version: &[u8]| [name, b"@", version].concat();
        if symbol.is_undefined(endian) {
            if !symbol.is_weak() && elf.imports.0.len() < MOST_NAMES {
                let full = version.map_or_else(|| name.to_vec(), |(version, _)| with_version(version));
                elf.imports.0.extend_from_slice(&full);
                elf.imports.0.push(0);
            }
            continue;
        }
        match version {
            Some((version, hidden)) => {
                exports.push(hash(&with_version(version)));
                if !hidden {
                    exports.push(hash(name));
                }
            }
            None => exports.push(hash(name)),
        }
    }
    exports.sort_unstable();
    exports.dedup();
    elf.exports = Bytes(exports.iter().flat_map(|hash| hash.to_le_bytes()).collect());
    Ok(())
}

/// What exported descriptions of modules say of their server: nginx's version is the sixth word of one, Apache's the first four
/// bytes.
///
/// Forms: nginx's `ngx_module_t` and Apache's `module_struct`.
fn modules<E: FileHeader<Endian = Endianness>>(
    elf: &mut Elf,
    endian: Endianness,
    bytes: &[u8],
    (header, segments): (&E, &[E::ProgramHeader]),
) -> Result<(), object::Error> {
    let sections = header.sections(endian, bytes)?;
    let table = sections.symbols(endian, bytes, SHT_DYNSYM)?;
    let word = if elf.is_64 { 8 } else { 4 };
    for symbol in table.iter().take(MOST_SYMBOLS) {
        if symbol.is_undefined(endian) || symbol.st_type() != STT_OBJECT {
            continue;
        }
        let Ok(name) = symbol.name(endian, table.strings()) else { continue };
        if !name.ends_with(b"_module") {
            continue;
        }
        let (server, offset, range) = if name.starts_with(b"ngx_") {
            ("nginx", 5 * word, 1_000_000..10_000_000)
        } else {
            ("apache", 0, 20_000_000..30_000_000)
        };
        let at: u64 = symbol.st_value(endian).into();
        let data = segments
            .iter()
            .find_map(|segment| segment.data_range(endian, bytes, at.checked_add(offset)?, 4).ok().flatten());
        let Some(number) = data.and_then(|data| <[u8; 4]>::try_from(data).ok()) else { continue };
        let number = if elf.is_big { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) };
        let said = (server.to_owned(), number);
        if range.contains(&number) && !elf.modules.contains(&said) {
            elf.modules.push(said);
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned()
}
