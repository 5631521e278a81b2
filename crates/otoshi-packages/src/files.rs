//! The few files of an image that say what is installed and where more comes from, by path, in memory.
//!
//! Paths are relative to the image's root and have no `.`, `..` or superfluous slashes. Links are kept as links and followed
//! when a file is asked for, as the image itself would: an absolute target begins at the image's root, and nothing leads
//! out of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use otoshi_oci::contents::{follow, inside};

/// Holds files and symbolic links by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    nodes: BTreeMap<String, Node>,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File(Arc<[u8]>),
    Link(String),
}

impl Files {
    /// Makes a map with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file at a path, in place of what was there.
    pub fn insert(&mut self, path: &str, content: impl Into<Arc<[u8]>>) {
        self.nodes.insert(inside(path), Node::File(content.into()));
    }

    /// Puts a symbolic link at a path, in place of what was there. The target is as the link has it.
    pub(crate) fn insert_link(&mut self, path: &str, target: &str) {
        self.nodes.insert(inside(path), Node::Link(target.to_owned()));
    }

    /// Takes what lies at a path away, and says whether anything did.
    pub fn remove(&mut self, path: &str) -> bool {
        self.nodes.remove(&inside(path)).is_some()
    }

    /// Says whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the content of a file, with links followed.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.get_shared(path).map(|content| &**content)
    }

    /// Returns the content of a file, with links followed, to be shared.
    pub(crate) fn get_shared(&self, path: &str) -> Option<&Arc<[u8]>> {
        match self.nodes.get(&self.resolve(path)?)? {
            Node::File(content) => Some(content),
            Node::Link(_) => None,
        }
    }

    /// Returns a file as text, with links followed; what is no UTF-8 is replaced.
    pub fn text(&self, path: &str) -> Option<Cow<'_, str>> {
        self.get(path).map(String::from_utf8_lossy)
    }

    /// Lists the files that lie in a directory itself, sorted by name, with their content; links are followed.
    ///
    /// The paths are those asked for: the directory's, a slash, and the name.
    pub fn list(&self, directory: &str) -> Vec<(String, &[u8])> {
        let named = inside(directory);
        let Some(place) = self.resolve(&named) else { return Vec::new() };
        let start = if place.is_empty() { String::new() } else { format!("{place}/") };
        let below = self.nodes.range(start.clone()..).take_while(|(path, _)| path.starts_with(&start));
        below
            .filter_map(|(path, _)| {
                let name = path[start.len()..].to_owned();
                let content = if name.contains('/') { None } else { self.get(path) };
                Some((if named.is_empty() { name } else { format!("{named}/{name}") }, content?))
            })
            .collect()
    }

    /// Returns every file that is no link, by path, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<[u8]>)> {
        self.nodes.iter().filter_map(|(path, node)| match node {
            Node::File(content) => Some((&path[..], content)),
            Node::Link(_) => None,
        })
    }

    /// Returns every symbolic link with its target, by path, sorted.
    pub fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.nodes.iter().filter_map(|(path, node)| match node {
            Node::Link(target) => Some((&path[..], &target[..])),
            Node::File(_) => None,
        })
    }

    /// Returns the places that links lead to and at which nothing lies here: a file there was not read, or is not there.
    pub(crate) fn dangling(&self) -> BTreeSet<String> {
        let missing = |(path, _)| {
            let end = self.resolve(path)?;
            let start = format!("{end}/");
            let inside =
                self.nodes.range(start.clone()..).next().is_some_and(|(path, _)| path.starts_with(&start));
            (!self.nodes.contains_key(&end) && !inside).then_some(end)
        };
        self.links().filter_map(missing).collect()
    }

    /// Where a path leads when all links are followed; `None` where they go round in circles.
    pub(crate) fn resolve(&self, path: &str) -> Option<String> {
        let link = |place: &[u8]| match self.nodes.get(std::str::from_utf8(place).ok()?)? {
            Node::Link(target) => Some(target.as_bytes()),
            Node::File(_) => None,
        };
        String::from_utf8(follow(path.as_bytes(), link)?).ok()
    }
}

/// Says whether a path ends in a point and that extension.
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::Files;

    #[test]
    fn links_are_followed_as_the_image_would() {
        let mut files = Files::new();
        files.insert("/usr/lib/os-release", &b"ID=debian"[..]);
        files.insert_link("etc/os-release", "../usr/lib/os-release");
        files.insert_link("lib", "usr/lib");
        files.insert_link("etc/out", "../../../../usr/lib/os-release");
        files.insert_link("a", "b");
        files.insert_link("b", "a");
        files.insert_link("etc/key", "/opt/key");
        for path in ["etc/os-release", "/lib/os-release", "etc/out", "usr//lib/./x/../os-release"] {
            assert_eq!(files.get(path), Some(&b"ID=debian"[..]), "{path}");
        }
        assert_eq!(files.get("a"), None);
        assert_eq!(files.get("usr/lib"), None);
        assert_eq!(files.dangling().into_iter().collect::<Vec<_>>(), ["opt/key"]);
        assert_eq!(files.text("etc/os-release").as_deref(), Some("ID=debian"));
    }

    #[test]
    fn a_directory_is_listed_by_the_name_that_was_asked_for() {
        let mut files = Files::new();
        files.insert("etc/apk/keys/b", &b"2"[..]);
        files.insert("etc/apk/keys/a", &b"1"[..]);
        files.insert("etc/apk/keys/more/c", &b"3"[..]);
        files.insert("etc/apk/keysx", &b"4"[..]);
        files.insert_link("etc/apk/keys/d", "../keysx");
        files.insert_link("keys", "etc/apk/keys");
        let expected = [("keys/a", &b"1"[..]), ("keys/b", b"2"), ("keys/d", b"4")];
        let found = files.list("/keys/");
        assert_eq!(found.iter().map(|(path, content)| (&path[..], *content)).collect::<Vec<_>>(), expected);
        assert!(files.list("nothing").is_empty());
    }
}
