//! What can be wrong with a project's files.

use std::ops::Range;

use crate::excerpt::excerpt;
use otoshi_explain::{Explain, Kind, Remedy};

/// A wrong project file: which, where, and what to try.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ProjectError {
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
    pub(crate) hint: Option<Remedy>,
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

    pub(crate) fn with_hint(mut self, hint: impl Into<Remedy>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Suggests the known name that is most like `name`.
    pub(crate) fn with_suggestion<'a>(self, name: &str, known: impl Iterator<Item = &'a String>) -> Self {
        match near(name, known.map(String::as_str)) {
            Some(known) => self.with_hint(format!("did you mean {known}?")),
            None => self,
        }
    }

    /// Says what TOML says, and where.
    pub(crate) fn of_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let found = Self::new(file, error.message());
        match error.span() {
            Some(span) => found.placed(text, span),
            None => found,
        }
    }
}

/// The known word that is most like one, when one is like it at all.
pub(crate) fn near<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // Of short words, two letters that changed places say more than how many stand where they should.
    let slip = |known: &str| word.len() > 2 && strsim::damerau_levenshtein(word, known) == 1;
    let score = |known: &str| strsim::jaro_winkler(word, known).max(if slip(known) { 0.9 } else { 0.0 });
    let scored = known.into_iter().map(|known| (score(known), known));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

impl Explain for ProjectError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn remedy(&self) -> Option<Remedy> {
        self.hint.clone()
    }
}
