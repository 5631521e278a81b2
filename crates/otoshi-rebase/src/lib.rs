//! An image on another base: where it parts from the old one, what its config becomes, and whether the application still
//! finds what it needs.
//!
//! ```text
//! seam     annotations, labels, or what is given ─▶ how many layers are the base's, verified by their diff ids
//! merge    old base, application, new base        ─▶ one config, key by key, with what both sides changed
//! compose  an image on its old base, a new base   ─▶ config, layers and annotations of the image on the new one
//! index    manifests that were replaced           ─▶ the index that lists them
//! proof    files of all layers                    ─▶ findings: what was found before and is not found any more
//! ```
//!
//! All of it is decided from manifests, configs and layers that are given: nothing here uses the network or runs anything.
//!
//! Its records in the store (`Facts` and `Proof`) are no roots of a collection: they keep nothing.

pub mod compose;
pub mod index;
mod merge;
pub mod proof;
pub mod seam;

pub use crate::compose::{Bases, ComposeError, Composed, compose};
pub use crate::merge::{Conflict, Merged, merge};
pub use crate::proof::{Facts, Finding, Kind, Waiver, WaiverError};
pub use crate::seam::{Claim, SeamError, Source};
