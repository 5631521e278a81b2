//! Logical lines: continuations joined, comments and empty lines between them dropped, heredocs attached.
//!
//! This layer is our own: cache keys and messages need the joined text of each instruction with a map back to the
//! bytes it came from, the escape character that the file chose, and heredocs found the way `docker build` finds them
//! (by reading the joined line as shell words), which no parser on hand gave all together.
//!
//! Rules that are easy to get wrong:
//! - a continuation is an escape character at the end of a line, blanks after it allowed, unless the character before it
//!   is an escape character too;
//! - a comment line or an empty line between continued lines vanishes, at the end of the file as well;
//! - leading space of a continued line belongs to the text;
//! - a heredoc's lines keep their line endings; a line that is the delimiter alone ends it.

use std::ops::Range;

use crate::{DockerfileError, Heredoc, error::Fault, heredoc, tokens::Command};

/// One instruction's text.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The joined text, without surrounding space.
    pub(crate) text: String,
    /// Its bytes in the file, heredocs included.
    pub(crate) span: Range<usize>,
    /// First and last line, from 1.
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) heredocs: Vec<Heredoc>,
    /// Where parts of the joined text start, and where in the file: both ascending.
    parts: Vec<(usize, usize)>,
}

impl Line {
    /// Where a range of the joined text stands in the file.
    pub(crate) fn in_file(&self, range: &Range<usize>) -> Range<usize> {
        let place = |position: usize| {
            let index = self.parts.partition_point(|(joined, _)| *joined <= position).saturating_sub(1);
            let (joined, file) = self.parts.get(index).copied().unwrap_or((0, self.span.start));
            file + position.saturating_sub(joined)
        };
        let start = place(range.start);
        // The end belongs to the part of the last byte, not to the part that starts there.
        let end = if range.end > range.start { place(range.end - 1) + 1 } else { start };
        start..end
    }

    /// Makes an error of a fault in this line.
    pub(crate) fn error(&self, name: &str, text: &str, fault: Fault) -> DockerfileError {
        let span = fault.at.as_ref().map_or_else(|| self.span.clone(), |range| self.in_file(range));
        DockerfileError::new(fault.message).with_hint(fault.hint).or_at(name, text, span)
    }
}

/// The directives at the top of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directives {
    pub(crate) escape: Option<char>,
    pub(crate) syntax: Option<String>,
    pub(crate) check: Option<String>,
    /// Where they end, in bytes of the file.
    pub(crate) end: usize,
}

/// Reads the parser directives: comments of the form `# name=value` before anything else.
///
/// The first line that is none ends them, be it an empty line or a comment.
pub(crate) fn directives(name: &str, text: &str) -> Result<Directives, DockerfileError> {
    let mut found = Directives::default();
    let mut offset = 0;
    // A shebang may stand above the syntax.
    let shebang = if text.starts_with("#!") { text.find('\n').map_or(text.len(), |end| end + 1) } else { 0 };
    for line in text[shebang..].split_inclusive('\n') {
        let span = shebang + offset..shebang + offset + line.trim_end().len();
        offset += line.len();
        let Some((key, value)) = directive(line) else { break };
        let slot = match key.as_str() {
            "escape" if shebang > 0 => continue,
            "escape" => {
                let (Some(escape @ ('\\' | '`')), 1) = (value.chars().next(), value.chars().count()) else {
                    let error = DockerfileError::new(format!("invalid escape character {value:?}"));
                    return Err(error.with_hint(Some("it is \\ or `".into())).or_at(name, text, span));
                };
                if found.escape.replace(escape).is_none() {
                    found.end = shebang + offset;
                    continue;
                }
                None
            }
            "syntax" => Some(&mut found.syntax),
            "check" => Some(&mut found.check),
            _ => break,
        };
        // The image of the syntax ends at the first blank; what follows is for its own use.
        let value =
            if key == "syntax" { value.split(' ').next().unwrap_or_default() } else { value }.to_owned();
        if slot.is_none_or(|slot| slot.replace(value).is_some()) {
            let error = DockerfileError::new(format!("the {key} directive is given twice"));
            return Err(error.or_at(name, text, span));
        }
        found.end = shebang + offset;
    }
    Ok(found)
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric())
        && !value.is_empty();
    is_name.then(|| (key.to_ascii_lowercase(), value))
}

