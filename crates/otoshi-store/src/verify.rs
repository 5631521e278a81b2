//! Looking for damage: content that is not what it was when it was put into the store.
//!
//! Every use of the store checks what is cheap: records by their checksum, manifests and configs by their digest, layers by
//! their size, and by their digest when they are unpacked. Verification reads everything: all blobs, all records, and the
//! names, modes, sizes, times and contents in every snapshot, which are compared with its seal.

use std::{fs, time::Duration};

use otoshi_oci::Digest;

use crate::{Home, Kind, Records, StoreError, seal::Depth};

/// Something in the store that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The file or directory.
    pub path: std::path::PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What a verification saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Blobs read.
    pub blobs: usize,
    /// Records read.
    pub records: usize,
    /// Snapshots looked through.
    pub snapshots: usize,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

impl Home {
    /// Reads everything in the store and says what is damaged; `remove` removes that, so that it is made or fetched again.
    ///
    /// Removing waits for nobody: it fails with [`StoreError::Busy`] when another process uses the store.
    pub fn verify(&self, remove: bool) -> Result<Verified, StoreError> {
        let _usage = if remove { self.claim_alone(Duration::ZERO)? } else { self.claim()? };
        let mut seen = Verified::default();
        // Nothing is removed while nobody knows what is named.
        self.layout().names().tagged()?;
        if remove {
            self.layout().names().trim()?;
        }
        self.verify_blobs(remove, &mut seen)?;
        for kind in Kind::ALL {
            for (path, _) in self.records().list(kind) {
                // One that is being written has another name; a collection of what processes left is not this.
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    continue;
                }
                seen.records += 1;
                if !Records::is_whole(kind, &path) {
                    if remove {
                        fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
                    }
                    seen.damage.push(Damage { path, reason: "an incomplete record".to_owned() });
                }
            }
        }
        for id in self.snapshots().list() {
            seen.snapshots += 1;
            if let Err(reason) = self.snapshots().check(&id, Depth::All) {
                let path = self.snapshots().directory(&id);
                if remove {
                    self.snapshots().remove(&id)?;
                }
                seen.damage.push(Damage { path, reason });
            }
        }
        Ok(seen)
    }

    fn verify_blobs(&self, remove: bool, seen: &mut Verified) -> Result<(), StoreError> {
        let blobs = self.layout().root().join("blobs");
        for directory in fs::read_dir(&blobs).map_err(StoreError::io("reading", &blobs))?.flatten() {
            let path = directory.path();
            for blob in fs::read_dir(&path).map_err(StoreError::io("reading", &path))?.flatten() {
                let name = format!("{}:{}", directory.file_name().display(), blob.file_name().display());
                let Ok(digest) = name.parse::<Digest>() else { continue };
                seen.blobs += 1;
                match self.layout().verify(&digest) {
                    Ok(()) => {}
                    Err(otoshi_oci::LayoutError::Corrupt { found, .. }) => {
                        let path = blob.path();
                        if remove {
                            fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
                        }
                        let reason = format!("its content has the digest {found}");
                        seen.damage.push(Damage { path, reason });
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
