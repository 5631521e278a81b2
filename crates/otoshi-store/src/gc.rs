//! Garbage collection: what may be kept, what is removed.
//!
//! Roots are the tagged images, and what records younger than the policy's age say that they keep (using a record makes it young
//! again): images with their layers, snapshots, and compiled applications. The rest goes. Of each record the first line is read once, of
//! each small blob the content, so that a collection takes a time that grows as what is there does.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use otoshi_oci::{DiffId, Digest};
use serde_json::Value;

use crate::{Home, Kind, Records, Root, SnapshotId, StoreError, kind::Life};

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

/// What is to be kept.
#[derive(Default)]
struct Kept {
    digests: HashSet<Digest>,
    snapshots: HashSet<SnapshotId>,
}

impl Kept {
    fn keep(&mut self, roots: Vec<Root>) {
        for root in roots {
            match root {
                Root::Blob(digest) => drop(self.digests.insert(digest)),
                Root::Snapshot(id) => drop(self.snapshots.insert(id)),
            }
        }
    }
}

/// What the kept images have.
struct Reachable {
    blobs: HashSet<Digest>,
    layers: HashSet<DiffId>,
}

/// A record that lives as long as something else.
struct Pointer {
    kind: Kind,
    life: Life,
    path: PathBuf,
}

impl Pointer {
    /// What it keeps alive, or lives by; the record is opened for that.
    fn roots(&self) -> Vec<Root> {
        Records::roots(self.kind, &self.path)
    }

    /// Whether what it lives by is there.
    fn is_alive(&self, reachable: &Reachable) -> bool {
        // A key is the hexadecimal part alone.
        let key = || {
            let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let algorithm = if name.len() == 128 { "sha512" } else { "sha256" };
            format!("{algorithm}:{name}").parse::<Digest>().ok()
        };
        match self.life {
            Life::OfItsBlob => key().is_some_and(|blob| reachable.blobs.contains(&blob)),
            Life::OfItsLayer => key().is_some_and(|layer| reachable.layers.contains(&DiffId(layer))),
            Life::OfItsRoots => {
                let is_there =
                    |root: &Root| matches!(root, Root::Blob(digest) if reachable.blobs.contains(digest));
                let roots = self.roots();
                !roots.is_empty() && roots.iter().all(is_there)
            }
            Life::Used | Life::UsedOrYear => true,
        }
    }
}

