//! What a repository has that is newer than a tag: a newer version of the same flavour, and the same version on a newer
//! distribution. These are two suggestions, and one step only where a variant ended: it gets no newer version any more on its
//! distribution, nor is its own there on a newer one. Where a flavour has numbers of its own (`jdk17`) and no newer version has
//! the same ones, those with larger numbers are suggested. What may be newer in a form that was not there before, or in other variants
//! where nothing newer has the one in use, is named only, as nobody here knows.
//!
//! Promises: nothing that is suggested is older or a pre-release (unless the tag in use is one of the same version), has another prefix or other words for the flavour, or smaller numbers in them, is more or less exact than
//! the tag in use (unless that is a pre-release), or counts by another calendar.

use std::{cmp::Ordering, collections::BTreeSet};

use jiff::civil::Date;

use super::{
    counting::{is_outlier, same_kinds, skips_to_year},
    distribution::Distribution,
    level::Level,
    parts::{Stage, Tag, Version},
    time::{is_date, is_seconds},
    variant::{Growth, growth, is_final, numbers, of_another_form, of_another_variant, same_words},
};
use crate::cycle::{Cycles, ProductKind, Release};
use crate::kind::FindingKind;

/// A tag that is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The tag.
    pub(crate) tag: Tag,
    /// How large the step is.
    pub(crate) level: Level,
}

/// What there is, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Suggestions {
    /// Newer versions of the same flavour.
    pub(crate) versions: Vec<Candidate>,
    /// The same version on newer distributions.
    pub(crate) distributions: Vec<Candidate>,
    /// Where there is nothing of both, though the repository goes on: newer versions on the next distribution that has any.
    pub(crate) successors: Vec<Candidate>,
    /// Where there is nothing at all: what may be newer.
    pub(crate) unclear: Option<Unclear>,
}

/// A tag that may be newer than the one in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// One of another form.
    Form(String),
    /// One of another variant: nothing newer has the one in use.
    Variant(String),
}

/// Sorts what there is by the kind of finding and by whether it is a large step; of each the newest first.
pub(crate) fn slots(found: &Suggestions) -> [(FindingKind, Vec<&Candidate>); 4] {
    let (large, small) = found.versions.iter().partition(|candidate| candidate.level == Level::Major);
    [
        (FindingKind::NewerVersion, small),
        (FindingKind::NewerVersion, large),
        (FindingKind::NewerDistribution, found.distributions.iter().collect()),
        (FindingKind::NewerDistribution, found.successors.iter().collect()),
    ]
}

/// Says whether a candidate is there because a variant ended.
pub(crate) fn is_successor(found: &Suggestions, candidate: &Candidate) -> bool {
    found.successors.iter().any(|one| std::ptr::eq(one, candidate))
}

