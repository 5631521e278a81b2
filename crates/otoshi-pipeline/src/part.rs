//! What a phase observes, piece by piece, and the key made of it.
//!
//! A part has two faces: its fields, of which the key is made, and its words, which explain. Neither is made from the other.

use std::borrow::Cow;

use otoshi_oci::{Digest, Fields};
use otoshi_project::{BaseName, Command, Phase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of a phase's key: another one for every change in what is counted, or how.
const FORM: &str = "phase 2";

/// What kind of thing a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PartKind {
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
    /// Stands for it in keys; no two kinds have the same, and none changes.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Argument => "argument",
            Self::Base => "base",
            Self::Context => "context",
            Self::Source => "source",
            Self::Role => "role",
            Self::Setting => "setting",
            Self::Process => "process",
            Self::Upgrade => "upgrade",
        }
    }

    /// The word that people read.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Role => "content of",
            Self::Upgrade => "upgrade of",
            other => other.code(),
        }
    }
}

/// One thing that a phase observes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
pub(crate) enum Part {
    /// An instruction of a reached stage, as it is written.
    Instruction {
        /// The stage, by name or number.
        stage: String,
        /// The instruction.
        text: String,
    },
    /// A build argument that a reached stage sees.
    Argument {
        /// Its name.
        name: String,
        /// Its value there.
        value: String,
        /// Whether an earlier part has another value under that name.
        again: bool,
    },
    /// A base image.
    Base {
        /// Its name.
        name: BaseName,
        /// The manifest that is locked.
        digest: Digest,
        /// The argument that names it, to call it by. No part of the key.
        argument: Option<String>,
    },
    /// Files of the context.
    Context {
        /// The patterns that reach them; `/` for all.
        patterns: Vec<String>,
        /// All that counts about them.
        digest: Digest,
    },
    /// What ADD brings from elsewhere.
    Remote {
        /// Its address.
        address: String,
        /// What tells one state from another: a checksum, a commit, a validator.
        state: String,
    },
    /// The source tree.
    Source {
        /// All that counts about its files.
        digest: Digest,
    },
    /// What another phase gave, as far as this one takes it.
    Taken(Taken),
    /// A setting.
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: Value,
    },
    /// A process.
    Process {
        /// Its name.
        name: String,
        /// Its command, where the project says it.
        command: Option<Value>,
    },
    /// A package that a layer of its own makes newer.
    Upgrade {
        /// `NAME:ARCHITECTURE`.
        package: String,
        /// The version.
        version: String,
    },
}

/// Something of what another phase gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// The phase.
    pub(crate) of: Phase,
    /// A path in its image, or a pattern; none for all of it.
    pub(crate) path: Option<String>,
    /// The content there; for a pattern, and for all of it, that of the image. None where there is nothing.
    pub(crate) content: Option<Digest>,
}

/// The value of a setting, or a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Value {
    /// A text.
    Text(String),
    /// A list.
    List(Vec<String>),
    /// A command for a shell.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
}

impl Value {
    fn fields(&self) -> Vec<&str> {
        let (tag, texts): (&str, &[String]) = match self {
            Self::Text(text) => ("text", std::slice::from_ref(text)),
            Self::List(list) => ("list", list),
            Self::Shell(text) => ("shell", std::slice::from_ref(text)),
            Self::Exec(argv) => ("exec", argv),
        };
        [tag].into_iter().chain(texts.iter().map(String::as_str)).collect()
    }

    /// In words.
    fn words(&self) -> String {
        match self {
            Self::Text(text) | Self::Shell(text) => text.clone(),
            Self::List(list) => list.join(" "),
            Self::Exec(argv) => serde_json::Value::from(argv.as_slice()).to_string(),
        }
    }
}

impl From<&Command> for Value {
    fn from(command: &Command) -> Self {
        match command {
            Command::Shell(text) => Self::Shell(text.clone()),
            Command::Exec(argv) => Self::Exec(argv.clone()),
        }
    }
}

impl Part {
    /// All that another phase gave.
    pub(crate) fn whole(of: Phase, content: Digest) -> Self {
        Self::Taken(Taken { of, path: None, content: Some(content) })
    }

