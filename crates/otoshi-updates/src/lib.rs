//! What is newer outside than what a project uses, and which phases that would make run.
//!
//! ```text
//! tag       tags taken apart; newer versions, newer distributions       cycle   ends of life, from a dated table
//! ledger    since when a newer thing is known here
//! check     every base of a project for itself      ─▶ report   what was found, as data
//! ```

mod check;
mod cycle;
mod ledger;
mod report;
pub mod tag;

pub use check::Check;
pub use cycle::{Cycles, End, Product, ProductKind, Release, end_of};
pub use report::{Counts, CyclesUsed, Failed, Finding, FindingKind, Report, State, schema};
