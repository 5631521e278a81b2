use otoshi_project::{Manifest, Role};

use super::*;
use crate::{
    found::{Effect, Found, Judged, Step},
    kind::Verdict,
    report::{Counts, CyclesUsed},
    subject::Subject,
};

const MANIFEST: &str = "project.name = \"shop\"\nrunner.dockerfile = \"r\"\nversions.RUBY = \"3.1\"\n[bases]\n\
    BUILD = \"ruby:{RUBY}\"\nRUN = \"ruby:{RUBY}-slim\"\nDB = \"postgres:15\"\nDB_TOO = \"postgres:15\"\n\
    MADE = { debian = \"bookworm\", packages = [\"ruby\"], variant = \"distroless\" }\n";

fn project() -> Project {
    let manifest = Manifest::parse("otoshi.toml", MANIFEST).unwrap();
    Project { root: "/".into(), manifest, processes: Vec::new(), warnings: Vec::new() }
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

/// Remedies as these tests call them.
fn words(remedy: &Remedy) -> String {
    match remedy {
        Remedy::UpdateMajor { settings } => {
            format!("otoshi update {}, or --major, takes it", settings.join(" "))
        }
        Remedy::BuildWithoutCache => "otoshi build --no-cache".to_owned(),
        other => format!("{other:?}"),
    }
}

fn moved(reference: &str) -> Finding {
    let (name, roles) = (reference.to_owned(), vec![Role::Runner]);
    let subject = Subject { name: name.clone(), reference: name, roles };
    let step = Step::new(FindingKind::BaseMoved, reference, format!("{reference} moved"));
    let judged = Judged { verdict: Verdict::FOUND, first_seen: None };
    Found::new(subject, step, judged, None).told(Effect::default(), &words)
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
    Finding { state: State::Held, held: Some(Hold::User), because: Some("frozen".into()), ..finding }
}

fn texts(settings: &[Setting]) -> String {
    settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
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
        unknown: Vec::new(),
        fresh: Vec::new(),
        bare: Vec::new(),
        images: Vec::new(),
        support: Vec::new(),
        counts: Counts::default(),
        cycles: CyclesUsed { date: String::new(), age_days: 0, source: None, failed: None },
        requests: 0,
    };
    let chosen = choose(&project(), &report, &options, &[]);
    let moves: Vec<_> = chosen.moves.iter().map(|(role, base)| format!("{role} {base}")).collect();
    let left: Vec<_> = chosen
        .left
        .into_iter()
        .map(|left| left.told(&words))
        .map(|left| format!("{}: {}", left.text, left.because))
        .collect();
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
    assert_eq!(chosen(findings(), &["RUBY", "postgres:15"], false)[..2], ["RUBY=3.2", "runner postgres:15"]);
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
    assert_eq!(left, "postgres:15 → postgres:16: another update of the same setting comes first");
    let [_, _, left] = chosen(findings(), &[], false);
    assert!(left.contains("redis:7 → redis:8: it is set in the Dockerfile, not in otoshi.toml"), "{left}");
    assert!(
        left.contains("it is another release of the distribution: otoshi update DB=postgres:16"),
        "{left}"
    );
}

#[test]
fn for_security_only_what_asks_for_it_moves() {
    let young = |finding| Finding { held: Some(Hold::Age), ..held(finding) };
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
