//! The layers below a step, from the lowest to the topmost.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    io::{ErrorKind, Read},
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use otoshi_explain::HandedOn;
use otoshi_oci::{
    Digest, Fields, Image, ImageLayer,
    layer::{Mtime, UnpackOptions, WriteOptions, copy_tree},
};
use otoshi_store::{Implied, SnapshotId};
use rayon::prelude::*;

use super::{
    EmbeddedEngine,
    accounts::Accounts,
    mount::{MOST_LAYERS, OverlayMount},
    rootfs,
};
use crate::{EngineError, content::hash_items, records::ContentDigest};

/// One layer of a chain.
#[derive(Debug, Clone)]
pub(crate) enum Layer {
    /// A layer of an image: its blob is in the store, its snapshot perhaps not yet.
    Image(ImageLayer),
    /// A layer of an image as its blob has it, whatever the step left that made it here: files have the times that all others see.
    Written(ImageLayer),
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
        Self { layers: Vec::new(), key: Fields::new("scratch 1").digest() }
    }

    /// The file system of an image; equal content has an equal key, however the layers are compressed.
    pub(crate) fn of_image(image: &Image) -> Self {
        let layers: Vec<Layer> = image.layers().iter().cloned().map(Layer::Image).collect();
        let key =
            Fields::new("image 1").list(image.layers().iter().map(|layer| layer.diff_id.0.as_str())).digest();
        Self { layers, key }
    }

    /// The file system of an image as everybody sees it who has nothing but the image.
    fn as_written(image: &Image) -> Self {
        let layers = image.layers().iter().cloned().map(Layer::Written).collect();
        Self { layers, ..Self::of_image(image) }
    }

    /// This file system with what a step left on top.
    pub(crate) fn with(&self, snapshot: SnapshotId) -> Self {
        let key = Fields::new("step 1").text(self.key.as_str()).text(snapshot.as_str()).digest();
        let mut layers = self.layers.clone();
        layers.push(Layer::Step(snapshot));
        Self { layers, key }
    }

    /// The snapshots' directories, the topmost first; unpacks what is not unpacked yet.
    ///
    /// Of two that are the same only the upper one is there: it hides all of the other, and overlayfs takes none twice. Above
    /// them stands an empty one, where the topmost says nothing about the root directory and those below do.
    pub(crate) fn lowers(&self, engine: &EmbeddedEngine) -> Result<Vec<PathBuf>, EngineError> {
        if let Some(source) = engine.source() {
            let missing = self.layers.par_iter().filter_map(|layer| match layer {
                Layer::Image(layer) if engine.unpacked(layer).is_none() => Some(layer),
                Layer::Written(layer) if engine.unpacked_blob(layer).is_none() => Some(layer),
                _ => None,
            });
            source.prepare(&missing.collect::<Vec<_>>());
        }
        let mut trees: Vec<Unpacked> =
            self.layers.par_iter().map(|layer| engine.snapshot_of(layer)).collect::<Result<_, _>>()?;
        for index in 1..trees.len() {
            if let (true, Layer::Image(layer) | Layer::Written(layer)) =
                (trees[index].implies_parents, &self.layers[index])
            {
                let below: Vec<PathBuf> = distinct(trees[..index].iter().rev().map(|tree| &tree.path));
                trees[index].path = engine.unpacked_on(layer, &below)?;
            }
        }
        let mut lowers = distinct(trees.iter().rev().map(|tree| &tree.path));
        let root = trees.iter().rev().find(|tree| !tree.implies_root);
        if let (Some(root), Some(top)) = (root, lowers.first())
            && RootDirectory::of(&root.path)? != RootDirectory::of(top)?
        {
            lowers.insert(0, engine.empty_with(&RootDirectory::of(&root.path)?)?);
        }
        few(engine, lowers)
    }

    /// The accounts of the image.
    pub(crate) fn accounts(&self, engine: &EmbeddedEngine) -> Result<Accounts, EngineError> {
        // Looking at the whole tree takes a mount, and most often two files of single layers say it.
        match Accounts::in_layers(&self.lowers(engine)?) {
            Some(found) => Ok(found),
            None => Ok(Accounts::in_tree(self.mount(engine)?.path())),
        }
    }

    /// A read-only view of the whole file system.
    pub(crate) fn mount(&self, engine: &EmbeddedEngine) -> Result<OverlayMount, EngineError> {
        OverlayMount::new(engine.home(), &self.lowers(engine)?)
    }
}

/// A layer's directory, and what it leaves to those below.
struct Unpacked {
    path: PathBuf,
    implies_root: bool,
    implies_parents: bool,
}

