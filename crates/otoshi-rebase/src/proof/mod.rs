//! The proof: whatever the application finds in its old base must be found in the new one.
//!
//! ```text
//! facts      one layer ─▶ of each file what matters                 elf    what the dynamic loader looks at
//! cache      glibc's list of libraries                           plugins of the C library and PAM
//! tree       the application's layers over a base's, links followed  loader where libraries are found
//! checks     one question each: libraries, scripts, accounts, runtimes, what hides what
//! finding    the answers, each with a name of its own and a waiver
//! ```
//!
//! It is differential: what was missing before is no finding. Nothing of an image is run; every file is taken for hostile.

mod cache;
mod checks;
mod elf;
mod examined;
mod facts;
mod finding;
mod libraries;
mod loader;
mod plugins;
mod runtimes;
mod tree;

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use otoshi_oci::contents::{Contents, Layer};
use otoshi_oci::{RunConfig, tar};
use otoshi_store::Record;
use serde::{Deserialize, Serialize};

pub use self::cache::Cache;
pub use self::elf::Elf;
pub use self::examined::Examined;
pub use self::facts::{Content, Facts, all, is_known, learn, of_layer, of_tar, recall, together};
pub use self::finding::{Finding, Kind, Waiver, judge};
use self::loader::Loader;
use self::tree::Tree;

/// Holds the files of a base; computed once for all images on it.
#[derive(Debug)]
pub struct Base {
    contents: Contents<Facts>,
    exports: OnceLock<HashSet<u64>>,
    markers: OnceLock<runtimes::Markers>,
}

impl Base {
    /// Puts the layers of a base together, the lowest first.
    pub fn new<'a>(layers: impl DoubleEndedIterator<Item = &'a Layer<Facts>>) -> Self {
        Self { contents: together(layers), exports: OnceLock::new(), markers: OnceLock::new() }
    }

    /// Every symbol that some library or program of the base defines.
    fn exports(&self) -> &HashSet<u64> {
        self.exports.get_or_init(|| {
            let files = self.contents.files().values();
            let elf = files.filter_map(|node| match &node.facts.content {
                Content::Elf(elf) => Some(elf),
                _ => None,
            });
            elf.flat_map(|elf| elf.exports()).collect()
        })
    }

    fn markers(&self) -> &runtimes::Markers {
        self.markers.get_or_init(|| runtimes::Markers::of(&self.contents))
    }
}

/// Names the application's layers, its old and its new base, and how the image runs on each.
#[derive(Debug, Clone, Copy)]
pub struct Swap<'a> {
    /// The application's own layers, the lowest first.
    pub app: &'a [&'a Layer<Facts>],
    /// The old base.
    pub old: &'a Base,
    /// The new base.
    pub new: &'a Base,
    /// How the image runs now.
    pub old_config: &'a RunConfig,
    /// How it is to run.
    pub new_config: &'a RunConfig,
}

/// One side of the comparison.
struct Side<'a> {
    base: &'a Base,
    tree: Tree<'a>,
    loader: Loader<'a>,
    config: &'a RunConfig,
    path: &'a str,
}

impl<'a> Side<'a> {
    fn new(app: &'a Contents<Facts>, base: &'a Base, config: &'a RunConfig) -> Self {
        let tree = Tree { app, base: &base.contents };
        let path = config.env_var("PATH").unwrap_or(otoshi_oci::config::DEFAULT_PATH);
        Self { base, tree, loader: Loader::new(tree, config.env_var("LD_LIBRARY_PATH")), config, path }
    }
}

/// Holds what a proof found, and what it looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What the application no longer finds on the new base.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub examined: Examined,
}

impl Record for Proof {
    const KIND: otoshi_store::Kind = otoshi_store::Kind::Proof;
}

/// Says what the application no longer finds on the new base.
pub fn prove(swap: Swap<'_>) -> Proof {
    let app = together(swap.app.iter().copied());
    let old = Side::new(&app, swap.old, swap.old_config);
    let new = Side::new(&app, swap.new, swap.new_config);
    let mut report = Report::default();
    libraries::check(&app, &old, &new, &mut report);
    checks::scripts(&app, &old, &new, &mut report);
    checks::commands(&old, &new, &mut report);
    checks::links(&app, &old, &new, &mut report);
    checks::accounts(&app, &old, &new, &mut report);
    checks::shadows(&app, &old, &new, &mut report);
    checks::whiteouts(swap.app, &old, &new, &mut report);
    checks::kinds(&app, &old, &new, &mut report);
    plugins::check(&app, &old, &new, &mut report);
    let runtimes = runtimes::check(&app, &old, &new, &mut report);
    Proof { findings: report.found.into_values().collect(), examined: Examined::of(&app, &old, runtimes) }
}

/// Findings so far, each subject once.
#[derive(Default)]
struct Report {
    found: BTreeMap<(Kind, String), Finding>,
}

impl Report {
    fn add(&mut self, kind: Kind, subject: impl Into<String>, file: &[u8], was: Option<&[u8]>, text: String) {
        let subject = subject.into();
        let file = if file.is_empty() { String::new() } else { absolute(file) };
        self.found
            .entry((kind, subject.clone()))
            .and_modify(|finding| finding.more += usize::from(finding.file != file))
            .or_insert_with(|| Finding { kind, subject, file, more: 0, was: was.map(absolute), text });
    }

    fn has(&self, kind: Kind, subject: &str) -> bool {
        self.found.contains_key(&(kind, subject.to_owned()))
    }
}

/// A path for people.
fn absolute(path: &[u8]) -> String {
    format!("/{}", tar::display(path))
}
