//! Errors that are handed from room to room as they are, and the one that every room can have.

use std::{error::Error, fmt, sync::Arc};

use crate::{Explain, Kind, Remedy};

/// An error of a room that the one which hands it on does not know.
#[derive(Debug, Clone)]
pub struct HandedOn {
    error: Arc<dyn Explain + Send + Sync>,
    /// What to try instead of what the error itself says.
    remedy: Option<Remedy>,
}

impl HandedOn {
    /// Takes an error as it is.
    pub fn new(error: impl Explain + Send + Sync + 'static) -> Self {
        Self { error: Arc::new(error), remedy: None }
    }

    /// Says what to try, where this room knows better.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<Remedy>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

impl fmt::Display for HandedOn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl Error for HandedOn {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Explain for HandedOn {
    fn kind(&self) -> Kind {
        self.error.kind()
    }

    fn remedy(&self) -> Option<Remedy> {
        self.remedy.clone().or_else(|| self.error.remedy())
    }
}

/// A thread of this program's own panicked: a fault of nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked {
    /// What it was at, as in "a build's thread".
    pub what: &'static str,
}

impl fmt::Display for Panicked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} panicked, which is an internal error; its message is above", self.what)
    }
}

impl Error for Panicked {}

impl Explain for Panicked {
    fn kind(&self) -> Kind {
        Kind::Machine
    }

    fn remedy(&self) -> Option<Remedy> {
        Some("please report it, with the command and what it printed".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_its_remedy_on_the_way() {
        let error = HandedOn::new(Panicked { what: "a thread" });
        assert_eq!((error.kind(), error.hint()), (Kind::Machine, Panicked { what: "" }.hint()));
        let error = error.with_remedy("do something else");
        assert_eq!(error.to_string(), "a thread panicked, which is an internal error; its message is above");
        assert_eq!((error.kind(), error.hint().as_deref()), (Kind::Machine, Some("do something else")));
        let carried = std::io::Error::other(error);
        let found = carried.get_ref().and_then(|inner| inner.downcast_ref::<HandedOn>());
        assert!(found.is_some_and(|error| error.kind() == Kind::Machine));
    }
}
