//! HTTP of steps, answered with what was fetched before where the server allows that.
//!
//! ```text
//! step ── eth0 ══ otoshi_network::Stack ── 80, 443 ─▶ relay (this process) ──▶ the address that the step asked for
//!                                       all other ports ──▶ that address            │
//!                                                                    directory ◀────┘ kept answers
//! ```
//!
//! A connection is accepted once the address that the step asked for accepts one, so a step hears of a refusal as it would without.
//! What is not a plain `GET` is handed on byte by byte. Requests that a step sends at once are asked upstream at once, and answered
//! in their order.
//!
//! **What may be kept and for how long is the server's word** (RFC 9111, as a shared cache, without guesses): what is fresh is given
//! without asking, what is not is asked for again with its validators. Nothing is kept of a request that says who asks, or that has a
//! query or a header that this room does not know.
//!
//! **Nobody fills it for others**: an answer counts only where the address that a step asked is one that this machine's own resolver
//! gives for the host in the request, or where the server has shown by its certificate to be that host. Every kept answer has the
//! digest of its content, which is compared before it is given.
//!
//! **HTTPS is looked into only where a step is let in with a bundle of authorities** ([`Relay::admit`]): it is given the bundle with one
//! more in it, which vouches for hosts in this process alone. Where a program does not trust that, [`Admission::distrusted`] says so.

mod answer;
mod authority;
mod conversation;
mod entry;
mod hosts;
mod kept;
mod raw;
mod request;
mod secure;
mod shared;
mod upstream;
mod visit;
mod wire;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, OnceLock, atomic::Ordering},
};

pub use otoshi_network::Relay as Entrance;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{
    authority::Authority,
    kept::Keep,
    shared::Shared,
    visit::{Inspection, Visit},
};

/// How many threads carry what steps fetch.
const THREADS: usize = 2;

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    authority: OnceLock<Arc<Authority>>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// A step that is let in until this is dropped.
pub struct Admission {
    entrance: Entrance,
    shared: Arc<Shared>,
    visit: Arc<Visit>,
}

impl Relay {
    /// Starts a relay that keeps up to `most` bytes in a directory, which is made where it is missing.
    ///
    /// Fails where the directory cannot be made, or no port can be listened on.
    pub fn start(directory: &Path, most: u64) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("relay").enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(Keep::open(directory, most)?));
        runtime.spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, authority: OnceLock::new(), runtime: Some(runtime) })
    }

    /// Lets a step in. With a bundle of authorities, in PEM form, its HTTPS is looked into, as far as these vouch for the servers; the
    /// step is to be given [`Admission::bundle`] in its place.
    ///
    /// Fails where the bundle cannot be read or has no certificate, or a file beside the kept answers cannot be written.
    pub fn admit(&self, bundle: Option<&Path>) -> io::Result<Admission> {
        let mut token = [0; Entrance::TOKEN];
        rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty())?;
        let inspection = bundle.map(|bundle| self.inspection(bundle)).transpose()?;
        let https = inspection.is_some().then_some(443);
        let entrance = Entrance { address: self.address, token, http: 80, https };
        let visit = Arc::new(Visit::new(inspection));
        self.shared.admit(token, Arc::clone(&visit));
        Ok(Admission { entrance, shared: Arc::clone(&self.shared), visit })
    }

    fn inspection(&self, bundle: &Path) -> io::Result<Inspection> {
        let authority = if let Some(authority) = self.authority.get() {
            authority
        } else {
            let made = Arc::new(Authority::new()?);
            self.authority.get_or_init(|| made)
        };
        Inspection::new(authority, bundle, self.shared.keep.directory())
    }

    /// How many bytes were given without being fetched.
    pub fn saved(&self) -> u64 {
        self.shared.saved.load(Ordering::Relaxed)
    }
}

impl Admission {
    /// Where the step's network hands connections over.
    pub fn entrance(&self) -> Entrance {
        self.entrance
    }

    /// The bundle of authorities that the step is to trust, where its HTTPS is looked into. The file goes with this value.
    pub fn bundle(&self) -> Option<&Path> {
        self.visit.inspection.as_ref().map(|inspection| &*inspection.bundle)
    }

    /// The hosts for which a program of the step did not trust this process, as one does that has authorities of its own.
    pub fn distrusted(&self) -> Vec<String> {
        self.visit.distrusted()
    }
}

impl fmt::Debug for Admission {
    /// Without the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Admission").field("visit", &self.visit).finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.dismiss(&self.entrance.token);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            tracing::debug!(bytes = self.saved(), "answers of the network cache were not fetched again");
            // What still goes on is of steps that have ended.
            runtime.shutdown_background();
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((step, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = entry::serve(shared, step).await {
                        tracing::debug!(%error, "a connection of a step ended");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot take a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
