//! A base, and an application on it.

use std::collections::HashSet;
use std::sync::OnceLock;

use otoshi_oci::RunConfig;
use otoshi_oci::contents::{Contents, Layer};

use super::facts::{Content, Facts, together};
use super::loader::Loader;
use super::runtimes::Markers;
use super::tree::Tree;

/// Holds the files of a base; computed once for all images on it.
#[derive(Debug)]
pub struct Base {
    pub(super) contents: Contents<Facts>,
    exports: OnceLock<HashSet<u64>>,
    markers: OnceLock<Markers>,
}

impl Base {
    /// Puts the layers of a base together, the lowest first.
    pub fn new<'a>(layers: impl DoubleEndedIterator<Item = &'a Layer<Facts>>) -> Self {
        Self { contents: together(layers), exports: OnceLock::new(), markers: OnceLock::new() }
    }

    /// Every symbol that some library or program of the base defines.
    pub(super) fn exports(&self) -> &HashSet<u64> {
        self.exports.get_or_init(|| {
            let files = self.contents.files().values();
            let elf = files.filter_map(|node| match &node.facts.content {
                Content::Elf(elf) => Some(elf),
                _ => None,
            });
            elf.flat_map(|elf| elf.exports()).collect()
        })
    }

    pub(super) fn markers(&self) -> &Markers {
        self.markers.get_or_init(|| Markers::of(&self.contents))
    }
}

/// One side of the comparison.
pub(super) struct Side<'a> {
    pub(super) base: &'a Base,
    pub(super) tree: Tree<'a>,
    pub(super) loader: Loader<'a>,
    pub(super) config: &'a RunConfig,
    pub(super) path: &'a str,
}

impl<'a> Side<'a> {
    pub(super) fn new(app: &'a Contents<Facts>, base: &'a Base, config: &'a RunConfig) -> Self {
        let tree = Tree { app, base: &base.contents };
        let path = config.env_var("PATH").unwrap_or(otoshi_oci::config::DEFAULT_PATH);
        Self { base, tree, loader: Loader::new(tree, config.env_var("LD_LIBRARY_PATH")), config, path }
    }
}
