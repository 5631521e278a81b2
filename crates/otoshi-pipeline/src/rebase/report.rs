//! What a rebase did or would do, as data.

use otoshi_rebase::index::LeftBehind;
use otoshi_rebase::proof::Examined;
use otoshi_rebase::{Conflict, Finding, Source};
use schemars::JsonSchema;
use serde::Serialize;

/// Says how a rebase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The image stands on the new base.
    Rebased,
    /// It would, and nothing was written.
    WouldRebase,
    /// It stands on that base already.
    Same,
    /// Something that it needs is not in the new base; nothing was written.
    Refused,
}

/// Describes the rebase of one image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Rebased {
    /// The version of this form; 1.
    pub version: u32,
    /// The image's reference.
    pub image: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it is an image of the store, and not of a registry.
    pub in_store: bool,
    /// The new base's reference.
    pub onto: String,
    /// The image's digest before.
    pub old: String,
    /// Its digest now, or as it would be.
    pub new: Option<String>,
    /// One entry for each platform.
    pub platforms: Vec<PlatformRebase>,
    /// Attestations, signatures and the like of the old image, which say nothing of the new one.
    pub left_behind: Vec<LeftBehind>,
    /// Layers of the new image that nothing had to move for, of how many.
    pub layers: [usize; 2],
    /// Requests that were sent.
    pub requests: u64,
    /// Bytes that moved.
    pub moved: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Describes the rebase for one platform.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlatformRebase {
    /// The platform.
    pub platform: String,
    /// How the old base was found.
    pub source: Source,
    /// The old base's manifest; none where it is gone and only its layers are known.
    pub old_base: Option<String>,
    /// The new base's manifest.
    pub new_base: String,
    /// How many layers are replaced.
    pub seam: usize,
    /// By how many.
    pub base_layers: usize,
    /// How many layers are the application's.
    pub kept: usize,
    /// Keys that the application and the new base both set to something else.
    pub conflicts: Vec<Conflict>,
    /// What the application would no longer find.
    pub findings: Vec<Finding>,
    /// What it would no longer find, and that was accepted.
    pub waived: Vec<Finding>,
    /// What was looked at, and what could not be judged.
    pub examined: Examined,
    /// The image's manifest before.
    pub old: String,
    /// The image's manifest now.
    pub new: Option<String>,
}
