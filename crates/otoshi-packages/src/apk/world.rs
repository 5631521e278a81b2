//! What was asked for by name: `etc/apk/world`.
//!
//! Source: apk-world(5): words parted by space, each a name, perhaps a condition on its version, perhaps `@TAG`; a `!` before
//! the name keeps the package out.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::version::apk::compare;

/// Holds what was asked for, by name.
#[derive(Debug, Clone, Default)]
pub struct World {
    asked: HashMap<String, Asked>,
}

/// What was asked for of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The conditions on its version, as operator and version.
    pub conditions: Vec<(String, String)>,
    /// The tag of the repositories that it may come from besides those without one.
    pub tag: Option<String>,
}

impl World {
    /// Reads the file.
    pub fn parse(text: &str) -> Self {
        let mut world = Self::default();
        for word in text.split_whitespace().filter(|word| !word.starts_with('!')) {
            let (word, tag) = match word.split_once('@') {
                Some((word, tag)) => (word, Some(tag.to_owned())),
                None => (word, None),
            };
            let is_operator = |c: char| "=<>~".contains(c);
            let end = word.find(is_operator).unwrap_or(word.len());
            let (name, condition) = word.split_at(end);
            let version = condition.trim_start_matches(is_operator);
            let operator = &condition[..condition.len() - version.len()];
            let asked = world.asked.entry(name.to_owned()).or_default();
            if !operator.is_empty() {
                asked.conditions.push((operator.to_owned(), version.to_owned()));
            }
            asked.tag = tag.or(asked.tag.take());
        }
        world
    }

    /// Returns what was asked for of a package; `None` where it is there only because something needs it.
    pub fn asked(&self, name: &str) -> Option<&Asked> {
        self.asked.get(name)
    }

    /// Returns the tag that a package was asked for with.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.asked.get(name)?.tag.as_deref()
    }

    /// Says whether a version of a package may come from a repository with that tag.
    pub fn allows(&self, name: &str, version: &str, tag: Option<&str>) -> bool {
        let asked = self.asked.get(name);
        let from = tag.is_none() || asked.is_some_and(|asked| asked.tag.as_deref() == tag);
        let conditions = asked.map(|asked| &asked.conditions[..]).unwrap_or_default();
        from && conditions.iter().all(|(operator, wanted)| holds(version, operator, wanted))
    }
}

fn holds(version: &str, operator: &str, wanted: &str) -> bool {
    let order = compare(version, wanted);
    // `1.2` stands for itself and all that goes on from it, as `1.2.3` and `1.2-r4`.
    let is_below = || {
        let rest = version.strip_prefix(wanted);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match operator {
        "=" => order == Ordering::Equal,
        "<" => order == Ordering::Less,
        ">" => order == Ordering::Greater,
        "<=" => order != Ordering::Greater,
        ">=" => order != Ordering::Less,
        "~" | "=~" | "~=" => is_below(),
        "<~" | "~<" => order == Ordering::Less || is_below(),
        ">~" | "~>" => order == Ordering::Greater || is_below(),
        // The hash of a package's content, which no index has.
        "><" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::World;

    #[test]
    fn a_package_can_be_bound_to_versions_and_tags() {
        let world = World::parse("a b=1.2-r0 c~1.2 d<2 e@edge f>=1 f<3@t !no g><Q1abc");
        for (name, version, tag, allowed) in [
            ("a", "9", None, true),
            ("a", "9", Some("edge"), false),
            ("b", "1.2-r0", None, true),
            ("b", "1.2-r1", None, false),
            ("c", "1.2.7-r1", None, true),
            ("c", "1.2-r1", None, true),
            ("c", "1.20", None, false),
            ("d", "1.9", None, true),
            ("d", "2", None, false),
            ("e", "1", Some("edge"), true),
            ("e", "1", Some("other"), false),
            ("f", "2", Some("t"), true),
            ("f", "3", None, false),
            ("g", "1", None, false),
            ("needed", "1", None, true),
        ] {
            assert_eq!(world.allows(name, version, tag), allowed, "{name} {version} {tag:?}");
        }
        assert!(world.asked("no").is_none());
        assert_eq!(world.tag("e"), Some("edge"));
    }
}
