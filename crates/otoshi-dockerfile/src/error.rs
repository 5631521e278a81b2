//! Errors that show the place in the Dockerfile.

use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use otoshi_explain::{Explain, Kind, Remedy};

/// Something in a Dockerfile or an ignore file that is wrong, and where it stands.
///
/// Rendered with `miette`, it shows the file, the line, the text underlined, and what to try.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct DockerfileError {
    message: String,
    remedy: Option<Remedy>,
    place: Option<Box<Place>>,
}

#[derive(Debug, Clone)]
struct Place {
    source: NamedSource<String>,
    span: Range<usize>,
    line: usize,
}

impl DockerfileError {
    /// An error without a place, which whoever reads the file gives it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: None, place: None }
    }

    /// Adds what to try, in words, unless that is known.
    #[must_use]
    pub fn with_hint(self, hint: Option<String>) -> Self {
        self.with_remedy(hint.map(Remedy::Words))
    }

    /// Adds what to try, unless that is known.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Option<Remedy>) -> Self {
        self.remedy = self.remedy.or(remedy);
        self
    }

    /// Gives the error this place, unless it has one. A range over several lines is shown by its first line.
    #[must_use]
    pub(crate) fn or_at(mut self, name: &str, text: &str, span: Range<usize>) -> Self {
        if self.place.is_none() {
            let end = span.end.min(text.len());
            let start = span.start.min(end);
            let line = text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count() + 1;
            let first_line = text.get(start..end).and_then(|t| t.find(['\n', '\r']));
            self.place = Some(Box::new(Place {
                source: NamedSource::new(name, text.to_owned()),
                span: start..first_line.map_or(end, |length| start + length),
                line,
            }));
        }
        self
    }

    /// The line, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The file's name.
    pub fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.source.name())
    }

    /// The bytes of the file that are meant.
    pub fn span(&self) -> Option<Range<usize>> {
        self.place.as_ref().map(|place| place.span.clone())
    }
}

impl Diagnostic for DockerfileError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.hint().map(|hint| Box::new(hint) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|place| &place.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.place.as_ref()?.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

/// Something wrong in one logical line: as [`DockerfileError`], with a range of the joined text instead of the file's.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The part of the joined line that is meant; `None` is all of it.
    pub(crate) at: Option<Range<usize>>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, at: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }

    /// Proposes the candidate that is most like what was written; `show` makes it look as in the file.
    pub(crate) fn did_you_mean<'a>(
        mut self,
        written: &str,
        candidates: impl IntoIterator<Item = &'a str>,
        show: impl Fn(&str) -> String,
    ) -> Self {
        if let Some(near) = suggest(written, candidates) {
            self.hint.get_or_insert_with(|| format!("did you mean {}?", show(near)));
        }
        self
    }

    /// Says which part is meant, unless that is known.
    pub(crate) fn at(mut self, range: Range<usize>) -> Self {
        self.at.get_or_insert(range);
        self
    }
}

/// The candidate that is most like `text`, when one is like it at all.
pub fn suggest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let scored = candidates.into_iter().map(|candidate| {
        let other = candidate.to_lowercase();
        // Of short words, two letters that changed places say more than how many stand where they should.
        let slip = lower.chars().count() > 2 && strsim::damerau_levenshtein(&lower, &other) == 1;
        (strsim::jaro_winkler(&lower, &other).max(if slip { 0.9 } else { 0.0 }), candidate)
    });
    scored
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

impl Explain for DockerfileError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn remedy(&self) -> Option<Remedy> {
        self.remedy.clone()
    }
}
