//! Whether ARCHITECTURE.md says what the crates' manifests say: which room uses which, and which libraries there are.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::root;

/// The names of a manifest's dependencies, by the table that they are in.
struct Manifest {
    normal: Vec<String>,
    for_tests: Vec<String>,
}

/// The manifests of the workspace's members, by name.
fn manifests() -> BTreeMap<String, Manifest> {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    crates.chain([root().join("xtask"), root().join("fuzz")]).map(manifest).collect()
}

fn manifest(directory: PathBuf) -> (String, Manifest) {
    let text = fs::read_to_string(directory.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let names = |key: &str| {
        let table = manifest.get(key).and_then(toml::Value::as_table);
        table.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let name = manifest["package"]["name"].as_str().unwrap().to_owned();
    (name, Manifest { normal: names("dependencies"), for_tests: names("dev-dependencies") })
}

/// The rows of a table in ARCHITECTURE.md below a heading, cell by cell, without their backquotes.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n{heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[test]
fn each_room_uses_the_rooms_that_the_architecture_says() {
    let is_room = |name: &String| name.starts_with("otoshi");
    let rooms = manifests().into_iter().filter(|(name, _)| is_room(name) && name != "otoshi-fuzz");
    let found = rooms.map(|(name, manifest)| {
        let mut uses: Vec<_> = manifest.normal.into_iter().filter(is_room).collect();
        uses.sort();
        let uses: Vec<_> = uses.iter().map(|name| name.trim_start_matches("otoshi-")).collect();
        vec![name, if uses.is_empty() { "–".to_owned() } else { uses.join(", ") }]
    });
    assert_eq!(rows("## Which room uses which"), found.collect::<Vec<_>>());
}

#[test]
fn each_library_has_a_line_that_says_why() {
    let said: Vec<String> = rows("## Dependencies")
        .iter()
        .flat_map(|row| {
            row[0].split(", ").map(|name| name.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let rooms = manifests();
    let used = || rooms.values().flat_map(|manifest| manifest.normal.iter().chain(&manifest.for_tests));
    let unsaid: Vec<_> = used().filter(|name| !rooms.contains_key(*name) && !said.contains(name)).collect();
    assert!(unsaid.is_empty(), "ARCHITECTURE.md does not say why: {unsaid:?}");
    let gone: Vec<_> = said.iter().filter(|name| !used().any(|used| used == *name)).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md has libraries that no crate uses: {gone:?}");
}
