//! The engine of our own: overlayfs snapshots, a step cache, and a sandbox for commands.

mod accounts;
mod archive;
mod build;
pub(crate) mod chain;
mod chmod;
mod copied;
mod copy;
mod copy_step;
mod engine;
mod export;
pub(crate) mod mount;
mod outside;
mod place;
mod proxy;
mod relay;
mod remote;
mod rootfs;
mod run_mount;
mod run_step;
mod secret;
mod session;
mod setting;
mod source;
mod ssh;
mod stage;
mod stages;
mod startable;
mod times;

use std::{
    path::PathBuf,
    sync::{PoisonError, atomic::AtomicUsize},
};

use otoshi_oci::{
    Descriptor, DiffId, Digest, Fields, Platform,
    layer::{PrefixDir, unpack_layer},
};
use otoshi_store::SnapshotId;

pub use self::engine::{EmbeddedEngine, told_by};
use self::{
    chain::{Chain, content_key},
    export::{Placement, Writing},
};
use crate::{
    AppLayer, AssembleRequest, BuildRequest, BuiltImage, CopiedLayer, Engine, EngineError, Event, Events,
    ImageChanges, Output, RunOutcome, RunRequest, Silent,
    records::{Blob, ContentDigest},
};

pub use self::outside::names_context;

/// How many damaged snapshots one build makes again.
const MAX_LOST: usize = 16;

impl Engine for EmbeddedEngine {
    fn build(&self, request: &BuildRequest, events: &dyn Events) -> Result<BuiltImage, EngineError> {
        // What was damaged is gone once somebody looked, and its step runs again.
        let mut attempts = 0;
        loop {
            match stages::build(self, request, events) {
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
        let writing = Writing { output: request.output, written: &written, events };
        let mut config = image.config.clone();
        let mut layers: Vec<_> = image.layers().iter().map(|layer| layer.descriptor.clone()).collect();
        // The trees that are put beneath one directory, the topmost first.
        let mut trees: Vec<SnapshotId> = Vec::new();
        for layer in &request.layers {
            let (blob, what) = match layer {
                AppLayer::CopyFrom { image, path } => {
                    let from = Chain::of_image(&self.image(image, &request.platform)?);
                    let place =
                        Fields::new("time of a dependency 1").text(&request.versions_of).text(path).digest();
                    let to = copied::Place { path, place };
                    let layer = copied::copied_layer(self, &from, &base, &to, writing)?;
                    let CopiedLayer { descriptor, diff_id, empty, .. } = layer;
                    (
                        Blob { descriptor, diff_id, empty, below: None },
                        format!("COPY --from=builder {path} {path}"),
                    )
                }
                AppLayer::Tree { snapshot, at, owner, is_made } => {
                    let content = Fields::new("tree 1").text(snapshot.as_str()).digest();
                    let after = trees.first().and_then(|below| self.time_of(below));
                    self.give_time(
                        snapshot,
                        &times::Origin {
                            place: Fields::new("time of a tree 2")
                                .text(&request.versions_of)
                                .flag(*is_made)
                                .text(at)
                                .digest(),
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
                    let blob = self.blob_of(snapshot, &trees, &placement, writing)?;
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
        let writing = Writing { output, written: &AtomicUsize::new(0), events: &Silent };
        let blob = self.blob_of(snapshot, &[], &placement, writing)?;
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
