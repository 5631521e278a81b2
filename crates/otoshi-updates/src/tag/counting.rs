//! Ways to count: numbers that go up, days, years, seconds; and whether two tags count in the same.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::{
    parts::Version,
    time::{is_date, is_seconds, is_year},
};

/// Whether numbers are days where the others are.
pub(super) fn same_kinds(a: &[u64], b: &[u64]) -> bool {
    a.iter().zip(b).all(|(a, b)| is_date(*a) == is_date(*b))
}

/// How many versions are skipped at most, where what comes then might be a year.
const SKIPPED: u64 = 10;

/// Whether a version begins with what may be the last two digits of a year (`24.04`), and versions do not come there step by step
/// from an old one; `firsts` are the first numbers that there are.
pub(super) fn skips_to_year(old: &Version, new: &Version, firsts: &BTreeSet<u64>, today: Date) -> bool {
    let (Some(from), Some(to)) = (old.numbers.first(), new.numbers.first()) else { return false };
    let this_year = u64::try_from(today.year().rem_euclid(100)).unwrap_or(0);
    let is_like_year = |number: u64| (15..=this_year + 1).contains(&number);
    if !is_like_year(*to) || is_like_year(*from) {
        return false;
    }
    let steps =
        firsts.range(from + 1..=*to).try_fold(*from, |last, next| (next - last <= SKIPPED).then_some(*next));
    steps != Some(*to)
}

/// Whether a number is that of another way to count: a date in the future, a build's number among versions.
pub(super) fn is_outlier(old: &Version, new: &Version, today: Date) -> bool {
    let year = u64::try_from(today.year()).unwrap_or(0);
    let date = year * 10_000
        + u64::try_from(today.month()).unwrap_or(0) * 100
        + u64::try_from(today.day()).unwrap_or(0);
    let late =
        |number: &u64| (is_date(*number) && *number > date + 1) || (is_year(*number) && *number > year + 1);
    let second = jiff::tz::TimeZone::UTC.to_timestamp(today.to_datetime(jiff::civil::Time::midnight()));
    let second = second.map_or(u64::MAX, |second| u64::try_from(second.as_second()).unwrap_or(0));
    let to_come = |number: &u64| is_seconds(*number) && *number > second.saturating_add(2 * 86_400);
    if new.numbers.iter().chain(&new.revision).any(to_come) {
        return true;
    }
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
