//! What an engine is asked, whichever engine it is.

use std::{collections::BTreeMap, fmt, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use otoshi_dockerfile::Dockerfile;
use otoshi_oci::{
    Descriptor, DiffId, Digest, ImageLayer, Platform, Reference, config::Healthcheck, layer::Mtime,
};
use otoshi_sandbox::{Handle, Network};
use otoshi_store::{Kind, Record, Root, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::{AllowedDevices, Context, DEVICE_DIRECTORIES, EngineError, Events};

/// Builds Dockerfiles and runs commands in images.
///
/// Images are named by the digest of their manifest, in the store that the engine was made with.
pub trait Engine: Sync {
    /// Builds one target of a Dockerfile and writes its image to the store.
    ///
    /// Fails where the Dockerfile is wrong, where an image or a source cannot be had, and where a step fails.
    fn build(&self, request: &BuildRequest, events: &dyn Events) -> Result<BuiltImage, EngineError>;

    /// Puts layers and settings on top of an image, with no command run; the same request gives the same image.
    ///
    /// Fails where an image or a tree is not in the store, and where a layer cannot be written.
    fn assemble(&self, request: &AssembleRequest, events: &dyn Events) -> Result<BuiltImage, EngineError>;

    /// Runs one command in an image and waits for it.
    ///
    /// Fails where the image is not in the store or has no command, where a layer cannot be had, and where the sandbox cannot be
    /// set up; how the command ends is no failure.
    fn run(&self, request: &RunRequest, events: &dyn Events) -> Result<RunOutcome, EngineError>;

    /// Computes the digest of what an image holds at `path`: names, types, modes, owners and content, not times.
    ///
    /// `None` when there is nothing at the path. Remembered per image content.
    ///
    /// Fails where the image is not in the store, and where a layer cannot be had or read.
    fn content(&self, image: &Digest, path: &str) -> Result<Option<Digest>, EngineError>;

    /// Believes from now on what the records of this repository say, and of no other: [`Engine::learn_content`] and
    /// [`Engine::learn_copied`] are told by it.
    fn believe(&self, _repository: &str) {}

    /// Takes note of what [`Engine::content`] gave on another machine, so that it need not look.
    ///
    /// Fails where the image is not in the store, and where that cannot be noted.
    fn learn_content(
        &self,
        _image: &Digest,
        _path: &str,
        _content: Option<&Digest>,
    ) -> Result<(), EngineError> {
        Ok(())
    }

    /// The layer that [`AppLayer::CopyFrom`] made of a path of `image` on `base`, where it was made or learned.
    ///
    /// Fails where one of the images is not in the store.
    fn copied_layer(
        &self,
        _base: &Digest,
        _image: &Digest,
        _path: &str,
        _output: Output,
    ) -> Result<Option<CopiedLayer>, EngineError> {
        Ok(None)
    }

    /// Takes note of a layer that another machine made, so that it is not made again.
    ///
    /// Fails where that cannot be noted.
    fn learn_copied(&self, _layer: &CopiedLayer) -> Result<(), EngineError> {
        Ok(())
    }

    /// Writes a snapshot as a layer of the store, its entries owned by `owner` where it is given; written once.
    ///
    /// Fails where the snapshot is not in the store, and where the layer cannot be written.
    fn pack(
        &self,
        snapshot: &SnapshotId,
        owner: Option<(u32, u32)>,
        output: Output,
    ) -> Result<(Descriptor, DiffId), EngineError>;

    /// Unpacks a layer of the store as a snapshot.
    ///
    /// Fails where the layer is not in the store or is damaged, and where it cannot be unpacked.
    fn unpack(&self, layer: &Digest, snapshot: &SnapshotId) -> Result<(), EngineError>;

    /// Says why an image's command cannot start, as far as its files tell; an engine that cannot look says nothing.
    ///
    /// Fails where the image is not in the store, and where its files cannot be read.
    fn why_it_cannot_start(&self, _image: &Digest, _platform: &Platform) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }

    /// Finds out what a source of ADD that lies elsewhere holds now, as a text; `None` for a path.
    ///
    /// Asks the network, unless a checksum or the source itself says it.
    ///
    /// Fails where the source or checksum is malformed, and where the source cannot be reached.
    fn remote(&self, source: &str, checksum: Option<&str>) -> Result<Option<String>, EngineError>;
}

/// Images and layers that the store does not hold, and where they can be had.
pub trait ImageSource: Send + Sync {
    /// Brings what is known about an image into the store, all but its layers; `None` where there is no such image.
    ///
    /// Fails where whoever is asked does not answer, refuses, or sends what does not have its digest.
    fn find(&self, reference: &Reference, platform: &Platform) -> Result<Option<Digest>, EngineError>;

    /// Whether somebody is known to have a layer's blob.
    fn knows(&self, blob: &Digest) -> bool;

    /// Begins to fetch layers that are not in the store, and does not wait for them.
    fn prepare(&self, layers: &[&ImageLayer]);

    /// Reads a layer's blob while it arrives; `None` where nobody has it. At the end it is verified, and in the store.
    ///
    /// A reader that ends with `ConnectionReset` read what was wrong; another one reads it anew.
    ///
    /// Fails where nobody can be asked at all; what goes wrong later, reading tells.
    fn open(&self, layer: &ImageLayer) -> Result<Option<Box<dyn std::io::Read + Send>>, EngineError>;
}

/// A secret that a step may read while it runs.
#[derive(Debug, Clone)]
pub enum Secret {
    /// The content of a file.
    File(PathBuf),
    /// The value of an environment variable of this process.
    Env(String),
}

/// Where a step's requests to an SSH agent go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ssh {
    /// The socket of an agent that runs.
    Agent(PathBuf),
    /// An agent that is started for the step and holds these private keys.
    Keys(Vec<PathBuf>),
}

