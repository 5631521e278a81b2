//! What of a check's findings an update takes in, and why it leaves the others. Nothing is asked or written here.

use std::collections::BTreeSet;

use otoshi_oci::Reference;
use otoshi_project::{Base, Project, Setting, SettingTable};

use super::{Left, UpdateOptions};
use crate::{
    policy::TOO_YOUNG,
    report::{Finding, FindingKind, Report, State},
    tag::Level,
};

/// What is taken in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Other values of `otoshi.toml`.
    pub(super) settings: Vec<Setting>,
    /// Roles and bases whose entries of the lock move.
    pub(super) moves: BTreeSet<(String, String)>,
    /// What was found and is not taken.
    pub(super) left: Vec<Left>,
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

    fn leave(&mut self, finding: &Finding, because: String) {
        self.left.push(Left {
            name: finding.name.clone(),
            text: finding.text.clone(),
            because,
            until: finding.until.clone(),
        });
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
                        let set = texts(&finding.set);
                        chosen.leave(finding, format!("{large}: otoshi update {set}, or --major, takes it"));
                    }
                    None if !chosen.set(&finding.set) => {
                        chosen.leave(finding, "another step of the same comes first".to_owned());
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
                    chosen.leave(finding, "another step of the same comes first".to_owned());
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
        let waits = finding.state == State::Held && finding.because.as_deref() == Some(TOO_YOUNG);
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
        for finding in of(FindingKind::BaseMoved).chain(made) {
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
                let other = finding.command.as_deref().unwrap_or("otoshi build --no-cache");
                chosen.leave(finding, format!("there is no newer base to take; {other}"));
            }
        }
    }
}

fn move_base(finding: &Finding, chosen: &mut Chosen) {
    chosen.moves.extend(finding.roles.iter().map(|role| (role.clone(), finding.reference.clone())));
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
    "otoshi.toml does not say it, the Dockerfile does".to_owned()
}

