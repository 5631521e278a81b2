//! What kinds of things are found, and what is to be done about one.

use schemars::JsonSchema;
use serde::Serialize;

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A tag names another image now, and that is another one for this platform.
    BaseMoved,
    /// There is a newer version of the same flavour.
    NewerVersion,
    /// The same version is there on a newer distribution; or, where a variant gets no newer versions any more, a newer one.
    NewerDistribution,
    /// Packages in an image are newer in its own repositories, and some of them fix a security problem.
    SecurityUpdates,
    /// Packages in an image are newer in its own repositories.
    PackageUpdates,
    /// A release reached its end of life, or will soon.
    EndOfLife,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can be taken in.
    Found,
    /// It waits.
    Held,
    /// It is not wanted.
    Ignored,
}

/// By whom something is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// By its age: it was not known for long enough.
    Age,
    /// By the user, in `[check]`.
    User,
    /// By the image's own settings, or by its distribution.
    Image,
}

/// What is to be done about something, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    pub(crate) held: Option<Hold>,
    pub(crate) because: Option<String>,
    pub(crate) until: Option<String>,
}

impl Verdict {
    /// It can be taken in.
    pub(crate) const FOUND: Self = Self { state: State::Found, held: None, because: None, until: None };

    pub(crate) fn held(by: Hold, because: impl Into<String>) -> Self {
        Self { state: State::Held, held: Some(by), because: Some(because.into()), until: None }
    }
}