/// The lines of a file, each with where it starts, line break included.
struct Reader<'a> {
    text: &'a str,
    offset: usize,
    number: usize,
}

impl<'a> Iterator for Reader<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let start = self.offset;
        self.offset += length;
        self.number += 1;
        Some((start, &rest[..length]))
    }
}

/// Splits a file into logical lines.
pub(crate) fn split(name: &str, text: &str, escape: char) -> Result<Vec<Line>, DockerfileError> {
    match split_partly(name, text, escape) {
        (lines, None) => Ok(lines),
        (_, Some(error)) => Err(error),
    }
}

/// Splits a file into logical lines, up to one that cannot be read.
pub(crate) fn split_partly(name: &str, text: &str, escape: char) -> (Vec<Line>, Option<DockerfileError>) {
    let mut reader = Reader { text, offset: 0, number: 0 };
    let mut lines = Vec::new();
    while let Some((start, raw)) = reader.next() {
        let content = raw.trim_end_matches(['\r', '\n']);
        let content = content.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let first = reader.number;
        let at = start + (raw.len() - raw.trim_start().len());
        let mut joined = Joined { text: String::new(), parts: Vec::new(), end: at };
        let mut goes_on = joined.push(at, content, escape);
        while goes_on && let Some((start, raw)) = reader.next() {
            let content = raw.trim_end_matches(['\r', '\n']);
            let shown = content.trim_start();
            if !shown.is_empty() && !shown.starts_with('#') {
                goes_on = joined.push(start, content, escape);
            }
        }
        let mut line = joined.finish(at, first, reader.number);
        if let Err(fault) = heredocs(&mut line, &mut reader, escape) {
            let error = line.error(name, text, fault);
            return (lines, Some(error));
        }
        lines.push(line);
    }
    (lines, None)
}

struct Joined {
    text: String,
    parts: Vec<(usize, usize)>,
    end: usize,
}

impl Joined {
    /// Adds a physical line; tells whether the next one continues it.
    fn push(&mut self, start: usize, content: &str, escape: char) -> bool {
        let body = continued(content, escape);
        self.parts.push((self.text.len(), start));
        self.text.push_str(body.unwrap_or(content));
        self.end = start + content.trim_end().len();
        body.is_some()
    }

    fn finish(self, start: usize, first: usize, last: usize) -> Line {
        let leading = self.text.len() - self.text.trim_start().len();
        let text = self.text.trim().to_owned();
        // The joined text starts after the leading space: so do the parts.
        let mut parts: Vec<(usize, usize)> = Vec::with_capacity(self.parts.len());
        for (joined, file) in self.parts {
            if joined <= leading {
                parts.clear();
            }
            let cut = leading.saturating_sub(joined);
            parts.push((joined.saturating_sub(leading), file + cut));
        }
        Line { text, span: start..self.end, first, last, heredocs: Vec::new(), parts }
    }
}

/// The line without its continuation, when it has one.
fn continued(content: &str, escape: char) -> Option<&str> {
    let body = content.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!body.ends_with(escape)).then_some(body)
}

/// Reads the heredocs that the line opens from the lines that follow.
fn heredocs(line: &mut Line, reader: &mut Reader<'_>, escape: char) -> Result<(), Fault> {
    if !line.text.contains("<<") || !takes_heredocs(&line.text, escape) {
        return Ok(());
    }
    let text = line.text.clone();
    for opened in heredoc::of_line(&text)? {
        let mut raw_content = String::new();
        loop {
            let Some((start, raw)) = reader.next() else {
                let mark = text.find("<<").map_or(0..text.len(), |at| {
                    at..at + text[at..].find(char::is_whitespace).unwrap_or(text.len() - at)
                });
                return Err(Fault::new(format!("the heredoc {:?} is not terminated", opened.name))
                    .hint(format!("a line that is only {} ends it", opened.name))
                    .at(mark));
            };
            line.last = reader.number;
            line.span.end = start + raw.trim_end_matches(['\r', '\n']).len();
            let candidate = raw.trim_end_matches(['\r', '\n']);
            let candidate = if opened.chomp { candidate.trim_start_matches('\t') } else { candidate };
            if candidate == opened.name {
                break;
            }
            raw_content.push_str(raw);
        }
        line.heredocs.push(opened.with_content(raw_content));
    }
    Ok(())
}

