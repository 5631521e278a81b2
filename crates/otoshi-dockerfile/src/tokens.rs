//! The words of one logical line: keyword, flags, arguments, JSON lists.
//!
//! Dockerfiles have four ways of splitting text, and each instruction has its own: flags lose their quotes, the words
//! of ENV, LABEL and ARG keep them (they go when the word is expanded), the arguments of FROM, COPY, ADD, EXPOSE and
//! VOLUME are split at blanks whatever stands there, and lists of strings in JSON are taken as they are.

use std::ops::Range;

use crate::{CommandForm, error::Fault};

/// A part of a line, and where it stands in the joined text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) at: Range<usize>,
}

/// A logical line, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Command<'a> {
    /// The keyword as written.
    pub(crate) keyword: &'a str,
    pub(crate) keyword_at: Range<usize>,
    /// The words before the arguments that start with `--`, their quotes removed.
    pub(crate) flags: Vec<Piece>,
    /// All else, without surrounding space.
    pub(crate) args: &'a str,
    /// Where the arguments start in the joined text.
    pub(crate) args_at: usize,
}

impl<'a> Command<'a> {
    /// Takes a line apart; `offset` is where the text stands in the joined line.
    pub(crate) fn read(text: &'a str, offset: usize, escape: char) -> Self {
        let start = text.len() - text.trim_start().len();
        let line = text.trim();
        let keyword_end = line.find(is_blank).unwrap_or(line.len());
        let keyword_at = offset + start..offset + start + keyword_end;
        let rest_start = keyword_end + line[keyword_end..].find(|c| !is_blank(c)).unwrap_or(0);
        let rest = &line[rest_start..];
        let (flags, taken) = take_flags(rest, offset + start + rest_start, escape);
        let args = rest[taken..].trim_start();
        let args_at = offset + start + line.len() - args.len();
        Self { keyword: &line[..keyword_end], keyword_at, flags, args: args.trim_end(), args_at }
    }

    /// The whole range of the arguments.
    pub(crate) fn args_range(&self) -> Range<usize> {
        self.args_at..self.args_at + self.args.len()
    }

    /// The arguments, split at blanks: quotes mean nothing.
    pub(crate) fn fields(&self) -> Vec<Piece> {
        let mut found = Vec::new();
        let mut start = None;
        for (index, character) in self.args.char_indices().chain([(self.args.len(), ' ')]) {
            match start {
                Some(from) if is_blank(character) => {
                    found.push(Piece {
                        text: self.args[from..index].to_owned(),
                        at: self.args_at + from..self.args_at + index,
                    });
                    start = None;
                }
                None if !is_blank(character) => start = Some(index),
                _ => {}
            }
        }
        found
    }

    /// The arguments, split at space that is neither quoted nor escaped; quotes and escapes stay.
    pub(crate) fn words(&self, escape: char) -> Vec<Piece> {
        let mut found = Vec::new();
        let mut word = String::new();
        let mut start = None;
        let mut quote = None;
        let mut characters = self.args.char_indices();
        let mut finish = |word: &mut String, start: &mut Option<usize>, end: usize| {
            if let Some(from) = start.take()
                && !word.is_empty()
            {
                let at = self.args_at + from..self.args_at + end;
                found.push(Piece { text: std::mem::take(word), at });
            }
        };
        while let Some((index, character)) = characters.next() {
            if quote.is_none() && character.is_whitespace() {
                finish(&mut word, &mut start, index);
                continue;
            }
            start.get_or_insert(index);
            match quote {
                None if matches!(character, '"' | '\'') => quote = Some(character),
                Some(open) if open == character => quote = None,
                _ => {}
            }
            if character == escape && quote != Some('\'') {
                // An escape character at the very end is dropped.
                let Some((_, escaped)) = characters.next() else { break };
                word.push(character);
                word.push(escaped);
            } else {
                word.push(character);
            }
        }
        finish(&mut word, &mut start, self.args.len());
        found
    }

    /// The arguments as a JSON list of strings; `None` when they are no JSON list.
    pub(crate) fn json(&self) -> Result<Option<Vec<String>>, Fault> {
        if !self.args.starts_with('[') {
            return Ok(None);
        }
        let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(self.args) else { return Ok(None) };
        let text = |value| match value {
            serde_json::Value::String(text) => Ok(text),
            other => Err(Fault::new(format!("a JSON list in a Dockerfile holds strings only, not {other}"))
                .hint("put it in double quotes")
                .at(self.args_range())),
        };
        values.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// Whether the arguments are a JSON list of strings.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.json(), Ok(Some(_)))
    }
}

