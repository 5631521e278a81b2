//! Tags, taken apart.

use super::{
    distribution::Distribution,
    time::{self, is_date, is_seconds, is_year},
};
use crate::cycle::Cycles;

/// A tag, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The tag as it is written.
    pub(crate) text: String,
    /// What stands before the version, such as `v` or `jdk-`.
    pub(crate) prefix: String,
    /// The version; `None` where the tag has none, as `latest` and `bookworm-slim`.
    pub(crate) version: Option<Version>,
    /// The distribution below.
    pub(crate) distribution: Option<Distribution>,
    /// The words that are nothing of the above, in their order.
    pub(crate) flavour: Vec<String>,
}

/// What a tag is to those who look for a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is one of a series, in which there may be newer ones.
    Series,
    /// It says no more than which branch it is on, as `latest` and `slim`: what is newer moves it.
    Floating,
    /// It names a commit, a signature, or a build by its number.
    Commit,
    /// It has numbers, and nobody here knows what they count.
    Unclear,
}

impl Form {
    /// Says what form a tag has.
    pub(crate) fn of(tag: &str, cycles: &Cycles) -> Self {
        match Tag::parse(tag, cycles) {
            None => Self::Commit,
            Some(tag) if tag.version.is_some() || tag.distribution.is_some() => Self::Series,
            Some(tag) if tag.flavour.iter().any(|word| counts(word)) => Self::Unclear,
            Some(_) => Self::Floating,
        }
    }
}

/// A version in a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// The numbers.
    pub(crate) numbers: Vec<u64>,
    /// A pre-release comes before the release.
    pub(crate) stage: Stage,
    /// Numbers after the version, such as a packager's revision or a date.
    pub(crate) revision: Vec<u64>,
}

/// How far a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Anything that is not even an alpha.
    Development(u64),
    /// An alpha.
    Alpha(u64),
    /// A beta.
    Beta(u64),
    /// A release candidate.
    Candidate(u64),
    /// A release.
    Release,
}

impl Version {
    /// Whether its first number is a year, a date, or a time in seconds.
    pub(crate) fn is_calendar(&self) -> bool {
        self.numbers.first().is_some_and(|first| is_year(*first) || is_date(*first) || is_seconds(*first))
    }

    /// Whether a day or a second stands behind it.
    pub(super) fn is_timed(&self) -> bool {
        self.revision.iter().any(|number| is_date(*number) || is_seconds(*number))
    }
}

impl Tag {
    /// Takes a tag apart; `None` for what names a commit, a signature, or a build by its number alone.
    pub(crate) fn parse(text: &str, cycles: &Cycles) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let artifact = [".sig", ".att", ".sbom"].iter().any(|end| lower.ends_with(end));
        if !text.is_ascii() || artifact || ["sha256-", "sha512-"].iter().any(|start| lower.starts_with(start))
        {
            return None;
        }
        let mut tag = Self {
            text: text.to_owned(),
            prefix: String::new(),
            version: None,
            distribution: None,
            flavour: Vec::new(),
        };
        let text = time::joined(text);
        let tokens: Vec<&str> = text.split('-').collect();
        let mut index = 0;
        // Whether a word of the flavour came last: a number behind it is that word's, as in `temurin-21`.
        let mut behind_word = false;
        while index < tokens.len() {
            let token = tokens[index];
            let previous = index.checked_sub(1).map(|before| tokens[before]);
            if is_commit(token, previous) {
                return None;
            }
            index += 1;
            // Of `rc.1` and `rc-1`, the number may stand apart.
            if let Some(mut stage) = stage(&token.to_ascii_lowercase()).filter(|_| tag.version.is_some()) {
                if let (None, Some(number)) = (stage.1, tokens.get(index).and_then(|next| small_number(next)))
                {
                    stage.1 = Some(number);
                    index += 1;
                }
                if let Some(version) = &mut tag.version {
                    version.stage = (stage.0)(stage.1.unwrap_or(0));
                }
                continue;
            }
            if tag.distribution.is_none()
                && let Some((distribution, used)) =
                    Distribution::parse(token, tokens.get(index).copied(), cycles)
            {
                tag.distribution = Some(distribution);
                index += used;
                behind_word = false;
                continue;
            }
            // Distributions of Kubernetes count their own builds behind its version.
            let counted = |word: &str| Some((word.to_owned(), small_number(token.strip_prefix(word)?)?));
            let counted = ["k3s", "rke2r"].into_iter().find_map(counted);
            if let (Some(version), Some((word, number))) = (&mut tag.version, counted) {
                version.revision.push(number);
                tag.flavour.push(word);
                continue;
            }
            if ARCHITECTURES.contains(&token) {
                tag.flavour.push(token.to_owned());
                behind_word = true;
                continue;
            }
            match (&mut tag.version, version(token)) {
                (None, Some((prefix, version))) => {
                    // A lone number of seven digits or more counts builds, unless it is a time.
                    if version.numbers.first().copied().is_some_and(is_build) {
                        return None;
                    }
                    let before = std::mem::take(&mut tag.flavour);
                    tag.prefix = before.iter().map(|word| format!("{word}-")).collect::<String>() + &prefix;
                    tag.version = Some(version);
                    behind_word = false;
                }
                (Some(known), Some((prefix, more))) if more.stage == Stage::Release => {
                    let counts = |number: u64| is_date(number) || is_seconds(number);
                    let is_time = more.numbers.first().copied().is_some_and(counts);
                    let (word, letters) =
                        prefix.rsplit_once('.').map_or((None, &prefix[..]), |(word, _)| (Some(word), ""));
                    if letters.is_empty() && word.is_none() && behind_word && !is_time {
                        // `temurin-21`: one word.
                        match tag.flavour.last_mut() {
                            Some(last) => *last = format!("{last}-{token}"),
                            None => tag.flavour.push(token.to_owned()),
                        }
                        continue;
                    }
                    if !is_revision(letters) {
                        tag.flavour.push(token.to_owned());
                        behind_word = true;
                        continue;
                    }
                    if more.numbers.iter().any(|number| is_build(*number)) {
                        return None;
                    }
                    // `ce.0`: a word with a count of its own.
                    tag.flavour.extend(word.map(str::to_owned));
                    known.revision.extend(more.numbers);
                }
                _ => {
                    tag.flavour.push(token.to_owned());
                    behind_word = true;
                }
            }
        }
        Some(tag)
    }
}

