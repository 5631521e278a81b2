//! The plan, the phase keys and records, and the four phases.
//!
//! A phase's key is the digest of the [`Part`]s that it can observe. A phase is fresh when a record says what it made for
//! that key and that is still in the store. The same parts explain why it is not: they are compared with those of last
//! time. Planning and building are one walk over the phases; planning stops short of running.

mod error;
mod observe;
mod part;
mod pipeline;

pub use error::PipelineError;
pub use part::{Part, PartKind, Reason};
pub use pipeline::{PhasePlan, Pipeline, Plan, Status};
