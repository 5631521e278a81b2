//! A check of a project: every base is looked at for itself, so that one that fails hides no other, and then the runner.
//!
//! Tags are asked by HEAD; an image is fetched (manifest and config) only where a tag names something that is not known here,
//! and not while its registry says that little is left of its budget. Repositories of registries are asked side by side, the
//! bases of one after another: their tags are listed once, and one that does not answer is not asked again.
//!
//! ```text
//! moved    tags that name another image now          packages   what is installed in bases and runner
//! newer    newer versions and distributions          phases     what a finding would make run
//! place    where in the project the thing is named
//! ```

mod moved;
mod newer;
mod packages;
mod phases;
mod place;
mod project;
mod run;
mod used;

pub use project::Check;
