//! The engine of our own: overlayfs snapshots, a step cache, and a sandbox for commands.

mod accounts;
mod archive;
mod build;
pub(crate) mod chain;
mod chmod;
mod copied;
mod copy;
mod copy_step;
mod export;
pub(crate) mod mount;
mod outside;
mod proxy;
mod relay;
mod remote;
mod rootfs;
mod run_mount;
mod run_step;
mod session;
mod source;
mod ssh;
mod stage;
mod startable;
mod times;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
};

use otoshi_oci::{
    Descriptor, DiffId, Digest, Fields, Image, ImageError, LayoutError, Platform, Reference,
    layer::{OverlayXattrs, PrefixDir, UnpackOptions, unpack_layer},
};
use otoshi_sandbox::Privilege;
use otoshi_store::{Home, Record, SnapshotId};

use self::{chain::Chain, export::Placement, stage::Stage};
use crate::{
    AppLayer, AssembleRequest, BuildRequest, BuiltImage, CopiedLayer, Engine, EngineError, Event, Events,
    ImageChanges, ImageSource, Output, RunOutcome, RunRequest, Silent,
    content::{digest_of_fields, hash_items},
    records::{Blob, ContentDigest},
};

pub use self::outside::names_context;

/// How many damaged snapshots one build makes again.
const MAX_LOST: usize = 16;

/// Whether this process lives in a user namespace of its own, where overlayfs keeps its marks in `user.*` attributes.
pub(crate) fn in_user_namespace() -> bool {
    matches!(otoshi_sandbox::privilege(), Privilege::UserNamespace { .. })
}

/// The engine of our own, on one store.
pub struct EmbeddedEngine {
    home: Arc<Home>,
    /// Where images and layers come from that the store does not hold.
    source: Option<Arc<dyn ImageSource>>,
    /// The executable that starts sandboxes; this process's own when `None`.
    init: Option<PathBuf>,
    /// Process ids of the sandboxes that run now, to end them when a build is stopped.
    running: Mutex<BTreeMap<u32, usize>>,
    /// The repository whose records are believed.
    believed: Mutex<Option<String>>,
}

impl EmbeddedEngine {
    /// Makes an engine; the executable of this process must call [`otoshi_sandbox::init_if_requested`] first thing.
    pub fn new(home: Arc<Home>) -> Self {
        Self {
            home,
            source: None,
            init: None,
            running: Mutex::new(BTreeMap::new()),
            believed: Mutex::default(),
        }
    }

    /// Makes an engine whose sandboxes are started by another executable.
    pub fn with_init(home: Arc<Home>, init: PathBuf) -> Self {
        Self { init: Some(init), ..Self::new(home) }
    }

    /// Fetches images and layers that the store does not hold from somewhere else.
    #[must_use]
    pub fn with_source(mut self, source: Arc<dyn ImageSource>) -> Self {
        self.source = Some(source);
        self
    }