impl Unpacked {
    fn at(path: PathBuf) -> Self {
        let implied = Implied::of(&path);
        Self { path, implies_root: implied.root, implies_parents: implied.parents }
    }
}

/// Mode, owner and group of a root directory.
#[derive(Debug, PartialEq, Eq)]
struct RootDirectory(u32, u32, u32);

impl RootDirectory {
    fn of(tree: &Path) -> Result<Self, EngineError> {
        let meta = fs::symlink_metadata(tree).map_err(EngineError::io("reading", tree))?;
        Ok(Self(meta.mode() & 0o7777, meta.uid(), meta.gid()))
    }
}

/// Each path once, where it comes first.
fn distinct<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    paths.filter(|path| seen.insert(*path)).cloned().collect()
}

impl EmbeddedEngine {
    /// The directory that holds a layer's content, unpacked now if need be.
    fn snapshot_of(&self, layer: &Layer) -> Result<Unpacked, EngineError> {
        match layer {
            Layer::Step(id) => {
                let path = self.home().snapshots().sound(id).ok_or_else(|| EngineError::lost(id))?;
                Ok(Unpacked::at(path))
            }
            Layer::Image(layer) => self.snapshot_or_unpack(layer, self.unpacked(layer)),
            Layer::Written(layer) => self.snapshot_or_unpack(layer, self.unpacked_blob(layer)),
        }
    }

    fn snapshot_or_unpack(
        &self,
        layer: &ImageLayer,
        known: Option<PathBuf>,
    ) -> Result<Unpacked, EngineError> {
        let id = SnapshotId::of_layer(&layer.diff_id);
        known.map_or_else(|| self.unpack_arriving(layer, &id, &[]), Ok).map(Unpacked::at)
    }

    /// A layer that has entries in directories without having these: unpacked on what lies below, which says how they are.
    fn unpacked_on(&self, layer: &ImageLayer, below: &[PathBuf]) -> Result<PathBuf, EngineError> {
        let fields = Fields::new("unpacked on 2").text(layer.diff_id.0.as_str());
        let id = SnapshotId::of_key(&fields.list(names(below)).digest());
        if let Some(path) = self.home().snapshots().sound(&id) {
            return Ok(path);
        }
        let view = OverlayMount::new(self.home(), &few(self, below.to_vec())?)?;
        self.unpack_arriving(layer, &id, &[view.path().to_path_buf()])
    }

    /// An empty directory that says how the root directory is.
    fn empty_with(&self, root: &RootDirectory) -> Result<PathBuf, EngineError> {
        let RootDirectory(mode, uid, gid) = *root;
        let key = Fields::new("root directory 2").number(mode).number(uid).number(gid).digest();
        let id = SnapshotId::of_key(&key);
        if let Some(path) = self.home().snapshots().get(&id) {
            return Ok(path);
        }
        let draft = self.home().snapshots().draft()?;
        let tree = draft.tree();
        lchown(&tree, Some(uid), Some(gid)).map_err(EngineError::io("owning", &tree))?;
        fs::set_permissions(&tree, fs::Permissions::from_mode(mode))
            .map_err(EngineError::io("setting the mode of", &tree))?;
        Ok(draft.commit(&id)?)
    }

    /// Unpacks a layer, while it arrives where it is not here.
    fn unpack_arriving(
        &self,
        image_layer: &ImageLayer,
        id: &SnapshotId,
        lower: &[PathBuf],
    ) -> Result<PathBuf, EngineError> {
        let layout = self.home().layout();
        if let (false, Some(source)) = (layout.holds(&image_layer.descriptor), self.source())
            && let Some(arriving) = source.open(image_layer)?
        {
            let mut watched = Watched { inner: arriving, failed: None };
            match self.unpack_as(image_layer, &mut watched, id, lower) {
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
                return Err(not_arrived(error));
            }
        }
        self.unpack_as(image_layer, layout.open_blob(&image_layer.digest)?, id, lower)
    }

    /// The directory of a layer that is unpacked, or that was made here.
    pub(super) fn unpacked(&self, layer: &ImageLayer) -> Option<PathBuf> {
        let snapshots = self.home().snapshots();
        self.home().snapshots_of_layer(&layer.diff_id).find_map(|id| snapshots.sound(&id))
    }

    /// The directory of a layer that is unpacked.
    fn unpacked_blob(&self, layer: &ImageLayer) -> Option<PathBuf> {
        self.home().snapshots().sound(&SnapshotId::of_layer(&layer.diff_id))
    }