/// Words for machines, which may end in numbers.
pub(super) const ARCHITECTURES: &[&str] = &[
    "amd64", "arm64", "arm64v8", "arm32v5", "arm32v6", "arm32v7", "armv5", "armv6", "armv7", "armv8",
    "armhf", "aarch64", "x86_64", "x64", "i386", "386", "ppc64le", "s390x", "riscv64", "mips64le", "loong64",
];

/// Whether a word has numbers that mean something, and not a machine.
fn counts(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit()) && !ARCHITECTURES.contains(&word)
}

/// Whether a number counts builds.
fn is_build(number: u64) -> bool {
    number >= 1_000_000 && !is_date(number) && !is_seconds(number)
}

fn is_revision(prefix: &str) -> bool {
    let known = [
        "", "r", "p", "b", "v", "u", "n", "rev", "build", "deb", "ls", "cu", "sp", "sr", "fp", "hotfix",
        "patch",
    ];
    known.contains(&&prefix.to_ascii_lowercase()[..])
}

/// A version: letters, numbers with `.`, `_` or `u` between them, and a pre-release that may follow at once.
fn version(token: &str) -> Option<(String, Version)> {
    let start = token.find(|c: char| c.is_ascii_digit())?;
    let (prefix, rest) = token.split_at(start);
    if !prefix.chars().all(|c| c.is_ascii_alphabetic() || c == '.' || c == '_') || prefix.len() > 12 {
        return None;
    }
    let (mut numbers, mut revision) = (Vec::new(), Vec::new());
    let mut rest = rest;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        numbers.push(rest[..end].parse().ok()?);
        rest = &rest[end..];
        let mut following = rest.chars();
        match (following.next(), following.next()) {
            (Some('.' | '_' | '+' | 'u'), Some(next)) if next.is_ascii_digit() => rest = &rest[1..],
            _ => break,
        }
    }
    let word = rest.trim_start_matches(['.', '_', '+']).to_ascii_lowercase();
    let mut found = Stage::Release;
    if !word.is_empty() {
        let glued = stage(&word).or_else(|| {
            // Python writes 3.13.0a1, b2.
            let (letter, number) = word.split_at(1);
            let number = small_number(number)?;
            match letter {
                "a" => Some((Stage::Alpha as fn(u64) -> Stage, Some(number))),
                "b" => Some((Stage::Beta as fn(u64) -> Stage, Some(number))),
                _ => None,
            }
        });
        if let Some((make, number)) = glued {
            found = make(number.unwrap_or(0));
        } else if !["final", "ga", "release"].contains(&&word[..]) {
            let number = ["p", "sp", "s", "f"]
                .iter()
                .find_map(|letters| word.strip_prefix(letters).and_then(small_number));
            revision.push(number?);
        }
    }
    Some((prefix.to_owned(), Version { numbers, stage: found, revision }))
}

/// A word for a pre-release, with the number that follows it in the same word.
fn stage(word: &str) -> Option<(fn(u64) -> Stage, Option<u64>)> {
    let end = word.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(word.len());
    let (name, number) = word.split_at(end);
    let number = number.trim_start_matches('.');
    let number = if number.is_empty() { None } else { Some(small_number(number)?) };
    let make: fn(u64) -> Stage = match name {
        "rc" | "cr" => Stage::Candidate,
        "beta" => Stage::Beta,
        "alpha" => Stage::Alpha,
        "dev" | "devel" | "pre" | "preview" | "nightly" | "snapshot" | "canary" | "ea" | "edge" | "next"
        | "unstable" | "testing" | "experimental" | "milestone" | "insiders" => Stage::Development,
        "m" if number.is_some() => Stage::Development,
        _ => return None,
    };
    Some((make, number))
}

fn small_number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Whether a word names a commit.
fn is_commit(word: &str, previous: Option<&str>) -> bool {
    let hex = |text: &str| {
        (7..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mixed = |text: &str| {
        hex(text) && text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().any(|b| b.is_ascii_alphabetic())
    };
    let said = previous.is_some_and(|word| ["sha", "git", "commit", "rev"].contains(&word));
    let described = word.strip_prefix('g').is_some_and(mixed);
    mixed(word) || (said && hex(word)) || described || (matches!(word.len(), 40 | 64) && hex(word))
}
