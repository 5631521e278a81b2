//! What a check found, as data.
//!
//! ```text
//! { "version": 1, "project": "shop",
//!   "findings": [ { "kind", "state", "name", "reference", "roles", "from", "to", "level", "first_seen", "because", "until",
//!                   "phases": [ … as in otoshi plan … ], "command", "text" } ],
//!   "failed":   [ { "reference", "message", "hint" } ],
//!   "fresh":    [ "…" ],
//!   "counts":   { "found", "held", "ignored", "failed", "fresh" },
//!   "cycles":   { "date", "age_days" }, "requests": 5 }
//! ```
//!
//! Fields are added within a version; their meaning changes only with it.

use otoshi_pipeline::PhasePlan;
use schemars::JsonSchema;
use serde::Serialize;

use crate::tag::Level;

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A tag names another image now, and that is another one for this platform.
    BaseMoved,
    /// There is a newer version of the same flavour.
    NewerVersion,
    /// The same version is there on a newer distribution.
    NewerDistribution,
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

/// One thing that is newer outside.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// What is to be done about it.
    pub state: State,
    /// What it is called in `otoshi.toml`, else the reference.
    pub name: String,
    /// The base.
    pub reference: String,
    /// The roles that use it.
    pub roles: Vec<String>,
    /// What is in use.
    pub from: String,
    /// What is newer; none for an end of life.
    pub to: Option<String>,
    /// How large the step is.
    pub level: Option<Level>,
    /// When it was first seen from here, in RFC 3339 form.
    pub first_seen: Option<String>,
    /// Why it is held or ignored.
    pub because: Option<String>,
    /// Until when it is held.
    pub until: Option<String>,
    /// The phases that it would make run, each with its reasons.
    pub phases: Vec<PhasePlan>,
    /// What takes it in.
    pub command: Option<String>,
    /// A sentence about it.
    pub text: String,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Failed {
    /// The base.
    pub reference: String,
    /// Why.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Findings that can be taken in.
    pub found: usize,
    /// Findings that wait.
    pub held: usize,
    /// Findings that are not wanted.
    pub ignored: usize,
    /// Bases that could not be looked at.
    pub failed: usize,
    /// Bases of which nothing is newer.
    pub fresh: usize,
}

/// The table of ends of life that was used.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CyclesUsed {
    /// When it was true.
    pub date: String,
    /// How many days ago that is.
    pub age_days: i64,
}

/// What a check found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this form; 1.
    pub version: u32,
    /// The project's name.
    pub project: String,
    /// What is newer outside.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub failed: Vec<Failed>,
    /// The bases of which nothing is newer.
    pub fresh: Vec<String>,
    /// How many there are of each.
    pub counts: Counts,
    /// The table of ends of life that was used.
    pub cycles: CyclesUsed,
    /// How many requests were sent.
    pub requests: u64,
}

impl Report {
    pub(crate) fn count(&mut self) {
        let of = |state| self.findings.iter().filter(|finding| finding.state == state).count();
        self.counts = Counts {
            found: of(State::Found),
            held: of(State::Held),
            ignored: of(State::Ignored),
            failed: self.failed.len(),
            fresh: self.fresh.len(),
        };
    }

    /// The exit code that says it: 0 fresh, 10 updates, 20 where something could not be looked at.
    pub fn exit_code(&self) -> u8 {
        match (self.counts.failed, self.counts.found) {
            (0, 0) => 0,
            (0, _) => 10,
            _ => 20,
        }
    }
}

/// The JSON schema of a report.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}
