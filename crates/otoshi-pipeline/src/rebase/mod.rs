//! Putting images on another base: found by name, decided in `otoshi-rebase`, written where they are.
//!
//! ```text
//! rebaser  what all rebases have in common: the store, registries, and what was asked there once
//! work     one image: its old and new base, what the proof says, and what comes out
//! moved    an image and its new base, for one platform
//! write    the new manifests and the index, written and put where the old ones are
//! images   what a name stands for, in the store or in a registry; documents only
//! left     what belongs to the old image: attestations, signatures
//! facts    what the proof knows of layers: remembered, or read from layers that are fetched for it
//! report   what was done, as data
//! ```
//!
//! Every platform of an index moves, or none; tags move last. A rebaser may be used from many threads, and finds each base once.

mod facts;
mod images;
mod left;
mod moved;
mod rebaser;
mod report;
mod work;
mod write;

pub use self::{
    rebaser::{RebaseOptions, Rebaser},
    report::{Outcome, PlatformRebase, Rebased},
};
