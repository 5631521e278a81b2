//! A project: its directory, its manifest, its processes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{Command, Manifest, Process, ProjectError};

/// A loaded project.
#[derive(Debug, Clone)]
pub struct Project {
    /// The directory that holds `otoshi.toml`.
    pub root: PathBuf,
    /// What `otoshi.toml` says.
    pub manifest: Manifest,
    /// The processes, by name.
    pub processes: Vec<NamedProcess>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedProcess {
    /// Its name.
    pub name: String,
    /// Its command, unless a stage says it.
    pub command: Option<Command>,
    /// The stage of the app's Dockerfile.
    pub target: String,
}

impl Project {
    /// Loads the project of a directory, or of the nearest one above that has an `otoshi.toml`.
    pub fn find(from: &Path) -> Result<Self, ProjectError> {
        let from = from
            .canonicalize()
            .map_err(|error| ProjectError::new(from.display().to_string(), error.to_string()))?;
        let root =
            from.ancestors().find(|directory| directory.join("otoshi.toml").is_file()).ok_or_else(|| {
                ProjectError::new("otoshi.toml", format!("there is none in {} or above", from.display()))
            })?;
        let text = fs::read_to_string(root.join("otoshi.toml"))
            .map_err(|error| ProjectError::new("otoshi.toml", error.to_string()))?;
        let manifest = Manifest::parse("otoshi.toml", &text)?;
        let procfile = fs::read_to_string(root.join("Procfile")).ok();
        let processes = processes(&manifest, procfile.as_deref())?;
        Ok(Self { root: root.to_path_buf(), manifest, processes })
    }

    /// Every build argument that comes from the manifest, with `{NAME}` replaced.
    pub fn build_args(&self) -> Result<BTreeMap<String, String>, ProjectError> {
        let versions = &self.manifest.versions;
        let mut args = versions.clone();
        for (name, template) in self.manifest.bases.iter().chain(&self.manifest.args) {
            if args.insert(name.clone(), fill(name, template, versions)?).is_some() {
                return Err(ProjectError::new("otoshi.toml", format!("{name} is set twice, in two tables")));
            }
        }
        Ok(args)
    }
}

/// Replaces `{NAME}` by the version of that name.
fn fill(name: &str, template: &str, versions: &BTreeMap<String, String>) -> Result<String, ProjectError> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else { break };
        let key = &rest[start + 1..start + length];
        let value = versions.get(key).ok_or_else(|| {
            let error = ProjectError::new(
                "otoshi.toml",
                format!("{name} uses {{{key}}}, and [versions] has no {key}"),
            );
            let near = versions
                .keys()
                .map(|known| (strsim::jaro_winkler(key, known), known))
                .filter(|(score, _)| *score > 0.75);
            match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((_, known)) => error.with_hint(format!("did you mean {{{known}}}?")),
                None => error,
            }
        })?;
        out.push_str(&rest[..start]);
        out.push_str(value);
        rest = &rest[start + length + 1..];
    }
    Ok(out + rest)
}

fn processes(manifest: &Manifest, procfile: Option<&str>) -> Result<Vec<NamedProcess>, ProjectError> {
    let mut found = BTreeMap::new();
    for (name, process) in &manifest.processes {
        let (command, target) = match process {
            Process::Command(command) => (Some(command.clone()), None),
            Process::Table { command, target } => (command.clone(), target.clone()),
        };
        found.insert(name.clone(), (command, target));
    }
    if found.is_empty() {
        for (index, line) in procfile.unwrap_or_default().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |message: String| ProjectError {
                line: Some(index + 1),
                ..ProjectError::new("Procfile", message)
            };
            let (name, command) =
                line.split_once(':').ok_or_else(|| wrong("not of the form `name: command`".into()))?;
            let (name, command) = (name.trim().to_owned(), command.trim().to_owned());
            if found.insert(name.clone(), (Some(Command::Shell(command)), None)).is_some() {
                return Err(wrong(format!("there are two processes named {name:?}")));
            }
        }
    }
    for name in found.keys() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(plain) || matches!(name.as_str(), "builder" | "runner") {
            return Err(ProjectError::new("otoshi.toml", format!("a process cannot be named {name:?}"))
                .with_hint("lower-case letters, digits, - and _; builder and runner are taken"));
        }
    }
    let named = |(name, (command, target)): (String, (Option<Command>, Option<String>))| NamedProcess {
        target: target.unwrap_or_else(|| name.clone()),
        name,
        command,
    };
    Ok(found.into_iter().map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "[project]\nname = \"shop\"\n[runner]\ndockerfile = \"runner.Dockerfile\"\n";

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_a_suggestion() {
        let error =
            Manifest::parse("otoshi.toml", &format!("{MINIMAL}[complie]\nrun = \"x\"\n")).unwrap_err();
        assert_eq!(error.to_string(), "otoshi.toml:5: unknown key `complie`");
        assert_eq!(error.hint(), Some("did you mean `compile`?"));
        let error = Manifest::parse("otoshi.toml", "[project]\nname = 3\n").unwrap_err();
        assert!(error.to_string().starts_with("otoshi.toml:2: invalid type"), "{error}");
    }

    #[test]
    fn versions_reach_bases() {
        let text = format!("{MINIMAL}[versions]\nRUBY = \"3.1\"\n[bases]\nBASE = \"ruby:{{RUBY}}-slim\"\n");
        let manifest = Manifest::parse("otoshi.toml", &text).unwrap();
        let project = Project {
            root: "/".into(),
            processes: processes(&manifest, Some("web: run it\n")).unwrap(),
            manifest,
        };
        assert_eq!(project.build_args().unwrap()["BASE"], "ruby:3.1-slim");
        assert_eq!(project.processes[0].command, Some(Command::Shell("run it".into())));
        let error = fill("BASE", "ruby:{RUBI}", &project.manifest.versions).unwrap_err();
        assert_eq!(error.hint(), Some("did you mean {RUBY}?"));
    }

    #[test]
    fn a_procfile_line_without_a_colon_is_told() {
        let manifest = Manifest::parse("otoshi.toml", MINIMAL).unwrap();
        assert_eq!(
            processes(&manifest, Some("# c\nweb\n")).unwrap_err().to_string(),
            "Procfile:2: not of the form `name: command`"
        );
    }
}
