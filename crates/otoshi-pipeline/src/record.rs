//! What phases made and what they last observed, kept as records of the store.
//!
//! ```text
//! Phase  KEY                      → Made: image manifests, compiled output
//! Last   PROJECT PHASE       → Last: the key and the parts of the last build
//! Last   PROJECT PHASE PART  → Listing: the files beneath that part, to name those that changed
//! ```
//!
//! A project is its directory. The last observation only explains; what is fresh depends on the key alone.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_engine::{ContextEntry, EntryKind, told_by};
use otoshi_oci::{Digest, Fields, Platform};
use otoshi_project::{Phase, Project};
use otoshi_registry::Repository;
use otoshi_store::{Home, Kind, Record, Root, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::{
    Part, PartKind, PipelineError, Reason, ReasonKind,
    bases::is_whole,
    error::During,
    observe::{Observation, Read},
    reason::{FileList, changed_files, difference},
};

/// What a phase made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Image manifests, by role or process.
    pub(crate) images: BTreeMap<String, Digest>,
    /// The compiled output: its snapshot and the digest of its content.
    pub(crate) output: Option<(SnapshotId, Digest)>,
    /// The compiled application's manifest, where it was written or found in a registry.
    #[serde(default)]
    pub(crate) artifact: Option<Digest>,
    /// The symbolic links in the compiled output, where that itself may not be here.
    #[serde(default)]
    pub(crate) links: Option<BTreeSet<String>>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub(crate) took_ms: u64,
    /// When it was done, in seconds since 1970.
    #[serde(default)]
    pub(crate) at: u64,
}

impl Record for Made {
    const KIND: Kind = Kind::Phase;

    fn roots(&self) -> Vec<Root> {
        let digests = self.images.values().chain(&self.artifact).map(Root::from);
        digests.chain(self.output.as_ref().map(|(snapshot, _)| Root::from(snapshot))).collect()
    }
}

impl Made {
    /// The image of a phase that makes one, which has the phase's name.
    pub(crate) fn image(&self, phase: Phase) -> Option<&Digest> {
        self.images.get(phase.as_str())
    }

    /// What it made, where that is one thing.
    pub(crate) fn one(&self) -> Option<String> {
        let output = self.output.as_ref().map(|(_, content)| content.to_string());
        output.or_else(|| match self.images.len() {
            1 => self.images.values().next().map(ToString::to_string),
            _ => None,
        })
    }

    /// What of it is no longer in the store.
    pub(crate) fn lost(&self, home: &Home, platform: &Platform) -> Option<String> {
        let whole = |digest: &Digest| is_whole(home, digest, platform);
        if let Some((name, digest)) = self.images.iter().find(|(_, digest)| !whole(digest)) {
            return Some(format!("image {name} {digest} is not complete in the store"));
        }
        let (id, _) = self.output.as_ref()?;
        if self.artifact.as_ref().is_some_and(whole) {
            return None;
        }
        home.snapshots().get(id).is_none().then(|| format!("snapshot {id} is not in the store"))
    }
}

/// What a phase observed last.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Last {
    key: Digest,
    parts: Vec<Part>,
}

impl Record for Last {
    const KIND: Kind = Kind::Last;

    fn roots(&self) -> Vec<Root> {
        self.parts.iter().filter_map(Part::image).map(Root::from).collect()
    }
}

/// The files beneath one part, when it had this value.
#[derive(Debug, Serialize, Deserialize)]
struct Listing {
    value: String,
    files: FileList,
}

impl Record for Listing {
    const KIND: Kind = Kind::Listing;
}

/// The records of one project.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ledger<'a> {
    pub(crate) home: &'a Home,
    pub(crate) project: &'a Project,
}

