//! A plan, and the report of a build, as data.
//!
//! ```text
//! { "version": 1, "project": "shop",
//!   "phases": [ { "phase": "builder", "number": 1, "status": "fresh" | "stale" | "pending",
//!                 "reasons": [ { "kind", "name", "old", "new", "text" } ],
//!                 "key", "output", "layers_written", "took_ms", "found_in" } ],
//!   "images": { "shop/web": "sha256:…" },
//!   "moved":  [ { "role", "reference", "old", "new" } ],
//!   "warnings": [ "…" ] }
//! ```
//!
//! Fields are added within a version; their meaning changes only with it.

use std::collections::BTreeMap;

use otoshi_oci::Digest;
use otoshi_project::{Phase, Role};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Reason;

/// The version of this form.
pub(crate) const PLAN_VERSION: u32 = 1;

/// Whether a phase must run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// What it would make is there.
    Fresh,
    /// It must run, or did run.
    Stale,
    /// It depends on what an earlier phase will make; it may turn out fresh.
    Pending,
}

/// One phase of a plan.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PhasePlan {
    /// Which one it is.
    pub phase: Phase,
    /// 1 to 4.
    pub number: u8,
    /// Whether it must run, or did run.
    pub status: Status,
    /// Why, when it is not fresh.
    pub reasons: Vec<Reason>,
    /// The digest of all that it observes; none while that is not known.
    pub key: Option<String>,
    /// What it made, where that is one thing: an image's manifest, or the content of the compiled output.
    pub output: Option<String>,
    /// Layers written when it ran.
    pub layers_written: usize,
    /// How long it ran, in milliseconds.
    pub took_ms: Option<u64>,
    /// The repository in which its result was found, when this machine did not know it.
    pub found_in: Option<String>,
}

/// A base that a refresh moved in `otoshi.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Moved {
    /// The role that uses it.
    pub role: Role,
    /// The base, as the Dockerfile has it after expansion.
    pub reference: String,
    /// The manifest of this platform before; none when it was not locked.
    #[schemars(with = "Option<String>")]
    pub old: Option<Digest>,
    /// The manifest of this platform now.
    #[schemars(with = "String")]
    pub new: Digest,
}

/// Every phase with its status; after a build, what ran and what was kept.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Plan {
    /// The version of this form; 1.
    pub version: u32,
    /// The project's name.
    pub project: String,
    /// The phases that the project has, in order.
    pub phases: Vec<PhasePlan>,
    /// The images by name → digest of the manifest, as far as they are known.
    pub images: BTreeMap<String, String>,
    /// The bases that a refresh moved.
    pub moved: Vec<Moved>,
    /// What did not work, and does not matter to the result.
    pub warnings: Vec<String>,
}
