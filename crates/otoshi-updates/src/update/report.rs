//! What an update is asked for, and what it came to, as data.

use otoshi_pipeline::PhasePlan;
use otoshi_project::{Role, Setting};
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::{Failed, Unknown};

/// Says what is wanted.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// Keys of `[versions]` and `[bases]`, and references of bases; each with `=` and a value where one is wanted. All without any.
    pub names: Vec<String>,
    /// Other major versions too, and other releases of distributions.
    pub major: bool,
    /// Only what has security updates for packages in bases; names are not looked at then.
    pub security: bool,
    /// Nothing is written.
    pub dry_run: bool,
}

/// What was found and not taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Left {
    /// What it is called.
    pub name: String,
    /// A sentence about it.
    pub text: String,
    /// Why it is left.
    pub because: String,
    /// Until when it is held.
    pub until: Option<String>,
}

/// An entry of the lock that is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LockChange {
    /// The role that uses the base.
    pub role: Role,
    /// The base, as the Dockerfile has it after expansion.
    pub reference: String,
    /// What its name stood for; none for a base that was not used before.
    pub from: Option<String>,
    /// What it stands for now; none for a base that is used no more.
    pub to: Option<String>,
}

/// What an update took in, or would.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Updated {
    /// The version of this form; 1.
    pub version: u32,
    /// The project's name.
    pub project: String,
    /// Whether the files were written.
    pub written: bool,
    /// Values of `otoshi.toml`.
    pub settings: Vec<Setting>,
    /// Entries of `otoshi.lock`.
    pub moved: Vec<LockChange>,
    /// The phases that the next build runs because of it, each with its reasons.
    pub phases: Vec<PhasePlan>,
    /// What was found and not taken in.
    pub left: Vec<Left>,
    /// What could not be looked at.
    pub failed: Vec<Failed>,
    /// What was looked at and not understood.
    pub unknown: Vec<Unknown>,
    /// Both files before and after, as `git apply` takes it.
    pub diff: String,
}
