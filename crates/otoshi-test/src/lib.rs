//! What tests need of the machine that they run on, and what they start on it.
//!
//! A test that needs more than any machine has says so first: what makes its surroundings calls [`require`], and the test takes
//! them with [`given!`]. Where something is missing, the test prints in red what that is and which package has it, and passes
//! over; with `OTOSHI_TEST_STRICT=1`, which `cargo xtask test` sets, it fails. What only the test itself can find out to be missing
//! it takes in the same way, as a [`Missing::new`].
//!
//! ```
//! use otoshi_test::{Missing, Need, given, require};
//!
//! fn world() -> Result<tempfile::TempDir, Missing> {
//!     require(&[Need::Root, Need::Tool("busybox")])?;
//!     Ok(tempfile::tempdir().unwrap())
//! }
//!
//! let world = given!(world());
//! assert!(world.path().is_dir());
//! ```
//!
//! What tests start: Debian's `docker-registry` on loopback, a proxy in front of it that notes every request and makes the faults
//! that a test asks for, Debian's Docker daemon, git's own, and a server of files. All end when they are dropped, keep everything in
//! temporary directories, and listen where the kernel says that nobody does.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod apt;
mod command;
mod docker;
mod git;
mod need;
mod proxy;
mod registry;
mod server;
mod time;

pub use apt::debian_sources;
pub use command::{busybox, output, run, said};
pub use docker::Docker;
pub use git::GitDaemon;
pub use need::{Missing, Need, STRICT, TOOLS, base, pass_over, peers, program, require};
pub use proxy::{Fault, Proxy, Request, Rule};
pub use registry::Registry;
pub use server::Server;
pub use time::processor_time;
