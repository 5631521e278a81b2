//! Distributions in tags: `bookworm`, `alpine3.19`, `debian-12`, `ubuntu22.04`, `ubi9`.

use std::cmp::Ordering;

use crate::cycle::{Cycles, numbers};

/// Distributions that have no code names in the table.
const OTHERS: &[&str] = &[
    "ubi",
    "fedora",
    "centos",
    "rockylinux",
    "rocky",
    "almalinux",
    "alma",
    "oraclelinux",
    "ol",
    "al",
    "amazonlinux",
    "photon",
    "opensuse",
    "leap",
    "mariner",
    "azurelinux",
    "wolfi",
    "windowsservercore",
    "nanoserver",
];

/// A distribution that a tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// Which one, such as `debian`.
    pub(crate) family: String,
    /// The release's numbers; none where the tag does not say them, as in `20-alpine`.
    pub(crate) release: Option<Vec<u64>>,
    /// Whether it is named by its code name.
    pub(crate) by_name: bool,
}

impl Distribution {
    /// Reads it from a word, or from a word and the next; also says how many words more were used.
    pub(super) fn parse(word: &str, next: Option<&str>, cycles: &Cycles) -> Option<(Self, usize)> {
        if let Some((family, release)) = cycles.by_code_name(word) {
            let release = Some(release.numbers());
            return Some((Self { family: family.to_owned(), release, by_name: true }, 0));
        }
        let end = word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len());
        let (family, release) = word.split_at(end);
        let known = cycles.distributions().any(|(name, _)| name == family) || OTHERS.contains(&family);
        if !known {
            return None;
        }
        let named = |release| Self { family: family.to_owned(), release, by_name: false };
        if !release.is_empty() {
            return Some((named(Some(numbers(release)?)), 0));
        }
        // `debian-bookworm`
        if let Some((_, release)) =
            next.and_then(|next| cycles.by_code_name(next)).filter(|(of, _)| *of == family)
        {
            let release = Some(release.numbers());
            return Some((Self { family: family.to_owned(), release, by_name: true }, 1));
        }
        // `debian-12`: the release is the next word; a longer number there is something else.
        let apart = next.and_then(numbers).filter(|numbers| numbers.iter().all(|number| *number < 1000));
        let used = usize::from(apart.is_some());
        Some((named(apart), used))
    }

    /// Which of two releases of one distribution is newer; `None` where they cannot be compared.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.family != other.family {
            return None;
        }
        Some(self.release.as_ref()?.cmp(other.release.as_ref()?))
    }
}
