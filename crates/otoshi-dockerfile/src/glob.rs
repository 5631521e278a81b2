//! Patterns with the rules of Go's `filepath.Match`, which Dockerfiles follow.
//!
//! `*` matches any run of characters but `/`, `?` one such character, `[a-z]` and `[^a-z]` a class (which, as in Go, may
//! hold `/`), `\` takes the next character as it is. The whole name must match.
//! Spec: <https://pkg.go.dev/path/filepath#Match>

use crate::DockerfileError;

/// Tells whether a text is a pattern: it holds a `*`, `?` or `[` that is not escaped.
pub fn has_meta(text: &str) -> bool {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// Tells whether a name matches a pattern; fails on a malformed pattern, whatever the name.
pub fn matches(pattern: &str, name: &str) -> Result<bool, DockerfileError> {
    if !is_valid(pattern) {
        return Err(DockerfileError::new(format!("syntax error in pattern {pattern:?}")));
    }
    Ok(run(pattern, name))
}

/// Splits a pattern before the first part that holds a wildcard; fails on a malformed pattern, whatever there is to match.
pub fn split(pattern: &str) -> Result<(&str, &str), DockerfileError> {
    matches(pattern, "")?;
    let parts = pattern.split('/').take_while(|part| !has_meta(part));
    let start = parts.map(|part| part.len() + 1).sum::<usize>().min(pattern.len());
    Ok((pattern[..start].trim_end_matches('/'), &pattern[start..]))
}

/// Whether every class is closed and every escape escapes something.
pub(crate) fn is_valid(pattern: &str) -> bool {
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let is_good = match character {
            '\\' => characters.next().is_some(),
            '[' => Class::read(characters.as_str()).map(|(_, rest)| characters = rest.chars()).is_some(),
            _ => true,
        };
        if !is_good {
            return false;
        }
    }
    true
}

/// A class of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Reads what follows a `[`; returns what follows the `]`.
    pub(crate) fn read(text: &str) -> Option<(Self, &str)> {
        let mut ranges = Vec::new();
        let rest = each_range(text, |low, high| ranges.push((low, high)))?;
        Some((Self { negated: text.starts_with('^'), ranges }, rest))
    }

    pub(crate) fn holds(&self, character: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != self.negated
    }

    /// Whether a range has its ends the wrong way round.
    pub(crate) fn is_reversed(&self) -> bool {
        self.ranges.iter().any(|(low, high)| low > high)
    }
}

/// Tells of each range of the class after a `[`; returns what follows its `]`.
fn each_range(text: &str, mut tell: impl FnMut(char, char)) -> Option<&str> {
    let mut rest = text.strip_prefix('^').unwrap_or(text);
    let mut is_first = true;
    loop {
        if let Some(after) = rest.strip_prefix(']').filter(|_| !is_first) {
            return Some(after);
        }
        is_first = false;
        let (low, after) = class_character(rest)?;
        let (high, after) = match after.strip_prefix('-') {
            Some(after) => class_character(after)?,
            None => (low, after),
        };
        tell(low, high);
        rest = after;
    }
}

fn class_character(text: &str) -> Option<(char, &str)> {
    let mut characters = text.chars();
    let character = match characters.next()? {
        '-' | ']' => return None,
        '\\' => characters.next()?,
        other => other,
    };
    Some((character, characters.as_str()))
}

/// Matches a valid pattern. On a mismatch the last `*` takes one character more.
fn run(mut pattern: &str, mut name: &str) -> bool {
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let mut next = pattern.chars();
        let mut left = name.chars();
        let fits = match next.next() {
            None if name.is_empty() => return true,
            None => false,
            Some('*') => {
                retry = Some((next.as_str(), name));
                pattern = next.as_str();
                continue;
            }
            Some('?') => left.next().is_some_and(|character| character != '/'),
            Some('[') => left.next().is_some_and(|character| {
                let mut found = false;
                let class = next.as_str();
                let rest = each_range(class, |low, high| found |= (low..=high).contains(&character));
                next = rest.unwrap_or_default().chars();
                found != class.starts_with('^')
            }),
            Some('\\') => next.next() == left.next(),
            Some(literal) => left.next() == Some(literal),
        };
        if fits {
            (pattern, name) = (next.as_str(), left.as_str());
            continue;
        }
        let Some((star, from)) = retry else { return false };
        let mut from = from.chars();
        if from.next().is_none_or(|character| character == '/') {
            return false;
        }
        retry = Some((star, from.as_str()));
        (pattern, name) = (star, from.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_rules() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a[^a][^a][^a]b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("a[^b]c", "a/c", true),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "a", false),
            ("[z-a]", "m", false),
            ("*x", "xxx", true),
            ("a\\", "a", false),
        ] {
            if pattern == "a\\" {
                assert!(matches(pattern, name).is_err());
                continue;
            }
            assert_eq!(matches(pattern, name).unwrap(), expected, "{pattern} {name}");
        }
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "[a-", "[]", "z[", "[\\",
        ] {
            assert!(matches(pattern, "a").is_err(), "{pattern}");
        }
    }

    #[test]
    fn escapes_make_no_pattern() {
        assert!(has_meta("a*") && has_meta("?") && has_meta("[a]") && has_meta("\\\\*"));
        assert!(!has_meta("a\\*b") && !has_meta("a\\[b]") && !has_meta("a]") && !has_meta("\\"));
    }
}
