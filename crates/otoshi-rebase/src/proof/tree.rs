//! An image's files as the application sees them: its own layers over those of a base.

use otoshi_oci::contents::{Contents, Node, follow};
use otoshi_oci::tar::Kind;

use super::elf::Elf;
use super::facts::{Content, Facts};

/// Layers of an application over those of a base.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) app: &'a Contents<Facts>,
    pub(super) base: &'a Contents<Facts>,
}

/// A file that was found.
#[derive(Debug, Clone)]
pub(super) struct Found<'a> {
    /// Its path, with all links followed.
    pub(super) path: Vec<u8>,
    /// What it is; none for a directory that nothing but its files imply.
    pub(super) node: Option<&'a Node<Facts>>,
    /// Whether it is the application's own.
    pub(super) is_own: bool,
}

impl<'a> Found<'a> {
    pub(super) fn elf(&self) -> Option<&'a Elf> {
        match &self.node?.facts.content {
            Content::Elf(elf) => Some(elf),
            _ => None,
        }
    }

    pub(super) fn is_file(&self) -> bool {
        self.node.is_some_and(|node| node.kind == Kind::File)
    }
}

impl<'a> Tree<'a> {
    /// What is at a path, links not followed.
    pub(super) fn get(&self, path: &[u8]) -> Option<(&'a Node<Facts>, bool)> {
        if let Some(node) = self.app.files().get(path) {
            return Some((node, true));
        }
        let node = self.base.files().get(path)?;
        (!self.app.cover().hides(path)).then_some((node, false))
    }

    /// Follows all links of a path.
    pub(super) fn find(&self, path: &[u8]) -> Option<Found<'a>> {
        let path = follow(path, |path| {
            self.get(path).filter(|(node, _)| node.kind == Kind::Symlink).map(|(node, _)| &node.link[..])
        })?;
        match self.get(&path) {
            Some((node, is_own)) => Some(Found { path, node: Some(node), is_own }),
            None if path.is_empty() => Some(Found { path, node: None, is_own: false }),
            None => {
                let is_own = self.implies(self.app, &path);
                let implied = is_own || self.implies(self.base, &path) && !self.app.cover().hides(&path);
                implied.then_some(Found { path, node: None, is_own })
            }
        }
    }

    /// Whether something lies below a path.
    fn implies(&self, contents: &Contents<Facts>, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        contents.files().range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below))
    }

    /// A text that says how the system is set up.
    pub(super) fn text(&self, path: &[u8]) -> Option<&'a str> {
        match &self.find(path)?.node?.facts.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Finds a program as a shell does: by its path, or in the directories of PATH.
    pub(super) fn program(&self, name: &str, path: &str, directory: &str) -> Option<Found<'a>> {
        let file = |path: &str| self.find(path.as_bytes()).filter(Found::is_file);
        if name.starts_with('/') {
            return file(name);
        }
        if name.contains('/') {
            return file(&format!("{directory}/{name}"));
        }
        path.split(':').find_map(|directory| file(&format!("{directory}/{name}")))
    }
}
