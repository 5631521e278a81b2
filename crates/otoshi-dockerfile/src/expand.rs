//! Expansion of words: variables, quotes and escapes, read as `docker build` reads them.
//!
//! Forms: `$V`, `${V}`, `${V:-word}`, `${V-word}`, `${V:+word}`, `${V+word}`, `${V:?word}`, `${V?word}`, `${V#pattern}`,
//! `${V##pattern}`, `${V%pattern}`, `${V%%pattern}`, `${V/pattern/word}`, `${V//pattern/word}`. Words nest. A word
//! is expanded whether it is needed or not, so `${V:-${W:?}}` fails without `W` even when `V` is set.
//! Spec: <https://docs.docker.com/reference/dockerfile/#environment-replacement>

use std::str::Chars;

use crate::{DockerfileError, pattern::Pattern};

/// Finds a variable's value.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// How deep words may nest.
const DEEPEST: usize = 100;

/// How long an expanded word may get, in bytes: far above what a process can be given.
const LONGEST: usize = 16 << 20;

/// Expands one word: variables replaced, quotes removed.
pub(crate) fn word(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<String, DockerfileError> {
    Lexer::new(text, escape, lookup, Mode::default()).word().map_err(|message| failed(text, &message))
}

/// Expands a word that may become several: split at space that is neither quoted nor escaped.
pub(crate) fn split(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<Vec<String>, DockerfileError> {
    Lexer::new(text, escape, lookup, Mode::default()).words().map_err(|message| failed(text, &message))
}

/// Expands the text of a heredoc: quotes stay, `\` takes the next character as it is whatever the file's escape is.
pub(crate) fn heredoc(text: &str, lookup: &Lookup<'_>) -> Result<String, DockerfileError> {
    let mode = Mode { plain_quotes: true, ..Mode::default() };
    Lexer::new(text, '\\', lookup, mode)
        .word()
        .map_err(|message| DockerfileError::new(format!("{message} in a heredoc")))
}

fn failed(text: &str, message: &str) -> DockerfileError {
    DockerfileError::new(format!("{message} in {text:?}"))
}

/// What a lexer leaves as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    /// Quotes group, and stay.
    pub(crate) raw_quotes: bool,
    /// Escapes escape, and stay.
    pub(crate) raw_escapes: bool,
    /// Quotes are characters like others.
    pub(crate) plain_quotes: bool,
    /// Variables that are not set stay as they are written.
    pub(crate) keep_unset: bool,
}

/// Reads a text as shell words.
pub(crate) struct Lexer<'a> {
    rest: Chars<'a>,
    escape: char,
    lookup: &'a Lookup<'a>,
    mode: Mode,
    depth: usize,
}