/// What a named context is.
#[derive(Debug, Clone)]
pub enum NamedContext {
    /// A directory.
    Directory(Arc<Context>),
    /// An image in the store, by the digest of its manifest or index.
    Image(Digest),
    /// Nothing, as `scratch` is.
    Scratch,
}

/// One target of a Dockerfile to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The Dockerfile.
    pub dockerfile: Arc<Dockerfile>,
    /// What COPY and ADD read.
    pub context: Arc<Context>,
    /// The stage to build; the last one when `None`.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Images by the text that FROM or `--from` has after expansion → manifest digest. Others are looked up by tag in the store.
    pub images: BTreeMap<String, Digest>,
    /// The platform built for.
    pub platform: Platform,
    /// Labels added to the image.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// Secrets by id.
    pub secrets: BTreeMap<String, Secret>,
    /// SSH agents by id.
    pub ssh: BTreeMap<String, Ssh>,
    /// Named contexts, which take the place of images and stages of that name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The network of RUN steps that say none themselves.
    pub network: Network,
    /// What RUN steps ask for by HTTP may be answered with what was fetched before.
    pub network_cache: NetworkCache,
    /// Whether `RUN --security=insecure` is carried out.
    pub allow_insecure: bool,
    /// Whether `RUN --network=host` is carried out.
    pub allow_host_network: bool,
    /// Which devices `RUN --device` gives to steps.
    pub allow_devices: AllowedDevices,
    /// Where this machine's devices are described; what a later directory says of a device counts.
    pub device_directories: Vec<PathBuf>,
    /// A bundle of certificate authorities that RUN steps trust; it ends up in no layer.
    pub ca_certificates: Option<PathBuf>,
    /// Whether to run every step again.
    pub no_cache: bool,
    /// How layers and timestamps are written; the build argument `SOURCE_DATE_EPOCH` says another time.
    pub output: Output,
    /// What the image is a version of, such as a project and a role: what is copied into a later version has a later time.
    pub versions_of: String,
}

impl BuildRequest {
    /// A build of the last stage for this machine's platform, with nothing else asked for.
    pub fn new(dockerfile: Arc<Dockerfile>, context: Arc<Context>) -> Self {
        Self {
            dockerfile,
            context,
            target: None,
            args: BTreeMap::new(),
            images: BTreeMap::new(),
            platform: Platform::host(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            contexts: BTreeMap::new(),
            network: Network::Own,
            network_cache: NetworkCache::Http,
            allow_insecure: false,
            allow_host_network: false,
            allow_devices: AllowedDevices::default(),
            device_directories: DEVICE_DIRECTORIES.iter().map(PathBuf::from).collect(),
            ca_certificates: None,
            no_cache: false,
            output: Output::default(),
            versions_of: String::new(),
        }
    }
}

/// How images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// The compression of the layers.
    pub compression: otoshi_oci::layer::Compression,
    /// The time given to everything written, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub epoch: i64,
    /// Whether files in layers keep times that are earlier than that.
    pub clamp: bool,
}