/// RUN, COPY and ADD take heredocs, also behind ONBUILD, but not as a JSON list.
fn takes_heredocs(text: &str, escape: char) -> bool {
    let command = Command::read(text, 0, escape);
    let command = if command.keyword.eq_ignore_ascii_case("ONBUILD") {
        Command::read(command.args, command.args_at, escape)
    } else {
        command
    };
    ["RUN", "COPY", "ADD"].iter().any(|keyword| command.keyword.eq_ignore_ascii_case(keyword))
        && !command.is_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        let escape = directives("D", text).unwrap().escape.unwrap_or('\\');
        split("D", text, escape).unwrap().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_joined() {
        for (text, expected) in [
            ("FROM a\nRUN b\n", vec!["FROM a", "RUN b"]),
            ("  FROM a  \r\n\r\n# c\r\nRUN b\r\n", vec!["FROM a", "RUN b"]),
            ("RUN a \\\n  b", vec!["RUN a   b"]),
            ("RUN a \\  \t\n  b", vec!["RUN a   b"]),
            ("RUN a \\\r\n  b\r\nRUN c", vec!["RUN a   b", "RUN c"]),
            ("RUN a \\\n# x \\\n\n   # y\n  b", vec!["RUN a   b"]),
            ("RUN a \\\n# x\n", vec!["RUN a"]),
            ("RUN a \\", vec!["RUN a"]),
            ("RUN a \\\\\nRUN b", vec!["RUN a \\\\", "RUN b"]),
            ("RUN a #b\\\nc", vec!["RUN a #bc"]),
            ("\\\nRUN a", vec!["RUN a"]),
            ("R\\\nU\\\nN a", vec!["RUN a"]),
            ("# escape=`\nRUN a \\\nRUN b `\nc", vec!["RUN a \\", "RUN b c"]),
            ("#escape = `\nRUN b `\nc", vec!["RUN b c"]),
            ("# not one\n# escape=`\nRUN a \\\nb", vec!["RUN a b"]),
            ("\n# escape=`\nRUN a \\\nb", vec!["RUN a b"]),
            ("# syntax=x\n# Escape=`\nRUN a `\nb", vec!["RUN a b"]),
            ("", vec![]),
        ] {
            assert_eq!(joined(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_range_is_found_in_the_file() {
        let text = "FROM a\n  RUN one \\\n# c\n   two\\\n\nthree x\n";
        let line = &split("D", text, '\\').unwrap()[1];
        assert_eq!(line.text, "RUN one    twothree x");
        assert_eq!((line.first, line.last), (2, 6));
        for word in ["RUN", "one", "two", "three", "x"] {
            let at = line.text.find(word).unwrap();
            assert_eq!(&text[line.in_file(&(at..at + word.len()))], word);
        }
        assert_eq!(&text[line.in_file(&(0..7))], "RUN one");
        assert!(text[line.span.clone()].starts_with("RUN") && text[line.span.clone()].ends_with("three x"));
    }

    #[test]
    fn directives_are_read_once() {
        let found =
            directives("D", "# syntax=docker/dockerfile:1 more\n#check=skip=all\n# escape=\\\n").unwrap();
        assert_eq!(found.syntax.as_deref(), Some("docker/dockerfile:1"));
        assert_eq!(found.check.as_deref(), Some("skip=all"));
        assert_eq!(found.escape, Some('\\'));
        assert_eq!(directives("D", "#!/bin/x\n#syntax=a\n").unwrap().syntax.as_deref(), Some("a"));
        for wrong in ["# escape=x\n", "#escape=``\n", "#escape=`\n#escape=`\n", "#syntax=a\n#syntax=a\n"] {
            assert!(directives("D", wrong).is_err(), "{wrong}");
        }
    }
}
