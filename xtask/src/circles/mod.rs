//! The circles among the files of each crate: files of which each takes something from the next, and the last from the first.
//!
//! A file takes something from another where its code has a `use` or a path (`crate::`, `super::`, `self::`, a child's name) to an
//! item that the other defines. Re-exports are followed to the file that defines the item, so going through a `lib.rs` or `mod.rs`
//! that only hands it on is none of its doing; a file that hands something on and does not use it takes nothing. A parent that
//! uses its child, while the child uses what stands in its parent's own file, is a circle. Code that only tests compile does not
//! count, nor do methods that are called on a value whose type is taken from elsewhere.

mod graph;
mod modules;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    failure::{Failure, Result},
    root,
};
use graph::{Circle, circles};

/// Show the circles among the files of each crate.
#[derive(Debug, Args)]
pub(crate) struct Circles {
    /// Only these crates, and who takes what from whom in them.
    names: Vec<String>,
}

impl Circles {
    pub(crate) fn run(self) -> Result {
        for (name, circles) in all()? {
            if !self.names.is_empty() && !self.names.contains(&name) {
                continue;
            }
            println!("{name}: {}", count(&circles));
            for circle in &circles {
                println!("  {}", circle.files.join(" "));
                for (from, to, what) in circle.edges.iter().filter(|_| !self.names.is_empty()) {
                    let what: Vec<_> = what.iter().map(String::as_str).collect();
                    println!("    {from} ← {to}: {}", what.join(", "));
                }
            }
        }
        Ok(())
    }
}

/// How many files are in circles.
fn count(circles: &[Circle]) -> usize {
    circles.iter().map(|circle| circle.files.len()).sum()
}

/// The circles of every crate of the workspace, by its name.
fn all() -> Result<Vec<(String, Vec<Circle>)>> {
    let crates = root().join("crates");
    let entries = fs::read_dir(&crates).map_err(Failure::file("listing", &crates))?;
    let mut directories: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    directories.push(root().join("xtask"));
    directories.sort();
    let mut found = Vec::new();
    for directory in directories {
        let (name, sources) = (directory.file_name().unwrap_or_default(), directory.join("src"));
        let text = |file: &Path| fs::read_to_string(sources.join(file)).ok();
        let circles = ["lib.rs", "main.rs"].iter().flat_map(|file| circles(&modules::read(file, &text)));
        let circles = circles.collect();
        found.push((name.to_string_lossy().into_owned(), circles));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_files_are_in_circles() {
        let found = all().unwrap();
        assert!(found.len() > 10, "{found:?}");
        let found: Vec<_> = found.into_iter().filter(|(_, circles)| !circles.is_empty()).collect();
        assert!(found.is_empty(), "cargo xtask circles CRATE shows who takes what from whom: {found:#?}");
    }

    /// The circles of a crate of these files.
    fn of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let text = |wanted: &Path| {
            let found = files.iter().find(|(file, _)| Path::new(file) == wanted);
            found.map(|(_, text)| (*text).to_owned())
        };
        circles(&modules::read("lib.rs", &text)).into_iter().map(|circle| circle.files).collect()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let root = ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;");
        assert_eq!(of(&[root, ("a.rs", "pub struct A(crate::B);"), ("b.rs", "pub struct B;")]), [[""; 0]; 0]);
        let both =
            of(&[root, ("a.rs", "pub struct A(crate::B);"), ("b.rs", "use crate::A as C; pub struct B;")]);
        assert_eq!(both, [["a.rs", "b.rs"]]);
        let by_path =
            of(&[root, ("a.rs", "pub struct A(super::b::B);"), ("b.rs", "use crate::a; fn B() { a::A }")]);
        assert_eq!(by_path, [["a.rs", "b.rs"]]);
        let in_tests = "pub struct B; #[cfg(test)] mod tests { use crate::A; }";
        assert_eq!(of(&[root, ("a.rs", "pub struct A(crate::B);"), ("b.rs", in_tests)]), [[""; 0]; 0]);
    }

    #[test]
    fn a_parent_that_only_hands_on_is_in_no_circle() {
        let child = ("a/b.rs", "use super::{C, Inner}; pub struct B;");
        let root = ("lib.rs", "mod a;");
        let third = ("a/c.rs", "pub struct C; pub mod inner { pub struct Inner; }");
        let hands_on = ("a/mod.rs", "mod b; mod c; pub use self::{b::B, c::{C, inner::*}};");
        assert_eq!(of(&[root, hands_on, child, third]), [[""; 0]; 0]);
        let uses = ("a/mod.rs", "mod b; mod c; pub use c::{C, inner::Inner}; use b::*; pub fn a() {}");
        assert_eq!(of(&[root, uses, child, third]), [[""; 0]; 0]);
        let back = ("a/b.rs", "use super::a; pub struct B;");
        assert_eq!(of(&[root, uses, back, third]), [["a/mod.rs", "a/b.rs"]]);
    }
}
