//! The host's devices for `RUN --device`: what describes them, which of them a build may use, and what a command gets of them.
//!
//! ```text
//! document      a file in YAML or JSON, as a tree of texts
//! description   what one file says: devices, and the edits that each makes to a container; checked
//! host          all files of this machine, and which devices a name stands for
//! allowed       which of them a build may use
//! given         edits as what a sandbox is told
//! asked         the devices of one step, from the names to what it gets
//! ```
//!
//! Format: the Container Device Interface, <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>. What names
//! stand for and what needs a permission: BuildKit, `solver/llbsolver/cdidevices` and `ValidateEntitlements`.

mod allowed;
mod asked;
mod description;
mod document;
mod given;
mod host;

pub use allowed::AllowedDevices;
pub(crate) use asked::StepDevices;
pub(crate) use given::Given;
pub use host::DEVICE_DIRECTORIES;
