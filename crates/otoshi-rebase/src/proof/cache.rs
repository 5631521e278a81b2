//! glibc's cache of libraries, `/etc/ld.so.cache`: what the loader looks at after the paths of a program, and before the
//! directories that it is built with. `ld.so.conf` is read by `ldconfig`, which writes the cache, and never by the loader.
//!
//! ```text
//! "ld.so-1.7.0\0" n, n × 12 bytes, to a multiple of 8     an older form, which may stand before
//! "glibc-ld.so.cache1.1" n, length, flags, …              48 bytes
//! n × { flags, key, value, version, hwcap }                24 bytes each; key and value are offsets of strings
//! ```
//!
//! Form: glibc's `sysdeps/generic/dl-cache.h`.

use otoshi_oci::Digest;
use serde::{Deserialize, Serialize};

const OLD: &[u8] = b"ld.so-1.7.0\0";
const NEW: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// The most libraries that are read.
const MOST: usize = 100_000;
/// The longest name or path, in bytes.
const LONGEST: usize = 4096;

/// Holds what a cache lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The digest of the file.
    pub sum: Digest,
    /// Names with their paths, in the order of the file; the same name may be there for several machines.
    pub libraries: Vec<(String, String)>,
}

impl Cache {
    /// Reads a cache; one that cannot be read lists nothing, as for the loader.
    pub fn parse(bytes: &[u8]) -> Self {
        let libraries = new_form(bytes).and_then(libraries).unwrap_or_default();
        Self { sum: Digest::sha256_of(bytes), libraries }
    }

    /// Returns the paths that a name stands for.
    pub fn paths(&self, name: &str) -> impl Iterator<Item = &str> {
        self.libraries.iter().filter(move |(known, _)| known == name).map(|(_, path)| path.as_str())
    }
}

/// The part of a file that has the new form.
fn new_form(bytes: &[u8]) -> Option<&[u8]> {
    if !bytes.starts_with(OLD) {
        return bytes.starts_with(NEW).then_some(bytes);
    }
    let count = usize::try_from(number(bytes, OLD.len(), false)?).ok()?;
    let end = count.checked_mul(12)?.checked_add(OLD.len() + 4)?.checked_next_multiple_of(8)?;
    bytes.get(end..).filter(|rest| rest.starts_with(NEW))
}

fn libraries(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    // 2 is little-endian, 3 big-endian; 0 was written before there was such a mark.
    let is_big = bytes.get(28)? & 3 == 3;
    let count = usize::try_from(number(bytes, NEW.len(), is_big)?).ok()?.min(MOST);
    let text = |at: u32| {
        let rest = bytes.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let mut found = Vec::new();
    for index in 0..count {
        let at = HEADER + index * ENTRY;
        let (key, value) = (number(bytes, at + 4, is_big)?, number(bytes, at + 8, is_big)?);
        found.extend(text(key).zip(text(value)));
    }
    Some(found)
}

fn number(bytes: &[u8], at: usize, is_big: bool) -> Option<u32> {
    let bytes = <[u8; 4]>::try_from(bytes.get(at..at.checked_add(4)?)?).ok()?;
    Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

#[cfg(test)]
mod tests {
    use otoshi_test::{Need, given, require};

    use super::*;

    /// A cache in the new form.
    fn cache(libraries: &[(&str, &str)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let start = HEADER + libraries.len() * ENTRY;
        let mut entries = Vec::new();
        for (name, path) in libraries {
            let mut put = |text: &str| {
                let at = u32::try_from(start + strings.len()).unwrap();
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
                at.to_le_bytes()
            };
            entries.extend([0x0303_u32.to_le_bytes(), put(name), put(path), [0; 4], [0; 4], [0; 4]].concat());
        }
        let mut bytes = NEW.to_vec();
        bytes.extend(u32::try_from(libraries.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(strings.len()).unwrap().to_le_bytes());
        bytes.push(2);
        bytes.resize(HEADER, 0);
        [bytes, entries, strings].concat()
    }

    #[test]
    fn libraries_are_listed_in_both_forms() {
        let list = [("libfoo.so.1", "/usr/local/lib/libfoo.so.1"), ("libfoo.so.1", "/lib32/libfoo.so.1")];
        let new = cache(&list);
        let both = [OLD, &[2, 0, 0, 0], &[7; 24], &new].concat();
        for bytes in [new.clone(), both] {
            let found = Cache::parse(&bytes);
            assert_eq!(found.paths("libfoo.so.1").collect::<Vec<_>>(), list.map(|(_, path)| path));
            assert_eq!(found.paths("libfoo.so").count(), 0);
        }
        // And cut or damaged anywhere it is no panic.
        for end in 0..new.len() {
            let _ = Cache::parse(&new[..end]);
            let mut damaged = new.clone();
            damaged[end] ^= 0xff;
            let _ = Cache::parse(&damaged);
        }
    }

    #[test]
    fn this_machines_own_cache_is_read() {
        given!(require(&[Need::Tool("ld.so.cache")]));
        let bytes = std::fs::read("/etc/ld.so.cache").unwrap();
        let found = Cache::parse(&bytes);
        assert!(found.paths("libc.so.6").any(|path| path.starts_with('/')), "{}", found.libraries.len());
    }
}
