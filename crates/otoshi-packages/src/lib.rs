//! Packages of dpkg, apk and rpm: what is installed in an image, what its repositories have, and which version is newer.
//!
//! ```text
//! apt         files → what the repositories have that a Debian or Ubuntu root uses, and apt's choice
//! files       the few files of an image that say these things, by path, in memory
//! installed   an image's layers → files → the packages that are installed, and the release of the distribution
//! version     the order of versions, exactly as each package manager has it
//! ```
//!
//! Nothing of an image is ever run, and nothing here prints. Every file that is read is taken for hostile: sizes, counts and
//! links are bounded, and what cannot be read is an error that names the file, or is left out where the package manager
//! leaves it out as well.

pub mod apt;
pub mod files;
pub mod installed;
mod pattern;
pub mod version;

pub use crate::files::Files;
pub use crate::installed::{Installed, Manager, OsRelease, Package};
