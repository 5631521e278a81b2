//! Why a phase is stale: the difference between what it observed last and what it observes now.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{Part, PartKind};

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// An instruction was added, removed or changed.
    Instruction,
    /// A build argument has another value.
    Argument,
    /// A base is another image.
    Base,
    /// Files that the Dockerfile reads changed.
    Context,
    /// The source tree changed.
    Source,
    /// What another phase gives changed.
    Role,
    /// A setting changed.
    Setting,
    /// A process changed.
    Process,
    /// Packages in what it makes, or starts from, are newer outside.
    Packages,
    /// A package is to be newer, another version of it than last time, or no longer.
    Upgrade,
    /// The phase never ran for this project in this store.
    NeverBuilt,
    /// What it made is no longer in the store.
    Lost,
    /// Nothing differs from last time, but the record of the result is gone.
    Forgotten,
    /// It was asked to run.
    Requested,
    /// It depends on what an earlier phase will give.
    Depends,
}

impl From<PartKind> for ReasonKind {
    fn from(kind: PartKind) -> Self {
        match kind {
            PartKind::Instruction => Self::Instruction,
            PartKind::Argument => Self::Argument,
            PartKind::Base => Self::Base,
            PartKind::Context => Self::Context,
            PartKind::Source => Self::Source,
            PartKind::Role => Self::Role,
            PartKind::Setting => Self::Setting,
            PartKind::Process => Self::Process,
            PartKind::Upgrade => Self::Upgrade,
        }
    }
}

/// Why a phase must run, or is not known to be fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    /// Its kind.
    pub kind: ReasonKind,
    /// What it is about: an argument, a base, a stage, files, a role.
    pub name: String,
    /// The value last time.
    pub old: Option<String>,
    /// The value now.
    pub new: Option<String>,
    /// In words, to follow "because".
    pub text: String,
}

impl Reason {
    /// Returns the reason in words, to follow "because".
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A reason that is not a difference.
    pub(crate) fn plain(kind: ReasonKind, name: &str, text: impl Into<String>) -> Self {
        Self { kind, name: name.to_owned(), old: None, new: None, text: text.into() }
    }
}

/// The digests of files by path, to tell which of them changed.
pub(crate) type FileList = BTreeMap<String, String>;

/// Says what differs between two observations.
///
/// `changed_files` names the files that changed beneath a context or source part, where both lists are known.
pub(crate) fn difference(
    old: &[Part],
    new: &[Part],
    changed_files: &dyn Fn(&Part) -> Vec<String>,
) -> Vec<Reason> {
    let mut found = instructions(old, new);
    let (before, after) = (by_name(old), by_name(new));
    let names: BTreeSet<&(PartKind, &str)> = before.keys().chain(after.keys()).collect();
    let mut gone: Vec<&Part> = Vec::new();
    let mut added: Vec<&Part> = Vec::new();
    for name in names {
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old.value != new.value => found.push(changed(old, new, changed_files)),
            (Some(old), None) => gone.push(old),
            (None, Some(new)) => added.push(new),
            _ => {}
        }
    }
    // A base that an argument names is the same base under another reference.
    gone.retain(|old| {
        let same = |new: &&Part| new.kind == PartKind::Base && old.kind == new.kind && new.alias == old.alias;
        let Some(place) = added.iter().position(|new| old.alias.is_some() && same(new)) else { return true };
        let new = added.remove(place);
        found.push(Reason {
            kind: ReasonKind::Base,
            name: subject(new),
            old: Some(old.name.clone()),
            new: Some(new.name.clone()),
            text: format!("base {} changed: {} → {}", subject(new), old.name, new.name),
        });
        false
    });
    found.extend(added.into_iter().map(|part| one_sided(part, true)));
    found.extend(gone.into_iter().map(|part| one_sided(part, false)));
    found.sort_by_key(|reason| reason.kind as u8);
    found
}

fn by_name(parts: &[Part]) -> BTreeMap<(PartKind, &str), &Part> {
    let named = parts.iter().filter(|part| part.kind != PartKind::Instruction);
    named.map(|part| ((part.kind, part.name.as_str()), part)).collect()
}

