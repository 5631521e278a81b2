//! The packages of images: what is installed, what can make it newer, and what the image's own repositories have now.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use otoshi_http::HttpError;
use otoshi_oci::{Digest, Image, config::ImageConfig, write_image};
use otoshi_packages::apt::{HttpFetcher, Reach};
use otoshi_packages::{Available, Cache, Installed, Manager};
use otoshi_project::Phase;
use otoshi_rebase::seam::layers_of;

use crate::{PipelineError, tool::Tool, world::World};

/// The annotation that has the chain id of the layers below the newer packages.
pub(crate) const UPGRADED: &str = "dev.otoshi.upgraded";
/// How long a report that is done waits for what it could say more.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question to repositories that is on its way.
#[derive(Debug)]
pub(crate) struct Asked(mpsc::Receiver<Available>);

impl Asked {
    /// The answer, unless there is none or it takes too long.
    pub(crate) fn wait(self) -> Option<Available> {
        self.0.recv_timeout(PATIENCE).ok()
    }
}

/// The packages of a world's images.
#[derive(Clone, Copy)]
pub(crate) struct ImagePackages<'w>(pub(crate) &'w World<'w>);

impl ImagePackages<'_> {
    /// An image as it was below its newer packages; the same where it has none.
    pub(crate) fn below_upgrades(self, image: Image) -> Result<Image, PipelineError> {
        let chain = image.annotations().get(UPGRADED).and_then(|text| text.parse::<Digest>().ok());
        let ids = image.diff_ids();
        let found = chain.and_then(|chain| layers_of(ids, &chain)).filter(|count| *count < ids.len());
        let Some(count) = found else { return Ok(image) };
        let mut config = ImageConfig::new(&self.0.platform);
        config.rootfs.diff_ids = ids[..count].to_vec();
        let layers: Vec<_> = image.layers()[..count].iter().map(|layer| layer.descriptor.clone()).collect();
        let written = write_image(self.0.home.layout(), &config, &layers, &BTreeMap::new());
        let written = written?;
        self.0.load_image(&Digest::of(&written)?)
    }

    /// The program with which an image's packages can be made newer, where it has one.
    pub(crate) fn tool(self, image: &Digest, manager: Manager) -> Result<Option<Tool>, PipelineError> {
        let has = |path| -> Result<bool, PipelineError> {
            let content =
                self.0.engine.content(image, path).map_err(PipelineError::engine_in(Phase::Runner))?;
            Ok(content.is_some())
        };
        if has("/bin/sh")? {
            for (path, tool) in Tool::all(manager) {
                if has(path)? {
                    return Ok(Some(*tool));
                }
            }
        }
        Ok(None)
    }

    /// What is installed in an image.
    pub(crate) fn installed(self, image: &Image) -> Result<Installed, PipelineError> {
        let fetch = |layer: &otoshi_oci::ImageLayer| match self.0.remote {
            Some(remote) => remote.fetch_layer(layer).map_err(Into::into),
            None => Ok(()),
        };
        Ok(Installed::of_image(self.0.home, image, &fetch)?)
    }

    /// What the repositories of an image have now.
    pub(crate) fn repositories(self, installed: &Installed) -> Result<Available, PipelineError> {
        ask(self.0.home.root(), installed).map_err(PipelineError::fetching_packages)
    }

    /// Begins to ask the repositories of an image, and does not wait; `None` where nothing is known of its packages.
    pub(crate) fn ask_beside(self, image: &Digest) -> Option<Asked> {
        let image = self.0.load_image(image).ok()?;
        let installed = self.installed(&image).ok().filter(|installed| installed.manager.is_some())?;
        let (sender, receiver) = mpsc::channel();
        let root: PathBuf = self.0.home.root().to_owned();
        // It may still wait for a server when the rest is done; then nobody listens any more.
        thread::spawn(move || {
            if let Ok(available) = ask(&root, &installed) {
                let _ = sender.send(available);
            }
        });
        Some(Asked(receiver))
    }
}

fn ask(store: &Path, installed: &Installed) -> Result<Available, HttpError> {
    // This machine's own settings say only through which proxy they are reached.
    let fetcher = HttpFetcher::of_this_machine()?;
    let cache = Cache::new(store.join("packages"));
    Ok(Available::refresh(installed, &cache, &fetcher.guarded(Reach::Own, &[]), jiff::Timestamp::now()))
}
