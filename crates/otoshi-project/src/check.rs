//! `[check]`: what is wanted of what is newer outside, and what is not.
//!
//! Everything here goes by names: those of `[bases]` and `[versions]`, references, packages, products. A `*` in one stands
//! for any text.

use std::{cmp::Ordering, collections::BTreeMap, net::Ipv6Addr};

use globset::GlobBuilder;
use jiff::civil::Date;
use otoshi_http::SafeUrl;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{error::near, faults::Faults, form::Form};

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

    /// Whether a version can be in it at all.
    fn can_have_any(&self) -> bool {
        // As bounds: those that a beginning has are it and the next one; there is always something between two that differ.
        let (mut lowest, mut least_is_in) = (vec![0], true);
        let (mut highest, mut most_is_in) = (None::<Vec<u64>>, true);
        let mut above = |bound: Vec<u64>, is_in: bool| match compare(&bound, &lowest) {
            Ordering::Greater => (lowest, least_is_in) = (bound, is_in),
            Ordering::Equal => least_is_in &= is_in,
            Ordering::Less => {}
        };
        let mut below = |bound: Vec<u64>, is_in: bool| match &highest {
            Some(highest) if compare(&bound, highest).is_gt() => {}
            Some(highest) if compare(&bound, highest).is_eq() => most_is_in &= is_in,
            _ => (highest, most_is_in) = (Some(bound), is_in),
        };
        for (comparison, bound) in &self.0 {
            match comparison {
                Comparison::AtLeast => above(bound.clone(), true),
                Comparison::More => above(bound.clone(), false),
                Comparison::AtMost => below(bound.clone(), true),
                Comparison::Less => below(bound.clone(), false),
                Comparison::Begins => {
                    above(bound.clone(), true);
                    let mut next = bound.clone();
                    if let Some(last) = next.last_mut() {
                        *last = last.saturating_add(1);
                    }
                    below(next, false);
                }
            }
        }
        highest.is_none_or(|highest| match compare(&lowest, &highest) {
            Ordering::Less => true,
            Ordering::Equal => least_is_in && most_is_in,
            Ordering::Greater => false,
        })
    }

    /// Whether a version is in it; numbers that a version or the range does not have are 0.
    pub fn has(&self, version: &[u64]) -> bool {
        self.0.iter().all(|(comparison, bound)| {
            let order = compare(version, bound);
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

/// Compares versions; numbers that one does not have are 0.
fn compare(a: &[u64], b: &[u64]) -> Ordering {
    let length = a.len().max(b.len());
    let padded = |numbers: &[u64]| {
        let mut numbers = numbers.to_vec();
        numbers.resize(length, 0);
        numbers
    };
    padded(a).cmp(&padded(b))
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

    /// Finds what says nothing; `known` are the names of versions and bases.
    pub(crate) fn look(&self, faults: &mut Faults<'_>, known: &[&str]) {
        let settings = Settings { known };
        self.look_at_values(faults);
        for (index, name) in self.ignore.iter().enumerate() {
            if let Some((message, hint)) = settings.nothing(name) {
                faults.at_item(&["check", "ignore"], index, format!("[check] ignore: {message}"), hint);
            }
        }
        for (key, names) in
            [("ranges", self.ranges.keys().collect::<Vec<_>>()), ("hold", self.hold.keys().collect())]
        {
            for name in names {
                let nothing = settings.nothing(name).or_else(|| {
                    let is_package = key == "ranges" && name.starts_with(PACKAGE);
                    is_package.then(|| (format!("{name:?} is a package"), RANGES.to_owned()))
                });
                if let Some((message, hint)) = nothing {
                    faults.at_key(&["check", key, name], format!("[check] {key}: {message}"), hint);
                }
            }
        }
    }

    fn look_at_values(&self, faults: &mut Faults<'_>) {
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
            let message = match Range::parse(text) {
                None => format!("[check] ranges: {text:?} for {name} is not a version range"),
                Some(range) if !range.can_have_any() => {
                    format!("[check] ranges: no version of {name} can match {text:?}")
                }
                Some(_) => continue,
            };
            faults.at(&["check", "ranges", name], message, "as in \"3.1\", or \">=3.1, <4\"");
        }
        for (index, host) in self.local_repositories.iter().enumerate().filter(|(_, host)| !is_host(host)) {
            let message = format!("[check] local-repositories: {host:?} is not a host");
            let hint = "a host, with a port where it has one, as in \"localhost:8081\"";
            faults.at_item(&["check", "local-repositories"], index, message, hint);
        }
        for (name, hold) in &self.hold {
            if hold.until().is_none() {
                let message = format!("[check] hold: {name} needs a date");
                faults.at(&["check", "hold", name], message, "as in \"2026-12-01\"");
            }
        }
    }
}

/// What the names of packages start with in `[check]`.
const PACKAGE: &str = "package:";
const NAMES: &str =
    "names of [versions] and [bases], references, products, and packages as in \"package:tzdata\"";
const RANGES: &str = "a range is for versions and bases; hold and ignore are for packages, too";

/// What names in `[check]` can be those of.
struct Settings<'k> {
    known: &'k [&'k str],
}

