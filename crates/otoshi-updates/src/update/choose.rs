//! What of a check's findings an update takes in, and why it leaves the others. Nothing is asked or written here.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use otoshi_explain::{Remedy, Wording};
use otoshi_oci::Reference;
use otoshi_project::{Base, Project, Role, Setting, SettingTable};

use super::report::{Left, UpdateOptions};
use crate::{
    kind::{FindingKind, Hold, State},
    report::{Finding, Report},
    tag::Level,
};

/// What is taken in.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Other values of `otoshi.toml`.
    pub(super) settings: Vec<Setting>,
    /// Roles and bases whose entries of the lock move.
    pub(super) moves: BTreeSet<(Role, String)>,
    /// What was found and is not taken.
    pub(super) left: Vec<Leaving>,
}

/// A finding that is left.
#[derive(Debug)]
pub(super) struct Leaving {
    finding: Finding,
    because: Because,
}

/// Why a finding is left.
#[derive(Debug)]
enum Because {
    Text(String),
    /// For a reason that something can be done about.
    Unless(&'static str, Remedy),
    /// There is no newer base to take; what takes it in instead.
    NoBase(String),
    /// There is no newer base to take, and the finding does not say what takes it in.
    NoBaseButBuild,
}

impl From<String> for Because {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Leaving {
    /// As it is reported.
    pub(super) fn told(self, words: Wording<'_>) -> Left {
        let no_base = |other: &str| format!("there is no newer base to take; {other}");
        let because = match self.because {
            Because::Text(text) => text,
            Because::Unless(why, remedy) => format!("{why}: {}", words(&remedy)),
            Because::NoBase(other) => no_base(&other),
            Because::NoBaseButBuild => no_base(&words(&Remedy::BuildWithoutCache)),
        };
        let Finding { name, text, until, .. } = self.finding;
        Left { name, text, because, until }
    }
}

impl Chosen {
    /// Takes values, unless one of them has another already; tells whether they are taken.
    fn set(&mut self, settings: &[Setting]) -> bool {
        let same_key = |a: &Setting, b: &Setting| (a.table, &a.name) == (b.table, &b.name);
        let other = |new: &Setting| self.settings.iter().any(|old| same_key(old, new) && old.to != new.to);
        if settings.is_empty() || settings.iter().any(other) {
            return false;
        }
        for new in settings {
            if !self.settings.contains(new) {
                self.settings.push(new.clone());
            }
        }
        true
    }

    fn leave(&mut self, finding: &Finding, because: impl Into<Because>) {
        self.left.push(Leaving { finding: finding.clone(), because: because.into() });
    }
}

/// Chooses by what was asked for.
pub(super) fn choose(
    project: &Project,
    report: &Report,
    options: &UpdateOptions,
    given: &[Setting],
) -> Chosen {
    let mut chosen = Chosen::default();
    chosen.set(given);
    let names: Vec<&str> =
        options.names.iter().map(String::as_str).filter(|name| !name.contains('=')).collect();
    if options.security {
        of_security(project, report, &mut chosen);
    } else if options.names.is_empty() {
        all(project, report, options, &mut chosen);
    } else {
        named(project, report, &names, &mut chosen);
    }
    chosen
}

/// Everything that may be taken: moved tags, and newer versions as far as they are no major ones.
fn all(project: &Project, report: &Report, options: &UpdateOptions, chosen: &mut Chosen) {
    for finding in ranked(&report.findings) {
        match (finding.state, step(project, finding)) {
            (_, None) => {}
            (State::Held, _) => chosen.leave(finding, because(finding, "it is held")),
            (State::Ignored, _) => chosen.leave(finding, because(finding, "it is ignored")),
            (State::Found, Some(Step::Move)) => move_base(finding, chosen),
            (State::Found, _) if finding.set.is_empty() => chosen.leave(finding, not_in_manifest()),
            (State::Found, _) => {
                let large = match finding.level {
                    Some(Level::Major) => Some("it is another major version"),
                    Some(Level::Distribution) => Some("it is another release of the distribution"),
                    _ => None,
                };
                match large.filter(|_| !options.major) {
                    Some(large) => {
                        let settings = finding.set.iter().map(ToString::to_string).collect();
                        chosen.leave(finding, Because::Unless(large, Remedy::UpdateMajor { settings }));
                    }
                    None if !chosen.set(&finding.set) => {
                        chosen.leave(finding, "another update of the same setting comes first".to_owned());
                    }
                    None => {}
                }
            }
        }
    }
}

/// What was named, whatever `[check]` says: the newest version, else a newer distribution, else where the tag moved to.
fn named(project: &Project, report: &Report, names: &[&str], chosen: &mut Chosen) {
    for finding in ranked(&report.findings) {
        let Some(name) = names.iter().find(|name| is_named(project, finding, name)) else { continue };
        match step(project, finding) {
            None => {}
            Some(Step::Move) => move_base(finding, chosen),
            _ if finding.set.is_empty() => chosen.leave(finding, not_in_manifest()),
            _ => {
                // Of two bases that have the same name for an image, only the named one changes.
                let own =
                    finding.set.iter().filter(|one| one.table == SettingTable::Bases && one.name == **name);
                let own: Vec<Setting> = own.cloned().collect();
                let set = if own.is_empty() { &finding.set } else { &own };
                if !chosen.set(set) {
                    chosen.leave(finding, "another update of the same setting comes first".to_owned());
                }
            }
        }
    }
}

/// Only what has security updates for packages: where the base's tag moved to, else the next patch of its version.
fn of_security(project: &Project, report: &Report, chosen: &mut Chosen) {
    let asking: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::SecurityUpdates && finding.state == State::Found)
        .collect();
    let references: BTreeSet<&str> = asking.iter().map(|finding| finding.reference.as_str()).collect();
    // They never wait for a minimum age, but for what somebody holds or ignores.
    let may = |finding: &Finding| {
        let waits = finding.state == State::Held && finding.held == Some(Hold::Age);
        finding.state == State::Found || waits
    };
    for reference in references {
        let of = |kind| {
            ranked(&report.findings)
                .into_iter()
                .filter(move |one| one.kind == kind && one.reference == reference)
        };
        let before = (chosen.moves.len(), chosen.settings.len());
        // A base that is made of packages is itself what has them newer.
        let made = of(FindingKind::SecurityUpdates).filter(|one| step(project, one) == Some(Step::Move));
        let moved = of(FindingKind::BaseMoved).filter(|one| step(project, one) == Some(Step::Move));
        for finding in moved.chain(made) {
            if may(finding) {
                move_base(finding, chosen);
            } else {
                chosen.leave(finding, because(finding, "it is not wanted"));
            }
        }
        if before.0 == chosen.moves.len() {
            let patches = of(FindingKind::NewerVersion).filter(|one| one.level == Some(Level::Patch));
            for finding in patches {
                if !may(finding) {
                    chosen.leave(finding, because(finding, "it is not wanted"));
                } else if chosen.set(&finding.set) {
                    break;
                }
            }
        }
        if before == (chosen.moves.len(), chosen.settings.len()) {
            for finding in asking.iter().filter(|one| one.reference == reference) {
                let other = finding.command.clone().map_or(Because::NoBaseButBuild, Because::NoBase);
                chosen.leave(finding, other);
            }
        }
    }
}

fn move_base(finding: &Finding, chosen: &mut Chosen) {
    chosen.moves.extend(finding.roles.iter().map(|role| (*role, finding.reference.clone())));
}

/// How a finding is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The lock moves to what the name stands for now.
    Move,
    /// `otoshi.toml` says something else.
    Set,
}