    pub(crate) fn source(&self) -> Option<&dyn ImageSource> {
        self.source.as_deref()
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn init(&self) -> Option<PathBuf> {
        self.init.clone()
    }

    pub(crate) fn xattr_namespace(&self) -> OverlayXattrs {
        if in_user_namespace() { OverlayXattrs::User } else { OverlayXattrs::Trusted }
    }

    pub(crate) fn unpack_options(&self, layer_name: &str) -> UnpackOptions {
        UnpackOptions {
            xattr_namespace: self.xattr_namespace(),
            layer_name: layer_name.to_owned(),
            in_userns: in_user_namespace(),
            ..UnpackOptions::default()
        }
    }

    /// Notes a sandbox of the build with this number as running.
    pub(crate) fn started(&self, pid: u32, build: usize) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, build);
    }

    /// Notes a sandbox as ended.
    pub(crate) fn ended(&self, pid: u32) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }

    /// Ends every sandbox of a build.
    pub(crate) fn stop(&self, build: usize) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in running.iter().filter(|(_, of)| **of == build).map(|(pid, _)| *pid) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Loads an image by the digest of its manifest or index.
    pub(crate) fn image(&self, digest: &Digest, platform: &Platform) -> Result<Image, EngineError> {
        Ok(Image::load(self.home.layout(), digest, platform)?)
    }

    /// Calls with a directory that shows an image's root file system, read-only, for as long as the call lasts.
    pub fn with_root_of<T>(&self, image: &Image, call: impl FnOnce(&Path) -> T) -> Result<T, EngineError> {
        let mount = Chain::of_image(image).mount(self)?;
        Ok(call(mount.path()))
    }

    /// Finds an image of a Dockerfile: among those of the request, else by its tag or digest in the store.
    pub(crate) fn find_image(
        &self,
        request: &BuildRequest,
        text: &str,
        platform: &Platform,
    ) -> Result<Image, EngineError> {
        if let Some(digest) = request.images.get(text) {
            let image = self.image(digest, platform)?;
            let own = image.config.platform();
            if *platform != request.platform && !platform.matches(&own) {
                return Err(EngineError::Invalid {
                    message: format!("{text} is known for {own} here, and this stage wants {platform}"),
                    hint: Some("a project has one platform".into()),
                });
            }
            return Ok(image);
        }
        let reference = Reference::parse(text).map_err(|error| EngineError::invalid(error.to_string()))?;
        let find = |source: &dyn ImageSource| {
            let found = source.find(&reference, platform)?;
            self.image(&found.ok_or_else(|| EngineError::NoImage { reference: text.to_owned() })?, platform)
        };
        match (self.home.layout().resolve(&reference)?, self.source()) {
            (Some(here), source) => {
                let digest = Digest::of(&here).map_err(|error| EngineError::invalid(error.to_string()))?;
                match (self.image(&digest, platform), source) {
                    // Another platform's image may have come before.
                    (
                        Err(EngineError::Image(ImageError::Layout(LayoutError::Missing { .. }))),
                        Some(source),
                    ) => find(source),
                    (outcome, _) => outcome,
                }
            }
            (None, Some(source)) => find(source),
            (None, None) => Err(EngineError::NoImage { reference: text.to_owned() }),
        }
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
        self.home.records().put(key.hex(), &ContentDigest(digest.clone()))?;
        Ok(digest)
    }
}

/// Something that is known under a key.
pub(crate) struct Fact<T> {
    pub(crate) value: T,
    /// Whether a repository said so, and nobody looked here.
    pub(crate) is_told: bool,
}

impl EmbeddedEngine {
    /// What was found out here under a key, or else told by the repository that is believed.
    pub(crate) fn fact<T: Record>(&self, key: &Digest) -> Option<Fact<T>> {
        let records = self.home.records();
        if let Some(value) = records.get(key.hex()) {
            return Some(Fact { value, is_told: false });
        }
        let told = self.told(key)?;
        Some(Fact { value: records.get(told.hex())?, is_told: true })
    }

    /// Takes note of what the repository that is believed says of a key: for whoever believes it, too, and nobody else.
    pub(crate) fn learn<T: Record>(&self, key: &Digest, value: &T) -> Result<(), EngineError> {
        let Some(told) = self.told(key) else { return Ok(()) };
        Ok(self.home.records().put(told.hex(), value)?)
    }

    fn told(&self, key: &Digest) -> Option<Digest> {
        let believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        believed.as_deref().map(|repository| told_by(repository, key))
    }
}

/// The key of what a repository's records say of a key.
///
/// Whoever can write to one project's repository has no say in what another project finds in the same store.
pub fn told_by(repository: &str, key: &Digest) -> Digest {
    Fields::new("told 1").text(repository).text(key.as_str()).digest()
}

impl Engine for EmbeddedEngine {
    fn build(&self, request: &BuildRequest, events: &dyn Events) -> Result<BuiltImage, EngineError> {
        // What was damaged is gone once somebody looked, and its step runs again.
        let mut attempts = 0;
        loop {
            match build::build(self, request, events) {
                Err(EngineError::Lost { snapshot }) if attempts < MAX_LOST => {
                    attempts += 1;
                    events.event(Event::Warning(format!(
                        "the snapshot {snapshot} was damaged: its step runs again"
                    )));
                }
                outcome => return outcome,
            }
        }
    }

