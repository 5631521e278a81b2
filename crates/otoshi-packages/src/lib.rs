//! Packages of dpkg, apk and rpm: what is installed in an image, what its repositories have, and which version is newer.
//!
//! ```text
//! installed   an image's layers → files → the packages that are installed, and the release of the distribution
//! available   files → what the image's own repositories have, and how a package stands to them
//!   apt, apk, rpm   the repositories of each package manager, and its choice
//! roots       root file systems made of packages
//! version     the order of versions, exactly as each package manager has it
//! files       the few files of an image that say these things, by path, in memory
//! documents   files of repositories, fetched once and kept; fetch: whoever fetches them; error: why one cannot be used
//! standing    how a package stands to its image's repositories
//! allowance   how much memory they may take
//! ```
//!
//! Nothing of an image is ever run, and nothing here prints. Every file that is read is taken for hostile: sizes, counts and
//! links are bounded, and what cannot be read is an error that names the file, or is left out where the package manager
//! leaves it out as well.
//!
//! Its records in the store (`Installed`) are no roots of a collection: they keep nothing. Indexes and packages are files beside the
//! records; a collection removes those that nobody used for as long as it lets records live.

mod allowance;
pub mod apk;
pub mod apt;
mod available;
mod documents;
mod error;
mod fetch;
mod files;
pub mod installed;
mod pattern;
pub mod roots;
pub mod rpm;
mod standing;
pub mod version;

pub use crate::available::{Available, Cache};
pub use crate::documents::Documents;
pub use crate::error::{Malformed, RepositoryError, Unreadable};
pub use crate::fetch::{Answer, Fetch, FetchError, Request};
pub use crate::files::Files;
pub use crate::installed::{Installed, Manager, OsRelease, Package};
pub use crate::standing::{Failure, Newer, Standing, Withheld};
