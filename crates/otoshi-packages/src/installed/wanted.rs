//! Which files of an image are read.

use std::collections::BTreeMap;

use otoshi_oci::contents::{inside, parts};

use super::rpm;
use super::unread::{CONDA, is_stored, loaders};
use crate::files::Files;

/// Single files.
const FILES: [&str; 23] = [
    "etc/os-release",
    "usr/lib/os-release",
    "etc/machine-id",
    "var/lib/dpkg/status",
    "var/lib/dpkg/arch",
    "var/lib/apt/extended_states",
    "var/lib/chisel/manifest.wall",
    "var/lib/rpmmanifest/container-manifest-1",
    "var/lib/rpmmanifest/container-manifest-2",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "lib/apk/db/installed.adb",
    "usr/lib/apk/db/installed.adb",
    "etc/yum.conf",
    "etc/rpm/platform",
    "usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    "var/lib/rpm/rpmdb.sqlite-wal",
    "usr/share/rpm/rpmdb.sqlite-wal",
    "usr/lib/system-release-cpe",
    "etc/system-release-cpe",
    "etc/debian_version",
    "etc/alpine-release",
    "etc/redhat-release",
];

/// Directories with all that lies in them.
const DIRECTORIES: [&str; 16] = [
    "var/lib/dpkg/status.d",
    "var/lib/dpkg/updates",
    "etc/apt",
    "usr/share/keyrings",
    "etc/apk",
    "lib/apk/repositories.d",
    "usr/lib/apk/repositories.d",
    "usr/share/apk/keys",
    "etc/yum.repos.d",
    "etc/distro.repos.d",
    "etc/yum",
    "etc/dnf",
    "etc/zypp",
    "etc/pki/rpm-gpg",
    "usr/share/distribution-gpg-keys",
    "usr/share/dnf5/repos.d",
];

/// Logins; they are nobody's business here.
const SECRETS: [&[u8]; 3] = [b"auth.conf", b"auth.conf.d", b"credentials.d"];

/// How deep a directory is read.
const DEPTH: usize = 4;

/// Names paths that are wanted, as a tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// What is wanted below, by name.
    pub(super) children: BTreeMap<Vec<u8>, Wanted>,
    /// Says whether all that lies below is wanted.
    pub(super) whole: bool,
    /// Says whether the names of packages that lie in it are wanted.
    pub(super) is_store: bool,
}

/// Says why a path is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Its content is.
    Content,
    /// Something below it is: what stands there now hides or leads on.
    Way,
}

impl Wanted {
    /// Names what every image is asked for.
    pub(super) fn standard() -> Self {
        let mut wanted = Self::default();
        for path in FILES {
            wanted.add(path, false);
        }
        for path in rpm::paths() {
            wanted.add(&path, false);
        }
        for (_, path) in super::unread::MARKS {
            wanted.add(path, false);
        }
        for (_, path, _) in super::unread::STORES {
            wanted.at(path).is_store = true;
        }
        for path in loaders() {
            wanted.add(&path, false);
        }
        for path in crate::apt::POLICIES {
            wanted.add(path, false);
        }
        for path in DIRECTORIES {
            wanted.add(path, true);
        }
        wanted
    }

    /// Wants the records of conda for each prefix that `PATH` leads into: it can be anywhere.
    pub(super) fn add_prefixes(&mut self, path: &str) {
        const MOST: usize = 64;
        for directory in path.split(':').filter(|directory| directory.starts_with('/')).take(MOST) {
            let mut prefix = parts(directory);
            if prefix.pop() == Some("bin") && !prefix.is_empty() {
                prefix.push(CONDA);
                self.at(&prefix.join("/")).is_store = true;
            }
        }
    }

    /// Wants a path as well, or with `whole` all that lies below it; says whether it was not wanted before.
    pub(super) fn add(&mut self, path: &str, whole: bool) -> bool {
        let before = self.wants(path.as_bytes());
        let node = self.at(path);
        let was_whole = node.whole;
        node.whole |= whole;
        before.is_none() || node.whole != was_whole
    }

    /// The node at a path, which is made where it is not there yet.
    fn at(&mut self, path: &str) -> &mut Self {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.fold(self, |node, part| node.children.entry(part.as_bytes().to_vec()).or_default())
    }

    /// Says whether and why a path is wanted.
    pub(super) fn wants(&self, path: &[u8]) -> Option<Want> {
        let mut node = self;
        let mut parts = path.split(|byte| *byte == b'/');
        while let Some(part) = parts.next() {
            if node.whole {
                let below: Vec<_> = std::iter::once(part).chain(parts).collect();
                let fits = below.len() <= DEPTH && !below.iter().any(|part| is_secret(part));
                return fits.then_some(Want::Content);
            }
            if node.is_store && parts.clone().next().is_none() && is_stored(path) {
                return Some(Want::Content);
            }
            node = node.children.get(part)?;
        }
        let is_way = node.whole || node.is_store || !node.children.is_empty();
        Some(if is_way { Want::Way } else { Want::Content })
    }