/// The words of a text, as they grow.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
    /// Adds text whose space separates words.
    fn add(&mut self, text: &str) {
        for character in text.chars() {
            if character.is_whitespace() {
                self.finish();
            } else {
                self.current.push(character);
            }
        }
    }

    fn finish(&mut self) {
        if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
        }
    }
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str, escape: char, lookup: &'a Lookup<'a>, mode: Mode) -> Self {
        Self { rest: text.chars(), escape, lookup, mode, depth: 0 }
    }

    /// Expands all of the text to one word.
    pub(crate) fn word(mut self) -> Result<String, String> {
        self.until(None, self.mode.raw_escapes).map(|(word, _)| word)
    }

    /// Expands all of the text to words.
    pub(crate) fn words(mut self) -> Result<Vec<String>, String> {
        self.until(None, self.mode.raw_escapes).map(|(_, words)| words)
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn take(&mut self, expected: char) -> bool {
        let is_next = self.peek() == Some(expected);
        if is_next {
            self.rest.next();
        }
        is_next
    }

    /// Reads up to `stop`, or to the end: as one word, and as words.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), String> {
        if self.depth >= DEEPEST {
            return Err("words are nested too deeply".into());
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.mode.raw_escapes, raw_escapes);
        let result = self.read(stop);
        self.mode.raw_escapes = outer;
        self.depth -= 1;
        result
    }

    fn read(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), String> {
        let mut word = String::new();
        let mut words = Words::default();
        loop {
            let Some(character) = self.rest.next() else {
                if let Some(stop) = stop {
                    return Err(format!("a {stop} is missing"));
                }
                break;
            };
            if stop == Some(character) {
                break;
            }
            match character {
                '\'' | '"' if !self.mode.plain_quotes => {
                    let text = if character == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    word.push_str(&text);
                    words.current.push_str(&text);
                }
                '$' => {
                    let text = self.dollar()?;
                    word.push_str(&text);
                    words.add(&text);
                }
                '<' if self.take('<') => {
                    // Space between `<<` and a heredoc's delimiter does not separate them.
                    let mut text = String::from("<<");
                    while let Some(space @ ('\t' | '\r' | ' ')) = self.peek() {
                        self.rest.next();
                        text.push(space);
                    }
                    word.push_str(&text);
                    words.current.push_str(&text);
                }
                character if character == self.escape => {
                    if self.mode.raw_escapes {
                        word.push(character);
                        words.current.push(character);
                    }
                    if let Some(escaped) = self.rest.next() {
                        word.push(escaped);
                        words.current.push(escaped);
                    }
                }
                character => {
                    word.push(character);
                    words.add(character.encode_utf8(&mut [0; 4]));
                }
            }
            if word.len() > LONGEST {
                return Err(format!("a word becomes longer than {LONGEST} bytes"));
            }
        }
        words.finish();
        Ok((word, words.done))
    }

    /// What follows a single quote, up to the next one.
    fn single_quoted(&mut self) -> Result<String, String> {
        let text = self.rest.as_str();
        let end = text.find('\'').ok_or("a single quote is not closed")?;
        self.rest = text[end + 1..].chars();
        let text = &text[..end];
        Ok(if self.mode.raw_quotes { format!("'{text}'") } else { text.to_owned() })
    }

    /// What follows a double quote, up to the next one that is not escaped.
    fn double_quoted(&mut self) -> Result<String, String> {
        let quote = if self.mode.raw_quotes { "\"" } else { "" };
        let mut out = String::from(quote);
        loop {
            match self.rest.next() {
                None => return Err("a double quote is not closed".into()),
                Some('"') => {
                    out.push_str(quote);
                    return Ok(out);
                }
                Some('$') => out.push_str(&self.dollar()?),
                Some(character) if character == self.escape => {
                    // Before other characters an escape is a character.
                    let escaped = self.peek().filter(|c| matches!(c, '"' | '$') || *c == self.escape);
                    if self.mode.raw_escapes || escaped.is_none() {
                        out.push(character);
                    }
                    if let Some(escaped) = escaped {
                        self.rest.next();
                        out.push(escaped);
                    } else if self.mode.raw_escapes && self.peek().is_some() {
                        // Raw, an escape that escapes nothing is given twice: once for itself, once as a character.
                        out.push(character);
                    }
                }
                Some(character) => out.push(character),
            }
            if out.len() > LONGEST {
                return Err(format!("a word becomes longer than {LONGEST} bytes"));
            }
        }
    }

    /// What follows a `$`.
    fn dollar(&mut self) -> Result<String, String> {
        if self.take('{') {
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match (self.lookup)(&name) {
            Some(value) => value,
            None if self.mode.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    /// A variable's name: letters, digits and `_`; or digits alone; or one special character.
    fn name(&mut self) -> String {
        let text = self.rest.as_str();
        let length = match text.chars().next() {
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            Some('0'..='9') => text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()),
            _ => text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()),
        };
        self.rest = text[length..].chars();
        text[..length].to_owned()
    }

    /// What follows a `${`.
    fn braces(&mut self) -> Result<String, String> {
        match self.peek() {
            None => return Err("a } is missing".into()),
            Some('{' | '}' | ':') => return Err("bad substitution: ${ needs a name".into()),
            Some(_) => {}
        }
        let name = self.name();
        let value = (self.lookup)(&name);
        let kept = value.is_none() && self.mode.keep_unset;
        let Some(operator) = self.rest.next() else { return Err(format!("a }} is missing after ${{{name}")) };
        match operator {
            '}' if kept => Ok(format!("${{{name}}}")),
            '}' => Ok(value.unwrap_or_default()),
            ':' => match self.rest.next() {
                Some(operator @ ('-' | '+' | '?')) => {
                    let word = self.inner('}', false)?;
                    if kept {
                        return Ok(format!("${{{name}:{operator}{word}}}"));
                    }
                    choose(operator, &name, value.filter(|value| !value.is_empty()), word, "empty")
                }
                other => {
                    Err(unsupported(&name, &format!(":{}", other.map(String::from).unwrap_or_default())))
                }
            },
            '-' | '+' | '?' => {
                let word = self.inner('}', false)?;
                if kept {
                    return Ok(format!("${{{name}{operator}{word}}}"));
                }
                choose(operator, &name, value, word, "unset")
            }
            '#' | '%' => {
                let word = self.inner('}', true)?;
                if kept {
                    return Ok(format!("${{{name}{operator}{word}}}"));
                }
                let value = value.unwrap_or_default();
                let longest = word.strip_prefix(operator);
                let pattern = Pattern::parse(longest.unwrap_or(&word))?;
                let trim = if operator == '#' { Pattern::trim_start } else { Pattern::trim_end };
                Ok(trim(&pattern, &value, longest.is_some()))
            }
            '/' => {
                let all = self.take('/');
                let pattern = self.inner('/', true)?;
                let with = self.inner('}', true)?;
                if kept {
                    return Ok(format!("${{{name}/{pattern}/{with}}}"));
                }
                Ok(Pattern::parse(&pattern)?.replace(&value.unwrap_or_default(), &with, all))
            }
            other => Err(unsupported(&name, other.encode_utf8(&mut [0; 4]))),
        }
    }

    fn inner(&mut self, stop: char, raw_escapes: bool) -> Result<String, String> {
        self.until(Some(stop), raw_escapes).map(|(word, _)| word)
    }
}

fn unsupported(name: &str, operator: &str) -> String {
    format!("bad substitution: ${{{name}{operator} is not a form that Dockerfiles support")
}

/// `-`, `+` and `?`, where `value` is `None` when the variable does not count as set.
fn choose(
    operator: char,
    name: &str,
    value: Option<String>,
    word: String,
    missing: &str,
) -> Result<String, String> {
    match (operator, value) {
        ('-', value) => Ok(value.unwrap_or(word)),
        ('+', Some(_)) => Ok(word),
        ('+', None) => Ok(String::new()),
        (_, Some(value)) => Ok(value),
        (_, None) if word.is_empty() => Err(format!("{name} must not be {missing}")),
        (_, None) => Err(format!("{name}: {word}")),
    }
}

#[cfg(test)]
mod tests;
