//! Registries behind the store: images by name, and layers that are fetched only when something mounts them.
//!
//! Of an image, index, manifest and config come at once: a few kilobytes that say all about it. Of its layers only the
//! place is kept, in [`Holders`] records, until the engine needs one.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use otoshi_engine::{EngineError, ImageSource};
use otoshi_explain::HandedOn;
use otoshi_oci::{Digest, Image, ImageLayer, Layout, NamedBy, Platform, Reference};
use otoshi_project::LockedDigests;
use otoshi_registry::{
    Client, Depth, Downloads, Item, Origins, Progress, Pulled, RegistryError, Repository, Settings, Summary,
    WantedImage,
};
use otoshi_store::Home;

use crate::{
    BaseSource, PipelineError, StoreBases,
    bases::{Holders, is_whole, origins},
};

/// Registries behind one store; nothing is sent, and no thread started, before something is asked.
pub struct Remote {
    home: Arc<Home>,
    settings: Option<Settings>,
    progress: Arc<dyn Progress>,
    /// How many blobs turned out not to be where they were said to be.
    forgotten: Arc<AtomicUsize>,
    opened: OnceLock<Opened>,
}

struct Opened {
    client: Arc<Client>,
    downloads: Downloads,
}

impl Remote {
    /// Puts registries behind a store, with this user's settings and logins.
    pub fn new(home: Arc<Home>, progress: Arc<dyn Progress>) -> Self {
        Self { home, settings: None, progress, forgotten: Arc::default(), opened: OnceLock::new() }
    }