fn subject(part: &Part) -> String {
    part.alias.clone().unwrap_or_else(|| part.name.clone())
}

fn changed(old: &Part, new: &Part, changed_files: &dyn Fn(&Part) -> Vec<String>) -> Reason {
    let name = subject(new);
    let values = || format!("{} → {}", short(&old.value), short(&new.value));
    let text = match new.kind {
        PartKind::Context | PartKind::Source => {
            let files = changed_files(new);
            let what = if new.kind == PartKind::Source { "source" } else { "context" };
            match files.as_slice() {
                [] => format!("{what} {name} changed"),
                [one] if new.kind == PartKind::Context => format!("context file {one} changed"),
                files => format!("{what} changed: {}", first_few(files)),
            }
        }
        PartKind::Base => format!("base {name} moved {}", values()),
        PartKind::Role => format!("content of {name} changed: {}", values()),
        _ => format!("{} {name} changed: {}", new.kind.text(), values()),
    };
    Reason { kind: new.kind.into(), name, old: Some(old.value.clone()), new: Some(new.value.clone()), text }
}

fn one_sided(part: &Part, is_new: bool) -> Reason {
    let name = subject(part);
    let text = if is_new {
        format!("{} {name} is new: {}", part.kind.text(), short(&part.value))
    } else {
        format!("{} {name} is gone", part.kind.text())
    };
    let value = Some(part.value.clone());
    let (old, new) = if is_new { (None, value) } else { (value, None) };
    Reason { kind: part.kind.into(), name, old, new, text }
}

fn first_few(files: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = files.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match files.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} (+{more} more)"),
    }
}

/// What changed from one list of instructions to the other, stage by stage.
fn instructions(old: &[Part], new: &[Part]) -> Vec<Reason> {
    let by_stage = |parts| -> BTreeMap<String, Vec<String>> {
        let mut stages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for part in <&[Part]>::into_iter(parts) {
            if part.kind == PartKind::Instruction {
                stages.entry(part.name.clone()).or_default().push(part.value.clone());
            }
        }
        stages
    };
    let (before, after) = (by_stage(old), by_stage(new));
    let mut found = Vec::new();
    for stage in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let none = Vec::new();
        let (old, new) = (before.get(stage).unwrap_or(&none), after.get(stage).unwrap_or(&none));
        let (removed, added) = unmatched(old, new);
        let mut added = added.into_iter();
        // One for one they are changes; what is left over was added or removed.
        for old in removed {
            let new = added.next();
            let text = match new {
                Some(new) => format!("instruction `{}` changed: `{}`", short(old), short(new)),
                None => format!("instruction `{}` removed", short(old)),
            };
            let name = stage.clone();
            found.push(Reason {
                kind: ReasonKind::Instruction,
                name,
                old: Some(old.clone()),
                new: new.cloned(),
                text,
            });
        }
        found.extend(added.map(|new| Reason {
            kind: ReasonKind::Instruction,
            name: stage.clone(),
            old: None,
            new: Some(new.clone()),
            text: format!("instruction `{}` added", short(new)),
        }));
    }
    if found.is_empty() {
        let order = |parts: &[Part]| -> Vec<(String, String)> {
            let instructions = parts.iter().filter(|part| part.kind == PartKind::Instruction);
            instructions.map(|part| (part.name.clone(), part.value.clone())).collect()
        };
        if order(old) != order(new) {
            found.push(Reason::plain(ReasonKind::Instruction, "stages", "the order of the stages changed"));
        }
    }
    found
}

/// What is left of two lists once their longest common subsequence is taken out.
fn unmatched<'a>(old: &'a [String], new: &'a [String]) -> (Vec<&'a String>, Vec<&'a String>) {
    let prefix = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[prefix..], &new[prefix..]);
    let suffix = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - suffix], &new[..new.len() - suffix]);
    // Beyond this many comparisons the explanation is not worth its time.
    if old.len().saturating_mul(new.len()) > 1 << 20 {
        return (old.iter().collect(), new.iter().collect());
    }
    let mut lengths = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i][j] = if old[i] == new[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            removed.push(&old[i]);
            i += 1;
        } else {
            added.push(&new[j]);
            j += 1;
        }
    }
    removed.extend(&old[i..]);
    added.extend(&new[j..]);
    (removed, added)
}

