//! Pins: which suites and versions a root's preferences favour.
//!
//! Spec: <https://manpages.debian.org/bookworm/apt/apt_preferences.5.en.html>

use regex::RegexBuilder;

use super::deb822;
use super::files::parts;
use crate::error::{Malformed, RepositoryError};
use crate::files::Files;
use crate::pattern;

/// The priority of what is never taken.
pub(crate) const NEVER: i32 = i16::MIN as i32;

/// The pins of a root, in the order they stand in.
#[derive(Debug, Clone, Default)]
pub struct Preferences {
    pub(crate) pins: Vec<Pin>,
}

/// A pin.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    /// Which packages; `None` for all that no other pin names.
    pub(crate) packages: Option<Selector>,
    pub(crate) matcher: Matcher,
    pub(crate) priority: i32,
}

/// Packages by name.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    name: Expression,
    /// Whether the name is that of a source package.
    source: bool,
    architecture: Option<String>,
}

impl Selector {
    fn parse(word: &str) -> Self {
        let (source, name) = word.strip_prefix("src:").map_or((false, word), |name| (true, name));
        let (name, architecture) = match name.rsplit_once(':') {
            Some((name, architecture)) => (name, Some(architecture.to_owned())),
            None => (name, None),
        };
        Self { name: Expression::of_name(name), source, architecture }
    }

    /// Says whether it means a package; `is_native` is that of the package's architecture.
    pub(crate) fn matches(&self, name: &str, source: &str, architecture: &str, is_native: bool) -> bool {
        let architecture = match self.architecture.as_deref() {
            None | Some("native") => is_native,
            Some("any" | "*") => true,
            Some(wanted) => wanted == architecture,
        };
        architecture && self.name.matches(if self.source { source } else { name })
    }
}

/// What a pin is about.
#[derive(Debug, Clone)]
pub(crate) enum Matcher {
    Version(Expression),
    Release { all: bool, fields: Vec<(Field, Expression)> },
    Origin(Expression),
}

/// A property of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Version,
    Origin,
    Archive,
    Codename,
    /// The archive or the code name.
    Release,
    Label,
    Component,
    Architecture,
}

/// The properties that pins look at. Those of what is installed have the archive `now`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) version: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) archive: &'a str,
    pub(crate) codename: &'a str,
    pub(crate) label: &'a str,
    pub(crate) component: &'a str,
    pub(crate) architecture: &'a str,
    pub(crate) site: &'a str,
}

impl Matcher {
    fn parse(pin: &str) -> Option<Self> {
        let (kind, data) = pin.split_once(char::is_whitespace).unwrap_or((pin, ""));
        let data = data.trim();
        if kind.eq_ignore_ascii_case("version") {
            Some(Self::Version(Expression::with_prefix(data)))
        } else if kind.eq_ignore_ascii_case("origin") {
            let quoted = data.strip_prefix('"').and_then(|data| data.strip_suffix('"'));
            Some(Self::Origin(Expression::new(quoted.unwrap_or(data))))
        } else if kind.eq_ignore_ascii_case("release") {
            Some(Self::release(data))
        } else {
            None
        }
    }

    /// Reads what `Pin: release` and `APT::Default-Release` have.
    pub(crate) fn release(data: &str) -> Self {
        if data == "*" {
            return Self::Release { all: true, fields: Vec::new() };
        }
        if !data.contains('=') {
            let field = if data.starts_with(|first: char| first.is_ascii_digit()) {
                Field::Version
            } else {
                Field::Release
            };
            let fields =
                if data.is_empty() { Vec::new() } else { vec![(field, Expression::for_field(field, data))] };
            return Self::Release { all: false, fields };
        }
        let mut fields = Vec::new();
        for part in data.split(',').map(str::trim) {
            let Some((name, value)) = part.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                continue;
            };
            let field = match name.to_ascii_lowercase().as_str() {
                "v" => Field::Version,
                "o" => Field::Origin,
                "a" => Field::Archive,
                "n" => Field::Codename,
                "l" => Field::Label,
                "c" => Field::Component,
                "b" => Field::Architecture,
                _ => continue,
            };
            fields.retain(|(known, _)| *known != field);
            fields.push((field, Expression::for_field(field, value)));
        }
        Self::Release { all: false, fields }
    }

    /// Says whether a suite is meant.
    pub(crate) fn matches_suite(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Version(_) => false,
            Self::Origin(site) => site.matches(facts.site) && facts.archive != "now",
            Self::Release { all: true, .. } => true,
            Self::Release { fields, .. } => {
                !fields.is_empty()
                    && fields.iter().all(|(field, expression)| match field {
                        Field::Version => expression.matches(facts.version),
                        Field::Origin => expression.matches(facts.origin),
                        Field::Archive => expression.matches(facts.archive),
                        Field::Codename => expression.matches(facts.codename),
                        Field::Release => {
                            expression.matches(facts.archive) || expression.matches(facts.codename)
                        }
                        Field::Label => expression.matches(facts.label),
                        Field::Component => expression.matches(facts.component),
                        Field::Architecture => expression.matches(facts.architecture),
                    })
            }
        }
    }
}

