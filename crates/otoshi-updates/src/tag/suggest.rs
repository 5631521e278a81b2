//! What a repository has that is newer than a tag: a newer version of the same flavour, and the same version on a newer
//! distribution. These are two suggestions, never one step.
//!
//! Promises: nothing that is suggested is older or a pre-release of something newer (unless the tag in use is a
//! pre-release), has another prefix or flavour, is more or less exact than the tag in use, or counts by another calendar.

use std::cmp::Ordering;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Distribution, Stage, Tag, Version, is_date, is_year};
use crate::cycle::{Cycles, ProductKind, Release};
use crate::report::FindingKind;

/// How large a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The third number or a later one, or a date.
    Patch,
    /// The second number.
    Minor,
    /// The first number.
    Major,
    /// Another release of the distribution.
    Distribution,
}

/// A tag that is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The tag.
    pub tag: Tag,
    /// How large the step is.
    pub level: Level,
}

/// What there is, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestions {
    /// Newer versions of the same flavour.
    pub versions: Vec<Candidate>,
    /// The same version on newer distributions.
    pub distributions: Vec<Candidate>,
}

/// Sorts what there is by the kind of finding and by whether it is a large step; of each the newest first.
pub(crate) fn slots(found: &Suggestions) -> [(FindingKind, Vec<&Candidate>); 3] {
    let (large, small) = found.versions.iter().partition(|candidate| candidate.level == Level::Major);
    [
        (FindingKind::NewerVersion, small),
        (FindingKind::NewerVersion, large),
        (FindingKind::NewerDistribution, found.distributions.iter().collect()),
    ]
}

/// Finds what is newer than a tag of a repository among the repository's tags.
pub fn suggest(
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
    for text in tags {
        let text = text.as_ref();
        let Some(tag) = Tag::parse(text, cycles).filter(|_| text != current) else { continue };
        if tag.prefix != now.prefix || tag.flavour != now.flavour || !alike(&tag, &now) {
            continue;
        }
        match step(&now, &tag, own, cycles, today) {
            Some(Level::Distribution) => {
                found.distributions.push(Candidate { tag, level: Level::Distribution });
            }
            Some(level) => found.versions.push(Candidate { tag, level }),
            None => {}
        }
    }
    found.versions.sort_by(|a, b| newest_first(&a.tag, &b.tag));
    found.distributions.sort_by(|a, b| newest_first(&a.tag, &b.tag));
    found
}

fn newest_first(a: &Tag, b: &Tag) -> Ordering {
    let release = |tag: &Tag| tag.distribution.as_ref().and_then(|found| found.release.clone());
    (&b.version, release(b)).cmp(&(&a.version, release(a))).then_with(|| a.text.cmp(&b.text))
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
            let same_form = |a: &[u64], b: &[u64]| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_date(*a) == is_date(*b))
            };
            same_form(&a.numbers, &b.numbers)
                && same_form(&a.revision, &b.revision)
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
        Some(0) if old.is_calendar() && is_date(old.numbers[0]) => Level::Patch,
        Some(0) => Level::Major,
        Some(1) => Level::Minor,
        _ => Level::Patch,
    }
}

/// Whether a number is that of another way to count: a date in the future, a build's number among versions.
fn is_outlier(old: &Version, new: &Version, today: Date) -> bool {
    let year = u64::try_from(today.year()).unwrap_or(0);
    let date = year * 10_000
        + u64::try_from(today.month()).unwrap_or(0) * 100
        + u64::try_from(today.day()).unwrap_or(0);
    let late =
        |number: &u64| (is_date(*number) && *number > date + 1) || (is_year(*number) && *number > year + 1);
    let calendar = old.is_calendar();
    if calendar && new.numbers.first().is_some_and(late) {
        return true;
    }
    let jumps = |(index, (old, new)): (usize, (&u64, &u64))| {
        // Nobody skips so many versions; the first numbers are the most deliberate.
        let most = if index == 0 { old * 3 + 20 } else { old * 10 + 1000 };
        !calendar && *new > most
    };
    let pairs = || old.numbers.iter().zip(&new.numbers);
    // What follows the first difference begins anew and says nothing.
    let first = pairs().position(|(old, new)| old != new);
    first.is_some_and(|index| pairs().enumerate().nth(index).is_some_and(jumps))
}
