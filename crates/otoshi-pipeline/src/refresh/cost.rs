//! What a refresh costs: the plans that it may come to, the cheapest first.

use schemars::JsonSchema;
use serde::Serialize;

/// Names what had to run, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// Nothing.
    Nothing,
    /// Configs and manifests were written, and no layer.
    Metadata,
    /// The base's layers were swapped; the runner's own and the application's stayed.
    LayerSwap,
    /// The app phase wrote layers.
    App,
    /// The runner was built anew; the application's layers stayed.
    Runner,
    /// The application was recompiled, in the builder that was there.
    Compile,
    /// All phases ran.
    All,
}

impl Cost {
    /// Says it for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Nothing => "nothing ran",
            Self::Metadata => "only metadata was written",
            Self::LayerSwap => "the base's layers were swapped under the runner's and the application's",
            Self::App => "phase 4 ran",
            Self::Runner => "phases 3 and 4 ran, and the application's layers stayed",
            Self::Compile => "the application was recompiled",
            Self::All => "all phases ran",
        }
    }
}

impl Cost {
    /// Names it as a plan.
    pub fn plan(self) -> &'static str {
        match self {
            Self::Nothing => "doing nothing",
            Self::Metadata => "metadata only",
            Self::LayerSwap => "swapping layers",
            Self::App => "phase 4",
            Self::Runner => "phases 3 and 4",
            Self::Compile => "phase 2, and what depends on it",
            Self::All => "all phases",
        }
    }
}

/// A plan that was thought of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Candidate {
    /// What would run.
    pub plan: Cost,
    /// Whether it was chosen; those behind it were not thought of.
    pub taken: bool,
    /// Why, or why not.
    pub because: String,
}