/// A pattern as of the shell, or a regular expression between slashes, both without regard to case; or a package's name as it is.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Name(String),
    /// In lower case.
    Glob(String),
    /// The beginning, or all.
    Prefix(String),
    Regex(regex::Regex),
    Nothing,
}

impl Expression {
    fn new(text: &str) -> Self {
        if let Some(inner) = text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) {
            let built = RegexBuilder::new(inner).case_insensitive(true).size_limit(1 << 20).build();
            return built.map_or(Self::Nothing, Self::Regex);
        }
        Self::Glob(text.to_ascii_lowercase())
    }

    /// A name of packages: one that is no pattern is compared letter by letter.
    fn of_name(text: &str) -> Self {
        let is_pattern = text.contains(['*', '?', '[']) || text.starts_with('/') && text.ends_with('/');
        if is_pattern { Self::new(text) } else { Self::Name(text.to_owned()) }
    }

    /// Versions with a star at their end are prefixes.
    fn with_prefix(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) if !prefix.contains(['*', '?', '[']) => Self::Prefix(prefix.to_owned()),
            _ => Self::new(text),
        }
    }

    fn for_field(field: Field, text: &str) -> Self {
        if field == Field::Version { Self::with_prefix(text) } else { Self::new(text) }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Name(name) => name == text,
            Self::Glob(pattern) => pattern::matches(pattern, &text.to_ascii_lowercase()),
            Self::Prefix(prefix) => text
                .as_bytes()
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
            Self::Regex(regex) => regex.is_match(text),
            Self::Nothing => false,
        }
    }
}

