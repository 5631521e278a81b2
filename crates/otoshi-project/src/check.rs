//! `[check]`: what is wanted of what is newer outside, and what is not.
//!
//! Everything here goes by names: those of `[bases]` and `[versions]`, references, packages, products. A `*` in one stands
//! for any text.

use std::collections::BTreeMap;

use globset::GlobBuilder;
use jiff::civil::Date;
use otoshi_http::SafeUrl;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{faults::Faults, form::Form};

/// `[check]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Check {
    /// The versions that are wanted, by name: `"3.1"` is 3.1 and all that begin so, `">=3.1, <4"` what lies between.
    pub ranges: BTreeMap<String, String>,
    /// Names of what is not wanted at all.
    pub ignore: Vec<String>,
    /// How long something must have been seen from here before it is taken, as in `"3 days"`; security updates never wait.
    pub minimum_age: Option<String>,
    /// What waits until a day, by name.
    pub hold: BTreeMap<String, Hold>,
    /// How long before the end of life of a release it is told, as in `"90 days"`, which it is without this.
    pub end_of_life_notice: Option<String>,
    /// No image is fetched to look at while its registry says that no more requests than this are left; 10 without this.
    pub budget_floor: Option<u64>,
    /// Where a newer table of ends of life is, by HTTPS, in the form of the one in the program, which is used without this.
    pub cycles: Option<String>,
    /// Hosts of package repositories on this machine or its link (`"localhost:8081"`) that images from registries may name all the same.
    pub local_repositories: Vec<String>,
}

/// What waits, and why.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Hold {
    /// The first day on which it waits no more, as in `"2026-12-01"`.
    Until(String),
    /// With the reason.
    Because(HoldTable),
}

/// What waits, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldTable {
    /// The first day on which it waits no more.
    pub until: String,
    /// Why.
    pub because: Option<String>,
}

impl<'de> Deserialize<'de> for Hold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(until) => Ok(Self::Until(until)),
            Form::Table(table) => Ok(Self::Because(table)),
            Form::List(_) => Err(D::Error::custom("a hold is a date, or a table of `until` and `because`")),
        }
    }
}

impl Hold {
    /// The first day on which it waits no more; `None` for a text that is no day, which [`Check::look`] refuses.
    pub fn until(&self) -> Option<Date> {
        let (Self::Until(text) | Self::Because(HoldTable { until: text, .. })) = self;
        text.parse().ok()
    }

    /// Why.
    pub fn because(&self) -> Option<&str> {
        match self {
            Self::Until(_) => None,
            Self::Because(table) => table.because.as_deref(),
        }
    }
}

/// Versions that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<(Comparison, Vec<u64>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Begins,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Range {
    /// Reads a range: comparisons with commas between them, all of which must hold. `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let one = |part: &str| {
            let part = part.trim();
            let end = part.find(|c: char| c.is_ascii_digit())?;
            let (sign, version) = part.split_at(end);
            let numbers: Vec<u64> =
                version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            let comparison = match sign.trim() {
                "" => Comparison::Begins,
                "<" => Comparison::Less,
                "<=" => Comparison::AtMost,
                ">" => Comparison::More,
                ">=" => Comparison::AtLeast,
                _ => return None,
            };
            Some((comparison, numbers))
        };
        text.split(',').map(one).collect::<Option<_>>().map(Self)
    }

    /// Whether a version is in it; numbers that a version or the range does not have are 0.
    pub fn has(&self, version: &[u64]) -> bool {
        self.0.iter().all(|(comparison, bound)| {
            let length = version.len().max(bound.len());
            let padded = |numbers: &[u64]| {
                let mut numbers = numbers.to_vec();
                numbers.resize(length, 0);
                numbers
            };
            let order = padded(version).cmp(&padded(bound));
            match comparison {
                Comparison::Begins => version.len() >= bound.len() && version.starts_with(bound),
                Comparison::Less => order.is_lt(),
                Comparison::AtMost => order.is_le(),
                Comparison::More => order.is_gt(),
                Comparison::AtLeast => order.is_ge(),
            }
        })
    }
}

