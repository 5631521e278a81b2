//! What a check found, as data.
//!
//! ```text
//! { "version": 1, "project": "shop",
//!   "findings": [ { "kind", "state", "name", "reference", "roles", "from", "to", "level", "first_seen", "because", "until",
//!                   "packages": [ { "name", "architecture", "source", "from", "to", "repository", "security", "withheld",
//!                                   "inherited", "state", "first_seen", "because", "until" } ],
//!                   "set": [ { "table", "name", "from", "to" } ], "phases": [ … as in otoshi plan … ], "command",
//!                   "location": { "file", "line" }, "text" } ],
//!   "failed":   [ { "reference", "message", "hint" } ],
//!   "unknown":  [ { "kind", "state", "name", "reference", "roles", "because", "until", "text", "hint" } ],
//!   "fresh":    [ "…" ],
//!   "bare":     [ "…" ],
//!   "images":   [ { "name", "reference", "digest", "roles", "base", "distribution", "packages", "foreign", "unknown" } ],
//!   "support":  [ { "name", "reference", "product", "release", "support", "until", "full_until", "free_until" } ],
//!   "counts":   { "found", "security", "held", "ignored", "failed", "unknown", "fresh", "bare" },
//!   "cycles":   { "date", "age_days", "source", "failed" }, "requests": 5 }
//! ```
//!
//! Fields are added within a version; their meaning changes only with it.

mod markdown;
mod sarif;

use otoshi_pipeline::PhasePlan;
use otoshi_project::{Role, Setting};
use schemars::JsonSchema;
use serde::Serialize;

pub use crate::kind::{FindingKind, State};
use crate::{Support, kind::Hold, tag::Level};

/// One thing that is newer outside.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// What is to be done about it.
    pub state: State,
    /// What it is called in `otoshi.toml`, else the reference.
    pub name: String,
    /// The base or image.
    pub reference: String,
    /// The roles that use it.
    pub roles: Vec<Role>,
    /// What is in use; of packages, the digest of the image that has them.
    pub from: String,
    /// What is newer; none for an end of life, and for packages, which have a list of their own.
    pub to: Option<String>,
    /// How large the step is.
    pub level: Option<Level>,
    /// When it was first seen from here, in RFC 3339 form.
    pub first_seen: Option<String>,
    /// Why it is held or ignored.
    pub because: Option<String>,
    /// By whom it is held.
    #[serde(skip)]
    pub(crate) held: Option<Hold>,
    /// Until when it is held.
    pub until: Option<String>,
    /// The packages that are newer, those with security updates first.
    pub packages: Vec<PackageUpdate>,
    /// What `otoshi.toml` has to say for it; nothing where it does not say that.
    pub set: Vec<Setting>,
    /// The phases that it would make run, each with its reasons.
    pub phases: Vec<PhasePlan>,
    /// What takes it in.
    pub command: Option<String>,
    /// Where the project says what it is about.
    pub location: Option<Location>,
    /// A sentence about it.
    pub text: String,
}

/// A line of a project's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Location {
    /// The file, relative to the project.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// A package in an image that is newer in one of the image's own repositories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PackageUpdate {
    /// Its name.
    pub name: String,
    /// Its architecture, in the package manager's words.
    pub architecture: String,
    /// The source package that it was built from.
    pub source: String,
    /// The version in the image.
    pub from: String,
    /// The newer version.
    pub to: String,
    /// The suite, address or id of the repository that has it.
    pub repository: String,
    /// Whether it fixes a security problem, as far as the repository says so.
    pub security: bool,
    /// What keeps the package manager from taking it by itself: `held`, `pinned`, `phased`, `excluded`, `module` or `priority`.
    pub withheld: Option<String>,
    /// Whether the image has the package from the one that it stands on.
    pub inherited: bool,
    /// What is to be done about it.
    pub state: State,
    /// When it was first seen from here, in RFC 3339 form.
    pub first_seen: Option<String>,
    /// Why it is held or ignored.
    pub because: Option<String>,
    /// Until when it is held.
    pub until: Option<String>,
}

/// An image whose packages were looked at.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Looked {
    /// What it is called in `otoshi.toml`, else the reference.
    pub name: String,
    /// The image.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The roles that use it.
    pub roles: Vec<Role>,
    /// The image that it stands on, where it says so.
    pub base: Option<String>,
    /// The release of its distribution, for people.
    pub distribution: Option<String>,
    /// How many packages are installed in it.
    pub packages: usize,
    /// Packages that none of its own repositories has: somebody put them there by other means.
    pub foreign: Vec<String>,
    /// Packages of which nothing is known, since a repository did not answer.
    pub unknown: Vec<String>,
}

/// What support a distribution or runtime has that a base or image holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Supported {
    /// What the base or image is called in `otoshi.toml`, else the reference.
    pub name: String,
    /// The base or image.
    pub reference: String,
    /// The distribution or runtime, as in `debian`.
    pub product: String,
    /// Its release, as in `12`.
    pub release: String,
    /// The support that it has now.
    pub support: Support,
    /// The last day of that; none where it is not known, or over.
    pub until: Option<String>,
    /// The last day of its own project's full support; none while that is not known.
    pub full_until: Option<String>,
    /// The last day of free support in the same repositories; none while that is not known.
    pub free_until: Option<String>,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failed {
    /// The base, image, or repository of packages.
    pub reference: String,
    /// Why.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

/// What it is that is not known of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownKind {
    /// What is installed in it: nobody here reads the record of that, or there is none.
    Packages,
    /// What its packages are to be compared with.
    Repositories,
    /// What is newer than its tag.
    Tags,
    /// What it stands on.
    Base,
}

