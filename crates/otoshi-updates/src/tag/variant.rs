//! Variants of tags that differ in more than the version: in the numbers of their words (`jdk17` and `jdk21`), or in their form.

use std::{cmp::Ordering, collections::BTreeMap};

use jiff::civil::Date;

use super::{
    counting::{is_outlier, same_kinds},
    level::Level,
    parts::{ARCHITECTURES, Stage, Tag},
};

/// The words of a flavour with a mark in each number's place, and the numbers: of `otp-26.1-slim`, `otp-#-slim` and 26.1.
fn shape(flavour: &[String]) -> (String, Vec<Vec<u64>>) {
    let (mut shape, mut numbers) = (String::new(), Vec::new());
    for word in flavour {
        shape.push('-');
        if ARCHITECTURES.contains(&&word[..]) {
            shape.push_str(word);
            continue;
        }
        let mut rest = &word[..];
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let length = digits_and_points(&rest[start..]);
            let (before, number) = (&rest[..start], &rest[start..start + length]);
            shape.push_str(before);
            match number.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>() {
                Some(number) => {
                    shape.push('#');
                    numbers.push(number);
                }
                None => shape.push_str(number),
            }
            rest = &rest[start + length..];
        }
        shape.push_str(rest);
    }
    (shape, numbers)
}

/// The length of digits with single points between them, at the start of a text.
fn digits_and_points(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    (0..bytes.len())
        .find(|index| !(is_digit(*index) || bytes[*index] == b'.' && is_digit(index + 1)))
        .unwrap_or(bytes.len())
}

/// Compares as far as both say something: 17 is neither older nor newer than 17.0.1.
fn compare(a: &[u64], b: &[u64]) -> Ordering {
    let length = a.len().min(b.len());
    a[..length].cmp(&b[..length])
}

/// How far the numbers in the words of a flavour grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Not at all, as far as both say something.
    Nothing,
    /// As a version would.
    By(Level),
}

/// How far the numbers in a flavour's words grew; `None` where the words are others, or a number is smaller.
pub(super) fn growth(old: &[String], new: &[String]) -> Option<Growth> {
    let ((old_shape, old), (new_shape, new)) = (shape(old), shape(new));
    if old_shape != new_shape || old.iter().zip(&new).any(|(old, new)| compare(old, new).is_gt()) {
        return None;
    }
    let first = |(old, new): (&Vec<u64>, &Vec<u64>)| old.iter().zip(new).position(|(old, new)| old != new);
    Some(match old.iter().zip(&new).filter_map(first).min() {
        None => Growth::Nothing,
        Some(0) => Growth::By(Level::Major),
        Some(1) => Growth::By(Level::Minor),
        Some(_) => Growth::By(Level::Patch),
    })
}

/// The numbers of a flavour's words, to sort by.
pub(super) fn numbers(tag: &Tag) -> Vec<Vec<u64>> {
    shape(&tag.flavour).1
}

/// Whether a tag is a release that a pre-release led to, with more numbers: `1.23.1` after `1.23rc2`.
pub(super) fn is_final(now: &Tag, tag: &Tag, today: Date) -> bool {
    let (Some(old), Some(new)) = (&now.version, &tag.version) else { return false };
    matches!(old.stage, Stage::Alpha(_) | Stage::Beta(_) | Stage::Candidate(_))
        && new.stage == Stage::Release
        && (&now.prefix, &now.flavour, &now.distribution) == (&tag.prefix, &tag.flavour, &tag.distribution)
        && old.revision.is_empty()
        && new.revision.is_empty()
        && new.numbers.len() > old.numbers.len()
        && new.numbers > old.numbers
        && same_kinds(&old.numbers, &new.numbers)
        && old.is_calendar() == new.is_calendar()
        && !is_outlier(old, new, today)
}

/// What tells forms of tags apart.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form<'a> {
    prefix: &'a str,
    numbers: usize,
    revision: usize,
    /// Whether a distribution is named by its code name, and whether its release is said.
    distribution: Option<(bool, bool)>,
    flavour: String,
}