    /// Uses these settings in place of this user's.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    fn opened(&self) -> Result<&Opened, RegistryError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let settings = self.settings.clone().map_or_else(Settings::of_this_user, Ok)?;
        let client = Arc::new(Client::new(settings)?);
        let layout = self.home.layout().clone();
        let (home, forgotten) = (Arc::clone(&self.home), Arc::clone(&self.forgotten));
        let downloads = Downloads::new(Arc::clone(&client), layout, Arc::clone(&self.progress))
            .with_gone(move |digest, repository| forget(&home, &forgotten, digest, repository));
        Ok(self.opened.get_or_init(|| Opened { client, downloads }))
    }

    /// The client.
    ///
    /// Fails where this user's settings for registries cannot be read, and where threads cannot be started.
    pub fn client(&self) -> Result<&Client, RegistryError> {
        Ok(&self.opened()?.client)
    }

    /// The image in the store that a name was given to here, and that it stands for whatever registries have.
    ///
    /// A name that was pulled stands for what its registry has. Who named what an older store holds is not known: there a name is
    /// its registry's where that is known to hold the image.
    ///
    /// Fails where index.json of the store cannot be read.
    pub fn local(&self, reference: &Reference) -> Result<Option<Digest>, PipelineError> {
        let layout = self.home.layout();
        let Some(here) = layout.names().resolve(reference)? else { return Ok(None) };
        let digest = Digest::of(&here)?;
        let is_local = match layout.names().named_by(reference)? {
            Some(by) => by == NamedBy::Store,
            None if reference.digest().is_some() => origins(&self.home, &digest).is_empty(),
            None => !origins(&self.home, &digest).contains(&Repository::of(reference)),
        };
        Ok(is_local.then_some(digest))
    }

    /// What was downloaded for the engine, and how many requests were sent in all; `None` when nothing was asked.
    pub fn summary(&self) -> Option<Summary> {
        self.opened.get().map(|opened| opened.downloads.summary())
    }

    /// How many blobs turned out not to be where they were said to be, so far.
    pub(crate) fn forgotten(&self) -> usize {
        self.forgotten.load(Ordering::Relaxed)
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.home.layout()
    }

    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.progress)
    }

    /// Notes that a repository holds a blob or manifest.
    pub(crate) fn note(&self, digest: &Digest, repository: &Repository) {
        let mut known = origins(&self.home, digest);
        if !known.contains(repository) {
            known.push(repository.clone());
            // What is not noted is fetched again at worst.
            if let Err(error) = self.home.records().put(digest.hex(), &Holders(known)) {
                tracing::warn!(%error, "not noted");
            }
        }
    }

    /// Notes that a repository holds an image whose manifest and config are in the store.
    pub(crate) fn note_image(
        &self,
        manifest: &Digest,
        platform: &Platform,
        repository: &Repository,
    ) -> Result<(), RegistryError> {
        let image = Image::load(self.home.layout(), manifest, platform)?;
        self.note(manifest, repository);
        self.note(&image.id(), repository);
        image.layers().iter().for_each(|layer| self.note(&layer.digest, repository));
        Ok(())
    }

    /// Fetches what says all about an image, and notes where its layers are; the layers too where that is asked for.
    ///
    /// Fails where the registry does not answer, refuses, or sends what does not have its digest.
    pub fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        depth: Depth,
    ) -> Result<Option<(Pulled, Summary)>, RegistryError> {
        let (layout, progress) = (self.home.layout(), self.progress());
        // Where something is known under the name, it is often the same: asking that is cheaper than fetching it.
        let known = reference.digest().is_none() && layout.names().resolve(reference)?.is_some();
        let now = if known { self.client()?.resolve(reference)? } else { None };
        let exact = now.map_or_else(|| reference.clone(), |digest| reference.with_digest(digest));
        let wanted = WantedImage { reference: &exact, platform, depth };
        let (pulled, summary) = self.client()?.pull(layout, wanted, progress)?;
        let Some(pulled) = pulled else { return Ok(None) };
        let repository = Repository::of(reference);
        self.note(&pulled.digest, &repository);
        self.note_image(&pulled.manifest, platform, &repository)?;
        Ok(Some((pulled, summary)))
    }

    /// Pulls an image and gives it its name in the store.
    ///
    /// Fails as [`Remote::pull`] does, and where the name cannot be written.
    pub fn pull_named(
        &self,
        reference: &Reference,
        platform: &Platform,
        depth: Depth,
    ) -> Result<Option<(Pulled, Summary)>, RegistryError> {
        let pulled = self.pull(reference, platform, depth)?;
        if let Some((pulled, _)) = &pulled {
            self.home.layout().names().tag_pulled(reference, pulled.named.clone())?;
        }
        Ok(pulled)
    }

    /// Pushes manifests of the store, with what they name; layers that are elsewhere are taken over from there.
    ///
    /// Fails where the registry does not answer, refuses, or sends what does not have its digest.
    pub fn push(&self, items: &[Item], progress: Arc<dyn Progress>) -> Result<Summary, RegistryError> {
        let origins = Arc::new(Known(Arc::clone(&self.home)));
        self.client()?.push(self.home.layout(), items, origins, progress)
    }

    /// Fetches the layers of an image that are not in the store.
    ///
    /// Fails as [`Remote::fetch_layer`] does, with the first that cannot be had.
    pub fn complete(&self, image: &Image) -> Result<(), RegistryError> {
        image.layers().iter().try_for_each(|layer| self.fetch_layer(layer))
    }

    /// Fetches a layer that is not in the store.
    ///
    /// Fails where the registry does not answer, refuses, or sends what does not have its digest.
    pub fn fetch_layer(&self, layer: &ImageLayer) -> Result<(), RegistryError> {
        let layout = self.home.layout();
        if !layout.holds(&layer.descriptor) {
            let known = origins(&self.home, &layer.digest);
            // Missing, or cut off.
            let mut outcome = layout.verify(&layer.digest).map_err(Into::into);
            for repository in &known {
                let blobs = std::slice::from_ref(&layer.descriptor);
                outcome = self.client()?.fetch(layout, repository, blobs, self.progress()).map(drop);
                match &outcome {
                    Ok(()) => break,
                    Err(error) if error.status() == Some(404) => {
                        forget(&self.home, &self.forgotten, &layer.digest, repository);
                    }
                    Err(_) => {}
                }
            }
            outcome?;
        }
        Ok(())
    }
}

