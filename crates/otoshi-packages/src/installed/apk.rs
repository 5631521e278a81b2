//! apk's record of what is installed.
//!
//! ```text
//! lib/apk/db/installed      a paragraph for each package, a letter for each field (in usr/ since Alpine 3.22)
//! etc/apk/world             what was asked for by name; everything else is there because something needs it
//! ```
//!
//! Source: apk-installed(5) and apk-world(5).

use std::collections::HashMap;

use super::error::InstalledError;
use super::package::Package;
use crate::files::Files;

/// Where the record lies; the first that is there counts.
const PATHS: [&str; 2] = ["usr/lib/apk/db/installed", "lib/apk/db/installed"];
const WORLD: &str = "etc/apk/world";
/// The most packages that are read.
const MOST: usize = 200_000;

/// Reads the installed packages; `None` where apk has no record.
///
/// A package that `world` asks for at a version, below one or at a content's hash is held.
pub fn packages(files: &Files) -> Result<Option<Vec<Package>>, InstalledError> {
    let Some((path, content)) = PATHS.iter().find_map(|path| Some((path, files.get(path)?))) else {
        return Ok(None);
    };
    let world = files.text(WORLD);
    let world = world.as_deref().map(world_of).unwrap_or_default();
    let mut packages = Vec::new();
    let damaged = |reason| InstalledError::Database { path: (*path).to_owned(), reason };
    for paragraph in paragraphs(content).filter(|paragraph| !paragraph.trim_ascii().is_empty()) {
        if packages.len() == MOST {
            return Err(damaged(format!("it names more than {MOST} packages")));
        }
        let package = package(paragraph, &world);
        packages
            .push(package.ok_or_else(|| damaged("a package in it has no name or no version".to_owned()))?);
    }
    Ok(Some(packages))
}

/// Says which architecture is apk's own: the one that `etc/apk/arch` names, else the most frequent one.
pub fn architecture(files: &Files, packages: &[Package]) -> Option<String> {
    let named = files.text("etc/apk/arch").map(|text| text.trim().to_owned());
    named
        .filter(|name| !name.is_empty())
        .or_else(|| super::package::most_frequent_architecture(packages, "noarch"))
}

/// What `world` asks for: a name, and whether it is bound to a version.
fn world_of(text: &str) -> HashMap<&str, bool> {
    let mut world = HashMap::new();
    for word in text.split_whitespace().filter(|word| !word.starts_with('!')) {
        let end = word.find(['=', '<', '>', '~', '@']).unwrap_or(word.len());
        let (name, rest) = word.split_at(end);
        // A tag (`@edge`) says where from, and `>` leaves the way up free.
        let condition = rest.split('@').next().unwrap_or_default();
        let held = condition.starts_with(['=', '<', '~']) || condition.starts_with("><");
        world.insert(name, held);
    }
    world
}

fn paragraphs(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = content;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let (paragraph, rest) = match memchr::memmem::find(left, b"\n\n") {
            Some(end) => (&left[..end], &left[end + 2..]),
            None => (left, &left[left.len()..]),
        };
        left = rest;
        Some(paragraph)
    })
}

fn package(paragraph: &[u8], world: &HashMap<&str, bool>) -> Option<Package> {
    let mut package = Package::default();
    for line in paragraph.split(|byte| *byte == b'\n') {
        let [letter, b':', value @ ..] = line else { continue };
        let field = match letter {
            b'P' => &mut package.name,
            b'V' => &mut package.version,
            b'A' => &mut package.architecture,
            b'o' => &mut package.source,
            // Directories and files come last, and are by far the most.
            b'F' => break,
            _ => continue,
        };
        *field = String::from_utf8_lossy(value.trim_ascii()).into_owned();
    }
    if package.name.is_empty() || package.version.is_empty() {
        return None;
    }
    if package.source.is_empty() {
        package.source.clone_from(&package.name);
    }
    package.source_version.clone_from(&package.version);
    let asked = world.get(&package.name[..]);
    package.held = asked.copied().unwrap_or_default();
    package.auto = asked.is_none();
    Some(package)
}

#[cfg(test)]
mod tests {
    use crate::{Files, Installed, Manager};

    #[test]
    fn a_record_that_names_no_packages_is_damaged() {
        for record in [&b"P:nothing\n"[..], b"V:1\nA:x86_64\n", b"\x93\x01\xff\n:x\n", b"P:a\nV:1\n\ngarbage"]
        {
            let mut files = Files::new();
            files.insert("lib/apk/db/installed", record);
            let error = Installed::of(files).unwrap_err().to_string();
            assert!(error.contains("/lib/apk/db/installed: a package in it has no name"), "{error}");
        }
    }

    #[test]
    fn what_the_world_asks_for_is_not_automatic() {
        let mut files = Files::new();
        let record = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nS:1\no:musl\nF:lib\nR:x\nP:no\n\n\
            P:ssl_client\nV:1.36.1-r29\nA:x86_64\no:busybox\n\nP:busybox\nV:1.36.1-r29\nA:x86_64\no:busybox\n\n\n";
        files.insert("lib/apk/db/installed", record.as_bytes());
        files.insert("etc/apk/world", &b"busybox>1.30 musl=1.2.5-r0\nother@edge !conflict\n"[..]);
        let installed = Installed::of(files).unwrap();
        assert_eq!(
            (installed.manager, installed.architecture.as_deref()),
            (Some(Manager::Apk), Some("x86_64"))
        );
        let short: Vec<_> = installed
            .packages
            .iter()
            .map(|package| {
                (&package.name[..], &package.version[..], &package.source[..], package.held, package.auto)
            })
            .collect();
        assert_eq!(
            short,
            [
                ("busybox", "1.36.1-r29", "busybox", false, false),
                ("musl", "1.2.5-r0", "musl", true, false),
                ("ssl_client", "1.36.1-r29", "busybox", false, true),
            ]
        );
    }
}
