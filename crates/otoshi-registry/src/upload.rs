//! Storing blobs: not at all where they are there, taken over from another repository where that has them, else uploaded.
//!
//! ```text
//! HEAD  blobs/DIGEST                          there? done
//! POST  blobs/uploads/?mount=DIGEST&from=…    201: taken over; 202: an upload was begun instead
//! PUT   LOCATION?digest=DIGEST                a small blob, whole
//! PATCH LOCATION, …, PUT LOCATION?digest=…    a large one, in chunks
//! GET   LOCATION                              after a break: how much is there?
//! ```
//!
//! Spec: <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs>

use std::fs::File;
use std::sync::Arc;

use otoshi_http::header::{LOCATION, RANGE};
use otoshi_http::{Failure, Method, Response, TransportError, Url};
use otoshi_oci::Digest;

use crate::answer::{knows_no_head, refused, unreachable_error};
use crate::call::{Body, Call, Target};
use crate::error::{Asked, RegistryError};
use crate::hosts::Endpoint;
use crate::progress::{Event, Tally};
use crate::repository::Repository;
use crate::transport::Transport;

/// Up to this size a blob is sent with one request.
const SMALL: u64 = 4 << 20;

/// A blob to be stored.
pub(crate) struct Upload {
    pub(crate) endpoint: Endpoint,
    pub(crate) repository: Repository,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Repositories of the same registry that may have it.
    pub(crate) from: Vec<String>,
    pub(crate) tally: Arc<Tally>,
}

/// How a step of an upload ended.
enum Step {
    /// The blob is stored.
    Stored,
    /// It failed in a way that may be overcome; the answer, if there was one.
    Failed(Result<Response, TransportError>),
}

impl Upload {
    /// A blob for `repository` that those of `others` may have which are in the same registry.
    pub(crate) fn new(
        (endpoint, repository): (&Endpoint, &Repository),
        (digest, size): (Digest, u64),
        others: &[Repository],
        tally: &Arc<Tally>,
    ) -> Self {
        let same = others.iter().filter(|other| other.registry == repository.registry);
        Self {
            endpoint: endpoint.clone(),
            repository: repository.clone(),
            from: same.map(|other| other.name.clone()).collect(),
            tally: Arc::clone(tally),
            digest,
            size,
        }
    }

    fn asked(&self) -> Asked {
        self.repository.asked(format!("to store the blob {}", self.digest))
    }

    fn path(&self, rest: &str) -> Target {
        Target::Path(format!("{}/blobs/{rest}", self.endpoint.name))
    }

    fn body(&self, file: &Arc<File>, from: u64, size: u64) -> Body {
        let tally = Arc::clone(&self.tally);
        let moved = Arc::new(move |bytes| tally.tell(Event::Moved { bytes }));
        Body::Part { file: Arc::clone(file), from, size, moved }
    }

    /// Whether the repository has the blob, or takes it over from another. Gives where an upload was begun, if one was.
    pub(crate) async fn find_or_mount(
        &self,
        transport: &Transport,
    ) -> Result<Result<(), Option<Url>>, RegistryError> {
        let asked = self.asked();
        let (digest, size) = (self.digest.clone(), self.size);
        let response = self.look_up(transport).await?;
        match response.status().as_u16() {
            200 => {
                self.tally.tell(Event::Skipped { digest, size });
                return Ok(Ok(()));
            }
            404 => {}
            _ => return Err(refused(&asked, response).await),
        }
        self.mount(transport).await
    }

    /// Takes a blob over from another repository. Gives where an upload was begun instead, if one was.
    pub(crate) async fn mount(
        &self,
        transport: &Transport,
    ) -> Result<Result<(), Option<Url>>, RegistryError> {
        let asked = self.asked();
        let (digest, size) = (self.digest.clone(), self.size);
        // One try: a registry that does not have it there begins an upload each time.
        let Some(from) = self.from.first() else { return Ok(Err(None)) };
        let mut call = Call::write(Method::POST, self.path(&format!("uploads/?mount={digest}&from={from}")));
        call.also = Some(from.clone());
        let response = match transport.send(&self.endpoint, &call, &asked, &self.tally).await {
            Ok(response) => response,
            // A login for this repository need not be one for the other.
            Err(RegistryError::Login { .. }) => return Ok(Err(None)),
            Err(error) => return Err(error),
        };
        match response.status().as_u16() {
            201 => {
                self.tally.tell(Event::Mounted { digest, size, from: from.clone() });
                Ok(Ok(()))
            }
            202 => Ok(Err(Some(self.location(&response)?))),
            // No right to read there, for instance: that is no reason not to upload.
            _ => Ok(Err(None)),
        }
    }