    /// What is at a path of what another phase gave, where there is something.
    pub(crate) fn at_path(of: Phase, path: &str, content: Option<Digest>) -> Self {
        Self::Taken(Taken { of, path: Some(path.to_owned()), content })
    }

    /// A setting that is a text.
    pub(crate) fn setting(name: impl Into<String>, value: impl ToString) -> Self {
        Self::Setting { name: name.into(), value: Value::Text(value.to_string()) }
    }

    /// The manifest of an image that it stands for, where it does: a content of one path is none.
    pub(crate) fn image(&self) -> Option<&Digest> {
        match self {
            Self::Base { digest, .. } => Some(digest),
            Self::Taken(taken) => taken.content.as_ref(),
            _ => None,
        }
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> PartKind {
        match self {
            Self::Instruction { .. } => PartKind::Instruction,
            Self::Argument { .. } => PartKind::Argument,
            Self::Base { .. } => PartKind::Base,
            Self::Context { .. } | Self::Remote { .. } => PartKind::Context,
            Self::Source { .. } => PartKind::Source,
            Self::Taken(_) => PartKind::Role,
            Self::Setting { .. } => PartKind::Setting,
            Self::Process { .. } => PartKind::Process,
            Self::Upgrade { .. } => PartKind::Upgrade,
        }
    }

    /// Everything that counts, for the key.
    pub(crate) fn fields(&self) -> Vec<&str> {
        match self {
            Self::Instruction { stage, text } => vec!["instruction", stage, text],
            Self::Argument { name, value, again: _ } => vec!["argument", name, value],
            Self::Base { name, digest, argument: _ } => vec!["base", name.as_str(), digest.as_str()],
            Self::Context { patterns, digest } => {
                let patterns = patterns.iter().map(String::as_str);
                ["context", digest.as_str()].into_iter().chain(patterns).collect()
            }
            Self::Remote { address, state } => vec!["remote", address, state],
            Self::Source { digest } => vec!["source", digest.as_str()],
            Self::Taken(Taken { of, path, content }) => {
                let content = content.as_ref().map(Digest::as_str);
                [&["given", of.as_str()], &option(path.as_deref())[..], &option(content)].concat()
            }
            Self::Setting { name, value } => [&["setting", name.as_str()], &value.fields()[..]].concat(),
            Self::Process { name, command } => {
                let command = command.as_ref().map(Value::fields).unwrap_or_default();
                [&["process", name.as_str()], &command[..]].concat()
            }
            Self::Upgrade { package, version } => vec!["upgrade", package, version],
        }
    }

    /// What it is called among those of its kind; instructions of one stage share one name, others are unique.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Instruction { stage, .. } => stage.into(),
            Self::Argument { name, value, again: true } => format!("{name} ({value})").into(),
            Self::Argument { name, .. } | Self::Setting { name, .. } | Self::Process { name, .. } => {
                name.into()
            }
            Self::Base { name, .. } => name.as_str().into(),
            Self::Context { patterns, .. } if *patterns == ["/"] => "everything".into(),
            Self::Context { patterns, .. } => patterns.join(" ").into(),
            Self::Remote { address, .. } => address.into(),
            Self::Source { .. } => "tree".into(),
            Self::Taken(Taken { of, path: Some(path), .. }) => format!("{of} {path}").into(),
            Self::Taken(Taken { of, .. }) => of.as_str().into(),
            Self::Upgrade { package, .. } => package.into(),
        }
    }

    /// What an explanation calls it.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Base { argument: Some(argument), .. } => argument.clone(),
            _ => self.name().into_owned(),
        }
    }

    /// Its value, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Instruction { text, .. } => text.clone(),
            Self::Argument { value, .. } => value.clone(),
            Self::Base { digest, .. } | Self::Context { digest, .. } | Self::Source { digest } => {
                digest.to_string()
            }
            Self::Remote { state, .. } => state.clone(),
            Self::Taken(taken) => {
                taken.content.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
            }
            Self::Setting { value, .. } => value.words(),
            Self::Process { command, .. } => command.as_ref().map(Value::words).unwrap_or_default(),
            Self::Upgrade { version, .. } => version.clone(),
        }
    }

    /// What another phase gave, where it is that.
    pub(crate) fn taken(&self) -> Option<&Taken> {
        match self {
            Self::Taken(taken) => Some(taken),
            _ => None,
        }
    }
}

