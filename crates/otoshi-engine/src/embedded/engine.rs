//! The engine itself: its store, where images come from, and what runs now.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use otoshi_oci::{
    Digest, Fields, Image, ImageError, LayoutError, Platform, Reference,
    layer::{OverlayXattrs, UnpackOptions},
};
use otoshi_relay::Relay;
use otoshi_store::{Home, Record};

use super::mount::in_user_namespace;
use crate::{BuildRequest, EngineError, ImageSource};

/// How many bytes of answers to steps are kept, in bytes.
const MOST_KEPT: u64 = 4 << 30;

/// The engine of our own, on one store.
pub struct EmbeddedEngine {
    pub(super) home: Arc<Home>,
    /// Where images and layers come from that the store does not hold.
    pub(super) source: Option<Arc<dyn ImageSource>>,
    /// The executable that starts sandboxes; this process's own when `None`.
    pub(super) init: Option<PathBuf>,
    /// Process ids of the sandboxes that run now, to end them when a build is stopped.
    pub(super) running: Mutex<BTreeMap<u32, usize>>,
    /// The repository whose records are believed.
    pub(super) believed: Mutex<Option<String>>,
    /// What carries the HTTP of steps, once one needs it; `None` inside where it cannot be started.
    relay: OnceLock<Option<Relay>>,
}

/// Something that is known under a key.
pub(crate) struct Fact<T> {
    pub(crate) value: T,
    /// Whether a repository said so, and nobody looked here.
    pub(crate) is_told: bool,
}

/// The key of what a repository's records say of a key.
///
/// Whoever can write to one project's repository has no say in what another project finds in the same store.
pub fn told_by(repository: &str, key: &Digest) -> Digest {
    Fields::new("told 1").text(repository).text(key.as_str()).digest()
}

impl std::fmt::Debug for EmbeddedEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedEngine").field("home", &self.home).finish_non_exhaustive()
    }
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
            relay: OnceLock::new(),
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

    /// What carries the HTTP of steps; `None` where that goes straight out.
    pub(crate) fn relay(&self) -> Option<&Relay> {
        let start = || match Relay::start(&self.home.kept_answers(), MOST_KEPT) {
            Ok(relay) => Some(relay),
            Err(error) => {
                tracing::warn!(%error, "what steps fetch by HTTP is not kept");
                None
            }
        };
        self.relay.get_or_init(start).as_ref()
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
                    message: format!("{text} was resolved for {own}, but this stage is for {platform}"),
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
        match (self.home.layout().names().resolve(&reference)?, self.source()) {
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
        Ok(self.home.records().remember(told.hex(), value)?)
    }

    fn told(&self, key: &Digest) -> Option<Digest> {
        let believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        believed.as_deref().map(|repository| told_by(repository, key))
    }
}
