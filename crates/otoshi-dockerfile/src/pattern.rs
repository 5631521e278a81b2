//! Patterns in `${V#pattern}`, `${V%pattern}` and `${V/pattern/word}`: `*` and `?`, no classes.
//!
//! Neither matches a line break. A `\` takes `*`, `?`, `\`, `}` or `/` as it is.

/// One element of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Is(char),
    One,
    Many,
}

/// A pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Vec<Part>);

impl Pattern {
    /// Reads a pattern; fails on an escape that means nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            parts.push(match character {
                '*' => Part::Many,
                '?' => Part::One,
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Part::Is(escaped),
                    Some(other) => return Err(format!("the pattern {text:?} escapes {other:?}")),
                    None => return Err(format!("the pattern {text:?} ends with an escape")),
                },
                other => Part::Is(other),
            });
        }
        Ok(Self(parts))
    }

    /// Removes the shortest or longest start that matches.
    pub(crate) fn trim_start(&self, value: &str, longest: bool) -> String {
        let characters: Vec<char> = value.chars().collect();
        let cut = self.end(&characters, longest).unwrap_or(0);
        characters[cut..].iter().collect()
    }

    /// Removes the shortest or longest end that matches.
    pub(crate) fn trim_end(&self, value: &str, longest: bool) -> String {
        let characters: Vec<char> = value.chars().rev().collect();
        let reversed = Self(self.0.iter().rev().copied().collect());
        let cut = reversed.end(&characters, longest).unwrap_or(0);
        characters[cut..].iter().rev().collect()
    }

    /// Replaces the first match, or every match; of those that start at one place, the longest.
    pub(crate) fn replace(&self, value: &str, with: &str, all: bool) -> String {
        let characters: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let (mut start, mut copied) = (0, 0);
        while start <= characters.len() {
            // An empty match right behind a match is none.
            match self.end(&characters[start..], true).map(|length| start + length) {
                Some(end) if end > copied || start == 0 => {
                    out.extend(&characters[copied..start]);
                    out.push_str(with);
                    copied = end;
                    start = end.max(start + 1);
                    if !all {
                        break;
                    }
                }
                _ => start += 1,
            }
        }
        out.extend(&characters[copied..]);
        out
    }

    /// Where the shortest or longest match ends that starts at the start.
    fn end(&self, value: &[char], longest: bool) -> Option<usize> {
        let parts = &self.0;
        // The places in the pattern that the text read so far may lead to.
        let mut at = vec![false; parts.len() + 1];
        let mut next = at.clone();
        at[0] = true;
        let mut found = None;
        for position in 0..=value.len() {
            let mut alive = false;
            for index in 0..at.len() {
                if at[index] {
                    alive = true;
                    if parts.get(index) == Some(&Part::Many) {
                        at[index + 1] = true;
                    }
                }
            }
            if at[parts.len()] {
                found = Some(position);
                if !longest {
                    break;
                }
            }
            let Some(&character) = value.get(position).filter(|_| alive) else { break };
            next.fill(false);
            for (index, part) in parts.iter().enumerate().filter(|(index, _)| at[*index]) {
                match part {
                    Part::Is(expected) if *expected == character => next[index + 1] = true,
                    Part::One if character != '\n' => next[index + 1] = true,
                    Part::Many if character != '\n' => next[index] = true,
                    _ => {}
                }
            }
            std::mem::swap(&mut at, &mut next);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming() {
        for (pattern, value, shortest, longest) in [
            ("*/", "a/b/c", "b/c", "c"),
            ("x", "xxy", "xy", "xy"),
            ("?", "äb", "b", "b"),
            ("*", "ab", "ab", ""),
            ("", "ab", "ab", "ab"),
            ("b", "ab", "ab", "ab"),
            ("\\*", "*a", "a", "a"),
            ("[a]", "ab", "ab", "ab"),
            ("*x*y", "xxyy", "y", ""),
            ("a*b", "a\nb", "a\nb", "a\nb"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.trim_start(value, false), shortest, "{value}#{pattern}");
            assert_eq!(parsed.trim_start(value, true), longest, "{value}##{pattern}");
        }
        for (pattern, value, shortest, longest) in [
            (".*", "a.b.c", "a.b", "a"),
            ("\\**\\*", "a***yy*", "a**", "a"),
            ("x", "xxyy", "xxyy", "xxyy"),
            ("ä?", "aäö", "a", "a"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.trim_end(value, false), shortest, "{value}%{pattern}");
            assert_eq!(parsed.trim_end(value, true), longest, "{value}%%{pattern}");
        }
        for wrong in ["\\a", "a\\"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn replacing() {
        for (pattern, with, value, first, all) in [
            ("a", "b", "aaca", "baca", "bbcb"),
            ("a*", "-", "xaay", "x-", "x-"),
            ("", "-", "xy", "-xy", "-x-y-"),
            ("*", "-", "xy", "-", "-"),
            ("z", "-", "xy", "xy", "xy"),
            ("?/", "", "a/b/c", "b/c", "c"),
            ("a", "aa", "aa", "aaa", "aaaa"),
            ("a", "$0", "xa", "x$0", "x$0"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.replace(value, with, false), first, "{value}/{pattern}");
            assert_eq!(parsed.replace(value, with, true), all, "{value}//{pattern}");
        }
    }
}