/// Finds what is newer than a tag of a repository among the repository's tags.
pub(crate) fn suggest(
    repository: &str,
    current: &str,
    tags: impl IntoIterator<Item = impl AsRef<str>>,
    cycles: &Cycles,
    today: Date,
) -> Suggestions {
    let mut found = Suggestions::default();
    let Some(now) = Tag::parse(current, cycles) else { return found };
    let own = cycles
        .product_of_repository(repository)
        .filter(|(_, product)| product.kind == ProductKind::Distribution)
        .map(|(family, _)| family);
    let parsed = tags.into_iter().filter_map(|text| Tag::parse(text.as_ref(), cycles));
    let (all, far): (Vec<Tag>, Vec<Tag>) =
        parsed.filter(|tag| tag.text != current).partition(|tag| same_words(tag, &now));
    let is_near = |tag: &Tag| !(leads_on(now.version.as_ref()) && is_of_next(&now, tag));
    let all: Vec<Tag> = all.into_iter().filter(is_near).collect();
    let is_alike = |tag: &&Tag| tag.prefix == now.prefix && alike(tag, &now);
    let line = all.iter().filter(is_alike).filter_map(|tag| tag.version.as_ref());
    let firsts: BTreeSet<u64> = line.filter_map(|version| version.numbers.first().copied()).collect();
    let (years, near): (Vec<Tag>, Vec<Tag>) =
        all.iter().cloned().partition(|tag| match (&now.version, &tag.version) {
            (Some(old), Some(new)) => new > old && skips_to_year(old, new, &firsts, today),
            _ => false,
        });
    let mut both = Vec::new();
    for tag in near.iter().filter(is_alike).filter(|tag| tag.flavour == now.flavour) {
        match step(&now, tag, own, cycles, today) {
            Some(Level::Distribution) => {
                found.distributions.push(Candidate { tag: tag.clone(), level: Level::Distribution });
            }
            Some(level) => found.versions.push(Candidate { tag: tag.clone(), level }),
            None if is_both(&now, tag, cycles, today) => both.push(tag.clone()),
            None => {}
        }
    }
    let is_release =
        |found: &Candidate| found.tag.version.as_ref().is_some_and(|of| of.stage == Stage::Release);
    if found.versions.iter().any(is_release) {
        found.versions.retain(|found| !is_of_next(&now, &found.tag));
    }
    if found.versions.is_empty() && found.distributions.is_empty() {
        found.successors = successors(&now, both);
    }
    if found.versions.is_empty() && own.is_none() {
        let varied = near.iter().filter(is_alike).filter(|tag| tag.flavour != now.flavour);
        found.versions = varied
            .filter_map(|tag| {
                let level = varied_step(&now, tag, cycles, today)?;
                Some(Candidate { tag: tag.clone(), level })
            })
            .collect();
    }
    if own.is_none() {
        found.versions.extend(near.iter().filter(|tag| is_final(&now, tag, today)).filter_map(|tag| {
            let level = level(now.version.as_ref()?, tag.version.as_ref()?);
            Some(Candidate { tag: tag.clone(), level })
        }));
    }
    if found == Suggestions::default() && own.is_none() {
        let varied = near.iter().filter(is_alike).filter(|tag| is_both(&now, tag, cycles, today));
        let varied = varied.filter(|tag| growth(&now.flavour, &tag.flavour).is_some());
        found.successors = successors(&now, varied.cloned().collect());
    }
    if found == Suggestions::default() && own.is_none() {
        let year = years.iter().filter(is_alike).filter(|tag| tag.flavour == now.flavour);
        let year = year.min_by(|a, b| newest_first(a, b)).map(|tag| tag.text.clone());
        found.unclear = of_another_form(&now, &all, today).or(year).map(Unclear::Form);
    }
    if found == Suggestions::default() && own.is_none() {
        found.unclear = of_another_variant(&now, near.iter().chain(&far), today).map(Unclear::Variant);
    }
    found.versions.sort_by(|a, b| newest_first(&a.tag, &b.tag));
    found.distributions.sort_by(|a, b| newest_first(&a.tag, &b.tag));
    found
}

/// Whether a tag is a pre-release of another version than the one in use is a pre-release of: nobody waits for that one.
fn is_of_next(now: &Tag, tag: &Tag) -> bool {
    let (Some(now), Some(tag)) = (&now.version, &tag.version) else { return false };
    now.stage != Stage::Release
        && tag.stage != Stage::Release
        && now.numbers != tag.numbers
        && !now.is_calendar()
}

/// Whether a version is one of those that lead to a release, and not one by a word that names other things, too (`devel`).
fn leads_on(version: Option<&Version>) -> bool {
    version.is_some_and(|version| {
        matches!(version.stage, Stage::Alpha(_) | Stage::Beta(_) | Stage::Candidate(_))
    })
}

/// What kind of step it is to a tag with larger numbers in its flavour: the version may be the same, or newer.
fn varied_step(now: &Tag, tag: &Tag, cycles: &Cycles, today: Date) -> Option<Level> {
    let grown = match growth(&now.flavour, &tag.flavour)? {
        Growth::Nothing => None,
        Growth::By(level) => Some(level),
    };
    if now.version == tag.version && now.distribution == tag.distribution {
        return grown;
    }
    let level = step(now, tag, None, cycles, today).filter(|level| *level != Level::Distribution)?;
    Some(grown.map_or(level, |grown| level.max(grown)))
}

/// Whether a tag is a newer version on a newer distribution.
fn is_both(now: &Tag, tag: &Tag, cycles: &Cycles, today: Date) -> bool {
    let (Some(old), Some(new)) = (&now.distribution, &tag.distribution) else { return false };
    let (Some(before), Some(after)) = (&now.version, &tag.version) else { return false };
    let (Some(from), Some(to)) = (&old.release, &new.release) else { return false };
    new.compare(old) == Some(Ordering::Greater)
        && is_wanted(&old.family, from, to, cycles, today)
        && after > before
        && (after.stage == Stage::Release || before.stage != Stage::Release)
        && !is_outlier(before, after, today)
}

