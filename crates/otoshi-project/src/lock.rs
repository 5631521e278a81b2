//! `otoshi.lock`: per role, the digests that each base had when it was first used, and the packages that are newer than those.

use std::{borrow::Borrow, collections::BTreeMap, fmt, fs, path::Path};

use otoshi_explain::{Explain, Remedy};
use otoshi_oci::{Digest, Platform, Reference, ReferenceError};
use otoshi_tree::{Lasting, write_whole};
use serde::{Deserialize, Serialize};

use crate::{PackageName, PackageVersion, ProjectError, Role, manifest::packages_prefix};

const HEADER: &str =
    "# Made by otoshi; keep it under version control. `otoshi build` adds to it and never moves an entry.\n";

const RESTORE: &str = "restore the file from version control, or remove that entry";

/// The whole lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The form of the file; 1.
    pub version: u32,
    /// For each role, each base by its name.
    #[serde(default)]
    pub roles: BTreeMap<Role, BTreeMap<BaseName, LockedBase>>,
    /// For each role and platform, the packages that a layer of its own makes newer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upgrades: BTreeMap<Role, BTreeMap<Platform, Upgrades>>,
}

/// The digests that a reference has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedDigests {
    /// What the reference names: an index, or a manifest.
    pub index: Digest,
    /// The manifest for the platform.
    pub platform: Digest,
}

/// Packages and the versions that they are brought to.
pub type Upgrades = BTreeMap<PackageName, PackageVersion>;

/// A base as a Dockerfile has it after expansion: a reference that keeps the spelling in which it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseName {
    text: String,
    reference: Reference,
}

impl BaseName {
    /// Takes a name; fails where it is not a reference.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let text = current(text);
        let reference = Reference::parse(&text)?;
        Ok(Self { text, reference })
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it refers to.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}

impl fmt::Display for BaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

// Sound for maps: the text decides what the reference is, and is compared first.
impl Borrow<str> for BaseName {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for BaseName {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Self::parse(&text)
    }
}

impl From<BaseName> for String {
    fn from(name: BaseName) -> Self {
        name.text
    }
}

/// A base at the time it was locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBase {
    /// What the tag named: an index, or a manifest.
    pub index: Digest,
    /// The manifest of each platform used.
    pub platforms: BTreeMap<Platform, Digest>,
}

