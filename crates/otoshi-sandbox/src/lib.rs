//! Runs one command in Linux namespaces, as a container build or run step.
//!
//! ```text
//! this process     spawn: starts itself again as the first process of a pid namespace, and tells it the Spec
//!   └─ init        makes a pid namespace inside the first one; hands signals on; says how the command ended
//!        └─ command   pid 1 there: mounts its root, /proc, /sys, /dev; drops what it may do; becomes the command
//! ```
//!
//! When this process dies, the init notices that its [`channel`] is closed, and ends; when the init ends, however that
//! came, the kernel kills everything in its pid namespace: no command outlives the process that started it, whatever it
//! does. Its mounts are in a mount namespace of its own and go with it; nothing is mounted where the host sees it.
//! `docs/decisions/0001-sandbox.md` says why this is our own.

mod capabilities;
mod channel;
mod command;
mod control;
pub mod doctor;
mod error;
mod init;
mod mounts;
mod network;
mod patient;
mod placeholder;
mod privilege;
mod report;
mod rootfs;
mod seccomp;
mod spawn;
mod spec;
mod sys;

pub use error::SandboxError;
pub use init::init_if_requested;
pub use privilege::{Privilege, enter_namespace, privilege};
pub use report::ExitStatus;
pub use rootfs::{SELF_CONTAINED, STORE_HINT};
pub use spawn::{Handle, Running, Sandbox, StdioSpec, Stream};
pub use spec::{Access, Capabilities, Device, DeviceKind, Limits, Mount, Network, Root, Spec, UserSpec};

/// Tells whether the running kernel is of this version or a later one.
pub(crate) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(found)), Some(Ok(then))) => (found, then) >= (major, minor),
        _ => false,
    }
}
