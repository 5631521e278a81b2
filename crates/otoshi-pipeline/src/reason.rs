//! Why a phase is stale: the difference between what it observed last and what it observes now.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use otoshi_project::Phase;
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
    /// The phase whose result it is about, and whether it is about all of that; none where it is about something else.
    #[serde(skip)]
    pub(crate) of: Option<Of>,
}

/// The result of a phase that a reason is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) phase: Phase,
    /// All of it, not a path in it.
    pub(crate) whole: bool,
}

impl Reason {
    /// Returns the reason in words, to follow "because".
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A reason that is not a difference.
    pub fn plain(kind: ReasonKind, name: impl ToString, text: impl Into<String>) -> Self {
        Self { kind, name: name.to_string(), old: None, new: None, text: text.into(), of: None }
    }

    /// A phase waits for what another one gives.
    pub(crate) fn depends(on: Phase) -> Self {
        let of = Some(Of { phase: on, whole: true });
        Self { of, ..Self::plain(ReasonKind::Depends, on, format!("depends on what the {on} produces")) }
    }

    /// Whether a phase waits for what this one gives.
    pub(crate) fn waits_for(&self, phase: Phase) -> bool {
        self.kind == ReasonKind::Depends && self.of.is_some_and(|of| of.phase == phase)
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
    let names: BTreeSet<&(PartKind, Cow<'_, str>)> = before.keys().chain(after.keys()).collect();
    let mut gone: Vec<&Part> = Vec::new();
    let mut added: Vec<&Part> = Vec::new();
    for name in names {
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old.fields() != new.fields() => {
                found.push(changed(old, new, changed_files));
            }
            (Some(old), None) => gone.push(old),
            (None, Some(new)) => added.push(new),
            _ => {}
        }
    }
    // A base that an argument names is the same base under another reference.
    gone.retain(|old| {
        let Some(argument) = argument_of(old) else { return true };
        let same = |new: &&Part| argument_of(new) == Some(argument);
        let Some(place) = added.iter().position(same) else { return true };
        let (old, new) = (old.name().into_owned(), added.remove(place).name().into_owned());
        let text = format!("base {argument} changed: {old} → {new}");
        let plain = Reason::plain(ReasonKind::Base, argument, text);
        found.push(Reason { old: Some(old), new: Some(new), ..plain });
        false
    });
    found.extend(added.into_iter().map(|part| one_sided(part, true)));
    found.extend(gone.into_iter().map(|part| one_sided(part, false)));
    found.sort_by_key(|reason| reason.kind as u8);
    found
}

fn by_name(parts: &[Part]) -> BTreeMap<(PartKind, Cow<'_, str>), &Part> {
    let named = parts.iter().filter(|part| part.kind() != PartKind::Instruction);
    named.map(|part| ((part.kind(), part.name()), part)).collect()
}

/// The argument that names a base.
fn argument_of(part: &Part) -> Option<&str> {
    match part {
        Part::Base { argument, .. } => argument.as_deref(),
        _ => None,
    }
}

/// The result of a phase that a part is about.
fn of(part: &Part) -> Option<Of> {
    part.taken().map(|taken| Of { phase: taken.of, whole: taken.path.is_none() })
}

fn changed(old: &Part, new: &Part, changed_files: &dyn Fn(&Part) -> Vec<String>) -> Reason {
    let name = new.subject();
    let (old_words, new_words) = (old.words(), new.words());
    let values = || format!("{} → {}", short(&old_words), short(&new_words));
    let text = match new.kind() {
        PartKind::Context | PartKind::Source => {
            let files = changed_files(new);
            let what = if new.kind() == PartKind::Source { "source" } else { "context" };
            match files.as_slice() {
                [] => format!("{what} {name} changed"),
                [one] if new.kind() == PartKind::Context => format!("context file {one} changed"),
                files => format!("{what} changed: {}", first_few(files)),
            }
        }
        PartKind::Base => format!("base {name} moved {}", values()),
        PartKind::Role => format!("content of {name} changed: {}", values()),
        kind => format!("{} {name} changed: {}", kind.text(), values()),
    };
    Reason { kind: new.kind().into(), name, old: Some(old_words), new: Some(new_words), text, of: of(new) }
}

fn one_sided(part: &Part, is_new: bool) -> Reason {
    let (name, kind, words) = (part.subject(), part.kind(), part.words());
    let text = if is_new {
        format!("{} {name} is new: {}", kind.text(), short(&words))
    } else {
        format!("{} {name} is gone", kind.text())
    };
    let (old, new) = if is_new { (None, Some(words)) } else { (Some(words), None) };
    Reason { kind: kind.into(), name, old, new, text, of: of(part) }
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
    let by_stage = |parts: &[Part]| -> BTreeMap<String, Vec<String>> {
        let mut stages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (stage, text) in steps_of(parts) {
            stages.entry(stage.to_owned()).or_default().push(text.to_owned());
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
            let plain = Reason::plain(ReasonKind::Instruction, stage, text);
            found.push(Reason { old: Some(old.clone()), new: new.cloned(), ..plain });
        }
        found.extend(added.map(|new| {
            let text = format!("instruction `{}` added", short(new));
            Reason { new: Some(new.clone()), ..Reason::plain(ReasonKind::Instruction, stage, text) }
        }));
    }
    if found.is_empty() && !steps_of(old).eq(steps_of(new)) {
        found.push(Reason::plain(ReasonKind::Instruction, "stages", "the order of the stages changed"));
    }
    found
}

/// The instructions, each with its stage.
fn steps_of(parts: &[Part]) -> impl Iterator<Item = (&str, &str)> {
    parts.iter().filter_map(|part| match part {
        Part::Instruction { stage, text } => Some((stage.as_str(), text.as_str())),
        _ => None,
    })
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
    use otoshi_oci::Digest;
    use otoshi_project::BaseName;

    use super::*;
    use crate::part::Value;

    fn argument(name: &str, value: &str) -> Part {
        Part::Argument { name: name.into(), value: value.into(), again: false }
    }

    fn base(name: &str, byte: &str, argument: &str) -> Part {
        let digest = format!("sha256:{}", byte.repeat(32)).parse().unwrap();
        Part::Base { name: BaseName::parse(name).unwrap(), digest, argument: Some(argument.into()) }
    }

    fn texts(old: &[Part], new: &[Part]) -> Vec<String> {
        difference(old, new, &|_| Vec::new()).into_iter().map(|reason| reason.text).collect()
    }

    fn steps(lines: &[&str]) -> Vec<Part> {
        let step = |line: &&str| Part::Instruction { stage: "stage 0".into(), text: (*line).to_owned() };
        lines.iter().map(step).collect()
    }

    #[test]
    fn the_difference_is_told_in_words() {
        let old =
            [argument("RUBY", "3.1"), Part::setting("target", "a"), base("debian:12", "ab", "DEBIAN_BASE")];
        let new = [
            argument("RUBY", "3.2"),
            Part::Process { name: "web".into(), command: Some(Value::Shell("run".into())) },
            base("debian:12", "cd", "DEBIAN_BASE"),
        ];
        assert_eq!(
            texts(&old, &new),
            [
                "argument RUBY changed: 3.1 → 3.2",
                "base DEBIAN_BASE moved sha256:abababababab… → sha256:cdcdcdcdcdcd…",
                "setting target is gone",
                "process web is new: run",
            ]
        );
        assert!(texts(&old, &old).is_empty());
    }

    #[test]
    fn a_base_with_another_reference_is_still_that_base() {
        let base = |reference: &str| base(reference, "dd", "RUBY_BASE");
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
        let context = |digest| Part::Context { patterns: vec!["Gemfile*".into()], digest };
        let source = |digest| Part::Source { digest };
        let say = |part: &dyn Fn(Digest) -> Part, files: &[&str]| {
            let files: Vec<String> = files.iter().map(ToString::to_string).collect();
            let of = |text: &[u8]| [part(Digest::sha256_of(text))];
            difference(&of(b"1"), &of(b"2"), &|_| files.clone()).remove(0).text
        };
        assert_eq!(say(&context, &["Gemfile.lock"]), "context file Gemfile.lock changed");
        assert_eq!(say(&context, &[]), "context Gemfile* changed");
        assert_eq!(say(&source, &["a", "b", "c", "d", "e"]), "source changed: a, b, c (+2 more)");
    }
}
