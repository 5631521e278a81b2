//! What the repositories of an image have now: asked when an answer is needed, or beside other work when it only says more.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use otoshi_oci::Digest;
use otoshi_packages::apt::{HttpFetcher, Reach};
use otoshi_packages::{Available, Cache, Installed};
use otoshi_project::Role;

use crate::{Pipeline, PipelineError};

/// How long a report that is done waits for what it could say more.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question that is on its way.
#[derive(Debug)]
pub(super) struct Asked(mpsc::Receiver<Available>);

impl Asked {
    /// The answer, unless there is none or it takes too long.
    pub(super) fn wait(self) -> Option<Available> {
        self.0.recv_timeout(PATIENCE).ok()
    }
}

impl Pipeline<'_> {
    /// What the repositories of an image have now.
    pub(crate) fn repositories(&self, installed: &Installed) -> Result<Available, PipelineError> {
        ask(self.home.root(), installed).map_err(PipelineError::fetching_packages)
    }

    /// Begins to ask the repositories of the runner as it is, and does not wait; `None` where it is not known.
    pub(super) fn ask_beside(&self, images: &BTreeMap<String, Digest>) -> Option<Asked> {
        let image = self.load_image(images.get(&self.image_name(Role::Runner.as_str()))?).ok()?;
        let installed = self.installed_in(&image).ok().filter(|installed| installed.manager.is_some())?;
        let (sender, receiver) = mpsc::channel();
        let root: PathBuf = self.home.root().to_owned();
        // It may still wait for a server when the rest is done; then nobody listens any more.
        thread::spawn(move || {
            if let Ok(available) = ask(&root, &installed) {
                let _ = sender.send(available);
            }
        });
        Some(Asked(receiver))
    }
}

fn ask(store: &Path, installed: &Installed) -> Result<Available, String> {
    // This machine's own settings say only through which proxy they are reached.
    let fetcher = HttpFetcher::of_this_machine()?;
    let cache = Cache::new(store.join("packages"));
    Ok(Available::refresh(installed, &cache, &fetcher.guarded(Reach::Own, &[]), jiff::Timestamp::now()))
}