fn texts(settings: &[Setting]) -> String {
    settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use otoshi_project::Manifest;

    use super::*;
    use crate::report::{Counts, CyclesUsed};

    const MANIFEST: &str = "project.name = \"shop\"\nrunner.dockerfile = \"r\"\nversions.RUBY = \"3.1\"\n[bases]\n\
        BUILD = \"ruby:{RUBY}\"\nRUN = \"ruby:{RUBY}-slim\"\nDB = \"postgres:15\"\nDB_TOO = \"postgres:15\"\n\
        MADE = { debian = \"bookworm\", packages = [\"ruby\"], variant = \"distroless\" }\n";

    fn project() -> Project {
        let manifest = Manifest::parse("otoshi.toml", MANIFEST).unwrap();
        Project { root: "/".into(), manifest, processes: Vec::new() }
    }

    fn newer(reference: &str, to: &str, level: Level) -> Finding {
        let set = project().settings_for(reference, to);
        Finding {
            kind: if level == Level::Distribution {
                FindingKind::NewerDistribution
            } else {
                FindingKind::NewerVersion
            },
            name: set.first().map_or(reference, |one| &one.name).to_owned(),
            level: Some(level),
            to: Some(to.to_owned()),
            text: format!("{reference} → {to}"),
            set,
            ..moved(reference)
        }
    }

    fn moved(reference: &str) -> Finding {
        Finding {
            kind: FindingKind::BaseMoved,
            state: State::Found,
            name: reference.to_owned(),
            reference: reference.to_owned(),
            roles: vec!["runner".to_owned()],
            from: reference.to_owned(),
            to: None,
            level: None,
            first_seen: None,
            because: None,
            until: None,
            packages: Vec::new(),
            set: Vec::new(),
            phases: Vec::new(),
            command: None,
            location: None,
            text: format!("{reference} moved"),
        }
    }

    fn insecure(reference: &str) -> Finding {
        Finding {
            kind: FindingKind::SecurityUpdates,
            text: format!("{reference} has security updates"),
            command: Some("add it to the Dockerfile".into()),
            ..moved(reference)
        }
    }

    fn held(finding: Finding) -> Finding {
        Finding { state: State::Held, because: Some("frozen".into()), ..finding }
    }

    /// What is set, what moves, and what is left, in the words that people read.
    fn chosen(findings: Vec<Finding>, names: &[&str], major: bool) -> [String; 3] {
        let names = names.iter().map(ToString::to_string).collect();
        chosen_by(findings, UpdateOptions { names, major, ..UpdateOptions::default() })
    }

    fn chosen_by(findings: Vec<Finding>, options: UpdateOptions) -> [String; 3] {
        let report = Report {
            version: 1,
            project: None,
            findings,
            failed: Vec::new(),
            fresh: Vec::new(),
            images: Vec::new(),
            counts: Counts::default(),
            cycles: CyclesUsed { date: String::new(), age_days: 0, source: None, failed: None },
            requests: 0,
        };
        let chosen = choose(&project(), &report, &options, &[]);
        let moves: Vec<_> = chosen.moves.iter().map(|(role, base)| format!("{role} {base}")).collect();
        let left: Vec<_> =
            chosen.left.iter().map(|left| format!("{}: {}", left.text, left.because)).collect();
        [texts(&chosen.settings), moves.join(", "), left.join(", ")]
    }

    #[test]
    fn a_small_step_is_taken_and_a_large_one_when_it_is_asked_for() {
        let findings = || {
            vec![
                newer("ruby:3.1", "ruby:3.2", Level::Minor),
                newer("ruby:3.1", "ruby:4.0", Level::Major),
                newer("ruby:3.1-slim", "ruby:3.2-slim", Level::Minor),
                newer("ruby:3.1-slim", "ruby:4.0-slim", Level::Major),
                moved("postgres:15"),
            ]
        };
        let [set, moves, left] = chosen(findings(), &[], false);
        assert_eq!((set.as_str(), moves.as_str()), ("RUBY=3.2", "runner postgres:15"));
        assert!(
            left.contains("it is another major version: otoshi update RUBY=4.0, or --major, takes it"),
            "{left}"
        );
        assert_eq!(chosen(findings(), &[], true)[0], "RUBY=4.0");
        for name in ["RUBY", "RUN", "BUILD", "ruby:3.1", "docker.io/library/ruby:3.1-slim"] {
            assert_eq!(chosen(findings(), &[name], false)[..2], ["RUBY=4.0", ""], "{name}");
        }
        assert_eq!(chosen(findings(), &["DB"], false), ["", "runner postgres:15", ""]);
    }

    #[test]
    fn what_is_held_is_taken_when_it_is_named() {
        let findings = || vec![held(newer("ruby:3.1", "ruby:3.2", Level::Minor)), held(moved("postgres:15"))];
        let [set, moves, left] = chosen(findings(), &[], true);
        assert_eq!((set.as_str(), moves.as_str()), ("", ""));
        assert_eq!(left, "postgres:15 moved: frozen, ruby:3.1 → ruby:3.2: frozen");
        assert_eq!(
            chosen(findings(), &["RUBY", "postgres:15"], false)[..2],
            ["RUBY=3.2", "runner postgres:15"]
        );
    }

    #[test]
    fn bases_of_one_name_change_together_unless_one_is_named() {
        let findings = || vec![newer("postgres:15", "postgres:15.1", Level::Minor)];
        assert_eq!(chosen(findings(), &[], false)[0], "DB=postgres:15.1 DB_TOO=postgres:15.1");
        assert_eq!(chosen(findings(), &["DB_TOO"], false)[0], "DB_TOO=postgres:15.1");
        assert_eq!(chosen(findings(), &["RUBY"], false), [""; 3]);
    }

    #[test]
    fn a_newer_version_and_a_newer_distribution_are_two_steps() {
        let findings = || {
            vec![
                newer("postgres:15", "postgres:16", Level::Distribution),
                newer("postgres:15", "postgres:15.1", Level::Minor),
                newer("redis:7", "redis:8", Level::Minor),
            ]
        };
        let [set, _, left] = chosen(findings(), &["DB"], false);
        assert_eq!(set, "DB=postgres:15.1");
        assert_eq!(left, "postgres:15 → postgres:16: another step of the same comes first");
        let [_, _, left] = chosen(findings(), &[], false);
        assert!(
            left.contains("redis:7 → redis:8: otoshi.toml does not say it, the Dockerfile does"),
            "{left}"
        );
        assert!(
            left.contains("it is another release of the distribution: otoshi update DB=postgres:16"),
            "{left}"
        );
    }

    #[test]
    fn for_security_only_what_asks_for_it_moves() {
        let young = |finding| Finding { because: Some(TOO_YOUNG.into()), ..held(finding) };
        let of = |findings| chosen_by(findings, UpdateOptions { security: true, ..UpdateOptions::default() });
        // The moved tag, however young; no version beside it, and nothing of other bases.
        let [set, moves, left] = of(vec![
            insecure("postgres:15"),
            young(moved("postgres:15")),
            newer("postgres:15", "postgres:15.0.1", Level::Patch),
            moved("ruby:3.1"),
            newer("ruby:3.1", "ruby:3.2", Level::Minor),
        ]);
        assert_eq!([set.as_str(), &moves, &left], ["", "runner postgres:15", ""]);
        // Where no tag moved, the next patch and nothing larger.
        let patch = || newer("postgres:15", "postgres:15.0.1", Level::Patch);
        let minor = newer("postgres:15", "postgres:15.1", Level::Minor);
        assert_eq!(
            of(vec![insecure("postgres:15"), minor, patch()])[0],
            "DB=postgres:15.0.1 DB_TOO=postgres:15.0.1"
        );
        // What somebody holds stays; what there is no base for is told with what helps.
        let [set, moves, left] =
            of(vec![insecure("postgres:15"), held(moved("postgres:15")), insecure("shop/runner")]);
        assert_eq!([set.as_str(), &moves], ["", ""]);
        assert_eq!(
            left,
            "postgres:15 moved: frozen, \
             postgres:15 has security updates: there is no newer base to take; add it to the Dockerfile, \
             shop/runner has security updates: there is no newer base to take; add it to the Dockerfile"
        );
    }

    #[test]
    fn a_base_of_packages_moves_with_its_packages() {
        let made = project().bases().unwrap()["MADE"].clone();
        let moves = format!("runner {made}");
        let newer = |kind, reference: &str| Finding { kind, ..insecure(reference) };
        let (security, other) = (FindingKind::SecurityUpdates, FindingKind::PackageUpdates);
        assert_eq!(chosen(vec![newer(other, &made)], &[], false)[1], moves);
        assert_eq!(chosen(vec![held(newer(other, &made))], &["MADE"], false)[1], moves);
        let options = || UpdateOptions { security: true, ..UpdateOptions::default() };
        assert_eq!(chosen_by(vec![newer(security, &made)], options()), ["", &moves, ""]);
        assert_eq!(chosen_by(vec![newer(other, &made)], options()), ["", "", ""]);
        assert_eq!(chosen(vec![newer(other, "postgres:15")], &[], false), ["", "", ""]);
    }
}
