//! Which file of a crate takes something from which, and the circles among them.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Import, Module};

type ModulePath = Vec<String>;

/// How many re-exports are followed one after another.
const MAX_HOPS: usize = 16;

/// The modules of a crate.
struct Graph<'a> {
    modules: &'a BTreeMap<ModulePath, Module>,
}

/// Files that take something from each other, in a circle.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle {
    pub(super) files: Vec<String>,
    /// Who takes what from whom.
    pub(super) edges: Vec<(String, String, BTreeSet<String>)>,
}

/// What a path leads to.
#[derive(Debug, Clone)]
enum Found {
    Module(ModulePath),
    /// An item of that module's file.
    Item(ModulePath),
}

/// The circles among the modules of a crate, the largest first.
pub(super) fn circles(modules: &BTreeMap<ModulePath, Module>) -> Vec<Circle> {
    let graph = Graph { modules };
    let edges: BTreeMap<_, _> = modules.keys().map(|path| (path, graph.edges(path))).collect();
    let reached: BTreeMap<_, _> = edges.keys().map(|path| (*path, reach(path, &edges))).collect();
    let mut seen: BTreeSet<&ModulePath> = BTreeSet::new();
    let mut circles = Vec::new();
    for (path, from_here) in &reached {
        let files: Vec<_> = from_here.iter().filter(|other| reached[*other].contains(*path)).collect();
        if files.is_empty() || !seen.insert(path) {
            continue;
        }
        seen.extend(files.iter().copied());
        let name = |path: &ModulePath| modules[path].file.clone();
        let inside = files.iter().flat_map(|from| {
            let all = edges[*from].iter().filter(|(to, _)| files.contains(to));
            all.map(|(to, what)| (name(from), name(to), what.clone()))
        });
        let edges = inside.collect();
        circles.push(Circle { files: files.into_iter().map(name).collect(), edges });
    }
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
    circles
}

impl Graph<'_> {
    /// From which other files a file takes something, and what.
    fn edges(&self, path: &ModulePath) -> BTreeMap<ModulePath, BTreeSet<String>> {
        let module = &self.modules[path];
        let mut edges: BTreeMap<ModulePath, BTreeSet<String>> = BTreeMap::new();
        let mut note = |to: ModulePath, what: &[String]| {
            if to != *path {
                edges.entry(to).or_default().extend(what.last().cloned());
            }
        };
        // What a file only hands on, it does not use.
        let used = |import: &&Import| !import.is_public || module.names.contains(&import.name);
        for import in module.imports.iter().filter(used) {
            match self.resolve(path, &import.path, import.depth, MAX_HOPS) {
                Some(Found::Item(to)) => note(to, &import.path),
                Some(Found::Module(to)) if import.name == "*" => note(to, &["*".to_owned()]),
                _ => {}
            }
        }
        for (named, depth) in &module.paths {
            if let Some(Found::Item(to)) = self.resolve(path, named, *depth, MAX_HOPS) {
                note(to, named);
            }
        }
        edges
    }

    /// What a path leads to; none where that is in another crate.
    fn resolve(&self, from: &ModulePath, path: &[String], depth: usize, hops: usize) -> Option<Found> {
        let hops = hops.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut here = match first.as_str() {
            "crate" => Found::Module(Vec::new()),
            "self" => Found::Module(from.clone()),
            "super" => {
                let more = rest.iter().take_while(|name| *name == "super").count();
                rest = &rest[more..];
                let up = (more + 1).saturating_sub(depth);
                Found::Module(from[..from.len().checked_sub(up)?].to_vec())
            }
            name => self.named(from, name, rest.is_empty(), hops)?,
        };
        while let (Found::Module(module), Some((next, after))) = (&here, rest.split_first()) {
            let item = || Found::Item(module.clone());
            here = match self.named(module, next, after.is_empty(), hops) {
                Some(found) => found,
                // What a macro makes is not seen; what is another crate's is.
                None if self.modules[module].imports.iter().any(|import| import.name == *next) => {
                    return None;
                }
                None => item(),
            };
            rest = after;
        }
        Some(here)
    }

    /// What a name stands for in a module.
    fn named(&self, module: &ModulePath, name: &str, is_last: bool, hops: usize) -> Option<Found> {
        let child = [&module[..], &[name.to_owned()]].concat();
        let here = self.modules.get(module)?;
        let is_child = self.modules.contains_key(&child);
        if is_child && !is_last {
            return Some(Found::Module(child));
        }
        if here.items.contains(name) {
            return Some(Found::Item(module.clone()));
        }
        let by_name = here.imports.iter().find(|import| import.name == name && import.path != [name]);
        if let Some(import) = by_name {
            return self.resolve(module, &import.path, import.depth, hops);
        }
        if is_child {
            return Some(Found::Module(child));
        }
        let globs = here.imports.iter().filter(|import| import.name == "*");
        globs.into_iter().find_map(|import| match self.resolve(module, &import.path, import.depth, hops)? {
            Found::Module(other) if other != *module => {
                self.named(&other, name, is_last, hops.checked_sub(1)?)
            }
            _ => None,
        })
    }
}

/// All that can be reached from a module, by one step or more.
fn reach(
    from: &ModulePath,
    edges: &BTreeMap<&ModulePath, BTreeMap<ModulePath, BTreeSet<String>>>,
) -> BTreeSet<ModulePath> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(next) = open.pop() {
        for to in edges[next].keys() {
            if reached.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    reached
}
