//! Plain HTTP of steps, answered with what was fetched before where the server allows that.
//!
//! ```text
//! step ── eth0 ══ otoshi_network::Stack ── port 80 ──▶ relay (this process) ──▶ the address that the step asked for
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
//! gives for the host in the request. Every kept answer has the digest of its content, which is compared before it is given.

mod answer;
mod conversation;
mod entry;
mod hosts;
mod kept;
mod raw;
mod request;
mod shared;
mod upstream;

use std::{
    io,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use otoshi_network::Relay as Entrance;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{hosts::Hosts, kept::Keep, shared::Shared};

/// The port of plain HTTP.
const PORT: u16 = 80;
/// How many threads carry what steps fetch.
const THREADS: usize = 2;

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    entrance: Entrance,
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Relay {
    /// Starts a relay that keeps up to `most` bytes in a directory, which is made where it is missing.
    ///
    /// Fails where the directory cannot be made, or no port can be listened on.
    pub fn start(directory: &Path, most: u64) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("relay").enable_all().build()?;
        let mut token = [0; Entrance::TOKEN];
        rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty())?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let entrance = Entrance { address: listener.local_addr()?, token, port: PORT };
        let keep = Keep::open(directory, most)?;
        let shared = Arc::new(Shared { token, keep, hosts: Hosts::default(), saved: AtomicU64::new(0) });
        runtime.spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self { entrance, shared, runtime: Some(runtime) })
    }

    /// Where a step's network hands connections over.
    pub fn entrance(&self) -> Entrance {
        self.entrance
    }

    /// How many bytes were given without being fetched.
    pub fn saved(&self) -> u64 {
        self.shared.saved.load(Ordering::Relaxed)
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
