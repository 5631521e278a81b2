//! Refreshing: what moved outside comes in at the least cost, and nothing moves that was not looked at.
//!
//! ```text
//! 1  a lock in memory moves: its runner's side (the builder's on request, or by the age of its bases), the runner's newer
//!    packages; phases run that must
//!    The cheapest plan that will do is chosen before anything runs, with the reasons against those that are cheaper.
//! 2  proof: what each app image finds on its old runner must be in the new one; else the builder's side moves as well,
//!    where that can help, and the application is recompiled
//! 3  the smoke test of [verify]
//! 4  the old state is remembered, the lock is written, and all names move at once
//! ```
//!
//! Whatever fails or ends before 4 leaves lock and names as they were.

mod attempt;
mod checkout;
mod choice;
mod cost;
mod difference;
mod images;
mod options;
mod previous;
mod refresher;
mod report;
mod upgrade;
mod verify;

pub use self::{
    checkout::Checkout,
    cost::{Candidate, Cost},
    options::RefreshOptions,
    previous::RolledBack,
    report::{ImageChange, PackageChange, RefreshOutcome, Refreshed},
};
pub(crate) use self::{
    previous::{History, alone},
    refresher::Refresher,
};