/// Something of which nobody can say whether anything is newer: it was looked at, and not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unknown {
    /// What is not known.
    pub kind: UnknownKind,
    /// Whether somebody waits for it, or `[check]` does not want to hear of it.
    pub state: State,
    /// What the thing is called in `otoshi.toml`, else the reference.
    pub name: String,
    /// The base or image.
    pub reference: String,
    /// The roles that use it.
    pub roles: Vec<Role>,
    /// Why it is held or ignored.
    pub because: Option<String>,
    /// Until when it is held.
    pub until: Option<String>,
    /// Why it is not known, as a sentence.
    pub text: String,
    /// What to try.
    pub hint: Option<String>,
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Findings that can be taken in.
    pub found: usize,
    /// Those of them that are security updates.
    pub security: usize,
    /// Findings that wait.
    pub held: usize,
    /// Findings that are not wanted.
    pub ignored: usize,
    /// Bases, images and repositories that could not be looked at.
    pub failed: usize,
    /// What was looked at and not understood, but for what is held or ignored.
    pub unknown: usize,
    /// Bases and images that were looked at and compared, and of which nothing is newer.
    pub fresh: usize,
    /// Images that have nothing which anything could be newer than.
    pub bare: usize,
}

/// The table of ends of life that was used.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CyclesUsed {
    /// When it was true.
    pub date: String,
    /// How many days ago that is.
    pub age_days: i64,
    /// The address that it is from; none for the one in the program.
    pub source: Option<String>,
    /// Why there is no newer one, where an address is set.
    pub failed: Option<String>,
}

/// What a check found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this form; 1.
    pub version: u32,
    /// The project's name; none for images that were named.
    pub project: Option<String>,
    /// What is newer outside.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub failed: Vec<Failed>,
    /// What was looked at and not understood.
    pub unknown: Vec<Unknown>,
    /// The bases and images that were looked at and compared, and of which nothing is newer.
    pub fresh: Vec<String>,
    /// Images that have nothing which anything could be newer than: no packages, no name of a distribution, and no word of a base.
    pub bare: Vec<String>,
    /// The images whose packages were looked at.
    pub images: Vec<Looked>,
    /// What support the distributions and runtimes have that are in use, as far as the table knows them.
    pub support: Vec<Supported>,
    /// How many there are of each.
    pub counts: Counts,
    /// The table of ends of life that was used.
    pub cycles: CyclesUsed,
    /// How many requests were sent.
    pub requests: u64,
}

impl Supported {
    /// Says it in a sentence, where it is neither full support nor over, which a finding tells.
    pub fn told(&self) -> Option<String> {
        let Self { product, release, until, full_until, .. } = self;
        let (until, since) = (until.as_ref()?, full_until.as_ref()?);
        (self.support == Support::LongTerm).then(|| {
            format!(
                "full support of {product} {release} ended on {since}; long-term support continues until {until}"
            )
        })
    }
}

/// What a report is made of.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) findings: Vec<Finding>,
    failed: Vec<Failed>,
    pub(crate) unknown: Vec<Unknown>,
    pub(crate) fresh: Vec<String>,
    pub(crate) bare: Vec<String>,
    pub(crate) images: Vec<Looked>,
    support: Vec<Supported>,
}

impl Parts {
    /// Notes what support something has; what is known of it is told once.
    pub(crate) fn supported(&mut self, supported: Vec<Supported>) {
        for one in supported {
            if !self.support.contains(&one) {
                self.support.push(one);
            }
        }
    }

    /// Notes failures; what failed before in the same way is told once.
    pub(crate) fn fail(&mut self, failed: Vec<Failed>) {
        for failure in failed {
            if !self.failed.contains(&failure) {
                self.failed.push(failure);
            }
        }
    }

    /// Puts them together.
    pub(crate) fn report(self, project: Option<String>, cycles: CyclesUsed, requests: u64) -> Report {
        let counts = self.counts();
        let Self { findings, failed, unknown, fresh, bare, images, support } = self;
        Report {
            version: 1,
            project,
            findings,
            failed,
            unknown,
            fresh,
            bare,
            images,
            support,
            counts,
            cycles,
            requests,
        }
    }

    fn counts(&self) -> Counts {
        let of = |state| self.findings.iter().filter(move |finding| finding.state == state);
        let security = of(State::Found).filter(|finding| finding.kind == FindingKind::SecurityUpdates);
        Counts {
            found: of(State::Found).count(),
            security: security.count(),
            held: of(State::Held).count(),
            ignored: of(State::Ignored).count(),
            failed: self.failed.len(),
            unknown: self.unknown.iter().filter(|unknown| unknown.state == State::Found).count(),
            fresh: self.fresh.len(),
            bare: self.bare.len(),
        }
    }
}

impl Report {
    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        match self.counts {
            Counts { failed: 1.., .. } | Counts { unknown: 1.., .. } => Verdict::NotKnown,
            Counts { security: 1.., .. } => Verdict::Security,
            Counts { found: 1.., .. } => Verdict::Updates,
            _ => Verdict::Fresh,
        }
    }
}

/// What a report comes to, the worst of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All was looked at, and nothing is newer.
    Fresh,
    /// Something is newer.
    Updates,
    /// Something that is newer fixes a security problem.
    Security,
    /// Something could not be looked at, or was not understood.
    NotKnown,
}

/// The JSON schema of a report.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}
