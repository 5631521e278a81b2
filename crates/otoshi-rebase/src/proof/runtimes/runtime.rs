//! A runtime: how its version shows, and what files need of it.

use otoshi_oci::contents::Contents;

use crate::proof::elf::Elf;
use crate::proof::facts::{Content, Facts};

/// What a file needs of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// This version.
    Exactly(String),
    /// This version or a later one.
    AtLeast(u32),
    /// Some version.
    Any,
}

/// One file, by its path in the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) facts: &'a Facts,
}

impl<'a> File<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn extension(&self) -> Option<&'a str> {
        self.name().rsplit_once('.').map(|(_, extension)| extension)
    }

    pub(super) fn elf(&self) -> Option<&'a Elf> {
        match &self.facts.content {
            Content::Elf(elf) => Some(elf),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.facts.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// One runtime: how its version shows in a base, and what an application's file needs of it.
pub(super) trait Runtime: Sync {
    /// Its name, as findings and waivers have it.
    fn name(&self) -> &'static str;

    /// The versions that a file of a base shows.
    fn shown_by(&self, file: File<'_>) -> Vec<String>;

    /// What a file of the application needs; `old` are the versions that it has now.
    fn needed_by(&self, file: File<'_>, old: &[&str]) -> Option<Need>;

    /// Whether an application brings the runtime along.
    fn is_own(&self, _: &Contents<Facts>) -> bool {
        false
    }
}

/// The path's component after one of these names.
pub(super) fn after<'a>(path: &'a str, names: &[&str]) -> impl Iterator<Item = &'a str> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let parts = path.split('/');
    parts
        .clone()
        .zip(parts.skip(1))
        .filter(move |(name, _)| names.iter().any(|known| known == name))
        .map(|(_, next)| next)
}

/// Whether a text is numbers with dots between them, as many as one of these counts.
pub(super) fn is_version(text: &str, counts: &[usize]) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    counts.contains(&text.split('.').count()) && text.split('.').all(is_number)
}

/// The number that a header defines a name to be: the last one, or that of the name that it is defined as.
pub(super) fn define(text: &str, name: &str) -> Option<u32> {
    let values = |name: &str| -> Vec<&str> {
        let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let of_name = words.filter(|words| words.len() > 2 && words[0] == "#define" && words[1] == name);
        of_name.map(|words| words[2]).collect()
    };
    let found = values(name);
    let number = found.iter().rev().find_map(|value| value.parse().ok());
    number.or_else(|| found.iter().flat_map(|other| values(other)).find_map(|value| value.parse().ok()))
}
