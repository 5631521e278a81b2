//! What a phase observes, piece by piece.

use std::collections::BTreeMap;

use otoshi_oci::Digest;
use serde::{Deserialize, Serialize};

/// What kind of thing a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// An instruction of a Dockerfile, in a stage that is reached.
    Instruction,
    /// A build argument that is declared.
    Argument,
    /// A base image, by its locked digest.
    Base,
    /// Files of the context, by what COPY reaches.
    Context,
    /// The source tree.
    Source,
    /// Content of another role's image.
    Role,
    /// A setting of `otoshi.toml`.
    Setting,
    /// A process.
    Process,
}

impl PartKind {
    fn text(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Argument => "argument",
            Self::Base => "base",
            Self::Context => "context",
            Self::Source => "source",
            Self::Role => "content of",
            Self::Setting => "setting",
            Self::Process => "process",
        }
    }
}

/// One thing that a phase observes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its kind.
    pub kind: PartKind,
    /// Its name, unique within the kind.
    pub name: String,
    /// Its value: a text or a digest.
    pub value: String,
}

impl Part {
    pub(crate) fn new(kind: PartKind, name: impl Into<String>, value: impl ToString) -> Self {
        Self { kind, name: name.into(), value: value.to_string() }
    }
}

/// Why a phase is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// In words.
    pub text: String,
    /// The value last time.
    pub old: Option<String>,
    /// The value now.
    pub new: Option<String>,
}

/// The digest of all parts.
pub(crate) fn key(phase: &str, parts: &[Part]) -> Digest {
    let mut bytes = Vec::new();
    for part in parts {
        for text in [phase, part.kind.text(), &part.name, &part.value] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    Digest::sha256_of(&bytes)
}

/// What differs between two observations.
pub(crate) fn difference(old: &[Part], new: &[Part]) -> Vec<Reason> {
    let by_name = |parts: &[Part]| -> BTreeMap<(PartKind, String), String> {
        parts.iter().map(|part| ((part.kind, part.name.clone()), part.value.clone())).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let mut names: Vec<&(PartKind, String)> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let mut found = Vec::new();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        let subject = format!("{} {}", name.0.text(), name.1);
        let text = match (old, new) {
            (Some(old), Some(new)) => format!("{subject} changed: {} → {}", short(old), short(new)),
            (None, Some(new)) => format!("{subject} is new: {}", short(new)),
            (Some(_) | None, None) => format!("{subject} is gone"),
        };
        found.push(Reason { text, old: old.cloned(), new: new.cloned() });
    }
    found
}

fn short(value: &str) -> String {
    let first = value.lines().next().unwrap_or_default();
    match first.strip_prefix("sha256:") {
        Some(hex) if hex.len() >= 12 => hex[..12].to_owned(),
        _ if first.chars().count() > 60 => format!("{}…", first.chars().take(59).collect::<String>()),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_told_in_words() {
        let old = [Part::new(PartKind::Argument, "RUBY", "3.1"), Part::new(PartKind::Source, "tree", "a")];
        let new = [Part::new(PartKind::Argument, "RUBY", "3.2"), Part::new(PartKind::Base, "debian", "d")];
        let texts: Vec<String> = difference(&old, &new).into_iter().map(|reason| reason.text).collect();
        assert_eq!(
            texts,
            ["argument RUBY changed: 3.1 → 3.2", "base debian is new: d", "source tree is gone"]
        );
        assert!(difference(&old, &old).is_empty());
        assert_ne!(key("runner", &old), key("runner", &new));
        assert_ne!(key("runner", &old), key("builder", &old));
    }
}