impl<'a> Form<'a> {
    fn of(tag: &'a Tag) -> Option<Self> {
        let version = tag.version.as_ref()?;
        let distribution = tag.distribution.as_ref();
        Some(Self {
            prefix: &tag.prefix,
            numbers: version.numbers.len(),
            revision: version.revision.len(),
            distribution: distribution.map(|found| (found.by_name, found.release.is_some())),
            flavour: shape(&tag.flavour).0,
        })
    }
}

/// Whether two tags have the same words, numbers left aside, and the same distribution: `cudnn8` and `cudnn`, `v1.2` and `1.3.0`.
pub(super) fn same_words(a: &Tag, b: &Tag) -> bool {
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphabetic).collect::<String>();
    let prefix = |tag: &Tag| {
        let letters = letters(&tag.prefix).to_ascii_lowercase();
        letters.strip_suffix('v').map_or(letters.clone(), str::to_owned)
    };
    let family = |tag: &Tag| tag.distribution.as_ref().map(|found| found.family.clone());
    letters(&a.flavour.join("-")) == letters(&b.flavour.join("-"))
        && prefix(a) == prefix(b)
        && machines(a) == machines(b)
        && family(a) == family(b)
}

/// The words of a tag that name architectures.
fn machines(tag: &Tag) -> Vec<&str> {
    tag.flavour.iter().map(String::as_str).filter(|word| ARCHITECTURES.contains(word)).collect()
}

/// The newest of the tags of other variants that come after one, which has a variant: a distribution, or words for the flavour.
///
/// Without a variant nothing is said: beside plain tags there are those of commits, dates and much else.
pub(super) fn of_another_variant<'t>(
    now: &Tag,
    tags: impl Iterator<Item = &'t Tag>,
    today: Date,
) -> Option<String> {
    let old = now.version.as_ref()?;
    if now.flavour.is_empty() && now.distribution.is_none() {
        return None;
    }
    let comes_after = |tag: &&Tag| {
        let Some(new) = &tag.version else { return false };
        let is_for_it = machines(tag).is_empty() || machines(tag) == machines(now);
        is_for_it
            && (&tag.flavour, &tag.distribution) != (&now.flavour, &now.distribution)
            && tag.prefix == now.prefix
            && new.stage == Stage::Release
            && new > old
            && new.numbers.len() == old.numbers.len()
            && new.revision.len() == old.revision.len()
            && same_kinds(&old.numbers, &new.numbers)
            && old.is_calendar() == new.is_calendar()
            && !is_outlier(old, new, today)
    };
    let newest = tags.filter(comes_after);
    newest.max_by(|a, b| (&a.version, &b.text).cmp(&(&b.version, &a.text))).map(|tag| tag.text.clone())
}

/// The newest of the tags with the same words that may come after one, in a form that began with newer versions: one that older
/// versions have as well stands beside the tag's own, and says nothing.
pub(super) fn of_another_form(now: &Tag, tags: &[Tag], today: Date) -> Option<String> {
    let (own, old) = (Form::of(now)?, now.version.as_ref()?);
    let mut newest: BTreeMap<Form<'_>, Option<&Tag>> = BTreeMap::new();
    for tag in tags {
        let (Some(form), Some(new)) = (Form::of(tag), &tag.version) else { continue };
        // A single number is a branch of versions, or counts something else.
        let is_comparable = form != own
            && (form.numbers > 1 || own.numbers == 1)
            && (form.revision == own.revision || !new.is_timed())
            && (new.stage == Stage::Release || old.stage != Stage::Release)
            && same_kinds(&old.numbers, &new.numbers)
            && old.is_calendar() == new.is_calendar()
            && !is_outlier(old, new, today);
        if !is_comparable {
            continue;
        }
        let is_newer = compare(&new.numbers, &old.numbers).is_gt();
        let best = newest.entry(form).or_insert(Some(tag));
        *best = best.filter(|_| is_newer).map(|best| if best.version < tag.version { tag } else { best });
    }
    let newest = newest.into_values().flatten();
    newest.max_by(|a, b| (&a.version, &a.text).cmp(&(&b.version, &b.text))).map(|tag| tag.text.clone())
}
