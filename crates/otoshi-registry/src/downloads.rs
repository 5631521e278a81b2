//! Blobs that are read while they arrive.
//!
//! A download writes to the layout's temporary file of the blob, as fast as the registry gives it; any number of readers
//! follow behind, each at its own pace. The last byte is followed by the end only when the whole was verified and is in the
//! layout, so a reader that came to the end read the right content.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use otoshi_explain::HandedOn;
use otoshi_oci::layout::BlobWriter;
use otoshi_oci::{Digest, Layout};
use tokio::sync::Semaphore;

use crate::blob::{Follower, WantedBlob};
use crate::client::Client;
use crate::error::RegistryError;
use crate::progress::{Event, Progress, Summary, Tally};
use crate::repository::Repository;

/// What to try when a registry lost something.
const GONE: &str = "the registry no longer has it: build again, and what this project made is made again";

/// Downloads into one layout, each blob once.
pub struct Downloads {
    client: Arc<Client>,
    layout: Layout,
    tally: Arc<Tally>,
    places: Arc<Semaphore>,
    running: Mutex<HashMap<Digest, Arc<Download>>>,
    gone: Arc<dyn Fn(&Digest, &Repository) + Send + Sync>,
    before: u64,
}

/// One blob on its way.
#[derive(Default)]
struct Download {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    file: Option<Arc<File>>,
    /// How often it began: the second time everything that was read before is worth nothing.
    begun: u32,
    size: u64,
    end: Option<Result<(), HandedOn>>,
}

impl Download {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Follower for Download {
    fn begin(&self, writer: &BlobWriter) -> Result<(), RegistryError> {
        let file = Arc::new(writer.reader()?);
        self.change(|state| {
            state.file = Some(file);
            state.begun += 1;
            state.size = 0;
        });
        Ok(())
    }

    fn reached(&self, size: u64) {
        self.change(|state| state.size = size);
    }
}

impl Downloads {
    /// Makes room for downloads into a layout.
    pub fn new(client: Arc<Client>, layout: Layout, progress: Arc<dyn Progress>) -> Self {
        let places = Arc::new(Semaphore::new(client.transport.settings.parallel.max(1)));
        let (tally, before) = (Arc::new(Tally::new(progress)), client.requests());
        Self { client, layout, tally, places, running: Mutex::default(), gone: Arc::new(|_, _| {}), before }
    }

    /// Calls with a blob and a repository that does not have it, although it was named for it.
    #[must_use]
    pub fn with_gone(mut self, gone: impl Fn(&Digest, &Repository) + Send + Sync + 'static) -> Self {
        self.gone = Arc::new(gone);
        self
    }

    /// What was downloaded so far.
    pub fn summary(&self) -> Summary {
        self.tally.summary(self.client.requests() - self.before)
    }

    /// Begins to download a blob that is not in the layout, from the first repository that has it, and does not wait.
    pub fn begin(&self, repositories: &[Repository], digest: &Digest, size: u64) {
        self.download(repositories, digest, size);
    }

    /// Reads a blob while it arrives; it is in the layout when the reader has come to the end.
    ///
    /// Where a mirror sent something wrong and another place sends it anew, this reader ends with `ConnectionReset`.
    pub fn open(
        &self,
        repositories: &[Repository],
        digest: &Digest,
        size: u64,
    ) -> impl Read + Send + 'static {
        Reader { download: self.download(repositories, digest, size), at: 0, begun: 0 }
    }

    /// Reads a blob whose download was begun before, however that went; `None` where none was.
    pub fn follow(&self, digest: &Digest) -> Option<impl Read + Send + use<>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let download = Arc::clone(running.get(digest)?);
        Some(Reader { download, at: 0, begun: 0 })
    }

    fn download(&self, repositories: &[Repository], digest: &Digest, size: u64) -> Arc<Download> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(download) = running.get(digest) {
            let state = download.state.lock().unwrap_or_else(PoisonError::into_inner);
            // One that failed, or whose blob was removed since, is tried again.
            let again = match &state.end {
                Some(Ok(())) => !self.layout.has(digest),
                Some(Err(_)) => true,
                None => false,
            };
            if !again {
                return Arc::clone(download);
            }
        }
        let download = Arc::new(Download::default());
        running.insert(digest.clone(), Arc::clone(&download));
        self.tally.tell(Event::Planned { bytes: size });
        let (transport, layout) = (Arc::clone(&self.client.transport), self.layout.clone());
        let (tally, places) = (Arc::clone(&self.tally), Arc::clone(&self.places));
        let (repositories, digest) = (repositories.to_vec(), digest.clone());
        let (follower, gone) = (Arc::clone(&download), Arc::clone(&self.gone));
        self.client.runtime.spawn(async move {
            let _place = places.acquire().await;
            let mut outcome = Err(HandedOn::new(RegistryError::Nowhere { digest: digest.clone() }));
            for repository in &repositories {
                let follower = Some(follower.as_ref() as &dyn Follower);
                let wanted = WantedBlob { digest: &digest, size, follower, tally: &tally };
                let fetched = transport.fetch_blob(&layout, repository, wanted);
                outcome = fetched.await.map_err(|error| {
                    let is_gone = error.status() == Some(404);
                    if is_gone {
                        gone(&digest, repository);
                    }
                    let error = HandedOn::new(error);
                    if is_gone { error.with_remedy(GONE) } else { error }
                });
                if outcome.is_ok() {
                    break;
                }
            }
            follower.change(|state| state.end = Some(outcome));
        });
        download
    }
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloads").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Follows one download.
struct Reader {
    download: Arc<Download>,
    at: u64,
    begun: u32,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let (file, ready) = {
            let mut state = self.download.state.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if self.at > 0 && state.begun > self.begun {
                    let text = "what had arrived was wrong, and is fetched again";
                    return Err(io::Error::new(io::ErrorKind::ConnectionReset, text));
                }
                self.begun = state.begun;
                match (&state.file, &state.end) {
                    (Some(file), _) if state.size > self.at => {
                        break (Arc::clone(file), state.size - self.at);
                    }
                    (_, Some(Ok(()))) => return Ok(0),
                    (_, Some(Err(reason))) => return Err(io::Error::other(reason.clone())),
                    _ => {}
                }
                state = self.download.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let most = usize::try_from(ready).unwrap_or(usize::MAX).min(out.len());
        let count = file.read_at(&mut out[..most], self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}
