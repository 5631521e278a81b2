//! Which packages a root needs: those wanted, and what they depend on.
//!
//! Source of the rules: the Debian policy manual, sections 7.2, 7.4 and 7.5; and apt without recommendations, which the tests ask. Of several
//! alternatives the first counts that can be installed, unless another one is chosen already.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use super::error::{RootError, named};
use crate::apt::Available;
use crate::apt::index::Record;
use crate::version::dpkg;

/// A package of a root.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// What the index says of it.
    pub record: Record,
    /// The suite that has it, as a number into [`Available::suites`].
    pub suite: usize,
}

/// A package by name, of certain versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name.
    pub name: String,
    /// The versions; `None` for any.
    pub version: Option<(Relation, String)>,
}

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrSame,
    /// `=`
    Same,
    /// `>=`
    LaterOrSame,
    /// `>>`
    Later,
}

impl Relation {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Earlier => order == Ordering::Less,
            Self::EarlierOrSame => order != Ordering::Greater,
            Self::Same => order == Ordering::Equal,
            Self::LaterOrSame => order != Ordering::Less,
            Self::Later => order == Ordering::Greater,
        }
    }
}

impl Dependency {
    fn allows(&self, version: &str) -> bool {
        self.version.as_ref().is_none_or(|(relation, wanted)| relation.holds(dpkg::compare(version, wanted)))
    }

    /// Says whether a package is what is meant: by its own name, or by one that it provides.
    pub fn is_met_by(&self, record: &Record) -> bool {
        if record.name == self.name && self.allows(&record.version) {
            return true;
        }
        parse(&record.provides).into_iter().flatten().filter(|provided| provided.name == self.name).any(
            |provided| {
                match (&self.version, &provided.version) {
                    (None, _) => true,
                    // What provides no version satisfies none.
                    (Some(_), None) => false,
                    (Some(_), Some((_, version))) => self.allows(version),
                }
            },
        )
    }
}

impl std::fmt::Display for Dependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((relation, version)) = &self.version else { return f.write_str(&self.name) };
        let relation = match relation {
            Relation::Earlier => "<<",
            Relation::EarlierOrSame => "<=",
            Relation::Same => "=",
            Relation::LaterOrSame => ">=",
            Relation::Later => ">>",
        };
        write!(f, "{} ({relation} {version})", self.name)
    }
}

/// Reads a field such as `Depends`: groups, each of alternatives.
pub fn parse(field: &str) -> Vec<Vec<Dependency>> {
    let groups = field.split(',').map(|group| group.split('|').filter_map(parse_one).collect::<Vec<_>>());
    groups.filter(|group| !group.is_empty()).collect()
}

fn parse_one(text: &str) -> Option<Dependency> {
    let (name, rest) = text.split_once('(').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let name = name.split(['[', '<']).next()?.trim();
    let name = name.split(':').next()?.trim();
    if name.is_empty() {
        return None;
    }
    let version = rest.and_then(|rest| {
        let inside = rest.split(')').next()?.trim();
        let at = inside.find(|sign: char| !"<>=".contains(sign))?;
        let (sign, version) = inside.split_at(at);
        let relation = match sign {
            "<<" => Relation::Earlier,
            "<=" | "<" => Relation::EarlierOrSame,
            "=" => Relation::Same,
            ">=" | ">" => Relation::LaterOrSame,
            ">>" => Relation::Later,
            _ => return None,
        };
        Some((relation, version.trim().to_owned()))
    });
    Some(Dependency { name: name.to_owned(), version })
}

/// Chooses the packages of a root, sorted by name. What is named in `without` is taken for there already.
///
/// Fails where a dependency cannot be met, or two packages conflict.
pub fn choose(available: &Available, wanted: &[String], without: &[&str]) -> Result<Vec<Chosen>, RootError> {
    choose_beside(available, &[], wanted, without)
}

/// Chooses packages to go with others, and returns all, sorted by name.
///
/// Fails where a dependency cannot be met, or two packages conflict.
pub(crate) fn choose_beside(
    available: &Available,
    there: &[Chosen],
    wanted: &[String],
    without: &[&str],
) -> Result<Vec<Chosen>, RootError> {
    let mut chosen: BTreeMap<String, Chosen> =
        there.iter().map(|one| (one.record.name.clone(), one.clone())).collect();
    let mut open: VecDeque<(Vec<Dependency>, String)> = wanted
        .iter()
        .map(|name| (vec![Dependency { name: name.clone(), version: None }], String::new()))
        .collect();
    while let Some((alternatives, who)) = open.pop_front() {
        let there = |one: &Dependency| {
            without.contains(&one.name.as_str()) || chosen.values().any(|known| one.is_met_by(&known.record))
        };
        if alternatives.iter().any(there) {
            continue;
        }
        let mut found = None;
        for one in &alternatives {
            found = installable(available, one, &chosen)?;
            if found.is_some() {
                break;
            }
        }
        let Some(next) = found else {
            let shown: Vec<_> = alternatives.iter().map(ToString::to_string).collect();
            let shown = shown.join(" | ");
            return Err(RootError::Unmet(if who.is_empty() {
                format!("no repository has the package {shown}")
            } else {
                format!("{who} depends on {shown}, which no repository has")
            }));
        };
        let who = named(&next.record);
        for field in [&next.record.pre_depends, &next.record.depends] {
            open.extend(parse(field).into_iter().map(|group| (group, who.clone())));
        }
        chosen.insert(next.record.name.clone(), next);
    }
    let chosen: Vec<Chosen> = chosen.into_values().collect();
    check_conflicts(&chosen)?;
    Ok(chosen)
}

