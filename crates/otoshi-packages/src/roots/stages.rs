//! Which packages a root with scripts has, and in which order they are unpacked and configured.
//!
//! As mmdebstrap and debootstrap do it, the *core* comes first: essential packages, and apt where it is asked for, with what
//! they depend on. All of it is unpacked before anything runs. The others follow in stages: a package whose `Pre-Depends` are
//! not met yet waits for a stage in which they are configured.

use std::collections::{BTreeMap, BTreeSet};

use super::depends::{Chosen, candidate, choose, choose_beside, essential, parse};
use super::error::RootError;
use crate::apt::Available;

/// Says that the root's `bin` and the like are links into `usr` from the start. What makes them so of a root in which they are
/// not, and needs Perl for it, is not needed then.
const MERGED: &str = "usr-is-merged";

/// The packages of a root.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Essential packages, apt where it is asked for, and what they depend on; sorted by name.
    pub core: Vec<Chosen>,
    /// All others, sorted by name.
    pub others: Vec<Chosen>,
    /// Those of [`Selection::others`] that nobody asked for by name.
    pub automatic: BTreeSet<String>,
}

impl Selection {
    /// Returns all packages, the core first.
    pub fn all(&self) -> impl Iterator<Item = &Chosen> {
        self.core.iter().chain(&self.others)
    }
}

/// Chooses the essential packages, `apt` if it is to be there, and those wanted, with what they depend on.
///
/// Fails where a dependency cannot be met, or two packages conflict.
pub fn select(available: &Available, wanted: &[String], apt: bool) -> Result<Selection, RootError> {
    let mut core = Vec::new();
    if candidate(available, MERGED)?.is_some() {
        core.push(MERGED.to_owned());
    }
    core.extend(essential(available)?);
    if apt {
        core.push("apt".to_owned());
    }
    let core = choose(available, &core, &[])?;
    let all = choose_beside(available, &core, wanted, &[])?;
    let is_core = |one: &Chosen| core.iter().any(|known| known.record.name == one.record.name);
    let others: Vec<Chosen> = all.into_iter().filter(|one| !is_core(one)).collect();
    let automatic =
        others.iter().map(|one| one.record.name.clone()).filter(|name| !wanted.contains(name)).collect();
    Ok(Selection { core, others, automatic })
}

/// Puts packages in an order in which each follows what it depends on, as far as there is one.
pub(super) fn ordered(packages: Vec<Chosen>) -> Vec<Chosen> {
    let edges: Vec<Vec<usize>> = (0..packages.len()).map(|at| needs(&packages, at, true)).collect();
    let mut seen = vec![false; packages.len()];
    let mut order = Vec::with_capacity(packages.len());
    for start in 0..packages.len() {
        // A package, and how many of its needs were looked at.
        let mut open = vec![(start, 0)];
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        while let Some((at, next)) = open.last_mut() {
            if let Some(need) = edges[*at].get(*next) {
                *next += 1;
                if !std::mem::replace(&mut seen[*need], true) {
                    open.push((*need, 0));
                }
            } else {
                order.push(*at);
                open.pop();
            }
        }
    }
    let mut packages: BTreeMap<usize, Chosen> = packages.into_iter().enumerate().collect();
    order.into_iter().filter_map(|at| packages.remove(&at)).collect()
}

/// Parts packages into stages, each to be configured before the next is unpacked.
pub(super) fn stages(packages: Vec<Chosen>) -> Vec<Vec<Chosen>> {
    let first: BTreeSet<usize> = (0..packages.len()).flat_map(|at| needs(&packages, at, false)).collect();
    // What those need is configured with them.
    let mut closed = first.clone();
    let mut open: Vec<usize> = first.into_iter().collect();
    while let Some(at) = open.pop() {
        open.extend(needs(&packages, at, true).into_iter().filter(|need| closed.insert(*need)));
    }
    if packages.is_empty() {
        return Vec::new();
    }
    // A circle cannot be parted.
    if closed.is_empty() || closed.len() == packages.len() {
        return vec![ordered(packages)];
    }
    let (before, after): (Vec<_>, Vec<_>) =
        packages.into_iter().enumerate().partition(|(at, _)| closed.contains(at));
    let plain = |some: Vec<(usize, Chosen)>| some.into_iter().map(|(_, one)| one).collect();
    let mut all = stages(plain(before));
    all.extend(stages(plain(after)));
    all
}

/// Which packages another one needs before it, as numbers: those it pre-depends on, and where `all` is set, depends on.
fn needs(packages: &[Chosen], at: usize, all: bool) -> Vec<usize> {
    let record = &packages[at].record;
    let mut groups = parse(&record.pre_depends);
    if all {
        groups.extend(parse(&record.depends));
    }
    let meeting = |group: &Vec<super::Dependency>| {
        let met = |one: &super::Dependency| packages.iter().position(|other| one.is_met_by(&other.record));
        group.iter().find_map(met)
    };
    let mut found: Vec<usize> = groups.iter().filter_map(meeting).filter(|need| *need != at).collect();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::index::Record;

    fn package(name: &str, pre_depends: &str, depends: &str) -> Chosen {
        let record = Record {
            name: name.into(),
            version: "1".into(),
            pre_depends: pre_depends.into(),
            depends: depends.into(),
            ..Record::default()
        };
        Chosen { record, suite: 0 }
    }

    fn names(packages: &[Chosen]) -> Vec<&str> {
        packages.iter().map(|one| one.record.name.as_str()).collect()
    }

    #[test]
    fn what_is_needed_first_is_configured_first() {
        let all = vec![
            package("a", "", "b"),
            package("b", "c", ""),
            package("c", "", "d, elsewhere"),
            package("d", "", "c"),
            package("e", "a", ""),
        ];
        let stages = stages(all.clone());
        assert_eq!(
            stages.iter().map(|stage| names(stage)).collect::<Vec<_>>(),
            [&["d", "c"][..], &["b", "a"], &["e"]]
        );
        assert_eq!(names(&ordered(all)), ["d", "c", "b", "a", "e"]);
        let circle = vec![package("a", "b", ""), package("b", "a", "")];
        assert_eq!(names(&super::stages(circle)[0]), ["b", "a"]);
    }
}
