//! The layers below a step, from the lowest to the topmost.

use std::{
    collections::HashSet,
    io::{ErrorKind, Read},
    path::PathBuf,
};

use otoshi_oci::{Digest, Image, ImageLayer};
use otoshi_store::{Kind, SnapshotId};
use rayon::prelude::*;

use super::{EmbeddedEngine, mount::OverlayMount};
use crate::{EngineError, content::digest_of_fields};

/// One layer of a chain.
#[derive(Debug, Clone)]
pub(crate) enum Layer {
    /// A layer of an image: its blob is in the store, its snapshot perhaps not yet.
    Image(ImageLayer),
    /// What a step left: its snapshot is in the store, its blob perhaps not yet.
    Step(SnapshotId),
}

/// A file system as a stack of layers, and a key that stands for its content.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) layers: Vec<Layer>,
    pub(crate) key: Digest,
}

impl Chain {
    /// The empty file system.
    pub(crate) fn scratch() -> Self {
        Self { layers: Vec::new(), key: digest_of_fields(["scratch"]) }
    }

    /// The file system of an image; equal content has an equal key, however the layers are compressed.
    pub(crate) fn of_image(image: &Image) -> Self {
        let layers: Vec<Layer> = image.layers().iter().cloned().map(Layer::Image).collect();
        let key = digest_of_fields(image.layers().iter().map(|layer| layer.diff_id.0.as_str()));
        Self { layers, key }
    }

    /// This file system with what a step left on top.
    pub(crate) fn with(&self, snapshot: SnapshotId) -> Self {
        let key = digest_of_fields([self.key.as_str(), snapshot.as_str()]);
        let mut layers = self.layers.clone();
        layers.push(Layer::Step(snapshot));
        Self { layers, key }
    }

    /// The snapshots' directories, the topmost first; unpacks what is not unpacked yet.
    ///
    /// Of two that are the same only the upper one is there: it hides all of the other, and overlayfs takes none twice.
    pub(crate) fn lowers(&self, engine: &EmbeddedEngine) -> Result<Vec<PathBuf>, EngineError> {
        if let Some(source) = engine.source() {
            let missing = self.layers.par_iter().filter_map(|layer| match layer {
                Layer::Image(layer) if engine.unpacked(layer).is_none() => Some(layer),
                _ => None,
            });
            source.prepare(&missing.collect::<Vec<_>>());
        }
        let all: Vec<PathBuf> =
            self.layers.par_iter().rev().map(|layer| engine.snapshot_of(layer)).collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        Ok(all.into_iter().filter(|path| seen.insert(path.clone())).collect())
    }

    /// A read-only view of the whole file system.
    pub(crate) fn mount(&self, engine: &EmbeddedEngine) -> Result<OverlayMount, EngineError> {
        OverlayMount::new(engine.home(), &self.lowers(engine)?)
    }
}

impl EmbeddedEngine {
    /// The directory that holds a layer's content, unpacked now if need be.
    fn snapshot_of(&self, layer: &Layer) -> Result<PathBuf, EngineError> {
        let snapshots = self.home().snapshots();
        let image_layer = match layer {
            Layer::Step(id) => return snapshots.sound(id).ok_or_else(|| EngineError::lost(id)),
            Layer::Image(layer) => layer,
        };
        if let Some(path) = self.unpacked(image_layer) {
            return Ok(path);
        }
        let layout = self.home().layout();
        if let (false, Some(source)) = (layout.holds(&image_layer.descriptor), self.source())
            && let Some(arriving) = source.open(image_layer)?
        {
            let mut watched = Watched { inner: arriving, failed: None };
            match self.unpack(image_layer, &mut watched) {
                Ok(path) => return Ok(path),
                Err(error) => tracing::debug!(%error, "unpacking while it arrives failed"),
            }
            // Either it does not arrive, which is the error to tell, or it will be here soon.
            let failed = match watched.failed {
                Some(error) if error.kind() != ErrorKind::ConnectionReset => Some(error),
                _ => match source.open(image_layer)? {
                    Some(mut anew) => std::io::copy(&mut anew, &mut std::io::sink()).err(),
                    None => None,
                },
            };
            if let Some(error) = failed {
                return Err(not_arrived(&error));
            }
        }
        self.unpack(image_layer, layout.open_blob(&image_layer.digest)?)
    }

    /// The directory of a layer that is unpacked, or that was made here.
    fn unpacked(&self, layer: &ImageLayer) -> Option<PathBuf> {
        let snapshots = self.home().snapshots();
        let own = self.home().records().get::<SnapshotId>(Kind::Diff, layer.diff_id.0.hex());
        own.and_then(|id| snapshots.sound(&id))
            .or_else(|| snapshots.sound(&SnapshotId::of_layer(&layer.diff_id)))
    }

    fn unpack(&self, layer: &ImageLayer, blob: impl Read + Send) -> Result<PathBuf, EngineError> {
        let started = std::time::Instant::now();
        let draft = self.home().snapshots().draft()?;
        let options = self.unpack_options(layer.digest.as_str());
        let diff_id = otoshi_oci::layer::unpack_layer(blob, &draft.tree(), &options)?;
        if diff_id != layer.diff_id {
            return Err(EngineError::invalid(format!(
                "the layer {} holds {}, and its image says {}",
                layer.digest, diff_id.0, layer.diff_id.0
            )));
        }
        tracing::debug!(layer = %layer.digest, took = ?started.elapsed(), "unpacked");
        Ok(draft.commit(&SnapshotId::of_layer(&layer.diff_id))?)
    }
}

/// Keeps the error of what it reads.
struct Watched<R> {
    inner: R,
    failed: Option<std::io::Error>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(out).map_err(|error| {
            let told = std::io::Error::new(error.kind(), error.to_string());
            self.failed = Some(error);
            told
        })
    }
}

/// The error of a layer that a registry does not give; what to try stands behind it.
fn not_arrived(error: &std::io::Error) -> EngineError {
    let text = error.to_string();
    let (message, hint) = match text.split_once("\nhint: ") {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    };
    EngineError::Registry { message, hint }
}