impl Output {
    /// 1980-01-01T00:00:01Z, the earliest time that a zip file can hold, and a second.
    pub(crate) const DEFAULT_EPOCH: i64 = 315_532_801;

    /// Whether nobody asked for a time: each layer has its own then.
    pub(crate) fn has_own_times(self) -> bool {
        !self.clamp && self.epoch == Self::DEFAULT_EPOCH
    }

    /// The times of files in layers.
    pub(crate) fn mtime(self) -> Mtime {
        if self.clamp { Mtime::Clamp(self.epoch) } else { Mtime::Set(self.epoch) }
    }

    /// Everything that decides about a layer's bytes, as one text.
    pub(crate) fn form(self) -> String {
        let clamp = if self.clamp { " clamp" } else { "" };
        format!("{} {}{clamp}", self.compression.as_str(), self.epoch)
    }
}

impl Default for Output {
    fn default() -> Self {
        Self { compression: otoshi_oci::layer::Compression::Gzip, epoch: Self::DEFAULT_EPOCH, clamp: false }
    }
}

/// An image that was built.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The digest of the manifest.
    pub digest: Digest,
    /// Describes the manifest.
    pub descriptor: Descriptor,
    /// How many steps ran, as opposed to being found in the cache.
    pub steps_run: usize,
    /// How many layers were written by this call, as opposed to being there already.
    pub layers_written: usize,
}

/// One layer to put on an image.
#[derive(Debug, Clone)]
pub enum AppLayer {
    /// A path copied from another image, with its owners and modes, to the same path.
    CopyFrom {
        /// The image's manifest.
        image: Digest,
        /// The absolute path.
        path: String,
    },
    /// A snapshot placed beneath a directory.
    Tree {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The absolute path of the directory.
        at: String,
        /// The owner of every entry; the snapshot's own when `None`.
        owner: Option<(u32, u32)>,
        /// Whether it was made of the source, which is the tree before it.
        is_made: bool,
    },
}

/// A layer made by copying a path from one image to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedLayer {
    /// What it came from, exactly, and by the facts that it depends on.
    pub keys: Vec<Digest>,
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Whether the layer changes nothing.
    pub empty: bool,
}

impl Record for CopiedLayer {
    const KIND: Kind = Kind::Copied;

    fn roots(&self) -> Vec<Root> {
        Digest::of(&self.descriptor).iter().map(Root::from).collect()
    }
}

/// What to change in an image's config; `None` and empty leave what is there.
#[derive(Debug, Clone, Default)]
pub struct ImageChanges {
    /// ENV, added or replaced.
    pub env: BTreeMap<String, String>,
    /// LABEL, added or replaced.
    pub labels: BTreeMap<String, String>,
    /// EXPOSE, as in `8080/tcp`, added.
    pub exposed_ports: Vec<String>,
    /// WORKDIR.
    pub working_dir: Option<String>,
    /// USER.
    pub user: Option<String>,
    /// ENTRYPOINT; an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// CMD.
    pub cmd: Option<Vec<String>>,
    /// STOPSIGNAL.
    pub stop_signal: Option<String>,
    /// HEALTHCHECK.
    pub healthcheck: Option<Healthcheck>,
}

/// Layers and settings to put on an image.
#[derive(Debug, Clone)]
pub struct AssembleRequest {
    /// The manifest of the image below.
    pub base: Digest,
    /// The layers, the lowest first.
    pub layers: Vec<AppLayer>,
    /// The settings.
    pub changes: ImageChanges,
    /// Annotations of the new manifest.
    pub annotations: BTreeMap<String, String>,
    /// The platform.
    pub platform: Platform,
    /// How layers and timestamps are written.
    pub output: Output,
    /// What the image is a version of: what is put on a later version has a later time.
    pub versions_of: String,
    /// The directory that the source was read in, and that may be a git checkout.
    pub checkout: Option<PathBuf>,
}

/// A copy-on-write view of a directory.
#[derive(Debug, Clone)]
pub struct View {
    /// The directory seen; never written.
    pub tree: PathBuf,
    /// Where the command sees it.
    pub at: String,
}

