//! Why something could not be looked at.

use otoshi_explain::{Explain, Kind, Remedy, Wording};
use otoshi_pipeline::PipelineError;
use otoshi_registry::RegistryError;

use crate::report::Failed;

/// Why something could not be looked at.
#[derive(Debug)]
pub(crate) enum Stop {
    Registry(RegistryError),
    /// So few requests are left.
    Budget(u64),
    /// What happened, and what to try.
    Told(String, Option<Remedy>),
    /// Nothing else can be looked at either.
    Pipeline(PipelineError),
}

impl Stop {
    /// What an error says of itself, and what to try.
    pub(crate) fn told(error: impl Explain) -> Self {
        Self::Told(error.to_string(), error.remedy())
    }

    /// What happened, in a sentence.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Registry(error) => error.to_string(),
            Self::Budget(left) => format!("its registry says that {left} requests are left"),
            Self::Told(message, _) => message.clone(),
            Self::Pipeline(error) => error.to_string(),
        }
    }

    /// Says it of one thing; an error where it is one of everything.
    pub(crate) fn of(self, reference: &str, words: Wording<'_>) -> Result<Failed, PipelineError> {
        let (message, remedy) = match self {
            Self::Registry(error) => (error.to_string(), error.remedy()),
            Self::Budget(left) => (
                format!("not looked at: its registry says that {left} requests are left"),
                Some("wait, log in for a larger budget, or lower [check] budget-floor".into()),
            ),
            Self::Told(message, remedy) => (message, remedy),
            Self::Pipeline(error) => return Err(error),
        };
        Ok(Failed { reference: reference.to_owned(), message, hint: remedy.as_ref().map(words) })
    }
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<PipelineError> for Stop {
    fn from(error: PipelineError) -> Self {
        // What a registry did while planning is that base's failure.
        match error {
            PipelineError::Registry(error) => Self::Registry(error),
            error if error.kind() == Kind::Registry => Self::told(error),
            error => Self::Pipeline(error),
        }
    }
}

impl From<otoshi_store::StoreError> for Stop {
    fn from(error: otoshi_store::StoreError) -> Self {
        Self::Pipeline(error.into())
    }
}
