//! How large a step is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How large a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The third number or a later one, or a date.
    Patch,
    /// The second number.
    Minor,
    /// The first number.
    Major,
    /// Another release of the distribution.
    Distribution,
}

impl Level {
    /// Its name in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Distribution => "distribution",
        }
    }
}