/// How an update can take a finding in; `None` for what only ends, or lies inside an image that somebody else makes.
fn step(project: &Project, finding: &Finding) -> Option<Step> {
    let is_made = || project.package_bases().is_ok_and(|made| made.contains_key(&finding.reference));
    match finding.kind {
        // One that is named by its digest moves where it is named, and never by itself.
        FindingKind::BaseMoved if !finding.set.is_empty() => Some(Step::Set),
        FindingKind::BaseMoved if finding.reference.contains('@') => None,
        FindingKind::BaseMoved => Some(Step::Move),
        FindingKind::SecurityUpdates | FindingKind::PackageUpdates if is_made() => Some(Step::Move),
        FindingKind::NewerVersion | FindingKind::NewerDistribution => Some(Step::Set),
        _ => None,
    }
}

/// The newest versions first, then distributions: they are steps of their own, and an update takes one at a time.
fn ranked(findings: &[Finding]) -> Vec<&Finding> {
    let mut ranked: Vec<&Finding> = findings.iter().collect();
    ranked.sort_by_key(|finding| match (finding.kind, finding.level) {
        (FindingKind::BaseMoved, _) => 0,
        (FindingKind::NewerVersion, Some(Level::Major)) => 1,
        (FindingKind::NewerVersion, _) => 2,
        _ => 3,
    });
    ranked
}

/// Whether a name means a finding: it is that of its base, of a value that changes, of a version in its base, or a reference.
fn is_named(project: &Project, finding: &Finding, name: &str) -> bool {
    let of_base = project.bases().unwrap_or_default().get(name) == Some(&finding.reference);
    let of_version = project.manifest.versions.contains_key(name)
        && project.manifest.bases.iter().any(|(base, template)| {
            let uses = matches!(template, Base::Image(text) if text.contains(&format!("{{{name}}}")));
            uses && project.bases().unwrap_or_default().get(base) == Some(&finding.reference)
        });
    of_base
        || of_version
        || finding.name == name
        || finding.set.iter().any(|setting| setting.name == name)
        || is_reference(name, &finding.reference)
}

/// Whether a name is a way to write a reference.
fn is_reference(name: &str, reference: &str) -> bool {
    let parsed = |text: &str| Reference::parse(text).ok();
    name == reference || parsed(name).is_some_and(|name| Some(name) == parsed(reference))
}

/// Whether anything in a project is meant by a name.
pub(super) fn is_known(project: &Project, references: &BTreeSet<String>, name: &str) -> bool {
    project.manifest.versions.contains_key(name)
        || project.manifest.bases.contains_key(name)
        || references.iter().any(|reference| is_reference(name, reference))
}

fn because(finding: &Finding, else_: &str) -> String {
    finding.because.clone().unwrap_or_else(|| else_.to_owned())
}

fn not_in_manifest() -> String {
    "it is set in the Dockerfile, not in otoshi.toml".to_owned()
}