impl Home {
    /// Removes what no tagged image and no recently used record needs.
    ///
    /// Fails with [`StoreError::Busy`] when another process still uses the store after `policy.wait`.
    pub fn gc(&self, policy: GcPolicy) -> Result<Collected, StoreError> {
        let _alone = self.claim_alone(policy.wait)?;
        let mut collected = Collected::default();
        let mut kept = Kept::default();
        for (_, descriptor) in self.layout().names().tagged()? {
            kept.digests.insert(Digest::of(&descriptor)?);
        }
        let pointers = self.mark(policy.unused_for, &mut kept, &mut collected)?;
        let reachable = self.reachable(&kept.digests);
        for pointer in pointers {
            if !pointer.is_alive(&reachable) {
                remove_record(&pointer.path, &mut collected)?;
            } else if pointer.life == Life::OfItsLayer {
                kept.keep(pointer.roots());
            }
        }
        kept.snapshots.extend(reachable.layers.iter().map(SnapshotId::of_layer));
        self.sweep_snapshots(&kept.snapshots, &mut collected);
        let swept = self.with_reserve(|| Ok(self.layout().sweep(&reachable.blobs, Duration::ZERO)?))?;
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

    /// Removes records that nobody used for so long, and notes what the others keep; gives those that live as long as something else.
    fn mark(
        &self,
        unused_for: Duration,
        kept: &mut Kept,
        collected: &mut Collected,
    ) -> Result<Vec<Pointer>, StoreError> {
        let mut pointers = Vec::new();
        for kind in Kind::ALL {
            let life = kind.life();
            let longest = if life == Life::UsedOrYear { unused_for.max(YEAR) } else { unused_for };
            for (path, age) in self.records().list(kind) {
                match life {
                    Life::OfItsRoots | Life::OfItsBlob | Life::OfItsLayer => {
                        pointers.push(Pointer { kind, life, path });
                    }
                    Life::Used | Life::UsedOrYear if age > longest => remove_record(&path, collected)?,
                    Life::Used | Life::UsedOrYear => kept.keep(Records::roots(kind, &path)),
                }
            }
        }
        Ok(pointers)
    }

    fn sweep_snapshots(&self, kept: &HashSet<SnapshotId>, collected: &mut Collected) {
        for id in self.snapshots().list() {
            if !kept.contains(&id) {
                match self.snapshots().remove(&id) {
                    Ok(bytes) => {
                        collected.bytes += bytes;
                        collected.snapshots += 1;
                    }
                    Err(error) => collected.failed.push(error),
                }
            }
        }
    }

    /// Removes indexes, packages and answers to steps that were not used for so long; which dates were seen stays known. Gives bytes freed.
    fn sweep_packages(&self, unused_for: Duration) -> Result<u64, StoreError> {
        let mut freed = 0;
        let packages = PACKAGES.iter().map(|name| self.root().join("packages").join(name));
        for directory in packages.chain([self.kept_answers()]) {
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

    /// Follows manifests to every blob they need, and to the diff ids of their layers.
    fn reachable(&self, roots: &HashSet<Digest>) -> Reachable {
        // A config is one because a manifest says so, which comes before it or after it.
        let mut configs: HashSet<Digest> = HashSet::new();
        let mut listed: HashMap<Digest, Vec<DiffId>> = HashMap::new();
        let blobs = self.layout().reachable_documents(roots.iter().cloned(), |digest, document| {
            let config = document.pointer("/config/digest").and_then(Value::as_str);
            configs.extend(config.and_then(|config| config.parse().ok()));
            if let Some(layers) = document.pointer("/rootfs/diff_ids").and_then(Value::as_array) {
                let layers = layers.iter().filter_map(|layer| layer.as_str()?.parse().ok().map(DiffId));
                listed.insert(digest.clone(), layers.collect());
            }
        });
        let layers = configs.iter().filter_map(|config| listed.remove(config)).flatten().collect();
        Reachable { blobs, layers }
    }
}

/// Directories of files that were fetched of repositories, and can be fetched again: apt's, packages, and those of apk and rpm.
const PACKAGES: [&str; 5] =
    ["apt/index", "apt/release", "deb", "repositories/document", "repositories/content"];

fn remove_record(path: &Path, collected: &mut Collected) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(StoreError::io("removing", path))?;
    collected.records += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use otoshi_oci::{ImageConfig, ImageManifest, MediaType};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{LayerSnapshot, Record};

    const DAY: Duration = Duration::from_secs(86_400);
    const POLICY: GcPolicy = GcPolicy { unused_for: DAY, caches: false, wait: Duration::ZERO };

    /// A record of a phase, with texts that look like names and that it does not keep.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Made {
        keeps: Vec<String>,
        mentions: Vec<String>,
    }

    impl Record for Made {
        const KIND: Kind = Kind::Phase;

        fn roots(&self) -> Vec<Root> {
            self.keeps.iter().filter_map(|root| Root::parse(root)).collect()
        }
    }

    /// A layer that was written, by its blob.
    #[derive(Debug, Serialize, Deserialize)]
    struct Written(Digest);

    impl Record for Written {
        const KIND: Kind = Kind::Layer;

        fn roots(&self) -> Vec<Root> {
            vec![Root::from(&self.0)]
        }
    }

    fn blob(home: &Home, text: &str) -> Digest {
        Digest::of(&home.layout().put(MediaType::ImageLayer, text.as_bytes()).unwrap()).unwrap()
    }

    fn snapshot(home: &Home, text: &str) -> SnapshotId {
        let id = SnapshotId::of_key(&Digest::sha256_of(text.as_bytes()));
        let draft = home.snapshots().draft().unwrap();
        fs::write(draft.tree().join("file"), text).unwrap();
        draft.commit(&id).unwrap();
        id
    }

    fn put(home: &Home, key: &str, keeps: &[Root], mentions: &[&str]) {
        let keeps = keeps.iter().map(Root::to_string).collect();
        let mentions = mentions.iter().map(ToString::to_string).collect();
        home.records().put(key, &Made { keeps, mentions }).unwrap();
    }

    fn age(path: &Path, age: Duration) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn what_records_say_that_they_keep_stays_and_what_they_mention_goes() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let (kept, mentioned) = (blob(&home, "kept"), blob(&home, "mentioned"));
        let (step, other) = (snapshot(&home, "kept"), snapshot(&home, "mentioned"));
        put(&home, "ab", &[Root::from(&kept), Root::from(&step)], &[mentioned.as_str(), other.as_str()]);
        for digest in [&kept, &mentioned] {
            home.records().put(digest.hex(), &Written(digest.clone())).unwrap();
        }
        let collected = home.gc(POLICY).unwrap();
        assert_eq!((collected.blobs, collected.snapshots, collected.records), (1, 1, 1));
        assert!(home.layout().has(&kept) && home.snapshots().get(&step).is_some());
        assert!(home.records().has::<Written>(kept.hex()));

        age(&home.records().list(Kind::Phase)[0].0, 2 * DAY);
        let collected = home.gc(POLICY).unwrap();
        assert_eq!((collected.blobs, collected.snapshots, collected.records), (1, 1, 2));
    }

