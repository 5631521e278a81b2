//! Fetching blobs: streamed to where they go, resumed after a break, never more than was promised.

use otoshi_explain::Panicked;
use otoshi_http::header::CONTENT_RANGE;
use otoshi_http::{Failure, Method, Response, reason};
use otoshi_oci::layout::BlobWriter;
use otoshi_oci::{Digest, Layout};

use crate::answer::refused;
use crate::call::Call;
use crate::error::{Asked, RegistryError};
use crate::hosts::Endpoint;
use crate::manifest::content_length;
use crate::progress::{Event, Tally};
use crate::repository::Repository;
use crate::transport::Transport;

/// A transfer that breaks this often, whatever it gained each time, is given up.
const MAX_BREAKS: u32 = 50;

/// Is told how far a blob has come.
pub(crate) trait Follower: Send + Sync {
    /// A blob begins, from its first byte.
    fn begin(&self, writer: &BlobWriter) -> Result<(), RegistryError>;
    /// So many bytes are there.
    fn reached(&self, size: u64);
}

/// A blob that is to be fetched.
#[derive(Clone, Copy)]
pub(crate) struct WantedBlob<'a> {
    pub(crate) digest: &'a Digest,
    /// Its size, in bytes.
    pub(crate) size: u64,
    /// Who is told how far it has come.
    pub(crate) follower: Option<&'a dyn Follower>,
    pub(crate) tally: &'a Tally,
}

impl Transport {
    /// Fetches a blob into a layout: from the first place that has it whole and right.
    pub(crate) async fn fetch_blob(
        &self,
        layout: &Layout,
        repository: &Repository,
        wanted: WantedBlob<'_>,
    ) -> Result<(), RegistryError> {
        let WantedBlob { digest, size, follower, tally } = wanted;
        let asked = repository.asked(format!("for the blob {digest}"));
        tally.tell(Event::Started { digest: digest.clone(), size });
        let mut outcome = Ok(());
        for endpoint in self.settings.hosts.to_read(repository)? {
            let mut writer = layout.blob_writer_with(digest.algorithm())?;
            if let Some(follower) = follower {
                follower.begin(&writer)?;
            }
            outcome = self.stream_blob(&endpoint, wanted, &asked, &mut writer).await;
            if outcome.is_ok() {
                let found = writer.digest_so_far();
                if found == *digest {
                    let expected = digest.clone();
                    let committed =
                        tokio::task::spawn_blocking(move || writer.commit_expecting(&expected)).await;
                    committed.map_err(|_| Panicked { what: "the thread that stores a blob" })??;
                    tally.tell(Event::Done { digest: digest.clone(), size });
                    return Ok(());
                }
                let reason = format!("its content has the digest {found}");
                outcome = Err(RegistryError::Wrong { asked: asked.clone(), reason });
            }
            if let Err(error) = &outcome {
                tracing::debug!(host = endpoint.host, %error, "a place failed");
            }
        }
        outcome
    }

    async fn stream_blob(
        &self,
        endpoint: &Endpoint,
        wanted: WantedBlob<'_>,
        asked: &Asked,
        writer: &mut BlobWriter,
    ) -> Result<(), RegistryError> {
        let WantedBlob { digest, size, follower, tally } = wanted;
        let wrong = |reason: String| RegistryError::Wrong { asked: asked.clone(), reason };
        let (mut backoff, mut breaks) = (self.settings.retries.backoff(), 0);
        loop {
            let start = writer.size();
            let mut call = Call::read(Method::GET, format!("{}/blobs/{digest}", endpoint.name));
            if start > 0 {
                call = call.header("range", format!("bytes={start}-"));
            }
            let mut response = self.send(endpoint, &call, asked, tally).await?;
            let mut skip = match response.status().as_u16() {
                206 if start > 0 && range_start(&response) == Some(start) => 0,
                206 => return Err(wrong("it is not the part of the blob that was asked for".to_owned())),
                200 => {
                    if let Some(length) = content_length(&response).filter(|length| *length != size) {
                        return Err(wrong(format!("it has {length} bytes, not {size}")));
                    }
                    // It cannot resume: what is here already comes again.
                    start
                }
                _ => return Err(refused(asked, response).await),
            };
            let (why, source) = loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => {
                        tally.tell(Event::Moved { bytes: chunk.len() as u64 });
                        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                        skip -= known as u64;
                        let new = &chunk[known..];
                        if writer.size() + new.len() as u64 > size {
                            return Err(wrong(format!("it has more than {size} bytes")));
                        }
                        writer.put(new)?;
                        if let Some(follower) = follower {
                            follower.reached(writer.size());
                        }
                    }
                    Ok(None) if writer.size() == size => return Ok(()),
                    Ok(None) => break (format!("it ended after {} of {size} bytes", writer.size()), None),
                    Err(error) => break (reason(&error), Some(error)),
                }
            };
            if writer.size() > start {
                backoff.progressed();
            }
            breaks += 1;
            let failure = Failure::broken(why);
            let wait = backoff.failed(&failure).filter(|_| breaks < MAX_BREAKS);
            let reason = failure.reason;
            let Some(wait) = wait else {
                return Err(RegistryError::Unreachable {
                    asked: asked.clone(),
                    reason,
                    hint: Some("try again later".into()),
                    source: source.map(Into::into),
                });
            };
            tally.tell(Event::Retrying { host: endpoint.host.clone(), reason, wait });
            tokio::time::sleep(wait).await;
        }
    }
}

/// The first byte of `Content-Range: bytes FIRST-LAST/SIZE`.
fn range_start(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
