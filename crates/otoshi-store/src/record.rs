//! What a record is: a value of one type, of one kind, that says itself what it keeps alive.

use std::{borrow::Cow, fmt, io};

use otoshi_oci::Digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Kind, SnapshotId};

/// A type of records. Each kind has one, and each type one kind.
pub trait Record: Serialize + DeserializeOwned {
    /// The kind of all its records.
    const KIND: Kind;

    /// Everything in the store that must be there for the record to be worth anything.
    ///
    /// The collector keeps it while the record lives; with kinds that only say where something is, the record goes when it goes.
    fn roots(&self) -> Vec<Root> {
        Vec::new()
    }

    /// The record's bytes; JSON unless the type has a form of its own.
    ///
    /// Fails where the value has no such form.
    fn encode(&self) -> io::Result<Cow<'_, [u8]>> {
        Ok(serde_json::to_vec(self)?.into())
    }

    /// Reads what [`Record::encode`] gave; `None` where that is not a record of this type.
    fn decode(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// Something that a record keeps alive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// A blob of the image layout, such as a manifest, with everything that it names.
    Blob(Digest),
    /// A snapshot.
    Snapshot(SnapshotId),
}

impl From<&Digest> for Root {
    fn from(digest: &Digest) -> Self {
        Self::Blob(digest.clone())
    }
}

impl From<&SnapshotId> for Root {
    fn from(snapshot: &SnapshotId) -> Self {
        Self::Snapshot(snapshot.clone())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob={digest}"),
            Self::Snapshot(id) => write!(f, "snapshot={id}"),
        }
    }
}

impl Root {
    /// Reads what [`fmt::Display`] writes; `None` where that names nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (what, name) = text.split_once('=')?;
        match what {
            "blob" => name.parse().ok().map(Self::Blob),
            "snapshot" => SnapshotId::of_name(name).map(Self::Snapshot),
            _ => None,
        }
    }
}

/// Where the content of a layer that was written from a snapshot is unpacked, by the layer's diff id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerSnapshot(pub SnapshotId);

impl Record for LayerSnapshot {
    const KIND: Kind = Kind::Diff;

    fn roots(&self) -> Vec<Root> {
        vec![Root::from(&self.0)]
    }
}
