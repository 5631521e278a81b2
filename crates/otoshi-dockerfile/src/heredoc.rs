//! Heredocs: which words of a line open one.
//!
//! Spec: <https://docs.docker.com/reference/dockerfile/#here-documents>

use crate::{
    error::Fault,
    expand::{Lexer, Mode},
};

/// A heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, and the file's name in COPY.
    pub name: String,
    /// Whether variables in it are expanded: not when the delimiter is quoted.
    pub expand: bool,
    /// Whether leading tabs do not count (`<<-`).
    pub chomp: bool,
    /// The lines, each with its line break; for `<<-` without their leading tabs.
    pub content: String,
    /// The lines as they stand in the Dockerfile.
    pub raw: String,
}

/// A heredoc that is opened, before its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
}

impl Opened {
    pub(crate) fn with_content(self, raw: String) -> Heredoc {
        let content = if self.chomp {
            raw.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
        } else {
            raw.clone()
        };
        Heredoc { name: self.name, expand: self.expand, chomp: self.chomp, content, raw }
    }
}

const NOTHING_SET: &crate::expand::Lookup<'static> = &|_| None;

/// The heredocs that a joined line opens, in order.
pub(crate) fn of_line(line: &str) -> Result<Vec<Opened>, Fault> {
    let mode = Mode { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Mode::default() };
    // A line that cannot be read as shell words opens none: its shell may read it in its own way.
    let words = Lexer::new(line, '\\', NOTHING_SET, mode).words().unwrap_or_default();
    let mut found = Vec::new();
    for word in words {
        found.extend(of_word(&word)?);
    }
    Ok(found)
}

/// What a word opens: an optional number, `<<`, an optional `-`, and one word that may be quoted.
pub(crate) fn of_word(word: &str) -> Result<Option<Opened>, Fault> {
    let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let words = |raw_quotes: bool| {
        let mode = Mode { raw_quotes, keep_unset: true, ..Mode::default() };
        Lexer::new(rest, '\\', NOTHING_SET, mode)
            .words()
            .map_err(|message| Fault::new(format!("the heredoc's delimiter {rest}: {message}")))
    };
    let plain = words(false)?;
    let [name] = &plain[..] else { return Ok(None) };
    // A delimiter is quoted when reading it lost quotes.
    let quotes = |text: &str| text.matches(['"', '\'']).count();
    let raw = words(true)?;
    let expand = raw.first().is_some_and(|raw| quotes(raw) == quotes(name));
    Ok(Some(Opened { name: name.clone(), expand, chomp }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_open_a_heredoc() {
        for (word, name, expand, chomp) in [
            ("<<EOF", "EOF", true, false),
            ("<<'EOF'", "EOF", false, false),
            ("<<\"EOF\"", "EOF", false, false),
            ("<<-EOF", "EOF", true, true),
            ("<<-'EOF'", "EOF", false, true),
            ("<<EO\"F\"", "EOF", false, false),
            ("<< EOF", "EOF", true, false),
            ("<<- EOF", "EOF", true, true),
            ("4<<EOF", "EOF", true, false),
            ("<<eo\\'f", "eo'f", true, false),
            ("<<'e'o\\'f", "eo'f", false, false),
            ("<<'one two'", "one two", false, false),
            ("<<$EOF", "$EOF", true, false),
            ("<<${EOF}", "${EOF}", true, false),
            ("<<file.txt", "file.txt", true, false),
        ] {
            let expected = Opened { name: name.into(), expand, chomp };
            assert_eq!(of_word(word).unwrap(), Some(expected), "{word}");
        }
        for word in ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh", "x<<EOF", "<<''", "a", "<<A<<B"] {
            assert_eq!(of_word(word).unwrap(), None, "{word}");
        }
        for word in ["<<'EOF", "<<\"EOF", "<<EOF'", "<<EOF\""] {
            assert!(of_word(word).is_err(), "{word}");
        }
    }

    #[test]
    fn lines_that_open_heredocs() {
        for (line, names) in [
            ("RUN <<EOF", vec!["EOF"]),
            ("RUN << EOF", vec!["EOF"]),
            // Space after `<<-`, unlike after `<<`, separates.
            ("RUN <<- EOF", vec![]),
            ("RUN << -EOF", vec!["-EOF"]),
            ("RUN 4<<EOF", vec!["EOF"]),
            ("RUN <<EOF <<EOF2", vec!["EOF", "EOF2"]),
            ("RUN '<<EOF'", vec![]),
            ("RUN \"<<EOF\"", vec![]),
            ("RUN cat <<EOF >x", vec!["EOF"]),
            ("RUN echo $((1<<2))", vec![]),
            ("RUN cat <<<x", vec![]),
            ("RUN echo it's <<EOF", vec![]),
            ("RUN echo ${V:-x} $(ls) <<EOF", vec!["EOF"]),
            ("RUN echo \\<<EOF", vec![]),
        ] {
            let found = of_line(line).unwrap();
            assert_eq!(found.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), names, "{line}");
        }
    }
}
