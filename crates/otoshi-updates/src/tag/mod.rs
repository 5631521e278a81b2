//! Tags as people make them: a prefix, a version, a pre-release, a distribution, and words for the flavour.
//!
//! ```text
//! v3.1.2-rc.1-slim-bookworm
//! │└─┬─┘ └─┬┘ └┬─┘ └──┬───┘
//! │  │     │   │      distribution   debian, bookworm
//! │  │     │   flavour               slim
//! │  │     pre-release               rc 1
//! │  version                         3, 1, 2
//! prefix                             v
//! ```
//!
//! Nothing says how tags are to be written, so this reads what repositories really have. A time, as in
//! `RELEASE.2024-01-31T20-20-33Z`, is a version of two numbers; one in seconds since 1970 is a number like any other. What
//! names a commit, a signature or a build by number is no tag of a series and is [`None`].

mod counting;
mod distribution;
mod level;
mod parts;
mod suggest;
#[cfg(test)]
mod tests;
mod time;
mod variant;

pub use level::Level;
pub(crate) use parts::{Form, Tag};
pub(crate) use suggest::{Unclear, is_successor, slots, suggest};
