//! What a phase observes, piece by piece, and the key made of it.

use otoshi_oci::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of thing a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// An instruction of a Dockerfile, in a stage that is reached; named by its stage.
    Instruction,
    /// A build argument that a reached stage declares.
    Argument,
    /// A base image, by its locked digest.
    Base,
    /// Files of the context, by what COPY, ADD or a mount reaches.
    Context,
    /// The source tree.
    Source,
    /// Content of another role's image, or of the compiled application.
    Role,
    /// A setting.
    Setting,
    /// A process.
    Process,
    /// A package that a layer of its own makes newer.
    Upgrade,
}

impl PartKind {
    /// The word that people read.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Argument => "argument",
            Self::Base => "base",
            Self::Context => "context",
            Self::Source => "source",
            Self::Role => "content of",
            Self::Setting => "setting",
            Self::Process => "process",
            Self::Upgrade => "upgrade of",
        }
    }
}

/// One thing that a phase observes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its kind.
    pub kind: PartKind,
    /// Its name. Instructions of one stage share one; other names are unique within the kind.
    pub name: String,
    /// Its value: a text or a digest.
    pub value: String,
    /// What it is called in an explanation, where that is not its name. No part of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl Part {
    pub(crate) fn new(kind: PartKind, name: impl Into<String>, value: impl ToString) -> Self {
        Self { kind, name: name.into(), value: value.to_string(), alias: None }
    }

    pub(crate) fn called(mut self, alias: Option<String>) -> Self {
        self.alias = alias;
        self
    }
}

/// Computes a phase's key: the digest of its name and of all parts in order.
pub(crate) fn key(phase: &str, parts: &[Part]) -> Digest {
    let mut bytes = Vec::new();
    let mut field = |text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    field(phase);
    for part in parts {
        field(part.kind.text());
        field(&part.name);
        field(&part.value);
    }
    Digest::sha256_of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_phase_kind_name_value_and_order_and_on_nothing_else() {
        let parts = [Part::new(PartKind::Argument, "A", "1"), Part::new(PartKind::Setting, "B", "2")];
        let first = key("builder", &parts);
        assert_eq!(first, key("builder", &parts));
        let aliased = [parts[0].clone().called(Some("x".into())), parts[1].clone()];
        assert_eq!(first, key("builder", &aliased), "an alias is for people");
        let other = |index: usize, change: &dyn Fn(&mut Part)| {
            let mut parts = parts.clone();
            change(&mut parts[index]);
            key("builder", &parts)
        };
        let keys = [
            first,
            key("runner", &parts),
            key("builder", &[parts[1].clone(), parts[0].clone()]),
            key("builder", &parts[..1]),
            other(0, &|part| part.kind = PartKind::Base),
            other(0, &|part| part.name = "A1".into()),
            other(0, &|part| part.value = "11".into()),
            // The same bytes, cut at another place.
            other(0, &|part| (part.name, part.value) = ("A1".into(), String::new())),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
