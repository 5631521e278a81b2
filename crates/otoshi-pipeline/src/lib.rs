//! The plan, the phase keys and records, and the four phases.
//!
//! A phase's key is the digest of the [`Part`]s that it can observe. A phase is fresh when a record says what it made for
//! that key and that is still in the store. The same parts explain why it is not: they are compared with those of last
//! time. Planning and building are one walk over the phases; planning stops short of running.
//!
//! ```text
//! files      the roles' Dockerfiles, the arguments each sees, the stages each reaches
//! bases      otoshi.lock: which digest each role's bases have
//! observe    what a Dockerfile can observe            ─▶ part    parts, and the key
//! world      what a project is worked on with                    lock_place  its lock: the file, or one in memory
//! locked     a project on a lock: its Dockerfiles and bases      arguments   those that a command computes
//! phases     one file per phase: its parts, and how it runs      reason  why it is stale
//! walker     the walk over the phases                   ─▶ plan    what comes out, as data
//! walk, job  the state of a walk, and of a phase in it           settle  one phase: observe, decide, run, record
//! record     what a phase made and last observed, kept in the store
//! remote     registries behind the store: bases, and layers fetched when something mounts them
//! publish    what a walk found ─▶ the project's registry; no second walk    artifact, recipe
//! memory     what the project's own registry remembers: phase key ─▶ what it made
//! rebase     images on another base, in the store and in registries
//! refresh    what moved outside comes in, is proved and tried, and then named; and the way back
//! pipeline   the front of all this: a project, and what can be done with it
//! outlook    what a change outside would make run: two plans compared                 parallel  many things side by side
//! ```
//!
//! Of its records in the store, four kinds are roots of a collection while they are young: `Phase` (the images that a phase made, the
//! compiled application and what compiling wrote), `Last` (images that a phase observed), `Base` (an image made of packages), and for a
//! year at least `Previous` (images and bases before each refresh). `Argument` and `Listing` keep nothing, nor does `Origin`, which
//! goes when its blob does.

mod arguments;
mod artifact;
mod bases;
mod error;
mod files;
mod given;
mod ignored;
mod image_packages;
mod job;
mod leftover;
mod lock_place;
mod locked;
mod memory;
mod observe;
mod outlook;
mod packages;
mod parallel;
mod part;
mod phases;
mod pipeline;
mod plan;
mod publish;
mod reason;
mod rebase;
mod recipe;
mod record;
mod refresh;
mod remote;
mod settle;
mod source;
mod tool;
mod walk;
mod walker;
mod world;

pub(crate) use bases::{BaseSource, StoreBases};
pub use error::{During, PipelineError};
pub use locked::UsedBase;
pub(crate) use memory::{COMPILED_TYPE, RECIPE_TYPE};
pub use outlook::Outlook;
pub(crate) use packages::PackageBases;
pub use packages::PackagesNow;
pub use parallel::side_by_side;
pub(crate) use part::{Part, PartKind};
pub use pipeline::Pipeline;
pub use plan::{Moved, PhasePlan, Plan, Status};
pub use publish::{Published, Results};
pub use reason::{Reason, ReasonKind};
pub use rebase::{Outcome, PlatformRebase, RebaseOptions, Rebased, Rebaser};
pub use refresh::{
    Candidate, Checkout, Cost, ImageChange, PackageChange, RefreshOptions, RefreshOutcome, Refreshed,
    RolledBack,
};
pub use remote::Remote;