impl Ledger<'_> {
    /// What a phase made here for a key, or else what the project's own repository said that it made.
    pub(crate) fn made(&self, key: &Digest) -> Option<Made> {
        let records = self.home.records();
        let made = records.get(key.hex());
        made.or_else(|| records.get(self.told(key)?.hex()))
    }

    fn told(&self, key: &Digest) -> Option<Digest> {
        Some(told_by(&Repository::of(&self.project.repository()?).to_string(), key))
    }

    /// Marks a phase's records as used.
    pub(crate) fn touch(&self, phase: Phase, key: &Digest) {
        self.home.records().touch::<Made>(key.hex());
        if let Some(told) = self.told(key) {
            self.home.records().touch::<Made>(told.hex());
        }
        self.home.records().touch::<Last>(self.place(phase, None).hex());
    }

    pub(crate) fn record(&self, key: &Digest, made: &Made) -> Result<(), PipelineError> {
        Ok(self.home.records().put(key.hex(), made)?)
    }

    /// Keeps what the project's own repository says that a phase made: it counts for projects of that repository alone.
    pub(crate) fn learn(&self, key: &Digest, made: &Made) -> Result<(), PipelineError> {
        let Some(told) = self.told(key) else { return Ok(()) };
        Ok(self.home.records().remember(told.hex(), made)?)
    }

    /// Keeps what a phase observed, unless that is known already.
    pub(crate) fn remember(
        &self,
        phase: Phase,
        key: &Digest,
        seen: &Observation,
    ) -> Result<(), PipelineError> {
        let last = self.last(phase);
        if last.as_ref().is_some_and(|last| last.key == *key) {
            return Ok(());
        }
        for read in &seen.reads {
            let Some(part) = seen.parts.iter().find(|part| part.is_of(read)) else { continue };
            let known = last.iter().flat_map(|last| &last.parts).any(|old| old == part);
            if !known {
                let listing = Listing { value: part.words(), files: read.files()? };
                self.home.records().put(self.place(phase, Some(&read.part)).hex(), &listing)?;
            }
        }
        let last = Last { key: key.clone(), parts: seen.parts.clone() };
        Ok(self.home.records().put(self.place(phase, None).hex(), &last)?)
    }

    /// Says why a phase has no result for these parts.
    pub(crate) fn reasons(&self, phase: Phase, key: &Digest, seen: &Observation) -> Vec<Reason> {
        let Some(last) = self.last(phase) else {
            return vec![if self.is_known_in_another_form(phase) {
                let text = "its record was written by another version of otoshi";
                Reason::plain(ReasonKind::Forgotten, phase, text)
            } else {
                Reason::plain(ReasonKind::NeverBuilt, phase, "it was never built here")
            }];
        };
        if last.key == *key {
            let text = "the record of what it made is gone";
            return vec![Reason::plain(ReasonKind::Forgotten, phase, text)];
        }
        let changed = |part: &Part| self.changed_files(phase, &last, seen, part).unwrap_or_default();
        difference(&last.parts, &seen.parts, &changed)
    }

    /// The files that changed beneath a part, where it is known what they were.
    fn changed_files(
        &self,
        phase: Phase,
        last: &Last,
        seen: &Observation,
        part: &Part,
    ) -> Option<Vec<String>> {
        let read = seen.reads.iter().find(|read| part.is_of(read))?;
        let before = last.parts.iter().find(|old| old.is_of(read))?;
        let listing: Listing = self.home.records().get(self.place(phase, Some(&read.part)).hex())?;
        (listing.value == before.words())
            .then(|| read.files().ok().map(|files| changed_files(&listing.files, &files)))
            .flatten()
    }

    /// Whether there is a record of the phase that this version does not read: one of the first form, which had another key.
    fn is_known_in_another_form(&self, phase: Phase) -> bool {
        let first = Digest::sha256_of(format!("{}\0{phase}\0", self.project.root.display()).as_bytes());
        let places = [first, self.place(phase, None)];
        places.iter().any(|place| self.home.records().has::<Last>(place.hex()))
    }

    fn last(&self, phase: Phase) -> Option<Last> {
        self.home.records().get(self.place(phase, None).hex())
    }

    fn place(&self, phase: Phase, part: Option<&(PartKind, String)>) -> Digest {
        let project = self.project.root.as_os_str().as_encoded_bytes();
        let place = Fields::new("last 2").text(project).text(phase.as_str());
        place.option(part.map(|(kind, _)| kind.code())).option(part.map(|(_, name)| name)).digest()
    }
}

impl Part {
    fn is_of(&self, read: &Read) -> bool {
        self.kind() == read.part.0 && self.name() == read.part.1
    }
}

impl Read {
    /// Every file that is read, with the beginning of a digest of all that counts about it.
    fn files(&self) -> Result<FileList, PipelineError> {
        let failed = PipelineError::engine_in(During::Context);
        let entries = self.context.select(&self.patterns).map_err(failed)?;
        let entries = entries.into_iter().filter(|entry| entry.kind != EntryKind::Directory);
        entries.map(|entry| Ok((entry.path.clone(), self.fingerprint(entry)?))).collect()
    }

    fn fingerprint(&self, entry: &ContextEntry) -> Result<String, PipelineError> {
        let content = match &entry.kind {
            EntryKind::Symlink(target) => format!("link {target}"),
            _ => self
                .context
                .entry_digest(entry)
                .map_err(PipelineError::engine_in(During::Context))?
                .to_string(),
        };
        let all = Digest::sha256_of(format!("{:o} {content}", entry.mode).as_bytes());
        Ok(all.hex().chars().take(16).collect())
    }
}