/// Takes note that a repository does not hold a blob.
fn forget(home: &Home, count: &AtomicUsize, digest: &Digest, repository: &Repository) {
    count.fetch_add(1, Ordering::Relaxed);
    let mut known = origins(home, digest);
    known.retain(|other| other != repository);
    if let Err(error) = home.records().put(digest.hex(), &Holders(known)) {
        tracing::warn!(%error, "not noted");
    }
}

/// What the store's records say about where blobs are.
struct Known(Arc<Home>);

impl Origins for Known {
    fn of(&self, blob: &Digest) -> Vec<Repository> {
        origins(&self.0, blob)
    }
}

fn engine_error(error: RegistryError) -> EngineError {
    HandedOn::new(error).into()
}

impl ImageSource for Remote {
    fn find(&self, reference: &Reference, platform: &Platform) -> Result<Option<Digest>, EngineError> {
        let found = self.pull_named(reference, platform, Depth::Config).map_err(engine_error)?;
        Ok(found.map(|(pulled, _)| pulled.manifest))
    }

    fn knows(&self, blob: &Digest) -> bool {
        !origins(&self.home, blob).is_empty()
    }

    fn prepare(&self, layers: &[&ImageLayer]) {
        for layer in layers.iter().filter(|layer| !self.home.layout().holds(&layer.descriptor)) {
            let known = origins(&self.home, &layer.digest);
            // What goes wrong here is told by whoever needs the layer.
            if !known.is_empty()
                && let Ok(opened) = self.opened()
            {
                opened.downloads.begin(&known, &layer.digest, layer.descriptor.size());
            }
        }
    }

    fn open(&self, layer: &ImageLayer) -> Result<Option<Box<dyn Read + Send>>, EngineError> {
        let known = origins(&self.home, &layer.digest);
        if known.is_empty() {
            // One that has just turned out to be gone says so itself.
            let begun = self.opened.get().and_then(|opened| opened.downloads.follow(&layer.digest));
            return Ok(begun.map(|reader| Box::new(reader) as Box<dyn Read + Send>));
        }
        let opened = self.opened().map_err(engine_error)?;
        Ok(Some(Box::new(opened.downloads.open(&known, &layer.digest, layer.descriptor.size()))))
    }
}

impl BaseSource for Remote {
    /// A name that was given to an image here stands for that; every other one for what its registry says now.
    fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<LockedDigests>, PipelineError> {
        if self.local(reference)?.is_some() {
            return StoreBases::new(&self.home).resolve(reference, platform);
        }
        let pulled = self.pull_named(reference, platform, Depth::Config)?;
        Ok(pulled.map(|(pulled, _)| LockedDigests { index: pulled.digest, platform: pulled.manifest }))
    }

    fn variant(
        &self,
        reference: &Reference,
        index: &Digest,
        platform: &Platform,
    ) -> Result<Option<Digest>, PipelineError> {
        let here = StoreBases::new(&self.home).variant(reference, index, platform);
        if let Ok(Some(manifest)) = here {
            return Ok(Some(manifest));
        }
        let locked = reference.with_digest(index.clone());
        Ok(self.pull(&locked, platform, Depth::Config)?.map(|(pulled, _)| pulled.manifest))
    }

    fn ensure(
        &self,
        reference: &Reference,
        manifest: &Digest,
        platform: &Platform,
    ) -> Result<bool, PipelineError> {
        if is_whole(&self.home, manifest, platform) {
            return Ok(true);
        }
        let locked = reference.with_digest(manifest.clone());
        Ok(self.pull(&locked, platform, Depth::Config)?.is_some())
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("home", &self.home).finish_non_exhaustive()
    }
}