impl Settings<'_> {
    /// Why a name can be that of nothing, where that is so, and what to write.
    fn nothing(&self, name: &str) -> Option<(String, String)> {
        let all = || NAMES.to_owned();
        if self.known.iter().any(|known| matches(name, known)) {
            return None;
        }
        if name.trim().is_empty() {
            return Some(("the name is empty".to_owned(), all()));
        }
        if let Some(package) = name.strip_prefix(PACKAGE) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "+-._~*".contains(c);
            let is_package = package.starts_with(|c: char| c.is_ascii_alphanumeric() || "_*".contains(c));
            let wrong = !is_package || !package.chars().all(plain);
            return wrong.then(|| {
                (format!("no package is named {package:?}"), "as in \"package:tzdata\"".to_owned())
            });
        }
        let prefix =
            name.split_once(':').filter(|(prefix, _)| strsim::damerau_levenshtein(prefix, "package") == 1);
        if let Some((_, package)) = prefix {
            return Some((
                format!("{name:?} names nothing"),
                format!("did you mean \"{PACKAGE}{package}\"?"),
            ));
        }
        // Build arguments are written so, and of packages hardly one.
        let is_argument =
            name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "_*".contains(c))
                && name.contains(|c: char| c.is_ascii_uppercase());
        if is_argument {
            let near = near(name, self.known.iter().copied()).map(|near| format!("did you mean {near}?"));
            let message = format!("{name:?} names neither a version nor a base");
            return Some((message, near.unwrap_or_else(all)));
        }
        // `debian 12` is a release of a product.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~:/@[]* ".contains(c);
        let has_space = name.trim() != name || name.matches(' ').count() > 1;
        (has_space || !name.chars().all(plain))
            .then(|| (format!("{name:?} cannot be the name of anything"), all()))
    }
}

/// Whether a text is a host with or without a port.
fn is_host(text: &str) -> bool {
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    let rest = if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        address.parse::<Ipv6Addr>().is_ok().then_some(rest)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        (end > 0 && text[..end].bytes().all(plain)).then_some(&text[end..])
    };
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(port))
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
    // Of a glob's signs `*` alone is one here: `[` is part of an address.
    let glob = pattern.split('*').map(globset::escape).collect::<Vec<_>>().join("*");
    let glob = GlobBuilder::new(&glob).literal_separator(false).build();
    glob.is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

#[cfg(test)]
mod tests {
    use otoshi_explain::Explain;

    use super::*;
    use crate::ProjectError;

    fn fault(check: &Check, text: &str) -> Option<ProjectError> {
        let mut faults = Faults::new("otoshi.toml", text);
        check.look(&mut faults, &["A", "B", "NODE", "RUBY", "RUBY_BASE"]);
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
            ("hold = { A = \"later\" }", "[check] hold: A needs a date"),
        ] {
            let check: Check = toml::from_str(text).unwrap();
            let error = fault(&check, text).unwrap();
            assert_eq!(error.to_string(), format!("otoshi.toml: {message}"));
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn names_that_can_be_those_of_nothing_are_told_in_one_go_each_in_its_place() {
        let text = r#"[check]
ignore = ["", "NOED", "ZZ_*", "package:", "package:tz data", "pakage:tzdata", "re?is", "a b c", "RUBY_*"]
local-repositories = ["localhost:8081", "http://localhost", "[::1]:80", "x:99999", ""]
[check.ranges]
RUBY = ">= 3, < 2"
RUBI = "3"
"package:tzdata" = "3"
[check.hold]
" " = "2026-12-01"
HOLDS = { until = "2026-12-01" }
"#;
        #[derive(Deserialize)]
        struct Whole {
            check: Check,
        }
        let whole: Whole = toml::from_str(text).unwrap();
        let error = fault(&whole.check, text).unwrap();
        let told = |error: &ProjectError| {
            let excerpt = error.excerpt().unwrap().lines().skip(2).map(str::trim_end);
            let caret = excerpt.map(|line| line.trim_start_matches([' ', '|'])).collect::<String>();
            format!("{error} {caret} | {}", error.hint().unwrap_or_default())
        };
        let all: Vec<String> = std::iter::once(&error).chain(error.others()).map(told).collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn what_names_something_is_taken() {
        for name in [
            "RUBY",
            "RUBY_*",
            "*",
            "package:tz*",
            "package:gtk2.0+x~1",
            "tzdata",
            "NetworkManager",
            "debian",
            "debian 12",
            "docker.io/library/redis:*",
            "[::1]:5000/x",
            "ruby@sha256:00",
        ] {
            assert_eq!(Settings { known: &["RUBY", "RUBY_BASE"] }.nothing(name), None, "{name}");
        }
        assert!(matches("[::1]:5000/*", "[::1]:5000/x:1") && !matches("[ab]*", "ax"));
    }

    #[test]
    fn a_range_in_which_nothing_can_be_is_seen() {
        for empty in [">=3, <2", ">3, <=3", "<0", "3.1, 3.2", "3.1, <3.1", ">=4, 3", ">3.1.0, <=3.1"] {
            assert!(!Range::parse(empty).unwrap().can_have_any(), "{empty}");
        }
        for some in [">=3, <=3.0", ">3, <3.0.1", "3.1, 3.1.4", "<=0", "3, <4", "3, >=3.9"] {
            assert!(Range::parse(some).unwrap().can_have_any(), "{some}");
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