/// What of a command's requests may be answered with what any command fetched before, as far as servers allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkCache {
    /// Nothing.
    #[default]
    Off,
    /// Plain HTTP.
    Http,
    /// HTTPS as well, where the bundle of certificate authorities that the command is offered vouches for the server, and nothing says
    /// that the command has authorities of its own.
    Https,
}

/// A directory kept between runs.
#[derive(Debug, Clone)]
pub struct CacheMount {
    /// Names the directory; runs with the same id share it.
    pub id: String,
    /// Where the command sees it.
    pub target: String,
    /// Whether other runs wait until this one is done.
    pub locked: bool,
}

/// Where a command's input and output go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// Output becomes events; input is empty.
    Events,
    /// Standard output is returned, standard error becomes events; input is empty.
    Capture,
    /// This process's own, but for terminals: a command is handed none, and sees a pipe in its place.
    Inherit,
    /// A terminal of the command's own, whose other end is [`Started::terminal`].
    Terminal,
}

/// Something of the host that a command sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The host's file or directory.
    pub source: PathBuf,
    /// Where the command sees it.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// A command that has just started.
#[derive(Debug)]
pub struct Started {
    /// The way to signal it, and to connect to it.
    pub handle: Handle,
    /// The other end of its terminal, where it has one of its own.
    pub terminal: Option<OwnedFd>,
}

/// What is to be done once a command has started.
#[derive(Clone)]
pub struct OnStart(Arc<dyn Fn(Started) + Send + Sync>);

impl OnStart {
    /// Calls this, on the thread that waits for the command afterwards.
    pub fn new(call: impl Fn(Started) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    pub(crate) fn call(&self, started: Started) {
        (self.0)(started);
    }
}

impl fmt::Debug for OnStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnStart")
    }
}

/// One command to run in an image.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The image's manifest.
    pub image: Digest,
    /// The platform.
    pub platform: Platform,
    /// What to call it in events.
    pub name: String,
    /// The command; the image's CMD when `None`.
    pub command: Option<otoshi_dockerfile::CommandForm>,
    /// Whether the image's ENTRYPOINT comes before the command.
    pub entrypoint: bool,
    /// Environment on top of the image's.
    pub env: Vec<(String, String)>,
    /// The working directory; the image's when `None`.
    pub cwd: Option<String>,
    /// The user, as in USER; the image's when `None`.
    pub user: Option<String>,
    /// A copy-on-write view; what the command writes there is kept when `keep` is set.
    pub view: Option<View>,
    /// Whether to keep what was written to the view, as a snapshot named by its content.
    pub keep: bool,
    /// Kept paths relative to the view, files or directories; everything when empty.
    pub outputs: Vec<String>,
    /// Patterns, as in `.dockerignore`, of what is not kept.
    pub exclude: Vec<String>,
    /// Cache mounts.
    pub caches: Vec<CacheMount>,
    /// Secrets by id, seen at `/run/secrets/ID`.
    pub secrets: BTreeMap<String, Secret>,
    /// A bundle of certificate authorities that the command trusts.
    pub ca_certificates: Option<PathBuf>,
    /// The network that the command sees.
    pub network: Network,
    /// What it asks for by HTTP may be answered with what was fetched before.
    pub network_cache: NetworkCache,
    /// Input and output.
    pub stdio: Stdio,
    /// Called once a command runs whose output is no event.
    pub started: Option<OnStart>,
    /// What it sees of the host.
    pub volumes: Vec<Volume>,
}

impl RunRequest {
    /// A command in an image for this machine's platform, with the network, no input and captured output; nothing is kept.
    pub fn new(
        image: Digest,
        name: impl Into<String>,
        command: Option<otoshi_dockerfile::CommandForm>,
    ) -> Self {
        Self {
            image,
            platform: Platform::host(),
            name: name.into(),
            command,
            entrypoint: false,
            env: Vec::new(),
            cwd: None,
            user: None,
            view: None,
            keep: false,
            outputs: Vec::new(),
            exclude: Vec::new(),
            caches: Vec::new(),
            secrets: BTreeMap::new(),
            ca_certificates: None,
            network: Network::Own,
            network_cache: NetworkCache::Off,
            stdio: Stdio::Capture,
            started: None,
            volumes: Vec::new(),
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct RunOutcome {
    /// The exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// Standard output, where it was captured.
    pub stdout: Vec<u8>,
    /// What was written to the view, and the digest of that content, where it was kept.
    pub output: Option<(SnapshotId, Digest)>,
}