    fn assemble(&self, request: &AssembleRequest, events: &dyn Events) -> Result<BuiltImage, EngineError> {
        let image = self.image(&request.base, &request.platform)?;
        let base = Chain::of_image(&image);
        let written = AtomicUsize::new(0);
        let mut config = image.config.clone();
        let mut layers: Vec<_> = image.layers().iter().map(|layer| layer.descriptor.clone()).collect();
        // The trees that are put beneath one directory, the topmost first.
        let mut trees: Vec<SnapshotId> = Vec::new();
        for layer in &request.layers {
            let (blob, what) = match layer {
                AppLayer::CopyFrom { image, path } => {
                    let from = Chain::of_image(&self.image(image, &request.platform)?);
                    let place = digest_of_fields(["time of a dependency", &request.versions_of, path]);
                    let to = copied::Place { path, output: request.output, place };
                    let layer = copied::copied_layer(self, &from, &base, &to, &written, events)?;
                    let CopiedLayer { descriptor, diff_id, empty, .. } = layer;
                    (
                        Blob { descriptor, diff_id, empty, below: None },
                        format!("COPY --from=builder {path} {path}"),
                    )
                }
                AppLayer::Tree { snapshot, at, owner, is_made } => {
                    let kind = if *is_made { "made" } else { "source" };
                    let content = digest_of_fields([snapshot.as_str()]);
                    let after = trees.first().and_then(|below| self.time_of(below));
                    self.give_time(
                        snapshot,
                        &times::Origin {
                            place: digest_of_fields(["time of a tree", &request.versions_of, kind, at]),
                            content: &content,
                            checkout: request
                                .checkout
                                .as_deref()
                                .map(|root| (root, &[][..]))
                                .filter(|_| !is_made),
                            is_made: *is_made,
                            after: after.unwrap_or(Output::DEFAULT_EPOCH),
                        },
                    )?;
                    let placement = Placement { prefix: prefix_of(at, *owner), owner: *owner };
                    let blob =
                        self.blob_of(snapshot, &trees, &placement, request.output, &written, events)?;
                    trees.insert(0, snapshot.clone());
                    (blob, format!("COPY . {at}"))
                }
            };
            if blob.empty {
                continue;
            }
            config.rootfs.diff_ids.push(blob.diff_id);
            config.history.push(otoshi_oci::config::History {
                created: Some(stage::timestamp(request.output.epoch)),
                created_by: Some(what),
                comment: Some("otoshi".into()),
                ..Default::default()
            });
            layers.push(blob.descriptor);
        }
        config.created = Some(stage::timestamp(request.output.epoch));
        change(&mut config, &request.changes);
        self.write(&config, &layers, &request.annotations, written.into_inner())
    }

    fn run(&self, request: &RunRequest, events: &dyn Events) -> Result<RunOutcome, EngineError> {
        session::run(self, request, events)
    }

    fn why_it_cannot_start(&self, image: &Digest, platform: &Platform) -> Result<Vec<String>, EngineError> {
        Self::why_it_cannot_start(self, image, platform)
    }

    fn remote(&self, source: &str, checksum: Option<&str>) -> Result<Option<String>, EngineError> {
        let wanted = remote::Wanted { checksum, ..remote::Wanted::default() };
        let remote = remote::Remote::parse(source, wanted)?;
        remote.map(|remote| remote.state(self)).transpose()
    }

    fn content(&self, image: &Digest, path: &str) -> Result<Option<Digest>, EngineError> {
        let image = self.image(image, &Platform::host())?;
        self.content_of(&Chain::of_image(&image), path)
    }

    fn believe(&self, repository: &str) {
        *self.believed.lock().unwrap_or_else(PoisonError::into_inner) = Some(repository.to_owned());
    }

    fn learn_content(&self, image: &Digest, path: &str, content: Option<&Digest>) -> Result<(), EngineError> {
        let image = self.image(image, &Platform::host())?;
        let key = content_key(&Chain::of_image(&image), path);
        self.learn(&key, &ContentDigest(content.cloned()))
    }