impl Check {
    /// Whether any of a thing's names is not wanted; gives the pattern that says so.
    pub fn ignored(&self, names: &[&str]) -> Option<&str> {
        self.ignore.iter().find(|pattern| names.iter().any(|name| matches(pattern, name))).map(String::as_str)
    }

    /// The range for a thing by any of its names, with its text.
    pub fn range(&self, names: &[&str]) -> Option<(Range, &str)> {
        let (_, text) =
            self.ranges.iter().find(|(pattern, _)| names.iter().any(|name| matches(pattern, name)))?;
        Some((Range::parse(text)?, text))
    }

    /// The hold of a thing by any of its names that is not over on a day.
    pub fn held(&self, names: &[&str], today: Date) -> Option<(Date, Option<&str>)> {
        let holds = self.hold.iter().filter(|(pattern, _)| names.iter().any(|name| matches(pattern, name)));
        let dated = holds.filter_map(|(_, hold)| Some((hold.until()?, hold.because())));
        dated.filter(|(until, _)| *until > today).max_by_key(|(until, _)| *until)
    }

    /// How long something must have been seen, in seconds.
    pub fn minimum_age(&self) -> u64 {
        self.minimum_age.as_deref().and_then(seconds).unwrap_or(0)
    }

    /// How long before an end of life it is told, in days.
    pub fn end_of_life_notice(&self) -> i64 {
        let seconds = self.end_of_life_notice.as_deref().and_then(seconds);
        seconds.map_or(90, |seconds| i64::try_from(seconds / 86_400).unwrap_or(i64::MAX))
    }

    /// Finds what says nothing.
    pub(crate) fn look(&self, faults: &mut Faults<'_>) {
        let spans = [("minimum-age", &self.minimum_age), ("end-of-life-notice", &self.end_of_life_notice)];
        for (key, text) in spans {
            if let Some(text) = text.as_ref().filter(|text| seconds(text).is_none()) {
                let message = format!("[check] {key}: {text:?} is not a time span");
                faults.at(&["check", key], message, "as in \"3 days\" or \"12 hours\"");
            }
        }
        if let Some(address) = self.cycles.as_ref().filter(|address| !is_safe_address(address)) {
            let message =
                format!("[check] cycles: {:?} is not the address of a table", SafeUrl::new(address));
            let hint = "as in \"https://example.org/cycles.toml\"; plain HTTP is for this machine alone";
            faults.at(&["check", "cycles"], message, hint);
        }
        for (name, text) in &self.ranges {
            if Range::parse(text).is_none() {
                let message = format!("[check] ranges: {text:?} for {name} is not a version range");
                faults.at(&["check", "ranges", name], message, "as in \"3.1\", or \">=3.1, <4\"");
            }
        }
        for (name, hold) in &self.hold {
            if hold.until().is_none() {
                let message = format!("[check] hold: what {name} waits for is not a date");
                faults.at(&["check", "hold", name], message, "as in \"2026-12-01\"");
            }
        }
    }
}

/// Whether an address keeps what comes from there from being changed on the way.
pub fn is_safe_address(address: &str) -> bool {
    let host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // What follows a colon may as well be a password, and the host stand behind it.
        let port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        port.map_or(authority, |(host, _)| host).to_owned()
    };
    let plain = address.chars().all(|c| c.is_ascii_graphic());
    match address.split_once("://") {
        Some(("https", rest)) => plain && !host(rest).is_empty(),
        Some(("http", rest)) => plain && matches!(host(rest).as_str(), "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    }
}

/// A span of time in seconds: numbers and units, days of 24 hours.
fn seconds(text: &str) -> Option<u64> {
    let span: jiff::Span = text.trim().parse().ok()?;
    let seconds = span.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).ok()?;
    (seconds >= 0.0).then_some(seconds as u64)
}

fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == name;
    }
    let glob = GlobBuilder::new(pattern).literal_separator(false).build();
    glob.is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;
    use crate::ProjectError;

    fn fault(check: &Check, text: &str) -> Option<ProjectError> {
        let mut faults = Faults::new("otoshi.toml", text);
        check.look(&mut faults);
        faults.end().err()
    }

    fn check(text: &str) -> Check {
        let check: Check = toml::from_str(text).unwrap();
        assert!(fault(&check, text).is_none());
        check
    }

    #[test]
    fn a_range_is_a_beginning_or_bounds() {
        let has = |range: &str, version: &[u64]| Range::parse(range).unwrap().has(version);
        assert!(has("3.1", &[3, 1, 4]) && has("3.1", &[3, 1]));
        assert!(!has("3.1", &[3, 10]) && !has("3.1", &[3]));
        assert!(has(">=3.1, <4", &[3, 9, 9]) && !has(">=3.1, <4", &[4]) && !has(">=3.1, <4", &[3, 0, 9]));
        assert!(has("<= 3.1.0", &[3, 1]) && !has("> 3.1", &[3, 1, 0]));
        for nonsense in ["", "x", "~>3.1", "3.x", ">=3.1,", "3.1 4"] {
            assert_eq!(Range::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn names_are_found_by_any_of_them_and_by_stars() {
        let check = check("ignore = [\"package:tz*\", \"docker.io/library/redis:*\", \"NODE\"]\n");
        assert_eq!(check.ignored(&["RUBY", "NODE"]), Some("NODE"));
        assert_eq!(check.ignored(&["docker.io/library/redis:7"]), Some("docker.io/library/redis:*"));
        assert!(check.ignored(&["package:tzdata"]).is_some() && check.ignored(&["package:libc6"]).is_none());
    }

    #[test]
    fn a_hold_ends_on_its_day() {
        let check = check(
            "minimum-age = \"3 days\"\n[hold]\nA = \"2026-12-01\"\nB = { until = \"2027-01-01\", because = \"frozen\" }\n",
        );
        let on = |name: &str, day: &str| check.held(&[name], day.parse().unwrap());
        assert_eq!(on("A", "2026-11-30"), Some(("2026-12-01".parse().unwrap(), None)));
        assert_eq!(on("A", "2026-12-01"), None);
        assert_eq!(on("B", "2026-12-01").unwrap().1, Some("frozen"));
        assert_eq!(on("C", "2026-11-30"), None);
        assert_eq!(check.minimum_age(), 3 * 86_400);
        assert_eq!(check.end_of_life_notice(), 90);
    }

    #[test]
    fn what_says_nothing_is_refused_with_what_to_write() {
        for (text, message) in [
            ("minimum-age = \"soon\"", "[check] minimum-age: \"soon\" is not a time span"),
            ("ranges = { A = \"new\" }", "[check] ranges: \"new\" for A is not a version range"),
            (
                "cycles = \"http://example.org/\"",
                "[check] cycles: \"http://example.org/\" is not the address of a table",
            ),
            ("hold = { A = \"later\" }", "[check] hold: what A waits for is not a date"),
        ] {
            let check: Check = toml::from_str(text).unwrap();
            let error = fault(&check, text).unwrap();
            assert_eq!(error.to_string(), format!("otoshi.toml: {message}"));
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for safe in [
            "https://x.test/t",
            "http://localhost/t",
            "http://localhost:80/t",
            "http://[::1]/t",
            "http://[::1]:80/t",
        ] {
            assert!(is_safe_address(safe), "{safe}");
        }
        for unsafe_one in [
            "http://x.test/t",
            "http://localhost:x@x.test/t",
            "http://localhost@x.test/t",
            "https:///t",
            "ftp://localhost/",
        ] {
            assert!(!is_safe_address(unsafe_one), "{unsafe_one}");
        }
    }
}