/// What comes after a variant that ended: on the next distribution that goes on, the newest of the same major version, else of any.
fn successors(now: &Tag, both: Vec<Tag>) -> Vec<Candidate> {
    let release = |tag: &Tag| tag.distribution.as_ref().and_then(|found| found.release.clone());
    let next = both.iter().filter_map(release).min();
    let mut tags: Vec<Tag> = both.into_iter().filter(|tag| release(tag) == next).collect();
    let is_major = |tag: &Tag| match (&now.version, &tag.version) {
        (Some(old), Some(new)) => level(old, new) == Level::Major,
        _ => false,
    };
    if !tags.iter().all(is_major) {
        tags.retain(|tag| !is_major(tag));
    }
    tags.sort_by(newest_first);
    tags.into_iter().map(|tag| Candidate { tag, level: Level::Distribution }).collect()
}

fn newest_first(a: &Tag, b: &Tag) -> Ordering {
    let release = |tag: &Tag| tag.distribution.as_ref().and_then(|found| found.release.clone());
    (&b.version, release(b))
        .cmp(&(&a.version, release(a)))
        .then_with(|| numbers(b).cmp(&numbers(a)))
        .then_with(|| a.text.cmp(&b.text))
}

/// Whether two tags say the same kinds of things.
fn alike(a: &Tag, b: &Tag) -> bool {
    let distributions = match (&a.distribution, &b.distribution) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let exact = |found: &Distribution| found.release.as_ref().map(Vec::len);
            a.family == b.family && a.by_name == b.by_name && exact(a).is_some() == exact(b).is_some()
        }
        _ => false,
    };
    let versions = match (&a.version, &b.version) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let as_exact = a.revision.len() == b.revision.len();
            // What counts builds may come to name the second of the build, alone or behind the count.
            let is_timed = |revision: &[u64]| revision.last().is_some_and(|last| is_seconds(*last));
            let timed = !a.revision.is_empty() && !b.revision.is_empty();
            let timed = timed && (is_timed(&a.revision) || is_timed(&b.revision));
            a.numbers.len() == b.numbers.len()
                && same_kinds(&a.numbers, &b.numbers)
                && same_kinds(&a.revision, &b.revision)
                && (as_exact || timed)
                && a.is_calendar() == b.is_calendar()
        }
        _ => false,
    };
    distributions && versions
}

/// What kind of step it is from one tag to another; `None` where it is none that anybody wants.
fn step(now: &Tag, tag: &Tag, own: Option<&str>, cycles: &Cycles, today: Date) -> Option<Level> {
    let same_distribution = now.distribution == tag.distribution;
    match (&now.version, &tag.version) {
        _ if now.version == tag.version && !same_distribution => {
            let (old, new) = (now.distribution.as_ref()?, tag.distribution.as_ref()?);
            let newer = new.compare(old) == Some(Ordering::Greater);
            (newer && is_wanted(&old.family, old.release.as_ref()?, new.release.as_ref()?, cycles, today))
                .then_some(Level::Distribution)
        }
        (Some(old), Some(new)) if same_distribution && new > old => {
            if new.stage != Stage::Release && old.stage == Stage::Release || is_outlier(old, new, today) {
                return None;
            }
            if let Some(family) = own {
                let release = |version: &Version| cycles.release(family, &version.numbers);
                match (release(old), release(new)) {
                    (Some(before), Some(after)) if before == after => {}
                    (Some(_), Some(_)) => {
                        let wanted = is_wanted(family, &old.numbers, &new.numbers, cycles, today);
                        return wanted.then_some(Level::Distribution);
                    }
                    // A release that the table knows nothing of may not be one yet.
                    (Some(_), None) => return None,
                    (None, _) => {}
                }
            }
            Some(level(old, new))
        }
        _ => None,
    }
}

/// Whether a newer release of a distribution is out, and as long supported as the one in use.
fn is_wanted(family: &str, old: &[u64], new: &[u64], cycles: &Cycles, today: Date) -> bool {
    let release = |numbers: &[u64]| cycles.release(family, numbers);
    match (release(old), release(new)) {
        (Some(old), Some(new)) => is_out(new, today) && (new.lts || !old.lts),
        // Of a release that the table is too old for nothing is known but its number.
        _ => true,
    }
}

fn is_out(release: &Release, today: Date) -> bool {
    release.released <= today
}

fn level(old: &Version, new: &Version) -> Level {
    let differs = old.numbers.iter().zip(&new.numbers).position(|(old, new)| old != new);
    match differs {
        Some(0) if is_date(old.numbers[0]) || is_seconds(old.numbers[0]) => Level::Patch,
        Some(0) => Level::Major,
        Some(1) => Level::Minor,
        _ => Level::Patch,
    }
}