/// The number that a text begins with; what follows it, as a comment, does no harm.
fn leading_number(text: &str) -> &str {
    let digits = text.trim_start_matches(['-', '+']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    &text[..text.len() - digits.len() + end]
}

impl Preferences {
    /// Reads `preferences` and then its directory of parts, as apt does; files that cannot be understood are told apart.
    pub fn from_files(files: &Files) -> (Self, Vec<RepositoryError>) {
        let mut preferences = Self::default();
        let mut errors = Vec::new();
        let file =
            files.get("etc/apt/preferences").map(|content| ("etc/apt/preferences".to_owned(), content));
        for (file, content) in file.into_iter().chain(parts(files, "etc/apt/preferences.d", &["", "pref"])) {
            if let Err(reason) = preferences.read(&String::from_utf8_lossy(content)) {
                errors.push(RepositoryError::Configuration { file, reason });
            }
        }
        (preferences, errors)
    }

    /// Reads one file behind what is known.
    ///
    /// Fails on a line that deb822 does not have, and at the first pin that apt would not take; those before that pin are kept.
    pub fn read(&mut self, text: &str) -> Result<(), Malformed> {
        for paragraph in deb822::paragraphs(text)? {
            let wrong = |reason: &str| Malformed::new(paragraph.line, reason);
            let Some(packages) = paragraph.get("Package").filter(|names| !names.is_empty()) else {
                // A paragraph of nothing but an explanation is a comment.
                if paragraph.get("Pin").is_none() {
                    continue;
                }
                return Err(wrong("a pin has no field Package"));
            };
            let pin = paragraph.get("Pin").ok_or_else(|| wrong("it has no field Pin"))?;
            let matcher = Matcher::parse(pin)
                .ok_or_else(|| wrong("Pin says neither version, nor release, nor origin"))?;
            let priority = paragraph.get("Pin-Priority").unwrap_or_default();
            let priority = if priority.eq_ignore_ascii_case("never") {
                NEVER
            } else {
                let number: Option<i16> = leading_number(priority).parse().ok();
                i32::from(
                    number
                        .filter(|number| *number != 0)
                        .ok_or_else(|| wrong("Pin-Priority is not a number other than 0"))?,
                )
            };
            if packages != "*" && priority == NEVER {
                return Err(wrong("Pin-Priority: never is for Package: * only"));
            }
            if packages == "*" {
                self.pins.push(Pin { packages: None, matcher, priority });
                continue;
            }
            for word in packages.split_whitespace() {
                let packages = Some(Selector::parse(word));
                self.pins.push(Pin { packages, matcher: matcher.clone(), priority });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_the_shell() {
        for (pattern, text, matches) in [
            ("libc6", "libc6", true),
            ("lib*", "libc6", true),
            ("*c*", "libc6", true),
            ("lib?6", "libc6", true),
            ("lib[a-d]6", "libc6", true),
            ("lib[!a-d]6", "libc6", false),
            ("lib", "libc6", false),
            ("libc6", "lib", false),
            ("[]x]", "]", true),
            ("a*b*c", "aXbYbZc", true),
            ("", "", true),
            ("[", "[", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ] {
            assert_eq!(pattern::matches(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn pins_say_what_they_are_about() {
        let mut read = Preferences::default();
        read.read(
            "Explanation: all\nPackage: *\nPin: release a=testing, l=Debian\nPin-Priority: -10\n\n\
             Package: vim src:glibc:any\nPin: version 2:9*\nPin-Priority: 1001\n\n\
             Package: /^ruby/\nPin: origin \"deb.test\"\nPin-Priority: -1\n",
        )
        .unwrap();
        let facts = Facts { archive: "testing", label: "Debian", site: "deb.test", ..Facts::default() };
        assert_eq!(read.pins.len(), 4);
        assert!(read.pins[0].packages.is_none() && read.pins[0].matcher.matches_suite(&facts));
        assert!(!read.pins[0].matcher.matches_suite(&Facts { label: "Other", ..facts }));
        let glibc = read.pins[2].packages.as_ref().unwrap();
        assert!(
            glibc.matches("libc6", "glibc", "i386", false) && !glibc.matches("glibc", "x", "i386", false)
        );
        let Matcher::Version(version) = &read.pins[1].matcher else { panic!() };
        assert!(version.matches("2:9.0.1") && !version.matches("2:8"));
        let ruby = read.pins[3].packages.as_ref().unwrap();
        assert!(
            ruby.matches("ruby3.1", "ruby3.1", "amd64", true) && !ruby.matches("jruby", "", "amd64", true)
        );
        assert!(read.pins[3].matcher.matches_suite(&facts));
        assert_eq!(read.pins[3].priority, -1);
        read.read("Package: *\nPin: release a=x\nPin-Priority: never\n").unwrap();
        assert_eq!(read.pins[4].priority, NEVER);
    }

    #[test]
    fn case_counts_in_names_of_packages_alone() {
        let mut read = Preferences::default();
        read.read(
            "Package: *\nPin: release a=Stable, n=BOOK\nPin-Priority: 1001 # why\n\n\
             Package: FOO-X FOO-* /^FOO/\nPin: version 1.0B*\nPin-Priority: -5\n",
        )
        .unwrap();
        let facts = Facts { archive: "stable", codename: "book", ..Facts::default() };
        assert!(read.pins[0].matcher.matches_suite(&facts) && read.pins[0].priority == 1001);
        let names = read.pins[1..].iter();
        let matches: Vec<_> = names
            .map(|pin| {
                pin.packages.as_ref().unwrap().matches("foo-x", "", "amd64", true) && pin.priority == -5
            })
            .collect();
        assert_eq!(matches, [false, true, true]);
        let Matcher::Version(version) = &read.pins[1].matcher else { panic!() };
        assert!(version.matches("1.0b2"));
    }

    #[test]
    fn a_pin_that_lacks_something_is_named_by_its_line() {
        for text in [
            "Package: x\nPin: release a=b\n",
            "Package: x\nPin-Priority: 1\n",
            "Package: x\nPin: what x\nPin-Priority: 1\n",
            "Pin: release a=b\nPin-Priority: 5\n",
            "Package: x\nPin: release a=b\nPin-Priority: never\n",
            "Package: x\nPin: release a=b\nPin-Priority: 0\n",
            "Package: x\nPin: release a=b\nPin-Priority: 99999\n",
        ] {
            assert_eq!(Preferences::default().read(text).unwrap_err().line, 1, "{text}");
        }
    }
}
