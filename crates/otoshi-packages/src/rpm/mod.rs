//! What the repositories have that a root with dnf, yum or zypper is configured to use, and which version dnf would choose.
//!
//! ```text
//! settings    *.repo, dnf.conf, variables → repositories with their addresses, keys, excludes and priorities
//! mirrors     a list of mirrors, or a metalink, → addresses
//! repomd      repodata/repomd.xml, signed beside it where repo_gpgcheck=1 → hashes of the other files
//!   primary     the packages
//!   updateinfo  which of them fix what
//!   modules     streams of packages, and which are switched on
//! available   all of that → versions by name, and the candidate
//! ```
//!
//! A repository that fails hides no other. Of a repository with `repo_gpgcheck=1` nothing counts that is not signed by a key
//! that its `gpgkey` names in the image. What a list of hashes names has exactly that size and hash.
//!
//! What is left out: `obsoletes`, delta packages, repositories on disk or behind client certificates.

mod available;
mod mirrors;
mod modules;
mod primary;
mod repomd;
mod settings;
mod updateinfo;
mod xml;

pub use self::available::{Available, Candidate, Version};
pub use self::settings::{Repository, Settings};

/// Parsers of files that strangers wrote, for fuzzing: whatever the input, they end, and nothing panics.
pub fn parse_anything(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    drop(repomd::Repomd::parse(bytes));
    drop(primary::reduce(bytes));
    drop(updateinfo::reduce(bytes));
    drop(modules::Modules::read(text.as_bytes()));
    drop(mirrors::metalink(bytes));
    drop(settings::ini(&text));
}
