//! Garbage collection: what may be kept, what is removed.
//!
//! Roots are the tagged images, and every record younger than the policy's age (using a record makes it young
//! again). Whatever a root names is kept: images with their layers, snapshots, and compiled applications. The rest goes.

use std::{collections::HashSet, fs, time::Duration};

use otoshi_oci::{Digest, ImageConfig, ImageManifest};
use serde_json::Value;

use crate::{Home, Kind, SnapshotId, StoreError};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What the collector may remove.
#[derive(Debug, Clone, Copy)]
pub struct GcPolicy {
    /// Records that nobody used for this long are removed, with what only they name.
    pub unused_for: Duration,
    /// Whether the directories of cache mounts are emptied as well.
    pub caches: bool,
    /// How long to wait for others to finish with the store; new ones wait meanwhile.
    pub wait: Duration,
}

/// What the collector removed.
#[derive(Debug, Default, serde::Serialize)]
pub struct Collected {
    /// Records removed.
    pub records: usize,
    /// Snapshots removed.
    pub snapshots: usize,
    /// Blobs removed from the image layout.
    pub blobs: usize,
    /// Bytes freed on disk, about.
    pub bytes: u64,
    /// What could not be removed, and why; the next collection tries it again.
    #[serde(skip)]
    pub failed: Vec<StoreError>,
}

impl Home {
    /// Removes what no tagged image and no recently used record needs.
    ///
    /// Fails with [`StoreError::Busy`] when another process still uses the store after `policy.wait`.
    pub fn gc(&self, policy: GcPolicy) -> Result<Collected, StoreError> {
        let _alone = self.claim_alone(policy.wait)?;
        let mut collected = Collected::default();
        let mut digests: HashSet<Digest> =
            self.layout().tagged()?.into_iter().map(|(_, d)| Digest::of(&d)).collect::<Result<_, _>>()?;
        let mut snapshots: HashSet<SnapshotId> = HashSet::new();

        for kind in Kind::ALL {
            // These say where something is; they live as long as what they point to, decided below.
            if matches!(kind, Kind::Layer | Kind::Diff | Kind::Content | Kind::Origin) {
                continue;
            }
            let unused_for = match kind {
                // A way back is needed when something went wrong, and the time of what comes next when nobody thinks of it.
                Kind::Previous | Kind::Time => policy.unused_for.max(YEAR),
                _ => policy.unused_for,
            };
            for (path, age) in self.records().list(kind) {
                if age > unused_for {
                    fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
                    collected.records += 1;
                } else if let Some(value) = self.records().read_listed(kind, &path) {
                    collect_names(&value, &mut digests, &mut snapshots);
                }
            }
        }

        let (blobs, diffs) = self.reachable(&digests);
        let named: HashSet<&str> = blobs.iter().map(Digest::hex).collect();
        let mut doomed_pointers = Vec::new();
        for kind in [Kind::Diff, Kind::Layer, Kind::Content, Kind::Origin] {
            for (path, age) in self.records().list(kind) {
                let value = self.records().read_listed(kind, &path).unwrap_or_default();
                let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                let keep = match kind {
                    Kind::Diff => diffs.contains(name),
                    Kind::Origin => named.contains(name),
                    Kind::Layer => value
                        .pointer("/descriptor/digest")
                        .and_then(Value::as_str)
                        .is_some_and(|d| d.parse().is_ok_and(|d| blobs.contains(&d))),
                    _ => age <= policy.unused_for,
                };
                if !keep {
                    doomed_pointers.push(path);
                } else if kind == Kind::Diff {
                    collect_names(&value, &mut digests, &mut snapshots);
                }
            }
        }
        for path in doomed_pointers {
            fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
            collected.records += 1;
        }
        for diff in &diffs {
            snapshots.extend(
                format!("sha256:{diff}").parse().map(|d| SnapshotId::of_layer(&otoshi_oci::DiffId(d))),
            );
        }
        for id in self.snapshots().list() {
            if !snapshots.contains(&id) {
                match self.snapshots().remove(&id) {
                    Ok(bytes) => {
                        collected.bytes += bytes;
                        collected.snapshots += 1;
                    }
                    Err(error) => collected.failed.push(error),
                }
            }
        }
        let swept = self.layout().sweep(&blobs, Duration::ZERO)?;
        collected.blobs = swept.blobs;
        collected.bytes += swept.bytes;
        let (freed, failed) = self.snapshots().sweep_work()?;
        collected.bytes += freed;
        collected.failed.extend(failed);
        collected.bytes += self.sweep_packages(policy.unused_for)?;
        if policy.caches {
            let caches = self.root().join("caches");
            let removed = otoshi_tree::remove(&caches);
            collected.bytes += removed.bytes;
            collected.failed.extend(removed.error.map(StoreError::io("removing", &caches)));
            crate::owned::create_closed(&caches)?;
        }
        Ok(collected)
    }

