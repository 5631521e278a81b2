//! What the proof finds, and what it may be told to accept.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Says what kind of thing is no longer as the application had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The C library is another one.
    LibcChanged,
    /// The loader of a program is gone.
    LoaderMissing,
    /// A library that is needed is gone.
    SonameMissing,
    /// A library no longer defines a version that is needed.
    VersionMissing,
    /// A library no longer defines a symbol that is needed.
    SymbolMissing,
    /// The interpreter of a script is gone.
    InterpreterMissing,
    /// The program that the image starts is gone.
    CommandMissing,
    /// What a link leads to is gone.
    LinkBroken,
    /// The runtime that files are made for is another one.
    RuntimeChanged,
    /// A plug-in that settings name, or the place where the application's own is looked for, is gone.
    PluginMissing,
    /// The user that the image runs as is gone.
    UserMissing,
    /// The user that the image runs as has another number.
    UserChanged,
    /// The group that the image runs as is gone, or has another number.
    GroupChanged,
    /// Files belong to a number that is now somebody else's.
    OwnerChanged,
    /// The application's layers hide a file of the system that the base changed.
    FileShadowed,
    /// The application's layers delete what the base has now.
    WhiteoutHides,
    /// A directory of the application's is not a directory in the base any more, or the other way round.
    PathChanged,
    /// A program or library cannot be read, so nothing is known of it.
    Unreadable,
    /// The new base is older than the old one.
    Downgrade,
    /// The image itself says that it may not be put on another base.
    NotRebasable,
}

impl Kind {
    const ALL: [Self; 20] = [
        Self::LibcChanged,
        Self::LoaderMissing,
        Self::SonameMissing,
        Self::VersionMissing,
        Self::SymbolMissing,
        Self::InterpreterMissing,
        Self::CommandMissing,
        Self::LinkBroken,
        Self::RuntimeChanged,
        Self::PluginMissing,
        Self::UserMissing,
        Self::UserChanged,
        Self::GroupChanged,
        Self::OwnerChanged,
        Self::FileShadowed,
        Self::WhiteoutHides,
        Self::PathChanged,
        Self::Unreadable,
        Self::Downgrade,
        Self::NotRebasable,
    ];

    /// The names of all.
    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Returns its name, as waivers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LibcChanged => "libc-changed",
            Self::LoaderMissing => "loader-missing",
            Self::SonameMissing => "soname-missing",
            Self::VersionMissing => "version-missing",
            Self::SymbolMissing => "symbol-missing",
            Self::InterpreterMissing => "interpreter-missing",
            Self::CommandMissing => "command-missing",
            Self::LinkBroken => "link-broken",
            Self::RuntimeChanged => "runtime-changed",
            Self::PluginMissing => "plugin-missing",
            Self::UserMissing => "user-missing",
            Self::UserChanged => "user-changed",
            Self::GroupChanged => "group-changed",
            Self::OwnerChanged => "owner-changed",
            Self::FileShadowed => "file-shadowed",
            Self::WhiteoutHides => "whiteout-hides",
            Self::PathChanged => "path-changed",
            Self::Unreadable => "unreadable",
            Self::Downgrade => "downgrade",
            Self::NotRebasable => "not-rebasable",
        }
    }
}

/// Describes one thing that the application had and has no longer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its kind.
    pub kind: Kind,
    /// What it is about: a library, a version, a path, a name.
    pub subject: String,
    /// The file that needs it, the first of several; empty where the image's config does.
    pub file: String,
    /// How many more files need it.
    pub more: usize,
    /// Where it was in the old image.
    pub was: Option<String>,
    /// What is wrong, in words.
    pub text: String,
}

impl Finding {
    /// Returns the waiver that lets it pass.
    pub fn waiver(&self) -> Waiver {
        Waiver { kind: self.kind, subject: self.subject.clone() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.waiver(), self.text)?;
        if let Some(was) = &self.was {
            write!(f, "; it was {was}")?;
        }
        match self.more {
            0 => Ok(()),
            1 => write!(f, " (and 1 more file)"),
            more => write!(f, " (and {more} more files)"),
        }
    }
}

/// Lets one finding pass: its kind and what it is about, as `soname-missing=libfoo.so.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiver {
    /// The kind.
    pub kind: Kind,
    /// What it is about.
    pub subject: String,
}

impl fmt::Display for Waiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind.name(), self.subject)
    }
}

/// Says why a text names no finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaiverError {
    /// It has a kind alone.
    #[error("{text:?} needs a name, as in {}=NAME", kind.name())]
    NoSubject {
        /// The text.
        text: String,
        /// The kind.
        kind: Kind,
    },
    /// What it begins with is no kind.
    #[error("{0:?} is not a kind of finding; the kinds are {kinds}", kinds = Kind::names())]
    UnknownKind(String),
}

impl FromStr for Waiver {
    type Err = WaiverError;

    fn from_str(text: &str) -> Result<Self, WaiverError> {
        let (name, subject) = text.split_once('=').unwrap_or((text, ""));
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        match kind {
            Some(kind) if !subject.is_empty() => Ok(Self { kind, subject: subject.to_owned() }),
            Some(kind) => Err(WaiverError::NoSubject { text: text.to_owned(), kind }),
            None => Err(WaiverError::UnknownKind(name.to_owned())),
        }
    }
}

/// Parts findings into those that stand and those that are accepted.
pub fn judge(findings: Vec<Finding>, allowed: &[Waiver]) -> (Vec<Finding>, Vec<Finding>) {
    findings.into_iter().partition(|finding| !allowed.contains(&finding.waiver()))
}
