//! What a transfer tells while it goes on, and what it did in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use otoshi_oci::Digest;

/// Something that happened in a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// This many bytes, in all, are to be where they go when it is done.
    Planned {
        /// Bytes.
        bytes: u64,
    },
    /// A blob's bytes begin to move.
    Started {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// Bytes moved.
    Moved {
        /// How many.
        bytes: u64,
    },
    /// A blob is whole on the other side.
    Done {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// A blob was there already.
    Skipped {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// A blob was taken over from another repository of the registry.
    Mounted {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The repository.
        from: String,
    },
    /// Something failed that may work the next time.
    Retrying {
        /// The registry's host.
        host: String,
        /// What happened.
        reason: String,
        /// How long it waits.
        wait: Duration,
    },
}

/// Is told what happens; from several threads.
pub trait Progress: Send + Sync {
    /// Takes note of an event.
    fn event(&self, event: Event);
}

/// Takes note of nothing.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: Event) {}
}

/// What a transfer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests sent, those for tokens and those that were repeated included.
    pub requests: u64,
    /// Bytes of blobs and manifests that moved.
    pub moved: u64,
    /// Bytes that are on the other side now, and are part of what was asked for.
    pub total: u64,
    /// Blobs whose bytes moved.
    pub blobs_moved: usize,
    /// Blobs taken over from another repository.
    pub blobs_mounted: usize,
    /// Blobs that were there.
    pub blobs_skipped: usize,
}

/// Counts while a transfer goes on.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) moved: AtomicU64,
    pub(crate) total: AtomicU64,
    pub(crate) blobs_moved: AtomicUsize,
    pub(crate) blobs_mounted: AtomicUsize,
    pub(crate) blobs_skipped: AtomicUsize,
}

/// Passes events on and counts them.
pub(crate) struct Tally {
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) counts: Counts,
}

impl Tally {
    pub(crate) fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, counts: Counts::default() }
    }

    pub(crate) fn tell(&self, event: Event) {
        let one = |counter: &AtomicUsize| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match &event {
            Event::Planned { bytes } => {
                self.counts.total.fetch_add(*bytes, Ordering::Relaxed);
            }
            Event::Moved { bytes } => {
                self.counts.moved.fetch_add(*bytes, Ordering::Relaxed);
            }
            Event::Done { .. } => one(&self.counts.blobs_moved),
            Event::Skipped { .. } => one(&self.counts.blobs_skipped),
            Event::Mounted { .. } => one(&self.counts.blobs_mounted),
            Event::Started { .. } | Event::Retrying { .. } => {}
        }
        self.progress.event(event);
    }

    pub(crate) fn summary(&self, requests: u64) -> Summary {
        Summary {
            requests,
            moved: self.counts.moved.load(Ordering::Relaxed),
            total: self.counts.total.load(Ordering::Relaxed),
            blobs_moved: self.counts.blobs_moved.load(Ordering::Relaxed),
            blobs_mounted: self.counts.blobs_mounted.load(Ordering::Relaxed),
            blobs_skipped: self.counts.blobs_skipped.load(Ordering::Relaxed),
        }
    }
}
