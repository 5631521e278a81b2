//! Cases: folders with a Dockerfile and a `case.toml`, as `conformance/README.md` tells.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::failure::{Failure, Result};

/// The file that describes a case; builders never see it.
pub(super) const DESCRIPTION: &str = "case.toml";

/// A Dockerfile for the reference, where it cannot build the case's own; it must mean the same.
pub(super) const EQUIVALENT: &str = "Dockerfile.equivalent";

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    /// Group and name, as in `copy/empty-directory`.
    pub(super) name: String,
    /// The folder.
    pub(super) folder: PathBuf,
    /// What `case.toml` says.
    pub(super) description: Description,
}

/// What a `case.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    /// What the case shows, in one sentence.
    pub(super) about: String,
    /// The words that both builders are given; `{server}` is the address of the case's files over HTTP.
    #[serde(default)]
    pub(super) flags: Vec<String>,
    /// The words for the reference, where they differ.
    pub(super) reference_flags: Option<Vec<String>>,
    /// Environment variables of both builders.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    /// Shell commands that make, in the context, what cannot be kept in a repository.
    pub(super) prepare: Option<String>,
    /// Who says what is right.
    #[serde(default)]
    pub(super) reference: Reference,
    /// The section of the documentation that says it.
    pub(super) section: Option<String>,
    /// Whether the build must be refused.
    #[serde(default)]
    pub(super) fails: bool,
    /// A part of Otoshi's error.
    pub(super) message: Option<String>,
    /// A part of the reference's error.
    pub(super) reference_message: Option<String>,
    /// A part of what Otoshi prints to standard error though it builds.
    pub(super) warns: Option<String>,
    /// What certain versions of Docker do otherwise, by what the version begins with.
    #[serde(default)]
    pub(super) otherwise: BTreeMap<String, String>,
    /// Places of mounts that Docker 20.10 leaves behind, and Otoshi does not; copies of `/dev`, `/proc` and `/sys` every Docker does.
    #[serde(default)]
    pub(super) left_over: Vec<String>,
    /// Settings of the image that the documentation promises.
    pub(super) config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Files of the image that the documentation promises, one a line.
    #[serde(default)]
    pub(super) files: String,
    /// Directories below which nothing else may be.
    #[serde(default)]
    pub(super) complete: Vec<String>,
}

/// Who says what is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reference {
    /// Today's Docker Engine with its BuildKit, when the case runs.
    #[default]
    Docker,
    /// Today's buildah, when the case runs.
    Buildah,
    /// The Dockerfile reference.
    Documentation,
}

impl Case {
    /// The part of the name before the slash.
    pub(super) fn group(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Whether the case says that a version of Docker makes something else of it than Otoshi.
    pub(super) fn is_otherwise(&self, version: &str) -> bool {
        let begins = |prefix: &String| {
            version.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.description.otherwise.keys().any(begins)
    }

    /// Whether the reference builds a Dockerfile of its own.
    pub(super) fn has_equivalent(&self) -> bool {
        self.folder.join(EQUIVALENT).exists()
    }
}

/// Reads every case below a folder, sorted by name.
pub(super) fn read_all(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for group in folders(folder)? {
        for folder in folders(&group)? {
            let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            cases.push(read(format!("{}/{}", last(&group), last(&folder)), folder)?);
        }
    }
    Ok(cases)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Failure::file("listing", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<_>>>().map_err(Failure::file("listing", folder))?;
    paths.retain(|path| path.is_dir());
    paths.sort();
    Ok(paths)
}

fn read(name: String, folder: PathBuf) -> Result<Case> {
    let path = folder.join(DESCRIPTION);
    let text = fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
    let description: Description = toml::from_str(&text)
        .map_err(|error| Failure::Wrong(format!("reading {}: {error}", path.display())))?;
    let case = Case { name, folder, description };
    match fault(&case) {
        None => Ok(case),
        Some(fault) => Err(Failure::Wrong(format!("reading {}: {fault}", path.display()))),
    }
}

/// What makes a case say too little, or things that nobody looks at.
fn fault(case: &Case) -> Option<&'static str> {
    let it = &case.description;
    let written = it.config.is_some() || !it.files.is_empty() || !it.complete.is_empty();
    let documented = it.reference == Reference::Documentation;
    if it.about.is_empty() {
        return Some("about says nothing");
    }
    if documented != it.section.is_some() {
        return Some("section belongs to the reference documentation, and to no other");
    }
    if it.fails != it.message.is_some() {
        return Some("message belongs to a case that fails, and every such case has one");
    }
    if (it.fails && !documented) != it.reference_message.is_some() {
        return Some("reference_message belongs to a case that fails in Docker or buildah as well");
    }
    if !it.otherwise.is_empty() && it.reference != Reference::Docker {
        return Some("otherwise belongs to a case that Docker knows");
    }
    if it.fails && (written || case.has_equivalent()) {
        return Some("a case that fails has no image to compare");
    }
    if !it.fails && documented && !written && !case.has_equivalent() {
        return Some("nothing is expected: write config, files or a Dockerfile.equivalent");
    }
    if !documented && (written || case.has_equivalent()) {
        return Some(
            "config, files, complete and Dockerfile.equivalent belong to the reference documentation",
        );
    }
    None
}
