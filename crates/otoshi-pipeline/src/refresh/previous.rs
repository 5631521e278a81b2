//! What the images and the lock of a project were before each refresh, and the way back.

use std::{
    collections::BTreeMap,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use otoshi_oci::{Digest, Fields};
use otoshi_project::{Lock, Project};
use otoshi_store::{Kind, Record, Root};
use otoshi_tree::{Lasting, write_whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::images::Images;
use crate::{PipelineError, bases::is_whole, world::World};

/// How many states are kept.
const KEPT: usize = 10;

/// A state of a project before a refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Previous {
    /// When it was left, in seconds since 1970.
    at: u64,
    /// The images by their names in the store.
    images: BTreeMap<String, Digest>,
    /// The text of otoshi.lock.
    lock: Option<String>,
    /// The bases that it names, which are kept with the images.
    #[serde(default)]
    bases: Vec<Digest>,
}

/// The states of a project, the latest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct States(Vec<Previous>);

impl Record for States {
    const KIND: Kind = Kind::Previous;

    fn roots(&self) -> Vec<Root> {
        self.0.iter().flat_map(|state| state.images.values().chain(&state.bases)).map(Root::from).collect()
    }
}

/// Describes the way back.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RolledBack {
    /// The images by name → digest of the manifest.
    pub images: BTreeMap<String, String>,
    /// When the state was left that they have again, in seconds since 1970.
    pub at: u64,
    /// How many earlier states are kept.
    pub left: usize,
}

/// Waits until no other refresh or update of the project runs; until the file is dropped, none begins.
pub(crate) fn alone(project: &Project) -> Result<fs::File, PipelineError> {
    let path = project.root.clone();
    let failed = |source| PipelineError::Read { path: path.clone(), source };
    let directory = fs::File::open(&path).map_err(failed)?;
    directory.lock().map_err(failed)?;
    Ok(directory)
}

/// The earlier states of a project.
#[derive(Clone, Copy)]
pub(crate) struct History<'w>(pub(crate) &'w World<'w>);

impl History<'_> {
    fn key(self) -> Digest {
        Fields::new("previous 2").text(self.0.project.root.as_os_str().as_encoded_bytes()).digest()
    }

    fn all(self) -> Vec<Previous> {
        let known: Option<States> = self.0.home.records().get(self.key().hex());
        known.map(|States(all)| all).unwrap_or_default()
    }

    /// The text of the lock; `None` where there is none.
    pub(super) fn lock_text(self) -> Result<Option<String>, PipelineError> {
        let path = self.0.project.root.join("otoshi.lock");
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(|source| PipelineError::Read { path, source }),
        }
    }

    /// Puts the lock back; never half.
    fn put_lock(self, text: Option<&str>) -> Result<(), PipelineError> {
        let path = self.0.project.root.join("otoshi.lock");
        let failed = |source| PipelineError::Write { path: path.clone(), source };
        let Some(text) = text else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        };
        if fs::read_to_string(&path).is_ok_and(|now| now == text) {
            return Ok(());
        }
        write_whole(&path, text.as_bytes(), Lasting::Synced).map_err(failed)
    }

    /// Remembers a state that is about to be left.
    pub(super) fn leave(self, images: Images, lock: Option<String>) -> Result<(), PipelineError> {
        if images.0.is_empty() {
            return Ok(());
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let locked = lock.as_deref().map(Lock::parse).transpose()?.unwrap_or_default();
        let bases = locked.roles.values().flat_map(|bases| bases.values());
        let bases = bases.flat_map(|base| base.platforms.values().chain([&base.index])).cloned().collect();
        let mut all = self.all();
        all.insert(0, Previous { at, images: images.0, lock, bases });
        all.truncate(KEPT);
        self.0.home.records().put(self.key().hex(), &States(all))?;
        Ok(())
    }

    /// Goes back to what the images and the lock were before the last refresh.
    ///
    /// Fails where no earlier state is known here, or an image of it is no longer in the store; nothing is changed
    /// then.
    pub(crate) fn rollback(self) -> Result<RolledBack, PipelineError> {
        let _alone = alone(self.0.project)?;
        let mut all = self.all();
        if all.is_empty() {
            return Err(PipelineError::invalid(
                format!("no earlier state of {} is known here", self.0.project.manifest.project.name),
                "each rollback undoes one refresh, and only the machine that refreshed remembers the earlier state",
            ));
        }
        let previous = all.remove(0);
        let gone =
            previous.images.iter().find(|(_, digest)| !is_whole(self.0.home, digest, &self.0.platform));
        if let Some((name, digest)) = gone {
            return Err(PipelineError::invalid(
                format!("{name} was {digest}, which is no longer in the store"),
                "restore an earlier otoshi.lock, and build",
            ));
        }
        self.put_lock(previous.lock.as_deref())?;
        let images = Images(previous.images);
        images.tag(self.0)?;
        let left = all.len();
        self.0.home.records().put(self.key().hex(), &States(all))?;
        let images = images.0.into_iter().map(|(name, digest)| (name, digest.to_string())).collect();
        Ok(RolledBack { images, at: previous.at, left })
    }
}
