//! Expansion of words: variables, quotes and escapes.
//!
//! Forms: `$V`, `${V}`, `${V:-word}`, `${V-word}`, `${V:+word}`, `${V+word}`, `${V:?word}`, `${V?word}`, `${V#pattern}`,
//! `${V##pattern}`, `${V%pattern}`, `${V%%pattern}`, `${V/pattern/word}`, `${V//pattern/word}`.
//! Spec: <https://docs.docker.com/reference/dockerfile/#environment-replacement>

use std::{iter::Peekable, str::Chars};

use crate::{DockerfileError, glob};

/// Finds a variable's value.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Expands one word: variables replaced, quotes removed.
pub(crate) fn word(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<String, DockerfileError> {
    Ok(words(text, escape, lookup, false)?.concat())
}

/// Expands a word that may become several: split at space that is not quoted.
pub(crate) fn split(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<Vec<String>, DockerfileError> {
    words(text, escape, lookup, true)
}

/// Replaces variables in a heredoc: quotes stay as they are.
pub(crate) fn heredoc(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<String, DockerfileError> {
    let mut lexer = Lexer { rest: text.chars().peekable(), escape, lookup };
    let mut out = String::new();
    while let Some(character) = lexer.rest.next() {
        match character {
            '$' => out.push_str(&lexer.dollar()?),
            c if c == escape => match lexer.rest.next() {
                Some(next) if next == '$' || next == escape => out.push(next),
                Some('\n') => {}
                Some(next) => out.extend([c, next]),
                None => out.push(c),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

fn words(
    text: &str,
    escape: char,
    lookup: &Lookup<'_>,
    splitting: bool,
) -> Result<Vec<String>, DockerfileError> {
    let mut lexer = Lexer { rest: text.chars().peekable(), escape, lookup };
    let mut found = Vec::new();
    let mut current: Option<String> = None;
    while let Some(character) = lexer.rest.next() {
        let here = || DockerfileError::new(format!("unexpected end of {text:?}: a quote is not closed"));
        match character {
            '\'' => {
                let out = current.get_or_insert_default();
                loop {
                    match lexer.rest.next() {
                        Some('\'') => break,
                        Some(c) => out.push(c),
                        None => return Err(here()),
                    }
                }
            }
            '"' => {
                let mut out = current.take().unwrap_or_default();
                lexer.double_quoted(&mut out)?.then_some(()).ok_or_else(here)?;
                current = Some(out);
            }
            '$' => {
                let value = lexer.dollar()?;
                if splitting && !value.is_empty() {
                    let mut parts = value.split_whitespace();
                    if value.starts_with(char::is_whitespace) {
                        found.extend(current.take());
                    }
                    if let Some(part) = parts.next() {
                        current.get_or_insert_default().push_str(part);
                    }
                    for part in parts {
                        found.extend(current.replace(part.to_owned()));
                    }
                    if value.ends_with(char::is_whitespace) {
                        found.extend(current.take());
                    }
                } else {
                    current.get_or_insert_default().push_str(&value);
                }
            }
            c if c == escape => current.get_or_insert_default().extend(lexer.rest.next().or(Some(c))),
            c if splitting && c.is_whitespace() => found.extend(current.take()),
            c => current.get_or_insert_default().push(c),
        }
    }
    found.extend(current);
    Ok(found)
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a Lookup<'a>,
}

impl Lexer<'_> {
    /// Reads to the closing quote; false when there is none.
    fn double_quoted(&mut self, out: &mut String) -> Result<bool, DockerfileError> {
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return Ok(true),
                '$' => out.push_str(&self.dollar()?),
                c if c == self.escape => match self.rest.peek().copied() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        out.push(next);
                        self.rest.next();
                    }
                    _ => out.push(c),
                },
                c => out.push(c),
            }
        }
        Ok(false)
    }

    /// What follows a `$`.
    fn dollar(&mut self) -> Result<String, DockerfileError> {
        if self.rest.peek() == Some(&'{') {
            self.rest.next();
            return self.braces();
        }
        let name = self.name();
        Ok(if name.is_empty() { "$".to_owned() } else { (self.lookup)(&name).unwrap_or_default() })
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            // One character is a whole name when it is a digit or special.
            Some(&c) if c.is_ascii_digit() || matches!(c, '@' | '*' | '#') => {
                self.rest.next();
                return c.to_string();
            }
            _ => {}
        }
        while let Some(&c) = self.rest.peek().filter(|c| c.is_ascii_alphanumeric() || **c == '_') {
            name.push(c);
            self.rest.next();
        }
        name
    }

    fn braces(&mut self) -> Result<String, DockerfileError> {
        let name = self.name();
        let bad = |what: &str| DockerfileError::new(format!("bad substitution: {what}"));
        if name.is_empty() {
            return Err(bad("${ without a name"));
        }
        let value = (self.lookup)(&name);
        let Some(operator) = self.rest.next() else { return Err(bad(&format!("${{{name} is not closed"))) };
        let unclosed = || bad(&format!("${{{name} is not closed"));
        match operator {
            '}' => Ok(value.unwrap_or_default()),
            ':' | '-' | '+' | '?' => {
                let colon = operator == ':';
                let operator = if colon { self.rest.next().ok_or_else(unclosed)? } else { operator };
                let other = self.until(&['}']).ok_or_else(unclosed)?;
                let other = word(&other, self.escape, self.lookup)?;
                let is_set = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
                match operator {
                    '-' => Ok(if is_set { value.unwrap_or_default() } else { other }),
                    '+' => Ok(if is_set { other } else { String::new() }),
                    '?' if is_set => Ok(value.unwrap_or_default()),
                    '?' if other.is_empty() => Err(DockerfileError::new(format!("{name} is not set"))),
                    '?' => Err(DockerfileError::new(format!("{name}: {other}"))),
                    _ => Err(bad(&format!("the modifier {operator:?} of {name} is unknown"))),
                }
            }
            '#' | '%' => {
                let greedy = self.rest.peek() == Some(&operator);
                if greedy {
                    self.rest.next();
                }
                let pattern = word(&self.until(&['}']).ok_or_else(unclosed)?, self.escape, self.lookup)?;
                Ok(strip(&value.unwrap_or_default(), &pattern, operator == '#', greedy))
            }
            '/' => {
                let all = self.rest.peek() == Some(&'/');
                if all {
                    self.rest.next();
                }
                let pattern = word(&self.until(&['/']).ok_or_else(unclosed)?, self.escape, self.lookup)?;
                let with = word(&self.until(&['}']).ok_or_else(unclosed)?, self.escape, self.lookup)?;
                Ok(replace(&value.unwrap_or_default(), &pattern, &with, all))
            }
            other => Err(bad(&format!("the modifier {other:?} of {name} is unknown"))),
        }
    }

    /// Reads up to one of these characters that is neither nested, quoted nor escaped.
    fn until(&mut self, ends: &[char]) -> Option<String> {
        let mut out = String::new();
        let mut depth = 0;
        let mut quote = None;
        while let Some(character) = self.rest.next() {
            match character {
                c if quote.is_none() && depth == 0 && ends.contains(&c) => return Some(out),
                c if c == self.escape => {
                    out.push(c);
                    out.extend(self.rest.next());
                    continue;
                }
                '{' if out.ends_with('$') => depth += 1,
                '}' if depth > 0 => depth -= 1,
                c @ ('"' | '\'') if quote.is_none() => quote = Some(c),
                c if quote == Some(c) => quote = None,
                _ => {}
            }
            out.push(character);
        }
        None
    }
}

/// Removes a matching prefix or suffix, the shortest or the longest.
fn strip(value: &str, pattern: &str, prefix: bool, greedy: bool) -> String {
    let mut cuts: Vec<usize> = value.char_indices().map(|(index, _)| index).chain([value.len()]).collect();
    // From the shortest removed part to the longest.
    if !prefix {
        cuts.reverse();
    }
    if greedy {
        cuts.reverse();
    }
    for cut in cuts {
        let (removed, kept) =
            if prefix { (&value[..cut], &value[cut..]) } else { (&value[cut..], &value[..cut]) };
        if glob::matches_text(pattern, removed) {
            return kept.to_owned();
        }
    }
    value.to_owned()
}

/// Replaces the longest match at the first place, or at every place.
fn replace(value: &str, pattern: &str, with: &str, all: bool) -> String {
    let mut out = String::new();
    let mut rest = value;
    while !rest.is_empty() {
        let ends = rest.char_indices().map(|(index, c)| index + c.len_utf8()).rev();
        let found = ends.into_iter().find(|&end| glob::matches_text(pattern, &rest[..end]));
        if let Some(end) = found {
            out.push_str(with);
            rest = &rest[end..];
            if !all {
                break;
            }
        } else {
            let length = rest.chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(name: &str) -> Option<String> {
        match name {
            "V" => Some("value".into()),
            "E" => Some(String::new()),
            "P" => Some("a/b/c.tar.gz".into()),
            "L" => Some("80 81".into()),
            _ => None,
        }
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("$V", "value"),
            ("${V}x", "valuex"),
            ("$Vx", ""),
            ("\\$V", "$V"),
            ("'$V'", "$V"),
            ("\"$V y\"", "value y"),
            ("\"a\\\"b\\n\"", "a\"b\\n"),
            ("a\\b", "ab"),
            ("${N:-d}", "d"),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${N-d}", "d"),
            ("${V:+s}", "s"),
            ("${E:+s}", ""),
            ("${E+s}", "s"),
            ("${N:-${V:-x}}", "value"),
            ("${N:-'a}b'}", "a}b"),
            ("${P#*/}", "b/c.tar.gz"),
            ("${P##*/}", "c.tar.gz"),
            ("${P%.*}", "a/b/c.tar"),
            ("${P%%.*}", "a/b/c"),
            ("${P/b/X}", "a/X/c.tar.gz"),
            ("${P//a/X}", "X/b/c.tXr.gz"),
            ("${P/\\//-}", "a-b/c.tar.gz"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("$1x", "x"),
        ] {
            assert_eq!(word(text, '\\', &look).unwrap(), expected, "{text}");
        }
        for text in ["${", "${V", "${}", "'a", "\"a", "${V!x}", "${N:?}", "${N?gone}"] {
            assert!(word(text, '\\', &look).is_err(), "{text}");
        }
    }

    #[test]
    fn splitting_keeps_quoted_space() {
        assert_eq!(split("$L 82 \"8 3\"", '\\', &look).unwrap(), ["80", "81", "82", "8 3"]);
        assert_eq!(split("x$L", '\\', &look).unwrap(), ["x80", "81"]);
        assert_eq!(split("$E", '\\', &look).unwrap(), [""]);
    }

    #[test]
    fn heredocs_keep_their_quotes() {
        assert_eq!(heredoc("a \"$V\" '\\$V'\n", '\\', &look).unwrap(), "a \"value\" '$V'\n");
    }
}
