//! The order of Debian's versions: `[EPOCH:]UPSTREAM[-REVISION]`.
//!
//! Source: deb-version(7), and `dpkg --compare-versions`, which the tests ask.

use std::cmp::Ordering;

/// Compares two versions as dpkg does.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (Parts::of(left), Parts::of(right));
    compare_digits(left.epoch.as_bytes(), right.epoch.as_bytes())
        .then_with(|| compare_part(left.upstream.as_bytes(), right.upstream.as_bytes()))
        .then_with(|| compare_part(left.revision.as_bytes(), right.revision.as_bytes()))
}

/// Holds the three parts of a version; an epoch or revision that is not there is empty, which compares as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The number before the first colon.
    pub epoch: &'a str,
    /// The version of the program itself.
    pub upstream: &'a str,
    /// What stands after the last hyphen.
    pub revision: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a version apart.
    pub fn of(version: &'a str) -> Self {
        let version = version.trim();
        let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

/// Says why dpkg would not read a version; `None` where it would, with a warning or without.
pub(crate) fn refusal(version: &str) -> Option<&'static str> {
    let parts = Parts::of(version);
    let has_epoch = version.contains(':');
    if version.trim().is_empty() {
        Some("it is empty")
    } else if version.trim().contains(char::is_whitespace) {
        Some("it has spaces in it")
    } else if has_epoch && parts.epoch.parse::<i32>().map_or(true, |epoch| epoch < 0) {
        Some("its epoch is no number")
    } else if parts.upstream.is_empty() {
        Some("it has nothing but an epoch or a revision")
    } else if version.trim().contains('-') && parts.revision.is_empty() {
        Some("its revision is empty")
    } else {
        None
    }
}

/// Compares by turns what is no digit and what is.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        loop {
            let (a, b) = (weight(left.first()), weight(right.first()));
            if a == 0 && b == 0 {
                break;
            }
            if a != b {
                return a.cmp(&b);
            }
            (left, right) = (&left[1..], &right[1..]);
        }
        let (a, b) = (digits(&mut left), digits(&mut right));
        match compare_digits(a, b) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    Ordering::Equal
}

/// What a byte weighs outside a number: a tilde less than the end, letters less than all else. Digits end such a run.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None | Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// Takes the digits off the start.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    *text = rest;
    digits
}

/// Compares numbers of any length.
pub(super) fn compare_digits(left: &[u8], right: &[u8]) -> Ordering {
    let strip = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
    let (left, right) = (&left[strip(left)..], &right[strip(right)..]);
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{Parts, compare};

    #[test]
    fn a_version_has_three_parts() {
        let parts = Parts::of("1:2.3-rc1-4");
        assert_eq!((parts.epoch, parts.upstream, parts.revision), ("1", "2.3-rc1", "4"));
    }

    #[test]
    fn versions_come_in_dpkgs_order() {
        let sorted =
            ["1.0~~", "1.0~", "1.0", "1.0-1~bpo12+1", "1.0-1", "1.0-1+b1", "1.0a", "1.0+", "1.10", "1:0"];
        for (place, left) in sorted.iter().enumerate() {
            for (other, right) in sorted.iter().enumerate() {
                assert_eq!(compare(left, right), place.cmp(&other), "{left} {right}");
            }
        }
        for (left, right) in [("1.0", "1.00"), ("0:1", "1"), ("1-0", "1"), ("1.", "1.0")] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} {right}");
        }
    }
}
