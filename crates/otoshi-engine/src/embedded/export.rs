//! Images made of what steps left: layer blobs, config, manifest.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use otoshi_oci::{
    Descriptor, Digest, Fields, ImageConfig,
    layer::{PrefixDir, WriteOptions, write_layer},
    write_image,
};
use otoshi_store::{LayerSnapshot, SnapshotId};
use rayon::prelude::*;

use super::{
    EmbeddedEngine,
    chain::Layer,
    stage::{Stage, timestamp},
};
use crate::{BuiltImage, EngineError, Event, Events, Output, records::Blob};

/// How a snapshot becomes a layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placement {
    /// The directories above the snapshot's root, the outermost first.
    pub(crate) prefix: Vec<PrefixDir>,
    pub(crate) owner: Option<(u32, u32)>,
}

impl Placement {
    /// Adds all that it is to a key.
    fn fields(&self, key: Fields) -> Fields {
        let owner = self.owner;
        let key = key.option_number(owner.map(|(uid, _)| uid)).option_number(owner.map(|(_, gid)| gid));
        self.prefix.iter().fold(key, |key, above| {
            key.text(above.path.as_os_str().as_encoded_bytes())
                .number(above.mode)
                .number(above.uid)
                .number(above.gid)
        })
    }
}

/// How layers are written, and who is told.
#[derive(Clone, Copy)]
pub(crate) struct Writing<'a> {
    pub(crate) output: Output,
    /// How many were written.
    pub(crate) written: &'a AtomicUsize,
    pub(crate) events: &'a dyn Events,
}

/// What steps left among these layers, the topmost first.
pub(crate) fn steps_below(layers: &[Layer]) -> Vec<SnapshotId> {
    let steps = layers.iter().rev().filter_map(|layer| match layer {
        Layer::Step(snapshot) => Some(snapshot.clone()),
        Layer::Image(_) | Layer::Written(_) => None,
    });
    steps.collect()
}

impl EmbeddedEngine {
    /// The blob of a snapshot: the one written earlier, or written now; `below` are the snapshots below it, the topmost first.
    pub(crate) fn blob_of(
        &self,
        snapshot: &SnapshotId,
        below: &[SnapshotId],
        placement: &Placement,
        writing: Writing<'_>,
    ) -> Result<Blob, EngineError> {
        let Writing { output, written, events } = writing;
        let time = |snapshot: &SnapshotId| {
            if output.has_own_times() { self.time_of(snapshot) } else { None }.unwrap_or(output.epoch)
        };
        let own = time(snapshot);
        let output = Output { epoch: own, ..output };
        let key =
            placement.fields(Fields::new("layer 3").text(snapshot.as_str()).text(output.form())).digest();
        let times: Vec<(&SnapshotId, i64)> = below.iter().map(|id| (id, time(id))).collect();
        let on = times
            .iter()
            .fold(Fields::new("below 1"), |on, (id, time)| on.text(id.as_str()).number(*time))
            .digest();
        if let Some(blob) = self.home().records().get::<Blob>(key.hex())
            && blob.below.as_ref().is_none_or(|known| *known == on)
            && self.home().layout().holds(&blob.descriptor)
        {
            return Ok(blob);
        }
        let started = Instant::now();
        let tree = self.home().snapshots().sound(snapshot).ok_or_else(|| EngineError::lost(snapshot))?;
        let options = WriteOptions {
            compression: output.compression,
            mtime: output.mtime(),
            prefix: placement.prefix.clone(),
            owner: placement.owner,
            threads: rayon::current_num_threads(),
            xattr_namespace: self.xattr_namespace(),
            normalised_lower: times
                .iter()
                .filter_map(|(id, time)| Some((self.home().snapshots().get(id)?, *time)))
                .collect(),
        };
        let layer = write_layer(self.home().layout(), &tree, &options)?;
        // A tar of nothing is its two end blocks.
        let empty = layer.uncompressed_size <= 1024;
        let below = layer.depends_on_lower.then_some(on);
        let blob = Blob { descriptor: layer.descriptor, diff_id: layer.diff_id, empty, below };
        self.home().records().put(key.hex(), &blob)?;
        if placement.prefix.is_empty() && placement.owner.is_none() {
            self.home().records().put(blob.diff_id.0.hex(), &LayerSnapshot(snapshot.clone()))?;
        }
        written.fetch_add(1, Ordering::Relaxed);
        events.event(Event::Work {
            what: "writing a layer".into(),
            bytes: layer.uncompressed_size,
            took: started.elapsed(),
        });
        Ok(blob)
    }

    /// Writes a stage as an image; layers that were written while the stages were built count.
    pub(crate) fn export(
        &self,
        stage: &Stage,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        writing: Writing<'_>,
    ) -> Result<BuiltImage, EngineError> {
        let layers = &stage.chain.layers;
        let blobs: Vec<Blob> = layers
            .par_iter()
            .enumerate()
            .map(|(index, layer)| match layer {
                Layer::Image(layer) | Layer::Written(layer) => Ok(Blob {
                    descriptor: layer.descriptor.clone(),
                    diff_id: layer.diff_id.clone(),
                    empty: false,
                    below: None,
                }),
                Layer::Step(snapshot) => {
                    let below = steps_below(&layers[..index]);
                    self.blob_of(snapshot, &below, &Placement::default(), writing)
                }
            })
            .collect::<Result<_, EngineError>>()?;

        let mut config = stage.config.clone();
        config.created = Some(timestamp(writing.output.epoch));
        config.config.labels.extend(labels.clone());
        config.rootfs.diff_ids.clear();
        let mut layers = Vec::new();
        for (blob, history) in blobs.into_iter().zip(&stage.layer_history) {
            if blob.empty {
                config.history[*history].empty_layer = true;
            } else {
                config.rootfs.diff_ids.push(blob.diff_id);
                layers.push(blob.descriptor);
            }
        }
        self.write(&config, &layers, annotations, writing.written.load(Ordering::Relaxed))
    }

    /// Writes a config and a manifest, and lists the image in the store.
    pub(crate) fn write(
        &self,
        config: &ImageConfig,
        layers: &[Descriptor],
        annotations: &BTreeMap<String, String>,
        layers_written: usize,
    ) -> Result<BuiltImage, EngineError> {
        let layout = self.home().layout();
        let descriptor = write_image(layout, config, layers, annotations)?;
        let digest = Digest::of(&descriptor).map_err(|error| EngineError::invalid(error.to_string()))?;
        layout.names().add_untagged(descriptor.clone())?;
        Ok(BuiltImage { digest, descriptor, steps_run: 0, layers_written })
    }
}
