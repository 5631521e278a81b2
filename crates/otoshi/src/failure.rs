//! How the program ends when something went wrong: the text that people read, and the exit code.

use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use otoshi_engine::EngineError;
use otoshi_explain::{Explain, Kind, Remedy};
use otoshi_sandbox::SandboxError;

use crate::{exit, remedy::words};

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Project(#[from] Box<otoshi_project::ProjectError>),
    #[error(transparent)]
    Pipeline(#[from] Box<otoshi_pipeline::PipelineError>),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Store(#[from] otoshi_store::StoreError),
    #[error(transparent)]
    Layout(#[from] otoshi_oci::LayoutError),
    #[error(transparent)]
    Image(#[from] otoshi_oci::ImageError),
    #[error(transparent)]
    Layer(#[from] otoshi_oci::layer::LayerError),
    #[error(transparent)]
    Transfer(#[from] otoshi_oci::transfer::TransferError),
    #[error(transparent)]
    Reference(#[from] otoshi_oci::ReferenceError),
    #[error(transparent)]
    Registry(#[from] otoshi_registry::RegistryError),
    #[error("{message}")]
    Missing { message: String, hint: String },
    /// With a file, directory or address that was named on the command line.
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: String, source: std::io::Error },
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
}

impl Failure {
    pub(crate) fn io(action: &'static str, path: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn usage(message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Usage { message: message.into(), hint }
    }

    fn engine(&self) -> Option<&EngineError> {
        match self {
            Self::Engine(error) => Some(error),
            Self::Pipeline(error) => error.engine(),
            _ => None,
        }
    }

    /// What is wrong with a project's files, where that is what failed.
    fn project(&self) -> Option<&otoshi_project::ProjectError> {
        match self {
            Self::Project(error) => Some(error),
            Self::Pipeline(error) => error.project(),
            _ => None,
        }
    }

    /// The error itself, where another room made it.
    fn inner(&self) -> Option<&dyn Explain> {
        Some(match self {
            Self::Engine(error) => error,
            Self::Project(error) => error,
            Self::Pipeline(error) => error,
            Self::Sandbox(error) => error,
            Self::Store(error) => error,
            Self::Layout(error) => error,
            Self::Image(error) => error,
            Self::Layer(error) => error,
            Self::Transfer(error) => error,
            Self::Reference(error) => error,
            Self::Registry(error) => error,
            Self::Missing { .. } | Self::Io { .. } | Self::Usage { .. } => return None,
        })
    }

    /// Says what went wrong on standard error, with the place in the Dockerfile where there is one.
    pub(crate) fn report(&self) -> ExitCode {
        errln!("error: {self}");
        let mut shown = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            // Many messages hold those of their causes.
            if !shown.contains(&text) {
                errln!("caused by: {text}");
                shown = text;
            }
            cause = error.source();
        }
        let place: Option<&dyn Diagnostic> = match self.engine() {
            Some(EngineError::Dockerfile(error)) => Some(error.as_ref()),
            Some(EngineError::Command { at, .. }) => at.as_deref().map(|error| error as &dyn Diagnostic),
            _ => None,
        };
        let place = place.filter(|place| place.source_code().is_some());
        if let Some(error) = self.project() {
            for (index, error) in std::iter::once(error).chain(error.others()).enumerate() {
                if index > 0 {
                    errln!("\nerror: {error}");
                }
                if let Some(excerpt) = error.excerpt() {
                    errln!("{}", without_logins(excerpt));
                }
                if let Some(remedy) = error.remedy() {
                    errln!("\nhint: {}", words(&remedy));
                }
            }
        } else if let Some(place) = place {
            if let Some(text) = snippet(&Helped { place, remedy: self.remedy() }) {
                errln!("{text}");
            }
        } else if let Some(hint) = self.remedy().map(|remedy| words(&remedy)).or_else(|| of_disk(self)) {
            errln!("\nhint: {hint}");
        }
        exit::of(self.kind())
    }
}

impl Explain for Failure {
    fn kind(&self) -> Kind {
        match (self.inner(), self) {
            (Some(error), _) => error.kind(),
            (None, Self::Missing { .. }) => Kind::Registry,
            (None, Self::Io { source, .. }) => Kind::of_named_path(source),
            (None, _) => Kind::User,
        }
    }

    fn remedy(&self) -> Option<Remedy> {
        match (self.inner(), self) {
            (Some(error), _) => error.remedy(),
            (None, Self::Usage { hint, .. }) => hint.clone().map(Remedy::Words),
            (None, Self::Missing { hint, .. }) => Some(hint.as_str().into()),
            (None, _) => None,
        }
    }
}

/// A place in a file, with what to try in words.
#[derive(Debug)]
struct Helped<'p> {
    place: &'p dyn Diagnostic,
    remedy: Option<Remedy>,
}

impl std::fmt::Display for Helped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self.place, f)
    }
}

impl std::error::Error for Helped<'_> {}

impl Diagnostic for Helped<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        match &self.remedy {
            Some(remedy) => Some(Box::new(words(remedy))),
            None => self.place.help(),
        }
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.place.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        self.place.labels()
    }
}

/// What to try when a disk takes nothing more.
fn of_disk(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
                return Some("free space on this file system, then run the same command again".to_owned());
            }
            Some(std::io::ErrorKind::ReadOnlyFilesystem) => {
                return Some("make the file system writable, or set OTOSHI_HOME to one that is".to_owned());
            }
            _ => cause = error.source(),
        }
    }
    None
}

/// The lines of a file that a diagnostic means, underlined, and its hint; without its message.
pub(crate) fn snippet(place: &dyn Diagnostic) -> Option<String> {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_context_lines(1);
    handler.render_report(&mut text, place).ok()?;
    // The first lines repeat the message.
    let lines: Vec<_> = text.lines().skip_while(|line| !line.contains('[')).collect();
    Some(without_logins(&lines.join("\n")))
}

/// A text with stars for the password of each `USER:PASSWORD@HOST` in it; a digest after a name and a port is none.
fn without_logins(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(|sign: char| sign.is_whitespace() || "\"'`".contains(sign)) {
        let digest = ["@sha256:", "@sha512:"].iter().filter_map(|sign| word.find(sign)).min();
        let login = word[..digest.unwrap_or(word.len())].rfind('@');
        let start = word.find("://").map_or(0, |end| end + 3);
        let colon = login
            .filter(|at| *at > start)
            .and_then(|at| word[start..at].find(':').map(|end| (start + end + 1, at)));
        let colon = colon.filter(|(from, to)| !word[*from..*to].contains('/'));
        match colon {
            Some((from, to)) => {
                shown += &word[..from];
                shown.extend(word[from..to].chars().map(|_| '*'));
                shown += &word[to..];
            }
            None => shown += word,
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_an_address_is_shown() {
        for (text, shown) in [
            ("ADD http://u:geheim@h.test/x /", "ADD http://u:******@h.test/x /"),
            ("repository = \"u:geheim@h.test:5000/x\"", "repository = \"u:******@h.test:5000/x\""),
            ("FROM h.test:5000/x@sha256:00", "FROM h.test:5000/x@sha256:00"),
            ("http://u:ge,heim@shared.test/x", "http://u:*******@shared.test/x"),
            ("FROM u:geheim@h.test:5000/x@sha256:00", "FROM u:******@h.test:5000/x@sha256:00"),
            ("git@h.test:team/x", "git@h.test:team/x"),
            ("http://h.test:80/@x", "http://h.test:80/@x"),
        ] {
            assert_eq!(without_logins(text), shown);
        }
    }
}
