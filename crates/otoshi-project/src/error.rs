//! What can be wrong with a project's files.

use std::ops::Range;

use crate::faults::excerpt;
use otoshi_explain::{Explain, Kind};

/// A wrong project file: which, where, and what to try.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ProjectError {
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The line, the place underlined.
    pub(crate) excerpt: Option<String>,
    /// What else is wrong.
    pub(crate) more: Vec<ProjectError>,
}

impl ProjectError {
    pub(crate) fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { file, line: None, message, hint: None, excerpt: None, more: Vec::new() }
    }

    /// Says where it stands.
    pub(crate) fn placed(mut self, text: &str, span: Range<usize>) -> Self {
        self.line = Some(text[..span.start.min(text.len())].matches('\n').count() + 1);
        self.excerpt = Some(excerpt(text, &span));
        self
    }

    /// What else is wrong with the same file.
    pub fn others(&self) -> &[ProjectError] {
        &self.more
    }

    /// The line of the file that it is about, with the place underlined.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_deref()
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Suggests the known name that is most like `name`.
    pub(crate) fn with_suggestion<'a>(self, name: &str, known: impl Iterator<Item = &'a String>) -> Self {
        let scored =
            known.map(|known| (strsim::jaro_winkler(name, known), known)).filter(|(score, _)| *score > 0.75);
        match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((_, known)) => self.with_hint(format!("did you mean {known}?")),
            None => self,
        }
    }

    /// Puts a TOML error into our words: the line, and the known key that an unknown one is most like.
    pub(crate) fn of_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let full = error.message();
        let mut found = Self::new(file, full.to_owned());
        if let Some(span) = error.span() {
            // A number or a date where a text belongs.
            let value = text.get(span.clone()).unwrap_or_default();
            let bare = !value.is_empty() && !value.contains(['"', '\'', '\n', '{', '[']);
            if bare && full.contains("expected a string") {
                found.message = format!("{value} is no text");
                found.hint = Some(format!("quote it: \"{value}\""));
            }
            found = found.placed(text, span);
        }
        let quoted: Vec<&str> = full.split('`').skip(1).step_by(2).collect();
        if let (true, Some((unknown, known))) = (full.starts_with("unknown field"), quoted.split_first()) {
            found.message = format!("unknown key `{unknown}`");
            let near = known
                .iter()
                .map(|key| (strsim::jaro_winkler(unknown, key), key))
                .filter(|(score, _)| *score > 0.75);
            found.hint = Some(match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((_, key)) => format!("did you mean `{key}`?"),
                None => format!("known keys: {}", known.join(", ")),
            });
        }
        found
    }
}

impl Explain for ProjectError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}