    fn unpack_as(
        &self,
        layer: &ImageLayer,
        blob: impl Read + Send,
        id: &SnapshotId,
        lower: &[PathBuf],
    ) -> Result<PathBuf, EngineError> {
        let started = std::time::Instant::now();
        let draft = self.home().snapshots().draft()?;
        let options = UnpackOptions { lower: lower.to_vec(), ..self.unpack_options(layer.digest.as_str()) };
        let unpacked = otoshi_oci::layer::unpack_layer(blob, &draft.tree(), &options)?;
        if unpacked.diff_id != layer.diff_id {
            return Err(EngineError::invalid(format!(
                "the layer {} has the diff id {}, but its image says {}",
                layer.digest, unpacked.diff_id.0, layer.diff_id.0
            )));
        }
        draft.implies(Implied {
            root: unpacked.implies_root,
            parents: unpacked.implies_parents && lower.is_empty(),
        })?;
        tracing::debug!(layer = %layer.digest, took = ?started.elapsed(), "unpacked");
        Ok(draft.commit(id)?)
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

/// The error of a layer that does not arrive: that of whoever was to give it.
fn not_arrived(error: std::io::Error) -> EngineError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<HandedOn>()) {
        Some(error) => error.clone().into(),
        None => EngineError::io("fetching", "a layer")(error),
    }
}

impl EmbeddedEngine {
    /// Calls with a directory that shows an image's root file system, read-only, for as long as the call lasts.
    ///
    /// Fails where the image is not in the store or cannot be fetched, where its layers cannot be mounted, and where
    /// the call fails.
    pub fn with_root_of<T>(&self, image: &Image, call: impl FnOnce(&Path) -> T) -> Result<T, EngineError> {
        let mount = Chain::of_image(image).mount(self)?;
        Ok(call(mount.path()))
    }

    /// Calls `call` with the root of an image as its layers' blobs have it, with the times that files have in every other store, too.
    ///
    /// Fails as [`Self::with_root_of`] does.
    pub fn with_written_root_of<T>(
        &self,
        image: &Image,
        call: impl FnOnce(&Path) -> T,
    ) -> Result<T, EngineError> {
        let mount = Chain::as_written(image).mount(self)?;
        Ok(call(mount.path()))
    }

    /// The digest of a path in a chain, remembered per content of the chain.
    pub(crate) fn content_of(&self, chain: &Chain, path: &str) -> Result<Option<Digest>, EngineError> {
        let key = content_key(chain, path);
        if let Some(fact) = self.fact::<ContentDigest>(&key) {
            return Ok(fact.value.0);
        }
        let mount = chain.mount(self)?;
        let found = mount.path().join(rootfs::resolve(mount.path(), Path::new(path))?);
        let digest = if std::fs::symlink_metadata(&found).is_ok() {
            Some(hash_items(&crate::content::walk(&found)?)?)
        } else {
            None
        };
        self.home().records().remember(key.hex(), &ContentDigest(digest.clone()))?;
        Ok(digest)
    }
}

/// What stands for trees in a key: snapshots are named by what is in them.
fn names(trees: &[PathBuf]) -> impl Iterator<Item = &[u8]> {
    trees.iter().filter_map(|tree| tree.parent()?.file_name()).map(OsStr::as_encoded_bytes)
}

/// No more trees than Linux merges: of more, the lowest are one that was merged and kept.
fn few(engine: &EmbeddedEngine, mut trees: Vec<PathBuf>) -> Result<Vec<PathBuf>, EngineError> {
    while trees.len() > MOST_LAYERS {
        let lowest = trees.split_off(trees.len() - MOST_LAYERS);
        trees.push(merged(engine, &lowest)?);
    }
    Ok(trees)
}

/// One tree with what several have, the topmost first.
fn merged(engine: &EmbeddedEngine, trees: &[PathBuf]) -> Result<PathBuf, EngineError> {
    let id = SnapshotId::of_key(&Fields::new("merged 1").list(names(trees)).digest());
    if let Some(path) = engine.home().snapshots().sound(&id) {
        return Ok(path);
    }
    let view = OverlayMount::new(engine.home(), trees)?;
    let draft = engine.home().snapshots().draft()?;
    let write = WriteOptions { mtime: Mtime::Keep, ..WriteOptions::default() };
    let unpack = UnpackOptions { whiteouts: false, ..engine.unpack_options("the merged layers") };
    copy_tree(view.path(), &draft.tree(), &write, &unpack)?;
    Ok(draft.commit(&id)?)
}

/// The key of what a path of a chain holds.
pub(super) fn content_key(chain: &Chain, path: &str) -> Digest {
    Fields::new("content 2").text(chain.key.as_str()).text(path).digest()
}