    /// Removes indexes and packages that were not used for so long; which dates were seen stays known. Gives bytes freed.
    fn sweep_packages(&self, unused_for: Duration) -> Result<u64, StoreError> {
        let mut freed = 0;
        for directory in ["apt/index", "apt/release", "deb"] {
            let directory = self.root().join("packages").join(directory);
            for file in fs::read_dir(directory).into_iter().flatten().flatten() {
                let Ok(meta) = file.metadata() else { continue };
                if meta.modified().is_ok_and(|time| crate::records::age(time) > unused_for) {
                    fs::remove_file(file.path()).map_err(StoreError::io("removing", &file.path()))?;
                    freed += meta.len();
                }
            }
        }
        Ok(freed)
    }

    /// Follows manifests to every blob they need; also gives the hex digests of the layers' diff ids.
    fn reachable(&self, roots: &HashSet<Digest>) -> (HashSet<Digest>, HashSet<String>) {
        let blobs = self.layout().reachable(roots.iter().cloned());
        let mut diffs = HashSet::new();
        // Not every blob is JSON: layers are too large to be read as such, or fail to parse.
        for manifest in blobs.iter().filter_map(|digest| self.small_json::<ImageManifest>(digest)) {
            let config =
                Digest::of(manifest.config()).ok().and_then(|digest| self.small_json::<ImageConfig>(&digest));
            diffs.extend(
                config.into_iter().flat_map(|c| c.rootfs.diff_ids).map(|diff| diff.0.hex().to_owned()),
            );
        }
        (blobs, diffs)
    }

    fn small_json<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> Option<T> {
        let small = self.layout().size(digest).is_ok_and(|size| size <= 4 << 20);
        if small { self.layout().read_json(digest).ok() } else { None }
    }
}

/// Gathers every digest and snapshot name that appears as a text anywhere in a record.
fn collect_names(value: &Value, digests: &mut HashSet<Digest>, snapshots: &mut HashSet<SnapshotId>) {
    match value {
        Value::String(text) if text.starts_with("sha256:") => digests.extend(text.parse()),
        Value::String(text) if text.starts_with("step-") || text.starts_with("layer-") => {
            snapshots.extend(serde_json::from_value(value.clone()));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, digests, snapshots)),
        Value::Object(fields) => fields.values().for_each(|field| collect_names(field, digests, snapshots)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn packages_that_nobody_used_go_and_dates_that_were_seen_stay() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(directory.path()).unwrap();
        let place = |path: &str, age: Duration| {
            let path = home.root().join("packages").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(SystemTime::now() - age)
                .unwrap();
            path
        };
        let (day, month) = (Duration::from_secs(86_400), Duration::from_secs(30 * 86_400));
        let old = [place("deb/old.deb", month), place("apt/index/old", month)];
        let kept = [place("deb/new.deb", Duration::ZERO), place("apt/seen/old", month)];
        let policy = GcPolicy { unused_for: day, caches: false, wait: Duration::ZERO };
        assert_eq!(home.gc(policy).unwrap().bytes, 2);
        assert!(old.iter().all(|path| !path.exists()) && kept.iter().all(|path| path.exists()));
    }
}
