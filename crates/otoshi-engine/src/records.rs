//! What the engine remembers in the store: a type for each kind of record.

use std::borrow::Cow;

use otoshi_oci::{Descriptor, DiffId, Digest};
use otoshi_store::{Kind, Record, Root, SnapshotId};
use serde::{Deserialize, Serialize};

/// The snapshot that a step made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StepSnapshot(pub(crate) SnapshotId);

impl Record for StepSnapshot {
    const KIND: Kind = Kind::Step;

    fn roots(&self) -> Vec<Root> {
        vec![Root::from(&self.0)]
    }
}

/// The last snapshot of a source directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SourceSnapshot(pub(crate) SnapshotId);

impl Record for SourceSnapshot {
    const KIND: Kind = Kind::Source;

    fn roots(&self) -> Vec<Root> {
        vec![Root::from(&self.0)]
    }
}

/// The remembered digests of a directory's files, in the form of `context::stat_cache`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Scanned(pub(crate) Vec<u8>);

impl Record for Scanned {
    const KIND: Kind = Kind::Scan;

    fn encode(&self) -> std::io::Result<Cow<'_, [u8]>> {
        Ok(Cow::Borrowed(&self.0))
    }

    fn decode(body: &[u8]) -> Option<Self> {
        Some(Self(body.to_vec()))
    }
}

/// The digest of the content at a path; none where nothing is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ContentDigest(pub(crate) Option<Digest>);

impl Record for ContentDigest {
    const KIND: Kind = Kind::Content;
}

/// Whether a stage has its working directory already.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct HasWorkdir(pub(crate) bool);

impl Record for HasWorkdir {
    const KIND: Kind = Kind::Workdir;
}

/// When a commit was made, in seconds since 1970.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CommitTime(pub(crate) i64);

impl Record for CommitTime {
    const KIND: Kind = Kind::Commit;
}

/// The time of a snapshot's files in layers, in seconds since 1970.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SnapshotTime(pub(crate) i64);

impl Record for SnapshotTime {
    const KIND: Kind = Kind::Time;
}

/// The content that a place in images had last, and the time of that.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlaceTime(pub(crate) Digest, pub(crate) i64);

impl Record for PlaceTime {
    const KIND: Kind = Kind::Place;
}

/// A layer blob written from a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: DiffId,
    /// Whether the layer changes nothing.
    pub(crate) empty: bool,
    /// Stands for what lies below, where its bytes depend on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) below: Option<Digest>,
}

impl Record for Blob {
    const KIND: Kind = Kind::Layer;

    fn roots(&self) -> Vec<Root> {
        Digest::of(&self.descriptor).iter().map(Root::from).collect()
    }
}
