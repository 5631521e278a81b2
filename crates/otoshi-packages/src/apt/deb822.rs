//! Paragraphs of fields, as apt reads Debian's control files: `Name: value`, and lines that go on with a blank.
//!
//! A line of nothing but blanks goes on, too, and so what stands before and after it is one paragraph; of a field that is there
//! twice the last counts (apt 2.6.1 and 3.3.3).
//!
//! Spec: <https://manpages.debian.org/bookworm/dpkg-dev/deb822.5.en.html>

use crate::error::Malformed;

/// Fields in the order they stand in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paragraph {
    /// The line that the first field stands in, from 1.
    pub line: usize,
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// Returns a field's value; names are compared without regard to case.
    ///
    /// A value of several lines has them parted by `\n`, without the blank that each begins with.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .rfind(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Takes what was read up to here, if anything was.
    fn end(&mut self) -> Option<Self> {
        let mut ended = std::mem::take(self);
        for (_, value) in &mut ended.fields {
            value.truncate(value.trim_end().len());
        }
        (!ended.fields.is_empty()).then_some(ended)
    }

    /// Says whether a field is `yes` (or `true`, or `1`); `None` where it is not there or says something else.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(flag)
    }

    /// Splits a field at blanks.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}

/// Reads what apt takes for yes and no.
pub(crate) fn flag(value: &str) -> Option<bool> {
    let is = |words: [&str; 6]| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word));
    if is(["yes", "true", "with", "on", "enable", "1"]) {
        Some(true)
    } else if is(["no", "false", "without", "off", "disable", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Reads paragraphs; lines that begin with `#` are comments.
///
/// Fails on a line that neither is a field nor continues one.
pub fn paragraphs(text: &str) -> Result<Vec<Paragraph>, Malformed> {
    let mut paragraphs = Vec::new();
    let mut current = Paragraph::default();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let is_before = current.fields.is_empty() && line.trim().is_empty();
        if line.starts_with('#') || is_before {
            continue;
        }
        if line.is_empty() {
            paragraphs.extend(current.end());
        } else if let Some(rest) = line.strip_prefix([' ', '\t']) {
            let (_, value) = current.fields.last_mut().ok_or_else(|| {
                Malformed::new(number, "the line continues a field, but there is none before it")
            })?;
            value.push('\n');
            value.push_str(rest.trim_end());
        } else {
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| Malformed::new(number, "the line is not of the form `Name: value`"))?;
            if current.fields.is_empty() {
                current.line = number;
            }
            current.fields.push((name.trim_end().to_owned(), value.trim().to_owned()));
        }
    }
    paragraphs.extend(current.end());
    Ok(paragraphs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_have_fields_that_go_on() {
        let text = "# a comment\nName: one\nLong: first\n second\n# another\n .\n third\n\n\n\nname: two\n";
        let read = paragraphs(text).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].line, read[1].line), (2, 11));
        assert_eq!(read[0].get("LONG"), Some("first\nsecond\n.\nthird"));
        assert_eq!(read[1].get("Name"), Some("two"));
    }

    #[test]
    fn a_line_of_blanks_parts_nothing_and_the_last_field_of_a_name_counts() {
        for blanks in [" ", "\t", "  \t"] {
            let read =
                paragraphs(&format!("{blanks}\nA: 1\nB: 2\n{blanks}\nA: 3\n{blanks}\n\nA: 4\n")).unwrap();
            let found: Vec<_> = read.iter().map(|one| (one.line, one.get("a"), one.get("b"))).collect();
            assert_eq!(found, [(2, Some("3"), Some("2")), (8, Some("4"), None)]);
        }
        assert_eq!(paragraphs("A: 1\r\n\r\nA: 2\r\n").unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_field_is_named_by_its_line() {
        assert_eq!(paragraphs("A: b\nnothing\n").unwrap_err().line, 2);
        assert_eq!(paragraphs("\n goes on\n").unwrap_err().line, 2);
    }
}