/// The name that a base has today: those of packages had a host that somebody else could have had.
fn current(name: &str) -> String {
    match name.strip_prefix("otoshi.packages/") {
        Some(rest) => format!("{}{rest}", packages_prefix()),
        None => name.to_owned(),
    }
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
    ///
    /// Fails on TOML errors, conflict markers, another version than 1, and names and values that are not what they stand for.
    pub fn parse(text: &str) -> Result<Self, ProjectError> {
        if text.lines().any(|line| line.starts_with("<<<<<<<")) {
            return Err(ProjectError::new(
                "otoshi.lock",
                "it contains the conflict markers of an unfinished merge",
            )
            .with_hint(Remedy::ResolveLock));
        }
        let lock: Self = toml::from_str(text).map_err(|error| {
            let error = ProjectError::of_toml("otoshi.lock", text, &error);
            if error.remedy().is_some() { error } else { error.with_hint(RESTORE) }
        })?;
        if lock.version != 1 {
            return Err(ProjectError::new(
                "otoshi.lock",
                format!("its version is {}, and this otoshi reads 1", lock.version),
            ));
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
        write_whole(path, text.as_bytes(), Lasting::Synced).map_err(failed)?;
        Ok(true)
    }

    /// The text of the file.
    pub fn text(&self) -> Result<String, ProjectError> {
        let body =
            toml::to_string(self).map_err(|error| ProjectError::new("otoshi.lock", error.to_string()))?;
        Ok(format!("{HEADER}{body}"))
    }

    /// The manifest locked for a role, a base and a platform.
    pub fn get(&self, role: Role, base: &str, platform: &Platform) -> Option<&Digest> {
        self.base(role, base)?.platforms.get(platform)
    }

    /// What a base is locked at for a role.
    pub fn base(&self, role: Role, base: &str) -> Option<&LockedBase> {
        self.roles.get(&role)?.get(base)
    }

    /// Forgets what a base is locked at for a role; the next build, or update, locks it at what its name stands for then.
    pub fn remove(&mut self, role: Role, base: &str) {
        if let Some(bases) = self.roles.get_mut(&role) {
            bases.remove(base);
            if bases.is_empty() {
                self.roles.remove(&role);
            }
        }
    }

    /// Locks a base for a role.
    pub fn set(&mut self, role: Role, base: &BaseName, platform: &Platform, digests: LockedDigests) {
        let LockedDigests { index, platform: manifest } = digests;
        let bases = self.roles.entry(role).or_default();
        let locked = bases
            .entry(base.clone())
            .or_insert_with(|| LockedBase { index: index.clone(), platforms: BTreeMap::new() });
        locked.index = index;
        locked.platforms.insert(platform.clone(), manifest);
    }

    /// The packages that are newer than those of a role's base.
    pub fn upgrades(&self, role: Role, platform: &Platform) -> Upgrades {
        self.upgrades.get(&role).and_then(|platforms| platforms.get(platform)).cloned().unwrap_or_default()
    }

    /// Locks the packages that are newer than those of a role's base.
    pub fn set_upgrades(&mut self, role: Role, platform: &Platform, packages: Upgrades) {
        self.upgrades.entry(role).or_default().insert(platform.clone(), packages);
        self.upgrades.retain(|_, platforms| {
            platforms.retain(|_, packages| !packages.is_empty());
            !platforms.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BaseName {
        BaseName::parse(text).unwrap()
    }

    #[test]
    fn a_lock_comes_back_and_is_written_only_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otoshi.lock");
        let mut lock = Lock::load(&path).unwrap();
        let (amd64, arm64) = (Platform::new("linux", "amd64", None), Platform::new("linux", "arm64", None));
        let (index, manifest) = (Digest::sha256_of(b"index"), Digest::sha256_of(b"manifest"));
        let base = "docker.io/library/debian:12";
        lock.set(
            Role::Runner,
            &name(base),
            &amd64,
            LockedDigests { index: index.clone(), platform: manifest.clone() },
        );
        assert!(lock.save(&path).unwrap());
        assert!(!lock.save(&path).unwrap());
        let plain = fs::read_to_string(&path).unwrap();
        let newer = BTreeMap::from([(
            PackageName::new("libssl3", "amd64").unwrap(),
            PackageVersion::new("3.0.17-1~deb12u2").unwrap(),
        )]);
        lock.set_upgrades(Role::Runner, &amd64, newer.clone());
        assert!(lock.save(&path).unwrap());
        let again = Lock::load(&path).unwrap();
        assert_eq!(again, lock);
        assert_eq!(again.upgrades(Role::Runner, &amd64), newer);
        assert_eq!(again.upgrades(Role::Runner, &arm64), BTreeMap::new());
        lock.set_upgrades(Role::Runner, &amd64, BTreeMap::new());
        assert!(lock.save(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), plain, "nothing is left of it");
        assert_eq!(again.get(Role::Runner, base, &amd64), Some(&manifest));
        assert_eq!(again.get(Role::Builder, base, &amd64), None);
        fs::write(&path, "<<<<<<< ours\n").unwrap();
        assert!(Lock::load(&path).unwrap_err().to_string().contains("merge"));
    }

    #[test]
    fn the_file_has_the_form_that_it_always_had() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let text = format!(
            "{HEADER}version = 1\n\n[roles.app.\"debian:12\"]\nindex = \"{digest}\"\n\n[roles.app.\"debian:12\".platforms]\n\
             \"linux/amd64\" = \"{digest}\"\n\n[roles.args.\"debian:12\"]\nindex = \"{digest}\"\n\n\
             [roles.args.\"debian:12\".platforms]\n\"linux/arm/v7\" = \"{digest}\"\n\"linux/arm64\" = \"{digest}\"\n\n\
             [upgrades.runner.\"linux/amd64\"]\n\"libssl3:amd64\" = \"3.0\"\n"
        );
        assert_eq!(Lock::parse(&text).unwrap().text().unwrap(), text);
    }

    #[test]
    fn what_means_nothing_is_an_error_with_its_line() {
        let good = format!("sha256:{}", "ab".repeat(32));
        let lock = |role: &str, base: &str, platform: &str, digest: &str| {
            format!(
                "version = 1\n[roles.{role}.\"{base}\"]\nindex = \"{good}\"\n\
                 [roles.{role}.\"{base}\".platforms]\n\"{platform}\" = \"{digest}\"\n"
            )
        };
        let upgrade = |package: &str, version: &str| {
            format!("version = 1\n[upgrades.runner.\"linux/amd64\"]\n\"{package}\" = \"{version}\"\n")
        };
        assert!(Lock::parse(&lock("runner", "debian:12", "linux/amd64", &good)).is_ok());
        assert!(Lock::parse(&upgrade("libssl3:amd64", "3.0")).is_ok());
        for (text, line, about) in [
            (lock("runer", "debian:12", "linux/amd64", &good), 2, "runer"),
            (lock("runner", "Debian:12", "linux/amd64", &good), 2, "Debian"),
            (lock("runner", "debian:12", "linux/amd/64/x", &good), 5, "linux/amd/64/x"),
            (lock("runner", "debian:12", "linux/amd64", "sha256:zz"), 5, "sha256:zz"),
            (upgrade("libssl3", "3.0"), 3, "libssl3"),
            (upgrade("-o:amd64", "3.0"), 3, "-o:amd64"),
            (upgrade("libssl3:amd64", "3.0;reboot"), 3, "3.0;reboot"),
        ] {
            let error = Lock::parse(&text).unwrap_err();
            assert_eq!((error.line, error.to_string().contains(about)), (Some(line), true), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }
}
