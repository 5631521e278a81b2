//! What differs between the packages of two images.

use std::collections::{BTreeMap, BTreeSet};

use super::Installed;
use super::package::Package;

/// Describes a package that differs; what an image lacks is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed<'i> {
    /// Its name.
    pub name: &'i str,
    /// Its architecture; empty where the record has none.
    pub architecture: &'i str,
    /// What the old image has.
    pub old: Option<&'i Package>,
    /// What the new image has.
    pub new: Option<&'i Package>,
}

/// Compares what is installed in two images by name, architecture and version, sorted by name and architecture.
///
/// Of a package that is there in several versions, those that both images have are left out.
pub fn changes<'i>(old: &'i Installed, new: &'i Installed) -> Vec<Changed<'i>> {
    let (before, after) = (by_name(old), by_name(new));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    let mut found = Vec::new();
    for key @ (name, architecture) in keys {
        let all = |side: &BTreeMap<_, Vec<&'i Package>>| side.get(&key).cloned().unwrap_or_default();
        let (before, after) = (all(&before), all(&after));
        let without = |these: &[&'i Package], others: &[&'i Package]| -> Vec<&'i Package> {
            let is_new = |one: &&&Package| !others.iter().any(|other| other.version == one.version);
            these.iter().filter(is_new).copied().collect()
        };
        let (gone, come) = (without(&before, &after), without(&after, &before));
        for place in 0..gone.len().max(come.len()) {
            let (old, new) = (gone.get(place).copied(), come.get(place).copied());
            found.push(Changed { name, architecture, old, new });
        }
    }
    found
}

fn by_name(installed: &Installed) -> BTreeMap<(&str, &str), Vec<&Package>> {
    let mut found: BTreeMap<_, Vec<&Package>> = BTreeMap::new();
    for package in &installed.packages {
        found.entry((&package.name[..], &package.architecture[..])).or_default().push(package);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(packages: &[(&str, &str, &str)]) -> Installed {
        let package = |(name, architecture, version): &(&str, &str, &str)| Package {
            name: (*name).to_owned(),
            architecture: (*architecture).to_owned(),
            version: (*version).to_owned(),
            ..Package::default()
        };
        Installed { packages: packages.iter().map(package).collect(), ..Installed::default() }
    }

    #[test]
    fn versions_that_both_have_do_not_differ() {
        let old =
            installed(&[("a", "x", "1"), ("gone", "", "1"), ("kernel", "x", "1"), ("kernel", "x", "2")]);
        let new =
            installed(&[("a", "y", "1"), ("kernel", "x", "2"), ("kernel", "x", "3"), ("same", "x", "1")]);
        let told = |old, new| -> Vec<String> {
            let version =
                |package: Option<&Package>| package.map_or("-".to_owned(), |one| one.version.clone());
            let line = |change: &Changed<'_>| {
                let (old, new) = (version(change.old), version(change.new));
                format!("{}:{} {old} {new}", change.name, change.architecture)
            };
            changes(old, new).iter().map(line).collect()
        };
        assert_eq!(told(&old, &new), ["a:x 1 -", "a:y - 1", "gone: 1 -", "kernel:x 1 3", "same:x - 1"]);
        assert_eq!(told(&new, &new), [""; 0]);
    }
}
