//! Compiled Python files record the time of their source, and are thrown away when it differs. A layer that sets all times
//! must therefore set the recorded ones too.
//!
//! ```text
//! 0 magic[2] \r\n   4 flags[4] (0: checked by time)   8 time of the source[4]   12 size of the source[4]
//! ```
//!
//! Format: <https://peps.python.org/pep-0552/>

/// The length of the header, in bytes.
pub const HEADER: usize = 16;

/// The first magic number whose header has a flags word (Python 3.7), and one that Python 3 will not reach soon; Python
/// 2's numbers are far above.
const MAGICS: std::ops::Range<u16> = 3392..20_000;

/// Says whether a name is that of a compiled file.
pub fn is_compiled(name: &[u8]) -> bool {
    name.ends_with(b".pyc") && name.len() > 4
}

/// Returns the path of the source of a compiled file, from where the path of that begins.
///
/// In `lib/__pycache__`, `a.cpython-311.opt-1.pyc` comes from `lib/a.py`; elsewhere `lib/a.pyc` does.
pub fn source_of(path: &[u8]) -> Option<Vec<u8>> {
    let start = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(start);
    let stem = name.strip_suffix(b".pyc")?;
    let Some(above) =
        directory.strip_suffix(b"__pycache__/").filter(|above| above.is_empty() || above.ends_with(b"/"))
    else {
        return Some([directory, stem, b".py"].concat());
    };
    let stem = match stem.windows(5).rposition(|part| part == b".opt-") {
        Some(end) => &stem[..end],
        None => stem,
    };
    // The last dot separates the module from the interpreter's tag.
    let end = stem.iter().rposition(|&byte| byte == b'.')?;
    Some([above, &stem[..end], b".py"].concat())
}

/// What a compiled file that is checked by time says of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its time in seconds since 1970, the low 32 bits.
    pub time: u32,
    /// Its size in bytes, the low 32 bits.
    pub size: u32,
}

impl Recorded {
    /// Reads a header; `None` where the file is not checked by time.
    pub fn read(header: &[u8]) -> Option<Self> {
        let header = header.first_chunk::<HEADER>()?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let magic = u16::from_le_bytes([header[0], header[1]]);
        let by_time = MAGICS.contains(&magic) && header[2..4] == *b"\r\n" && word(4) == 0;
        by_time.then(|| Self { time: word(8), size: word(12) })
    }

    /// Whether a source with this time and size is the one that was compiled.
    pub fn is_of(self, mtime: i64, size: u64) -> bool {
        (self.time, self.size) == (mtime as u32, size as u32)
    }
}

/// Puts `mtime` into a header that records exactly this source, and says whether it did.
pub(super) fn correct(header: &mut [u8], source_mtime: i64, source_size: u64, mtime: i64) -> bool {
    let is_its = Recorded::read(header).is_some_and(|recorded| recorded.is_of(source_mtime, source_size));
    if let (true, Some(time)) = (is_its, header.get_mut(8..12)) {
        time.copy_from_slice(&(mtime as u32).to_le_bytes());
    }
    is_its
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_found() {
        let source = |path: &str| source_of(path.as_bytes()).map(|s| String::from_utf8(s).unwrap());
        assert_eq!(source("__pycache__/a.cpython-311.pyc").unwrap(), "a.py");
        assert_eq!(source("lib/__pycache__/a.b.cpython-311.opt-2.pyc").unwrap(), "lib/a.b.py");
        assert_eq!(source("lib/x/__pycache__/a.cpython-311.opt-1.pyc").unwrap(), "lib/x/a.py");
        assert_eq!(source("lib/a.pyc").unwrap(), "lib/a.py");
        assert_eq!(source("a.pyc").unwrap(), "a.py");
        assert_eq!(source("my__pycache__/a.pyc").unwrap(), "my__pycache__/a.py");
        assert_eq!(source("__pycache__/a.pyc"), None);
        assert_eq!(source("lib/a.py"), None);
    }

    #[test]
    fn only_the_recorded_source_counts() {
        let header = |magic: u16, flags: u32, mtime: u32, size: u32| {
            let mut bytes = magic.to_le_bytes().to_vec();
            bytes.extend_from_slice(b"\r\n");
            for word in [flags, mtime, size] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            bytes
        };
        let mut fitting = header(3495, 0, 1_700_000_000, 42);
        assert!(correct(&mut fitting, 1_700_000_000, 42, 7));
        assert_eq!(fitting, header(3495, 0, 7, 42));
        for mut other in [
            header(3495, 1, 1_700_000_000, 42),
            header(3495, 0, 1_700_000_001, 42),
            header(3495, 0, 1_700_000_000, 43),
            header(62211, 0, 1_700_000_000, 42),
            vec![0; 15],
        ] {
            let before = other.clone();
            assert!(!correct(&mut other, 1_700_000_000, 42, 7));
            assert_eq!(other, before);
        }
    }
}