/// The characters that separate a keyword from its arguments, and fields from each other.
pub(crate) fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Takes the leading words that start with `--`, up to a word that is only `--`; returns how much of the text they are.
fn take_flags(text: &str, offset: usize, escape: char) -> (Vec<Piece>, usize) {
    let mut flags = Vec::new();
    let mut start = 0;
    loop {
        start += text[start..].len() - text[start..].trim_start().len();
        if !text[start..].starts_with("--") {
            return (flags, start);
        }
        let mut word = String::new();
        let mut quote = None;
        let mut was_quoted = false;
        let mut end = text.len();
        let mut characters = text[start..].char_indices();
        while let Some((index, character)) = characters.next() {
            match quote {
                None if character.is_whitespace() => {
                    end = start + index;
                    break;
                }
                None if matches!(character, '"' | '\'') => {
                    quote = Some(character);
                    was_quoted = true;
                }
                Some(open) if open == character => quote = None,
                _ if character == escape => word.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => word.push(character),
            }
        }
        if word == "--" {
            return (flags, end);
        }
        if was_quoted || !word.is_empty() {
            flags.push(Piece { text: word, at: offset + start..offset + end });
        }
        start = end;
    }
}

/// A command: a JSON list, or text for the shell.
pub(crate) fn command_form(command: &Command<'_>) -> Result<CommandForm, Fault> {
    Ok(command.json()?.map_or_else(|| CommandForm::Shell(command.args.to_owned()), CommandForm::Exec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &[Piece]) -> Vec<&str> {
        pieces.iter().map(|piece| piece.text.as_str()).collect()
    }

    #[test]
    fn flags_lose_their_quotes_and_end_before_the_arguments() {
        for (line, flags, args) in [
            ("RUN echo --a", vec![], "echo --a"),
            ("RUN --a=b --c  echo  x", vec!["--a=b", "--c"], "echo  x"),
            ("RUN --a=\"b c\" x", vec!["--a=b c"], "x"),
            ("RUN --a='b\\'c' x", vec!["--a=b'c"], "x"),
            ("RUN --a=b\\ c x", vec!["--a=b c"], "x"),
            ("RUN --a -- --b x", vec!["--a"], "--b x"),
            ("RUN --a --", vec!["--a"], ""),
            ("RUN --a", vec!["--a"], ""),
            ("RUN", vec![], ""),
            ("  run\t\t--ü=é  ö ", vec!["--ü=é"], "ö"),
            ("RUN -x", vec![], "-x"),
        ] {
            let command = Command::read(line, 0, '\\');
            assert_eq!((texts(&command.flags), command.args), (flags, args), "{line}");
            assert_eq!(&line[command.args_range()], args, "{line}");
        }
    }

    #[test]
    fn words_keep_quotes_and_escapes() {
        for (args, expected) in [
            ("foo bar", vec!["foo", "bar"]),
            ("foo\\ bar", vec!["foo\\ bar"]),
            ("a='b c' \"d e\"", vec!["a='b c'", "\"d e\""]),
            ("a=\"b\\\" c\" d", vec!["a=\"b\\\" c\"", "d"]),
            ("a='b\\' c", vec!["a='b\\'", "c"]),
            ("a\\\" b", vec!["a\\\"", "b"]),
            ("föo bàr \"âbc xÿz\"", vec!["föo", "bàr", "\"âbc xÿz\""]),
            ("a \"b c", vec!["a", "\"b c"]),
            ("a b\\", vec!["a", "b"]),
            ("\"\" x", vec!["\"\"", "x"]),
        ] {
            let line = format!("ENV {args}");
            assert_eq!(texts(&Command::read(&line, 0, '\\').words('\\')), expected, "{args}");
        }
    }

    #[test]
    fn fields_know_no_quotes() {
        let line = "COPY \"a b\"\t c\u{a0}d";
        let fields = Command::read(line, 0, '\\').fields();
        assert_eq!(texts(&fields), ["\"a", "b\"", "c\u{a0}d"]);
        assert!(fields.iter().all(|field| line[field.at.clone()] == field.text));
    }

    #[test]
    fn only_lists_of_strings_are_json() {
        let read = |args: &str| {
            let line = format!("CMD {args}");
            Command::read(&line, 0, '\\').json()
        };
        assert_eq!(read(r#"["a", "\u0062\"\\"]"#).unwrap().unwrap(), ["a", "b\"\\"]);
        assert_eq!(read("[]").unwrap().unwrap(), Vec::<String>::new());
        for shell in ["['a']", r#"["a"] x"#, r#"["a""#, "[a]", "{}", "", r#""a""#] {
            assert_eq!(read(shell).unwrap(), None, "{shell}");
        }
        for wrong in ["[1]", r#"["a", ["b"]]"#, "[null]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