    fn copied_layer(
        &self,
        base: &Digest,
        image: &Digest,
        path: &str,
        output: Output,
    ) -> Result<Option<CopiedLayer>, EngineError> {
        let chain =
            |digest: &Digest| Ok::<_, EngineError>(Chain::of_image(&self.image(digest, &Platform::host())?));
        copied::known_layer(self, &chain(image)?, &chain(base)?, path, output)
    }

    fn learn_copied(&self, layer: &CopiedLayer) -> Result<(), EngineError> {
        layer.keys.iter().try_for_each(|key| self.learn(key, layer))
    }

    fn pack(
        &self,
        snapshot: &SnapshotId,
        owner: Option<(u32, u32)>,
        output: Output,
    ) -> Result<(Descriptor, DiffId), EngineError> {
        let placement = Placement { prefix: Vec::new(), owner };
        let blob = self.blob_of(snapshot, &[], &placement, output, &AtomicUsize::new(0), &Silent)?;
        Ok((blob.descriptor, blob.diff_id))
    }

    fn unpack(&self, layer: &Digest, snapshot: &SnapshotId) -> Result<(), EngineError> {
        let draft = self.home.snapshots().draft()?;
        let blob = self.home.layout().open_blob(layer)?;
        unpack_layer(blob, &draft.tree(), &self.unpack_options(layer.as_str()))?;
        draft.commit(snapshot)?;
        Ok(())
    }
}

/// The key of what a path of a chain holds.
fn content_key(chain: &Chain, path: &str) -> Digest {
    digest_of_fields(["content", chain.key.as_str(), path])
}

/// The directories that lead to `at`, each owned as what is put there.
fn prefix_of(at: &str, owner: Option<(u32, u32)>) -> Vec<PrefixDir> {
    let clean = rootfs::absolute("/", at);
    let mut path = PathBuf::new();
    let mut found = Vec::new();
    let parts: Vec<&str> = clean.split('/').filter(|part| !part.is_empty()).collect();
    for (index, part) in parts.iter().enumerate() {
        path.push(part);
        let last = index + 1 == parts.len();
        let (uid, gid) = owner.filter(|_| last).unwrap_or((0, 0));
        found.push(PrefixDir { path: path.clone(), mode: 0o755, uid, gid });
    }
    found
}

/// Applies settings to a config.
fn change(config: &mut otoshi_oci::ImageConfig, changes: &ImageChanges) {
    let run = &mut config.config;
    for (name, value) in &changes.env {
        run.set_env(name, value);
    }
    run.labels.extend(changes.labels.clone());
    run.exposed_ports.extend(changes.exposed_ports.iter().cloned());
    if let Some(directory) = &changes.working_dir {
        run.working_dir.clone_from(directory);
    }
    if let Some(user) = &changes.user {
        run.user.clone_from(user);
    }
    if let Some(entrypoint) = &changes.entrypoint {
        run.entrypoint = Some(entrypoint.clone()).filter(|entrypoint| !entrypoint.is_empty());
    }
    if let Some(cmd) = &changes.cmd {
        run.cmd = Some(cmd.clone());
    }
    if let Some(signal) = &changes.stop_signal {
        run.stop_signal = Some(signal.clone());
    }
    if let Some(healthcheck) = &changes.healthcheck {
        run.healthcheck = Some(healthcheck.clone());
    }
    config.history.push(otoshi_oci::config::History {
        created: config.created.clone(),
        created_by: Some("otoshi: process settings".into()),
        empty_layer: true,
        ..Default::default()
    });
}

impl std::fmt::Debug for EmbeddedEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedEngine").field("home", &self.home).finish_non_exhaustive()
    }
}

/// A stage's base for a build, made from an image.
pub(crate) fn stage_on(
    image: &Image,
    scope: impl FnOnce(Vec<(String, String)>) -> otoshi_dockerfile::Scope,
    epoch: i64,
) -> Stage {
    Stage::on_image(image.config.clone(), Chain::of_image(image), scope, epoch)
}