/// Returns the names of the packages that no root can do without, sorted.
///
/// Fails where what is kept of an index is damaged.
pub(super) fn essential(available: &Available) -> Result<Vec<String>, RootError> {
    let mut names = std::collections::BTreeSet::new();
    for suite in available.suites() {
        let essential = (0..suite.index.len()).filter(|number| suite.index.importance(*number).1);
        names.extend(essential.map(|number| suite.index.name(number).to_owned()));
    }
    let mut found = Vec::new();
    for name in names {
        if candidate(available, &name)?.is_some_and(|one| one.record.essential) {
            found.push(name);
        }
    }
    Ok(found)
}

/// The package that apt would install for a dependency, if it can.
fn installable(
    available: &Available,
    wanted: &Dependency,
    chosen: &BTreeMap<String, Chosen>,
) -> Result<Option<Chosen>, RootError> {
    if let Some(candidate) = candidate(available, &wanted.name)? {
        // What is chosen in one version is not chosen in another.
        if wanted.allows(&candidate.record.version) && !chosen.contains_key(&wanted.name) {
            return Ok(Some(candidate));
        }
    }
    let mut names: Vec<String> = Vec::new();
    for suite in available.suites() {
        names.extend(
            suite.index.providers(&wanted.name).into_iter().map(|at| suite.index.name(at).to_owned()),
        );
    }
    names.sort_unstable();
    names.dedup();
    let mut providers = Vec::new();
    for name in names.iter().filter(|name| !chosen.contains_key(*name)) {
        providers.extend(candidate(available, name)?.filter(|provider| wanted.is_met_by(&provider.record)));
    }
    // More important ones first, then by name.
    providers.sort_by(|left, right| {
        let key = |chosen: &Chosen| (!chosen.record.essential, chosen.record.priority);
        key(left).cmp(&key(right)).then_with(|| left.record.name.cmp(&right.record.name))
    });
    Ok(providers.into_iter().next())
}

pub(super) fn candidate(available: &Available, name: &str) -> Result<Option<Chosen>, RootError> {
    let architecture = available.architecture();
    let Some(candidate) = available.candidate(name, architecture, None)? else { return Ok(None) };
    let versions = available.versions(name, architecture)?;
    let version = versions.into_iter().find(|version| version.version == candidate.version);
    Ok(version.and_then(|version| Some(Chosen { suite: *version.suites.first()?, record: version.record })))
}

fn check_conflicts(chosen: &[Chosen]) -> Result<(), RootError> {
    for one in chosen {
        for field in [&one.record.conflicts, &one.record.breaks] {
            for unwanted in parse(field).into_iter().flatten() {
                // A package that provides what it conflicts with means all others that do.
                let other = chosen
                    .iter()
                    .find(|other| other.record.name != one.record.name && unwanted.is_met_by(&other.record));
                if let Some(other) = other {
                    let (one, other) = (named(&one.record), named(&other.record));
                    return Err(RootError::Conflict(format!(
                        "{one} cannot be installed beside {other}: it conflicts with {unwanted}"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Whether a package says that it replaces files of another.
pub(super) fn replaces(one: &Record, other: &Record) -> bool {
    parse(&one.replaces).iter().flatten().any(|named| named.name == other.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_have_alternatives_and_versions() {
        let read = parse(
            "libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, python3:any <!nocheck>, x [amd64] (= 1), ",
        );
        assert_eq!(read.len(), 4);
        assert_eq!(read[0][0].version, Some((Relation::LaterOrSame, "2.36".into())));
        assert_eq!(
            read[1].iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["debconf (>= 0.5)", "debconf-2.0"]
        );
        assert_eq!((&*read[2][0].name, &read[2][0].version), ("python3", &None));
        assert_eq!(read[3][0].to_string(), "x (= 1)");
    }

    #[test]
    fn what_is_provided_counts_by_its_own_version() {
        let record = Record {
            name: "a".into(),
            version: "9".into(),
            provides: "b, c (= 2)".into(),
            ..Record::default()
        };
        for (wanted, met) in [
            ("a", true),
            ("a (>> 9)", false),
            ("b", true),
            ("b (>= 1)", false),
            ("c (>= 2)", true),
            ("c (>> 2)", false),
        ] {
            assert_eq!(parse(wanted)[0][0].is_met_by(&record), met, "{wanted}");
        }
    }
}
