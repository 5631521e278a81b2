//! The proof: whatever the application finds in its old base must be found in the new one.
//!
//! ```text
//! facts      one layer ─▶ of each file what matters                 elf    what the dynamic loader looks at
//! cache      glibc's list of libraries                           plugins of the C library and PAM
//! tree       the application's layers over a base's, links followed  loader where libraries are found
//! checks     one question each: libraries, scripts, accounts, runtimes, what hides what
//! finding    the answers, each with a name of its own and a waiver
//! ```
//!
//! It is differential: what was missing before is no finding. Nothing of an image is run; every file is taken for hostile.

mod cache;
mod checks;
mod elf;
mod examined;
mod facts;
mod finding;
mod libraries;
mod loader;
mod plugins;
mod report;
mod runtimes;
mod side;
mod tree;

use otoshi_oci::RunConfig;
use otoshi_oci::contents::Layer;
use otoshi_store::Record;
use serde::{Deserialize, Serialize};

pub use self::cache::Cache;
pub use self::elf::{Elf, ElfError};
pub use self::examined::Examined;
pub use self::facts::{Content, Facts, all, is_known, of_layer, of_tar, together};
pub use self::finding::{Finding, Kind, Waiver, WaiverError, judge};
use self::report::Report;
pub use self::side::Base;
use self::side::Side;

/// Names the application's layers, its old and its new base, and how the image runs on each.
#[derive(Debug, Clone, Copy)]
pub struct Swap<'a> {
    /// The application's own layers, the lowest first.
    pub app: &'a [&'a Layer<Facts>],
    /// The old base.
    pub old: &'a Base,
    /// The new base.
    pub new: &'a Base,
    /// How the image runs now.
    pub old_config: &'a RunConfig,
    /// How it is to run.
    pub new_config: &'a RunConfig,
}

/// Holds what a proof found, and what it looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What the application no longer finds on the new base.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub examined: Examined,
}

impl Record for Proof {
    const KIND: otoshi_store::Kind = otoshi_store::Kind::Proof;
}

/// Says what the application no longer finds on the new base.
pub fn prove(swap: Swap<'_>) -> Proof {
    let app = together(swap.app.iter().copied());
    let old = Side::new(&app, swap.old, swap.old_config);
    let new = Side::new(&app, swap.new, swap.new_config);
    let mut report = Report::default();
    libraries::check(&app, &old, &new, &mut report);
    checks::scripts(&app, &old, &new, &mut report);
    checks::commands(&old, &new, &mut report);
    checks::links(&app, &old, &new, &mut report);
    checks::accounts(&app, &old, &new, &mut report);
    checks::shadows(&app, &old, &new, &mut report);
    checks::whiteouts(swap.app, &old, &new, &mut report);
    checks::kinds(&app, &old, &new, &mut report);
    plugins::check(&app, &old, &new, &mut report);
    let runtimes = runtimes::check(&app, &old, &new, &mut report);
    Proof { findings: report.found.into_values().collect(), examined: Examined::of(&app, &old, runtimes) }
}
