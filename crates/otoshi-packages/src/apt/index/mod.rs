//! An index of packages: what `Packages` says, in a form that is searched by name without reading all of it.
//!
//! ```text
//! parse    the text of Packages → entries
//! form     entries → bytes, and bytes → entries by name
//! entry    what is known of a package, borrowed from either
//! ```
//!
//! The form, all numbers little-endian:
//!
//! ```text
//! magic            16 bytes, with the form's version
//! counts           4 × u32: packages, provided names, bytes of names, CRC-32 of the tables and names
//! packages         16 bytes each, sorted by name: name offset u32, name length u16, flags u16, record offset u32, length u32
//! provided names   12 bytes each, sorted by name: name offset u32, name length u16, nothing u16, package u32
//! names            one after the other
//! records          in the order of the packages: which fields u16, the length u32 of each, their texts; then the CRC-32 of all that
//! ```
//!
//! Opening reads all but the records (2 MB for all of Debian's main); a record is read when it is asked for. Damage is an
//! error, never a wrong answer and never a panic.

mod entry;
mod form;
mod parse;

pub use entry::Entry;
pub use form::{Damaged, Index, write};
pub use parse::{convert, parse};

/// What an index says of one version of a package. Texts that it lacks are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture; `all` for those that run everywhere.
    pub architecture: String,
    /// The source package.
    pub source: String,
    /// The source package's version.
    pub source_version: String,
    /// `Pre-Depends`, as it stands.
    pub pre_depends: String,
    /// `Depends`, as it stands.
    pub depends: String,
    /// `Recommends`, as it stands.
    pub recommends: String,
    /// `Conflicts`, as it stands.
    pub conflicts: String,
    /// `Breaks`, as it stands.
    pub breaks: String,
    /// `Provides`, as it stands.
    pub provides: String,
    /// `Replaces`, as it stands.
    pub replaces: String,
    /// `Section`.
    pub section: String,
    /// The path of its file, relative to the repository.
    pub filename: String,
    /// The SHA-256 of its file, in lower case.
    pub sha256: String,
    /// The length of its file in bytes.
    pub size: u64,
    /// How much it takes when installed, in KiB.
    pub installed_size: u64,
    /// How many machines in a hundred take it already, where it is taken step by step.
    pub phased: Option<u8>,
    /// Whether no root can do without it.
    pub essential: bool,
    /// Whether apt keeps it where it is installed.
    pub important: bool,
    /// `Priority`.
    pub priority: Priority,
    /// `Multi-Arch`.
    pub multi_arch: MultiArch,
}

/// How much a package belongs to every system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Nothing works without it.
    Required,
    /// Everybody expects it.
    Important,
    /// Part of a system in text mode.
    Standard,
    /// All others.
    #[default]
    Optional,
}

/// How versions for several architectures live together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiArch {
    /// Not at all.
    #[default]
    No,
    /// Side by side.
    Same,
    /// One satisfies packages of all architectures.
    Foreign,
    /// Those that depend on it choose.
    Allowed,
}
