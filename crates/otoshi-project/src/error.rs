//! What can be wrong with a project's files.

/// A wrong project file: which, where, and what to try.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ProjectError {
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl ProjectError {
    pub(crate) fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, message: message.into(), hint: None }
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

    /// What to try.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Puts a TOML error into our words: the line, and the known key that an unknown one is most like.
    pub(crate) fn of_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let full = error.message();
        let mut found = Self::new(file, full.to_owned());
        found.line = line;
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
