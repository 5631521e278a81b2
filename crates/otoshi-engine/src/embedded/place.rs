//! Where in the Dockerfile an error arose.

use std::ops::Range;

use otoshi_dockerfile::Dockerfile;
use otoshi_explain::{Explain, Remedy};

use crate::EngineError;

/// Says where in the Dockerfile an error arose, unless it says so itself.
pub(super) fn locate(dockerfile: &Dockerfile, error: EngineError, span: &Range<usize>) -> EngineError {
    let at = |message: String, hint: Option<Remedy>| {
        Box::new(dockerfile.error_at(span.clone(), message, None).with_remedy(hint))
    };
    match error {
        EngineError::Command { what, code, .. } => {
            let place = at(format!("{what} ended with exit code {code}"), None);
            EngineError::Command { what, code, at: Some(place) }
        }
        EngineError::Stopped => error,
        EngineError::Dockerfile(error) => dockerfile.placed(*error, span.clone()).into(),
        EngineError::Invalid { message, hint } => EngineError::Dockerfile(at(message, hint)),
        EngineError::NoImage { .. } | EngineError::Http(_) => {
            let place = at(error.to_string(), None);
            EngineError::Dockerfile(Box::new(place.with_remedy(error.remedy())))
        }
        other => other,
    }
}
