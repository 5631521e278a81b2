//! What tests of registries start: Debian's `docker-registry` on loopback, a proxy in front of it that notes every request
//! and makes the faults that a test asks for, and Debian's Docker daemon.
//!
//! All end when they are dropped, and keep everything in temporary directories.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod docker;
mod proxy;
mod registry;

pub use docker::Docker;
pub use proxy::{Fault, Proxy, Request, Rule};
pub use registry::Registry;
