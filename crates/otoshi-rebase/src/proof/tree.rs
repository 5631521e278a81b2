//! An image's files as the application sees them: its own layers over those of a base.

use otoshi_oci::contents::{Contents, Node};
use otoshi_oci::tar::Kind;

use super::elf::Elf;
use super::facts::{Content, Facts};

/// How many links on the way are followed.
const LINKS: usize = 40;

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
        let mut left: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
        let mut path: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let parent = path.len();
            if parent > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&part);
            if let Some((node, _)) = self.get(&path)
                && node.kind == Kind::Symlink
            {
                links += 1;
                if links > LINKS {
                    return None;
                }
                path.truncate(if node.link.starts_with(b"/") { 0 } else { parent });
                left.extend(node.link.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            }
        }
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
