//! The packages of an index: a paragraph for each, a letter for each field.

/// The most packages that are read of an index.
const MOST: usize = 1_000_000;

/// A version of a package in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The architecture.
    pub architecture: String,
    /// The package that it was built from.
    pub source: String,
}

/// Holds the packages of a repository, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct Index {
    records: Vec<Record>,
}

impl Index {
    /// Reads an index's text; paragraphs without name or version are passed over.
    pub fn parse(text: &[u8]) -> Self {
        paragraphs(text).take(MOST).filter_map(Record::parse).collect()
    }

    /// Returns the versions of a package.
    pub fn named(&self, name: &str) -> &[Record] {
        let start = self.records.partition_point(|record| &record.name[..] < name);
        let length = self.records[start..].iter().take_while(|record| record.name == name).count();
        &self.records[start..start + length]
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl FromIterator<Record> for Index {
    fn from_iter<T: IntoIterator<Item = Record>>(records: T) -> Self {
        let mut records: Vec<_> = records.into_iter().collect();
        records.sort_by(|left: &Record, right| left.name.cmp(&right.name));
        Self { records }
    }
}

impl Record {
    /// Reads packages of a text, at most so many; fails with the reason where a paragraph has no name or version.
    pub(crate) fn all(text: &[u8], most: usize) -> Result<Vec<Self>, String> {
        paragraphs(text)
            .filter(|paragraph| !paragraph.trim_ascii().is_empty())
            .take(most)
            .map(|paragraph| {
                Self::parse(paragraph).ok_or_else(|| "a package in it has no name or no version".to_owned())
            })
            .collect()
    }

    fn parse(paragraph: &[u8]) -> Option<Self> {
        let [mut name, mut version, mut architecture, mut source] = [&b""[..]; 4];
        for line in paragraph.split(|byte| *byte == b'\n') {
            match line {
                [b'P', b':', value @ ..] => name = value,
                [b'V', b':', value @ ..] => version = value,
                [b'A', b':', value @ ..] => architecture = value,
                [b'o', b':', value @ ..] => source = value,
                // Directories and files of what is installed come last, and are by far the most.
                [b'F', b':', ..] => break,
                _ => {}
            }
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value.trim_ascii()).into_owned();
        let (name, version, source) = (text(name), text(version), text(source));
        if name.is_empty() || version.is_empty() {
            return None;
        }
        let source = if source.is_empty() { name.clone() } else { source };
        Some(Self { name, version, architecture: text(architecture), source })
    }
}

fn paragraphs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = text;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let (paragraph, rest) = match memchr::memmem::find(left, b"\n\n") {
            Some(end) => (&left[..end], &left[end + 2..]),
            None => (left, &left[left.len()..]),
        };
        left = rest;
        Some(paragraph)
    })
}

#[cfg(test)]
mod tests {
    use super::Index;

    #[test]
    fn a_package_is_found_by_name() {
        let index = Index::parse(b"C:x\nP:b\nV:1-r0\nA:x86_64\no:src\n\nP:a\nV:2\n\nP:b\nV:2-r0\n\n\nV:no\n");
        assert_eq!(index.len(), 3);
        let versions: Vec<_> =
            index.named("b").iter().map(|record| (&record.version[..], &record.source[..])).collect();
        assert_eq!(versions, [("1-r0", "src"), ("2-r0", "b")]);
        assert!(index.named("c").is_empty());
    }
}
