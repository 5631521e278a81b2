//! Runs one command in Linux namespaces, as a container build or run step.
//!
//! ```text
//! this process          spawn: re-executes itself as the sandbox's init, hands it the Spec through a memory file
//!   └─ init (outer)     unshares mount, pid, ipc and uts; forks; forwards signals; reports how the command ended
//!        └─ init (pid 1)  mounts the root, /proc, /sys, /dev; pivots; drops capabilities; loads seccomp; execs
//! ```
//!
//! When this process dies, the kernel kills the outer init, and with it pid 1 and all it started; the mounts go with the
//! mount namespace. Nothing is mounted where the host sees it.

mod capabilities;
mod error;
mod init;
mod privilege;
mod rootfs;
mod seccomp;
mod spawn;
mod spec;
mod sys;

pub use error::SandboxError;
pub use init::init_if_requested;
pub use privilege::{Privilege, enter_namespace, privilege};
pub use spawn::{ExitStatus, Running, Sandbox, StdioSpec, Stream};
pub use spec::{Mount, Network, Root, Spec, UserSpec};
