//! `otoshi.lock`: per role, the digests that each base had when it was first used, and the packages that are newer than those.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use serde::{Deserialize, Serialize};

use crate::{ProjectError, manifest::packages_prefix};

const HEADER: &str =
    "# Made by otoshi; keep it under version control. `otoshi build` adds to it and never moves an entry.\n";

/// The whole lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The form of the file; 1.
    pub version: u32,
    /// For each role, each base by its reference.
    #[serde(default)]
    pub roles: BTreeMap<String, BTreeMap<String, LockedBase>>,
    /// For each role and platform, the packages that a layer of its own makes newer: `NAME:ARCHITECTURE` → version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upgrades: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>,
}

/// A base at the time it was locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBase {
    /// What the tag named: an index, or a manifest.
    pub index: String,
    /// The manifest of each platform used.
    pub platforms: BTreeMap<String, String>,
}

/// The name that a base has today: those of packages had a host that somebody else could have had.
fn current(name: String) -> String {
    name.strip_prefix("otoshi.packages/").map(|rest| format!("{}{rest}", packages_prefix())).unwrap_or(name)
}

impl Default for Lock {
    fn default() -> Self {
        Self { version: 1, roles: BTreeMap::new(), upgrades: BTreeMap::new() }
    }
}

impl Lock {
    /// Reads the lock; an absent one is empty.
    pub fn load(path: &Path) -> Result<Self, ProjectError> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            other => {
                Self::parse(&other.map_err(|error| ProjectError::new("otoshi.lock", error.to_string()))?)
            }
        }
    }

    /// Reads the text of a lock.
    pub fn parse(text: &str) -> Result<Self, ProjectError> {
        if text.lines().any(|line| line.starts_with("<<<<<<<")) {
            return Err(ProjectError::new("otoshi.lock", "it holds the marks of an unfinished merge")
                .with_hint("take one side whole, then run otoshi build"));
        }
        let mut lock: Self =
            toml::from_str(text).map_err(|error| ProjectError::of_toml("otoshi.lock", text, &error))?;
        if lock.version != 1 {
            return Err(ProjectError::new(
                "otoshi.lock",
                format!("its version is {}, and this otoshi reads 1", lock.version),
            ));
        }
        for bases in lock.roles.values_mut() {
            *bases = std::mem::take(bases).into_iter().map(|(name, base)| (current(name), base)).collect();
        }
        Ok(lock)
    }

    /// Writes the lock if it changed; tells whether it did. The file is never half-written.
    pub fn save(&self, path: &Path) -> Result<bool, ProjectError> {
        let failed = |error: std::io::Error| ProjectError::new("otoshi.lock", format!("writing it: {error}"));
        let text = self.text()?;
        if fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(false);
        }
        let temporary = path.with_extension(format!("lock.{}.tmp", std::process::id()));
        // What is there is left over, or not ours to write to.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = fs::File::create_new(&temporary).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)?;
        Ok(true)
    }

    /// The text of the file.
    pub fn text(&self) -> Result<String, ProjectError> {
        let body =
            toml::to_string(self).map_err(|error| ProjectError::new("otoshi.lock", error.to_string()))?;
        Ok(format!("{HEADER}{body}"))
    }

    /// The manifest locked for a role, a base and a platform.
    pub fn get(&self, role: &str, reference: &str, platform: &str) -> Option<&str> {
        self.roles.get(role)?.get(reference)?.platforms.get(platform).map(String::as_str)
    }

    /// Forgets what a base is locked at for a role; the next build, or update, locks it at what its name stands for then.
    pub fn remove(&mut self, role: &str, reference: &str) {
        if let Some(bases) = self.roles.get_mut(role) {
            bases.remove(reference);
            if bases.is_empty() {
                self.roles.remove(role);
            }
        }
    }

    /// Locks a base for a role.
    pub fn set(&mut self, role: &str, reference: &str, platform: &str, index: &str, manifest: &str) {
        let bases = self.roles.entry(role.to_owned()).or_default();
        let base = bases
            .entry(reference.to_owned())
            .or_insert_with(|| LockedBase { index: index.into(), platforms: BTreeMap::new() });
        base.index = index.into();
        base.platforms.insert(platform.into(), manifest.into());
    }

    /// The packages that are newer than those of a role's base: `NAME:ARCHITECTURE` → version.
    pub fn upgrades(&self, role: &str, platform: &str) -> BTreeMap<String, String> {
        self.upgrades.get(role).and_then(|platforms| platforms.get(platform)).cloned().unwrap_or_default()
    }

    /// Locks the packages that are newer than those of a role's base.
    pub fn set_upgrades(&mut self, role: &str, platform: &str, packages: BTreeMap<String, String>) {
        self.upgrades.entry(role.to_owned()).or_default().insert(platform.to_owned(), packages);
        self.upgrades.retain(|_, platforms| {
            platforms.retain(|_, packages| !packages.is_empty());
            !platforms.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_comes_back_and_is_written_only_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otoshi.lock");
        let mut lock = Lock::load(&path).unwrap();
        lock.set("runner", "docker.io/library/debian:12", "linux/amd64", "sha256:aa", "sha256:bb");
        assert!(lock.save(&path).unwrap());
        assert!(!lock.save(&path).unwrap());
        let plain = fs::read_to_string(&path).unwrap();
        let newer = BTreeMap::from([("libssl3:amd64".to_owned(), "3.0.17-1~deb12u2".to_owned())]);
        lock.set_upgrades("runner", "linux/amd64", newer.clone());
        assert!(lock.save(&path).unwrap());
        let again = Lock::load(&path).unwrap();
        assert_eq!(again, lock);
        assert_eq!(again.upgrades("runner", "linux/amd64"), newer);
        assert_eq!(again.upgrades("runner", "linux/arm64"), BTreeMap::new());
        lock.set_upgrades("runner", "linux/amd64", BTreeMap::new());
        assert!(lock.save(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), plain, "nothing is left of it");
        assert_eq!(again.get("runner", "docker.io/library/debian:12", "linux/amd64"), Some("sha256:bb"));
        assert_eq!(again.get("builder", "docker.io/library/debian:12", "linux/amd64"), None);
        fs::write(&path, "<<<<<<< ours\n").unwrap();
        assert!(Lock::load(&path).unwrap_err().to_string().contains("merge"));
    }
}