    /// Uploads a blob.
    pub(crate) async fn send(
        &self,
        transport: &Transport,
        file: File,
        begun: Option<Url>,
    ) -> Result<(), RegistryError> {
        let (asked, file) = (self.asked(), Arc::new(file));
        self.tally.tell(Event::Started { digest: self.digest.clone(), size: self.size });
        let (mut begun, mut backoff, mut furthest) = (begun, transport.settings.retries.backoff(), 0);
        loop {
            let mut location = match begun.take() {
                Some(location) => location,
                None => self.begin(transport).await?,
            };
            let mut at = 0;
            loop {
                let step = self.go_on(transport, &file, &mut location, &mut at).await?;
                let Step::Failed(outcome) = step else {
                    self.tally.tell(Event::Done { digest: self.digest.clone(), size: self.size });
                    return Ok(());
                };
                if at > furthest {
                    furthest = at;
                    backoff.progressed();
                }
                // What the registry no longer knows, or knows otherwise, can be sent anew.
                let lost =
                    outcome.as_ref().is_ok_and(|response| matches!(response.status().as_u16(), 404 | 416));
                let failure =
                    Failure::of(&outcome).or_else(|| lost.then(|| Failure::broken("the upload was lost")));
                let Some((wait, reason)) = backoff.after(failure) else {
                    return Err(match outcome {
                        Ok(response) => refused(&asked, response).await,
                        Err(error) => unreachable_error(&asked, &self.endpoint, error),
                    });
                };
                let host = self.endpoint.host.clone();
                self.tally.tell(Event::Retrying { host, reason, wait });
                tokio::time::sleep(wait).await;
                if self.is_stored(transport).await? {
                    self.tally.tell(Event::Done { digest: self.digest.clone(), size: self.size });
                    return Ok(());
                }
                match self.kept(transport, &location).await {
                    Some((place, kept)) if kept <= self.size => (location, at) = (place, kept),
                    _ => break,
                }
            }
        }
    }

    /// Sends what is missing, and ends the upload.
    async fn go_on(
        &self,
        transport: &Transport,
        file: &Arc<File>,
        location: &mut Url,
        at: &mut u64,
    ) -> Result<Step, RegistryError> {
        let asked = &self.asked();
        let whole = self.size <= SMALL && *at == 0;
        while !whole && *at < self.size {
            let size = (self.size - *at).min(transport.settings.upload_chunk.max(1));
            let call = Call::write(Method::PATCH, Target::Url(location.clone()))
                .header("content-type", "application/octet-stream")
                .header("content-range", format!("{}-{}", *at, *at + size - 1))
                .body(self.body(file, *at, size));
            let response = match transport.send_once(&self.endpoint, &call, asked).await? {
                Ok(response) if matches!(response.status().as_u16(), 202 | 204) => response,
                outcome => return Ok(Step::Failed(outcome)),
            };
            *location = self.location(&response)?;
            let kept = kept_of(&response).unwrap_or(*at + size);
            if kept <= *at || kept > *at + size {
                let reason = format!("it says that it has {kept} bytes after {} were sent", *at + size);
                return Err(RegistryError::Wrong { asked: asked.clone(), reason });
            }
            *at = kept;
        }
        let mut url = location.clone();
        url.query_pairs_mut().append_pair("digest", self.digest.as_str());
        let mut call = Call::write(Method::PUT, Target::Url(url));
        if whole {
            call =
                call.header("content-type", "application/octet-stream").body(self.body(file, 0, self.size));
        }
        match transport.send_once(&self.endpoint, &call, asked).await? {
            Ok(response) if matches!(response.status().as_u16(), 201 | 204) => Ok(Step::Stored),
            outcome => Ok(Step::Failed(outcome)),
        }
    }

    async fn begin(&self, transport: &Transport) -> Result<Url, RegistryError> {
        let asked = &self.asked();
        let call = Call::write(Method::POST, self.path("uploads/"));
        let response = transport.send(&self.endpoint, &call, asked, &self.tally).await?;
        match response.status().as_u16() {
            202 => self.location(&response),
            _ => Err(refused(asked, response).await),
        }
    }

    async fn is_stored(&self, transport: &Transport) -> Result<bool, RegistryError> {
        Ok(self.look_up(transport).await?.status().as_u16() == 200)
    }

    /// Asks whether the blob is there: by HEAD, and by GET of a registry that knows no HEAD, whose answer is not read on.
    async fn look_up(&self, transport: &Transport) -> Result<Response, RegistryError> {
        let asked = self.asked();
        let ask = |method| Call::write(method, self.path(self.digest.as_str()));
        let response = transport.send(&self.endpoint, &ask(Method::HEAD), &asked, &self.tally).await?;
        if !knows_no_head(&response) {
            return Ok(response);
        }
        transport.send(&self.endpoint, &ask(Method::GET), &asked, &self.tally).await
    }

    /// Asks how much of an upload the registry kept, and where it goes on; `None` where it cannot.
    async fn kept(&self, transport: &Transport, location: &Url) -> Option<(Url, u64)> {
        let call = Call::write(Method::GET, Target::Url(location.clone()));
        let response = transport.send_once(&self.endpoint, &call, &self.asked()).await.ok()?.ok()?;
        if !matches!(response.status().as_u16(), 202 | 204) {
            return None;
        }
        let place = self.location(&response).unwrap_or_else(|_| location.clone());
        Some((place, kept_of(&response)?))
    }

    fn location(&self, response: &Response) -> Result<Url, RegistryError> {
        let asked = &self.asked();
        let wrong = |reason: &str| RegistryError::Wrong { asked: asked.clone(), reason: reason.to_owned() };
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let text = text.ok_or_else(|| wrong("it does not say where the upload continues"))?;
        // From where it was asked for (RFC 9110, section 10.2.2).
        response.url().join(text).map_err(|_| wrong("where the upload continues is not an address"))
    }
}

/// `Range: 0-LAST` as a number of bytes. Of nothing and of one byte it is the same; nothing is the safer reading.
fn kept_of(response: &Response) -> Option<u64> {
    let text = response.headers().get(RANGE)?.to_str().ok()?;
    let last: u64 = text.strip_prefix("bytes=").unwrap_or(text).strip_prefix("0-")?.trim().parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}
