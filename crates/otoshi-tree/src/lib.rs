//! Directory trees that nobody trusts, handled from outside a sandbox: what an image, an archive or a step left.
//!
//! ```text
//! resolve   a path in a tree, as a process would take it whose root the tree is
//! walk      everything below a directory, however deep it goes
//! remove    a directory with all that is in it
//! inside    reading and removing single files in a tree
//! whole     writing a file that is there whole or not at all
//! ```
//!
//! Promises:
//! - Nothing outside a tree is opened, read, changed or removed, whatever links are in it and whatever is renamed meanwhile: each
//!   operation is on a name in a directory that is open. A path is only ever resolved with `openat2`.
//! - No tree is too deep: neither the stack nor the number of open files grows with it, and no path is longer than a name.

mod inside;
mod remove;
mod resolve;
mod walk;
mod whole;

pub use inside::Inside;
pub use remove::{Removed, remove, remove_at};
pub use resolve::{in_root, patient};
pub use walk::{Met, Walk};
pub use whole::{Lasting, NewFile, write_whole};
