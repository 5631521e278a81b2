//! Logical lines: continuations joined, comments and empty lines between them dropped, heredocs attached.
//!
//! This layer is our own: the cache keys and messages of a build need the joined text of each instruction, with the
//! escape character chosen by the file, and the exact byte range that it came from.

use std::ops::Range;

use crate::{DockerfileError, Heredoc};

/// One instruction's text.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The joined text, without surrounding space.
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) heredocs: Vec<Heredoc>,
}

/// The directives at the top of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directives {
    pub(crate) escape: Option<char>,
    pub(crate) syntax: Option<String>,
}

/// Reads the parser directives: comments of the form `# name=value`, before anything else.
pub(crate) fn directives(name: &str, text: &str) -> Result<Directives, DockerfileError> {
    let mut found = Directives::default();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let Some((key, value)) = line.trim().strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
            break;
        };
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        match key.as_str() {
            "escape" => match value {
                "\\" | "`" => found.escape = value.chars().next(),
                _ => {
                    let error = DockerfileError::new(format!("invalid escape character {value:?}"));
                    return Err(error.with_hint(Some("one of \\ and `".into())).or_at(
                        name,
                        text,
                        offset..offset + line.len(),
                    ));
                }
            },
            "syntax" => found.syntax = Some(value.to_owned()),
            "check" => {}
            _ => break,
        }
        offset += line.len();
    }
    Ok(found)
}

/// Splits a file into logical lines.
pub(crate) fn split(name: &str, text: &str, escape: char) -> Result<Vec<Line>, DockerfileError> {
    let mut physical = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        physical.push((offset, line));
        offset += line.len();
    }
    let mut lines = Vec::new();
    let mut index = 0;
    while index < physical.len() {
        let (start, raw) = physical[index];
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            index += 1;
            continue;
        }
        let first = index;
        let mut joined = String::new();
        let mut end;
        loop {
            let (at, raw) = physical[index];
            end = at + raw.trim_end().len();
            index += 1;
            let content = raw.trim_end_matches(['\n', '\r']);
            // Leading space belongs to the text when a line goes on: words may be split there.
            let is_comment =
                index > first + 1 && (content.trim().is_empty() || content.trim_start().starts_with('#'));
            if is_comment {
                if index >= physical.len() {
                    break;
                }
                continue;
            }
            if let Some(body) = content.trim_end().strip_suffix(escape) {
                joined.push_str(body);
                if index >= physical.len() {
                    break;
                }
            } else {
                joined.push_str(content);
                break;
            }
        }
        let joined = joined.trim().to_owned();
        let mut line = Line {
            span: start + (raw.len() - raw.trim_start().len())..end,
            first: first + 1,
            last: index,
            heredocs: Vec::new(),
            text: joined,
        };
        if takes_heredocs(&line.text) {
            for (delimiter, expand, chomp) in delimiters(&line.text) {
                let mut content = String::new();
                loop {
                    let Some((at, raw)) = physical.get(index) else {
                        let error = DockerfileError::new(format!("the heredoc {delimiter:?} has no end"));
                        return Err(error
                            .with_hint(Some(format!("a line with {delimiter} alone ends it")))
                            .or_at(name, text, line.span));
                    };
                    index += 1;
                    line.span.end = at + raw.trim_end().len();
                    let raw_line = raw.trim_end_matches(['\n', '\r']);
                    let body = if chomp { raw_line.trim_start_matches('\t') } else { raw_line };
                    if body == delimiter {
                        break;
                    }
                    content.push_str(body);
                    content.push('\n');
                }
                line.heredocs.push(Heredoc { name: delimiter, expand, chomp, content });
            }
            line.last = index;
        }
        lines.push(line);
    }
    Ok(lines)
}

fn takes_heredocs(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let mut keyword = words.next().unwrap_or_default().to_uppercase();
    if keyword == "ONBUILD" {
        keyword = words.next().unwrap_or_default().to_uppercase();
    }
    matches!(keyword.as_str(), "RUN" | "COPY" | "ADD")
}

/// Finds the heredocs that a line opens: `<<EOF`, `<<-EOF`, `<<"EOF"`, also behind a file descriptor's number.
fn delimiters(text: &str) -> Vec<(String, bool, bool)> {
    let mut found = Vec::new();
    let mut quote = None;
    let characters: Vec<char> = text.chars().collect();
    let mut index = 0;
    while index < characters.len() {
        let character = characters[index];
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if character == '"' || character == '\'' => quote = Some(character),
            None if character == '\\' => index += 1,
            None if characters[index..].starts_with(&['<', '<', '<']) => index += 2,
            None if characters[index..].starts_with(&['<', '<']) => {
                let mut rest = index + 2;
                let chomp = characters.get(rest) == Some(&'-');
                rest += usize::from(chomp);
                let quoted = characters.get(rest).copied().filter(|c| matches!(c, '"' | '\''));
                rest += usize::from(quoted.is_some());
                let name: String = characters[rest..]
                    .iter()
                    .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
                    .collect();
                let closed =
                    quoted.is_none_or(|quote| characters.get(rest + name.chars().count()) == Some(&quote));
                let starts_well = name
                    .chars()
                    .next()
                    .is_some_and(|c| c.is_alphabetic() || c == '_' || (quoted.is_some() && c != '-'));
                if closed && starts_well {
                    index = rest + name.chars().count() + usize::from(quoted.is_some()) - 1;
                    found.push((name, quoted.is_none(), chomp));
                } else {
                    index += 1;
                }
            }
            None => {}
        }
        index += 1;
    }
    found
}
