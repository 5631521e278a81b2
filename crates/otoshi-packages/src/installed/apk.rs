//! apk's record of what is installed.
//!
//! ```text
//! lib/apk/db/installed      a paragraph for each package, a letter for each field (in usr/ since Alpine 3.22)
//! lib/apk/db/installed.adb  the same in apk 3's own form, where nothing is left of the text (`apk convdb`)
//! etc/apk/world             what was asked for by name; everything else is there because something needs it
//! ```
//!
//! Source: apk-installed(5) and apk-world(5).

use std::collections::HashMap;

use super::error::InstalledError;
use super::package::Package;
use crate::apk::Record;
use crate::apk::adb;
use crate::files::Files;

/// Where the record lies; the first that is there counts.
const PATHS: [&str; 2] = ["usr/lib/apk/db/installed", "lib/apk/db/installed"];
const ADB_PATHS: [&str; 2] = ["usr/lib/apk/db/installed.adb", "lib/apk/db/installed.adb"];
const WORLD: &str = "etc/apk/world";
/// The most packages that are read.
const MOST: usize = 200_000;

/// Reads the installed packages; `None` where apk has no record. Fails where a record is damaged.
///
/// A package that `world` asks for at a version, below one or at a content's hash is held.
pub fn packages(files: &Files) -> Result<Option<Vec<Package>>, InstalledError> {
    let world = files.text(WORLD);
    let world = world.as_deref().map(world_of).unwrap_or_default();
    let Some((path, records)) = records(files) else { return Ok(None) };
    let damaged = |reason| InstalledError::Database { path: path.to_owned(), reason };
    let records = records.map_err(damaged)?;
    if records.len() > MOST {
        return Err(damaged(format!("it names more than {MOST} packages")));
    }
    Ok(Some(records.into_iter().map(|record| package(record, &world)).collect()))
}

/// What is on record, and where; the first record that is there counts, as it does for apk.
fn records(files: &Files) -> Option<(&'static str, Result<Vec<Record>, String>)> {
    let first = |paths: [&'static str; 2]| paths.into_iter().find_map(|path| Some((path, files.get(path)?)));
    if let Some((path, content)) = first(PATHS) {
        return Some((path, Record::all(content, MOST + 1)));
    }
    first(ADB_PATHS).map(|(path, content)| (path, adb::packages(content, MOST + 1)))
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

fn package(record: Record, world: &HashMap<&str, bool>) -> Package {
    let asked = world.get(&record.name[..]);
    Package {
        source_version: record.version.clone(),
        held: asked.copied().unwrap_or_default(),
        auto: asked.is_none(),
        name: record.name,
        version: record.version,
        architecture: record.architecture,
        source: record.source,
        ..Package::default()
    }
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
