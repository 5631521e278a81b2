//! What the repositories have that a Debian or Ubuntu root is configured to use, and which version apt would choose.
//!
//! ```text
//! repositories    a root's files → its sources, keys, pins
//! refresh         one source → what it has now
//! available       what they have: versions by name, and apt's candidate
//!   preferences     pins
//!   configuration   apt.conf
//!   sources         sources.list, in one line or in paragraphs
//!     distributions   where Debian and Ubuntu publish, and their keys, for those that say nothing
//!   release         a suite's release file
//!     signature, keyring, worth   whether it is signed by a key that counts
//!   edition         which apt the root has; what later ones do otherwise
//!     verifier, strength   what that checks signatures with, and which kinds of keys count
//!   index           the packages of a component, in a form that is searched by name
//! kept            what is kept between runs, for all images
//! fetch           HTTP
//!   reach           which addresses are asked for an image's sake
//! ```
//!
//! ```no_run
//! use otoshi_packages::apt::{HttpFetcher, Kept, Repositories, read_root};
//!
//! let repositories = Repositories::from_files(&read_root("/".as_ref())?, "amd64");
//! let fetcher = HttpFetcher::new(repositories.configuration())?;
//! let available = repositories.refresh(&Kept::new("/var/cache/otoshi/apt"), &fetcher, jiff::Timestamp::now());
//! for failure in available.failures() {
//!     eprintln!("{}: {}", failure.place, failure.error);
//! }
//! let candidate = available.candidate("bash", "amd64", Some("5.2.15-2"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Promises:
//! - Nothing of a repository counts that is not signed by a key that the source names, or the root trusts; is past its end, is
//!   older than what was seen before, or does not have the listed size and hash.
//! - One source that fails hides no other. What was kept of it still counts while it is valid, and is told as a failure.
//! - A suite is asked for once in a run, however many images use it, and an index is fetched once for all of them.
//! - Which version is the candidate is what `apt-cache policy` says in the root.
//!
//! What is left out: `file:`, `cdrom:` and other methods but `http` and `https`; logins in `auth.conf`.

mod available;
mod configuration;
mod date;
mod deb822;
mod distributions;
mod edition;
mod fetch;
mod files;
pub mod index;
mod kept;
mod keyring;
mod phasing;
mod preferences;
mod reach;
mod refresh;
mod release;
mod repositories;
mod signature;
mod sources;
mod strength;
mod verifier;
mod worth;

pub use available::{Available, Candidate, SourceFailure, Suite, Version};
pub use configuration::Configuration;
pub use deb822::{Paragraph, paragraphs};
pub use distributions::Distribution;
pub use fetch::{Guarded, HttpFetcher};
pub use files::{PATHS, read_more, read_root};
pub use kept::Kept;
pub(crate) use kept::write as write_kept;
pub use keyring::Keyring;
pub use preferences::Preferences;
pub use reach::Reach;
pub use release::{Listed, Release};
pub use repositories::Repositories;
pub use signature::Signed;
pub use sources::{Selection, SignedBy, Source, parse_deb822, parse_list};
pub(crate) use strength::POLICIES;