/// The paths whose digests differ, or that only one list has.
pub(crate) fn changed_files(old: &FileList, new: &FileList) -> Vec<String> {
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    paths.into_iter().filter(|path| old.get(*path) != new.get(*path)).cloned().collect()
}

/// The first line of a value; of a digest, its beginning.
fn short(value: &str) -> String {
    let first = value.lines().next().unwrap_or_default();
    match first.split_once(':') {
        Some(("sha256", hex)) if hex.len() >= 12 => format!("sha256:{}…", &hex[..12]),
        _ if first.chars().count() > 60 => format!("{}…", first.chars().take(59).collect::<String>()),
        _ if first.len() < value.len() => format!("{first} …"),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(old: &[Part], new: &[Part]) -> Vec<String> {
        difference(old, new, &|_| Vec::new()).into_iter().map(|reason| reason.text).collect()
    }

    fn steps(lines: &[&str]) -> Vec<Part> {
        lines.iter().map(|line| Part::new(PartKind::Instruction, "stage 0", line)).collect()
    }

    #[test]
    fn the_difference_is_told_in_words() {
        let old = [
            Part::new(PartKind::Argument, "RUBY", "3.1"),
            Part::new(PartKind::Setting, "target", "a"),
            Part::new(PartKind::Base, "debian:12", format!("sha256:{}", "ab".repeat(32)))
                .called(Some("DEBIAN_BASE".into())),
        ];
        let new = [
            Part::new(PartKind::Argument, "RUBY", "3.2"),
            Part::new(PartKind::Process, "web", "\"run\""),
            Part::new(PartKind::Base, "debian:12", format!("sha256:{}", "cd".repeat(32)))
                .called(Some("DEBIAN_BASE".into())),
        ];
        assert_eq!(
            texts(&old, &new),
            [
                "argument RUBY changed: 3.1 → 3.2",
                "base DEBIAN_BASE moved sha256:abababababab… → sha256:cdcdcdcdcdcd…",
                "setting target is gone",
                "process web is new: \"run\"",
            ]
        );
        assert!(texts(&old, &old).is_empty());
    }

    #[test]
    fn a_base_with_another_reference_is_still_that_base() {
        let base =
            |reference: &str| Part::new(PartKind::Base, reference, "d").called(Some("RUBY_BASE".into()));
        assert_eq!(
            texts(&[base("ruby:3.1.2")], &[base("ruby:3.1.4")]),
            ["base RUBY_BASE changed: ruby:3.1.2 → ruby:3.1.4"]
        );
    }

    #[test]
    fn an_instruction_in_the_middle_does_not_blame_those_after_it() {
        assert_eq!(texts(&steps(&["A", "C"]), &steps(&["A", "B", "C"])), ["instruction `B` added"]);
        assert_eq!(texts(&steps(&["A", "B", "C"]), &steps(&["A", "C"])), ["instruction `B` removed"]);
        assert_eq!(texts(&steps(&["A", "B"]), &steps(&["A", "X"])), ["instruction `B` changed: `X`"]);
        assert_eq!(texts(&steps(&["A", "A"]), &steps(&["A"])), ["instruction `A` removed"]);
    }

    #[test]
    fn files_are_named_where_they_are_known() {
        let part = |kind, value| [Part::new(kind, "Gemfile*", value)];
        let say = |kind, files: &[&str]| {
            let files: Vec<String> = files.iter().map(ToString::to_string).collect();
            difference(&part(kind, "1"), &part(kind, "2"), &|_| files.clone()).remove(0).text
        };
        assert_eq!(say(PartKind::Context, &["Gemfile.lock"]), "context file Gemfile.lock changed");
        assert_eq!(say(PartKind::Context, &[]), "context Gemfile* changed");
        assert_eq!(say(PartKind::Source, &["a", "b", "c", "d", "e"]), "source changed: a, b, c (+2 more)");
    }
}
