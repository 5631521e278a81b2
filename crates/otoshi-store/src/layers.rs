//! Where the content of layers is unpacked.

use otoshi_oci::DiffId;

use crate::{Home, LayerSnapshot, SnapshotId};

impl Home {
    /// The snapshots that may hold the content of a layer: the one that it was written from, else the one that it is unpacked to.
    pub fn snapshots_of_layer(&self, diff_id: &DiffId) -> impl Iterator<Item = SnapshotId> {
        let own: Option<LayerSnapshot> = self.records().get(diff_id.0.hex());
        own.map(|LayerSnapshot(id)| id).into_iter().chain([SnapshotId::of_layer(diff_id)])
    }
}
