//! The order of rpm's versions: `[EPOCH:]VERSION[-RELEASE]`.
//!
//! Source: rpm-version(7), and rpm's own `rpm.vercmp`, which the tests ask.

use std::cmp::Ordering;

use super::dpkg::compare_digits;

/// Compares two versions as rpm does: epoch, version, release; one without a release comes before one that has any.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (Parts::of(left), Parts::of(right));
    compare_digits(left.epoch.as_bytes(), right.epoch.as_bytes())
        .then_with(|| compare_part(left.version, right.version))
        .then_with(|| match (left.release, right.release) {
            (Some(left), Some(right)) => compare_part(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        })
}

/// Holds the three parts of a version; an epoch that is not there is empty, which compares as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The number before the colon.
    pub epoch: &'a str,
    /// The version of the program itself.
    pub version: &'a str,
    /// What stands after the last hyphen.
    pub release: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Takes a version apart. Only digits before the first colon are an epoch.
    pub fn of(version: &'a str) -> Self {
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
            _ => ("", version),
        };
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        Self { epoch, version, release }
    }
}

/// Compares two versions, or two releases, segment by segment.
pub(crate) fn compare_part(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    let separates = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'~' && *byte != b'^';
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        left = &left[left.iter().take_while(|byte| separates(byte)).count()..];
        right = &right[right.iter().take_while(|byte| separates(byte)).count()..];

        // A tilde comes before everything, the end too.
        match (left.first() == Some(&b'~'), right.first() == Some(&b'~')) {
            (true, true) => {
                (left, right) = (&left[1..], &right[1..]);
                continue;
            }
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        // A caret comes after the end, and before everything else.
        match (left.first() == Some(&b'^'), right.first() == Some(&b'^')) {
            (true, true) => {
                (left, right) = (&left[1..], &right[1..]);
                continue;
            }
            (true, false) => {
                return if right.is_empty() { Ordering::Greater } else { Ordering::Less };
            }
            (false, true) => {
                return if left.is_empty() { Ordering::Less } else { Ordering::Greater };
            }
            (false, false) => {}
        }
        let (Some(first), Some(_)) = (left.first(), right.first()) else { break };

        let numeric = first.is_ascii_digit();
        let belongs = |byte: &&u8| if numeric { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
        let (a, rest) = left.split_at(left.iter().take_while(belongs).count());
        left = rest;
        let (b, rest) = right.split_at(right.iter().take_while(belongs).count());
        right = rest;
        if b.is_empty() {
            // A number is newer than letters.
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        let order = if numeric { compare_digits(a, b) } else { a.cmp(b) };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().min(1).cmp(&right.len().min(1))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{Parts, compare};

    #[test]
    fn a_version_has_three_parts() {
        let parts = Parts::of("1:2.3-4.el9");
        assert_eq!((parts.epoch, parts.version, parts.release), ("1", "2.3", Some("4.el9")));
        assert_eq!(Parts::of("a:2").version, "a:2");
    }

    #[test]
    fn versions_come_in_rpms_order() {
        let sorted = ["1.0~rc1", "1.0", "1.0-1", "1.0^git1~pre", "1.0^git1", "1.0a", "1.0.1", "1.10", "1:0"];
        for (place, left) in sorted.iter().enumerate() {
            for (other, right) in sorted.iter().enumerate() {
                assert_eq!(compare(left, right), place.cmp(&other), "{left} {right}");
            }
        }
        for (left, right) in [("1.0", "1.00"), ("0:1", "1"), ("1.0", "1_0")] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} {right}");
        }
    }
}