/// A field that may not be there.
fn option(text: Option<&str>) -> Vec<&str> {
    text.map_or_else(|| vec!["none"], |text| vec!["some", text])
}

/// Computes a phase's key: the digest of its name and of all parts in order.
pub(crate) fn key(phase: Phase, parts: &[Part]) -> Digest {
    let named = Fields::new(FORM).text(phase.as_str());
    parts.iter().fold(named, |fields, part| fields.list(part.fields())).digest()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn argument(name: &str, value: &str) -> Part {
        Part::Argument { name: name.into(), value: value.into(), again: false }
    }

    fn base(argument: Option<&str>) -> Part {
        let (name, digest) = (BaseName::parse("debian:12").unwrap(), Digest::sha256_of(b"base"));
        Part::Base { name, digest, argument: argument.map(Into::into) }
    }

    fn taken(path: Option<&str>, content: Option<&[u8]>) -> Part {
        let content = content.map(Digest::sha256_of);
        Part::Taken(Taken { of: Phase::Builder, path: path.map(Into::into), content })
    }

    /// One of every kind, and those that are nearly equal.
    fn all() -> Vec<Part> {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let process = |command| Part::Process { name: "web".into(), command };
        let setting = |value| Part::Setting { name: "S".into(), value };
        let digest = Digest::sha256_of(b"files");
        vec![
            Part::Instruction { stage: "build".into(), text: "RUN a".into() },
            argument("A", "1"),
            argument("A1", ""),
            base(None),
            Part::Context { patterns: texts(&["a", "b"]), digest: digest.clone() },
            Part::Context { patterns: texts(&["a b"]), digest: digest.clone() },
            Part::Remote { address: "https://a.test/".into(), state: "1".into() },
            Part::Source { digest },
            taken(None, None),
            taken(Some("/a"), None),
            taken(None, Some(b"a")),
            taken(Some("/a"), Some(b"a")),
            setting(Value::Text("run".into())),
            setting(Value::Shell("run".into())),
            setting(Value::List(texts(&["run"]))),
            setting(Value::Exec(texts(&["run"]))),
            setting(Value::List(Vec::new())),
            process(None),
            process(Some(Value::Shell(String::new()))),
            process(Some(Value::Exec(texts(&["a", "b"])))),
            process(Some(Value::Exec(texts(&["a b"])))),
            Part::Upgrade { package: "libssl3:amd64".into(), version: "3.0".into() },
        ]
    }

    #[test]
    fn a_key_depends_on_phase_kind_name_value_and_order_and_on_nothing_else() {
        let parts = all();
        let keys: BTreeSet<_> =
            parts.iter().map(|part| key(Phase::Builder, std::slice::from_ref(part))).collect();
        assert_eq!(keys.len(), parts.len(), "two parts have one key");
        let first = key(Phase::Builder, &parts);
        let reversed: Vec<_> = parts.iter().rev().cloned().collect();
        let others =
            [key(Phase::Runner, &parts), key(Phase::Builder, &reversed), key(Phase::Builder, &parts[1..])];
        assert!(!others.contains(&first));
        let called = |argument| key(Phase::Builder, &[base(argument)]);
        assert_eq!(called(None), called(Some("DEBIAN")), "what a base is called is for people");
    }

    #[test]
    fn keys_are_the_same_on_every_machine_and_with_every_compiler() {
        assert_eq!(
            key(Phase::Builder, &[]).to_string(),
            "sha256:ced1f1db4b300addd61e7982503f8d4b86606f1c7ee21c70dfdce8310978c052"
        );
        assert_eq!(
            key(Phase::App, &all()).to_string(),
            "sha256:6e2f2306db780d21e10ef82b15c0e94e60773fd47a0aedae17229129087c8174"
        );
    }

    #[test]
    fn parts_come_back_from_a_record() {
        let text = serde_json::to_string(&all()).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Part>>(&text).unwrap(), all());
    }
}