    /// Adds what links and settings lead to outside of what is wanted; says whether that was anything.
    pub(super) fn extend_from(&mut self, files: &Files) -> bool {
        let mut more = Vec::new();
        for (path, whole) in self.paths() {
            if let Some(place) = files.resolve(&path)
                && place != path
            {
                more.push((place, whole));
            }
        }
        more.extend(files.dangling().into_iter().map(|path| (path, false)));
        more.extend(named_in_settings(files).into_iter().map(|path| (path, false)));
        let mut changed = false;
        for (path, whole) in more {
            let known = match self.wants(path.as_bytes()) {
                Some(Want::Content) => true,
                Some(Want::Way) => !whole,
                None => path.split('/').any(|part| is_secret(part.as_bytes())),
            };
            if !known && !path.is_empty() {
                changed |= self.add(&path, whole);
            }
        }
        changed
    }

    /// Returns every path, and whether all below it is wanted, sorted.
    pub(super) fn paths(&self) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        let mut left = vec![(String::new(), self)];
        while let Some((path, node)) = left.pop() {
            if node.whole || node.children.is_empty() {
                found.push((path, node.whole));
                continue;
            }
            left.extend(node.children.iter().map(|(name, child)| {
                let slash = if path.is_empty() { "" } else { "/" };
                (format!("{path}{slash}{}", String::from_utf8_lossy(name)), child)
            }));
        }
        found.sort_unstable();
        found
    }
}

/// Says whether a name is that of a file or directory with logins.
pub(super) fn is_secret(name: &[u8]) -> bool {
    SECRETS.contains(&name)
}

/// Files that sources name by their whole path: keys, for the most part.
fn named_in_settings(files: &Files) -> Vec<String> {
    const MOST: usize = 64;
    let directories = ["etc/apt/sources.list.d", "etc/yum.repos.d", "etc/distro.repos.d", "etc/zypp/repos.d"];
    let mut texts: Vec<_> =
        directories.iter().flat_map(|directory| files.list(directory)).map(|(_, text)| text).collect();
    texts.extend(files.get("etc/apt/sources.list"));
    let mut found = Vec::new();
    for text in texts {
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || ",=[]".contains(c)));
        for word in words {
            let path =
                word.strip_prefix("file:").map_or(word, |path| path.strip_prefix("//").unwrap_or(path));
            if path.starts_with('/') && path.len() < 256 && !path.contains('$') && found.len() < MOST {
                found.push(inside(path));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Want, Wanted};
    use crate::files::Files;

    #[test]
    fn a_path_is_wanted_for_itself_or_for_what_lies_below() {
        let wanted = Wanted::standard();
        for path in ["var/lib/dpkg/status", "etc/apt/trusted.gpg.d/a.gpg", "etc/apt/apt.conf", "etc/apk/keys"]
        {
            assert_eq!(wanted.wants(path.as_bytes()), Some(Want::Content), "{path}");
        }
        for path in ["var", "var/lib", "etc/apt", "var/lib/dpkg/status.d", "var/lib/rpm"] {
            assert_eq!(wanted.wants(path.as_bytes()), Some(Want::Way), "{path}");
        }
        for path in [
            "srv",
            "var/lib/dpkg/info",
            "var/lib/dpkg/status/x",
            "etc/apt/auth.conf",
            "etc/apt/auth.conf.d/a",
        ] {
            assert_eq!(wanted.wants(path.as_bytes()), None, "{path}");
        }
        assert_eq!(wanted.wants(b"etc/apt/a/b/c/d/e"), None);
    }

    #[test]
    fn links_and_settings_lead_to_more() {
        let mut wanted = Wanted::standard();
        assert!(!wanted.clone().extend_from(&Files::new()));
        let mut files = Files::new();
        let sources =
            "deb [arch=amd64 signed-by=/opt/a.gpg,/usr/share/keyrings/b.gpg] https://x.test/ s main\n";
        files.insert("etc/apt/sources.list", sources.as_bytes());
        files
            .insert("etc/yum.repos.d/x.repo", &b"gpgkey=file:///srv/key file:///etc/pki/k-$releasever\n"[..]);
        files.insert_link("etc/apt/trusted.gpg.d/c.gpg", "/opt/c.gpg");
        files.insert_link("etc/apk", "../opt/apk");
        files.insert_link("lib", "usr/lib");
        files.insert_link("etc/apt/secret", "/etc/apt/auth.conf");
        assert!(wanted.extend_from(&files));
        for path in ["opt/a.gpg", "srv/key", "opt/c.gpg", "opt/apk/keys/d"] {
            assert_eq!(wanted.wants(path.as_bytes()), Some(Want::Content), "{path}");
        }
        for path in ["etc/apt/auth.conf", "etc/pki/k-$releasever"] {
            assert_eq!(wanted.wants(path.as_bytes()), None, "{path}");
        }
        assert!(!wanted.extend_from(&files));
    }
}