    #[test]
    fn what_records_of_the_first_form_name_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let (digest, step) = (blob(&home, "kept"), snapshot(&home, "kept"));
        snapshot(&home, "another");
        let body = serde_json::json!({ "images": { "web": digest }, "output": [step, digest] });
        // Its place is that of a record of today.
        put(&home, "ab", &[], &[]);
        let path = home.records().list(Kind::Phase)[0].0.clone();
        fs::write(&path, crate::form::first_form(&serde_json::to_vec(&body).unwrap())).unwrap();
        let collected = home.gc(POLICY).unwrap();
        assert_eq!((collected.blobs, collected.snapshots, collected.records), (0, 1, 0));
        age(&path, 2 * DAY);
        let collected = home.gc(POLICY).unwrap();
        assert_eq!((collected.blobs, collected.snapshots, collected.records), (1, 1, 1));
    }

    #[test]
    fn a_snapshot_lives_as_long_as_the_layer_that_was_written_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let images = image(&home, 0);
        let config: ImageConfig = home.layout().read_json(&images.1).unwrap();
        let diff_id = &config.rootfs.diff_ids[0];
        let step = snapshot(&home, "layer");
        home.records().put(diff_id.0.hex(), &LayerSnapshot(step.clone())).unwrap();
        put(&home, "ab", &[Root::from(&images.0)], &[]);
        home.gc(POLICY).unwrap();
        assert_eq!(home.records().get(diff_id.0.hex()), Some(LayerSnapshot(step.clone())));
        assert!(home.snapshots().get(&step).is_some());
        put(&home, "ab", &[], &[]);
        home.gc(POLICY).unwrap();
        assert!(!home.records().has::<LayerSnapshot>(diff_id.0.hex()));
        assert_eq!(home.snapshots().get(&step), None);
    }

    /// An image of one layer: the digests of its manifest and its config.
    fn image(home: &Home, number: usize) -> (Digest, Digest) {
        let layer = home.layout().put(MediaType::ImageLayer, format!("layer {number}").as_bytes()).unwrap();
        let mut config = ImageConfig::new(&otoshi_oci::Platform::host());
        config.rootfs.diff_ids = vec![DiffId(Digest::sha256_of(format!("tar {number}").as_bytes()))];
        let manifest = otoshi_oci::write_image(home.layout(), &config, &[layer], &[].into()).unwrap();
        home.layout().names().add_untagged(manifest.clone()).unwrap();
        let digest = Digest::of(&manifest).unwrap();
        let written: ImageManifest = home.layout().read_json(&digest).unwrap();
        (digest, Digest::of(written.config()).unwrap())
    }

    /// What a collection of so many records reads, each with an image, a snapshot and much to say: calls, and bytes.
    fn reads_of(records: usize) -> [u64; 2] {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let much = "x".repeat(64 << 10);
        for number in 0..records {
            let (manifest, _) = image(&home, number);
            let step = snapshot(&home, &number.to_string());
            put(&home, &format!("{number:04}"), &[Root::from(&manifest), Root::from(&step)], &[&much]);
        }
        let so_far = || {
            let text = fs::read_to_string("/proc/thread-self/io").unwrap();
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
            [field("syscr: ").unwrap(), field("rchar: ").unwrap()]
        };
        let before: [u64; 2] = so_far();
        let collected = home.gc(POLICY).unwrap();
        let after = so_far();
        assert_eq!((collected.records, collected.snapshots, collected.blobs), (0, 0, 0));
        [after[0] - before[0], after[1] - before[1]]
    }

    #[test]
    fn ten_times_as_much_is_ten_times_the_reading_and_bodies_are_not_read() {
        let (few, many) = (reads_of(8), reads_of(80));
        for (few, many) in few.into_iter().zip(many) {
            assert!(many <= 10 * few && many >= 6 * few, "{few} {many}");
        }
        assert!(many[1] < 80 * (16 << 10), "{many:?}");
    }

    #[test]
    fn packages_that_nobody_used_go_and_dates_that_were_seen_stay() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(directory.path()).unwrap();
        let place = |path: &str, old: Duration| {
            let path = home.root().join("packages").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            age(&path, old);
            path
        };
        let old = [
            place("deb/old.deb", 30 * DAY),
            place("apt/index/old", 30 * DAY),
            place("../http/old", 30 * DAY),
        ];
        let kept = [
            place("deb/new.deb", Duration::ZERO),
            place("apt/seen/old", 30 * DAY),
            place("../http/new", DAY / 2),
        ];
        assert_eq!(home.gc(POLICY).unwrap().bytes, 3);
        assert!(old.iter().all(|path| !path.exists()) && kept.iter().all(|path| path.exists()));
    }
}
