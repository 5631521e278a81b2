//! What a transfer to or from a registry shows: a bar on a terminal, a line for each large blob elsewhere, and at the end how
//! many bytes moved of how many.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use otoshi_engine::{self as engine, Events};
use otoshi_oci::Digest;
use otoshi_registry::{Event, Progress, Summary};

use crate::words::{counted, megabytes};

/// A blob of fewer bytes has no line of its own.
const LARGE: u64 = 1_000_000;

/// Shows a transfer on standard error.
pub(crate) struct Shown {
    /// `uploaded` or `downloaded`.
    verb: &'static str,
    bar: Option<ProgressBar>,
    /// Bytes that are to be on the other side in the end.
    planned: Mutex<u64>,
}

impl Shown {
    /// Starts to show; `verb` says what happens to blobs that move.
    pub(crate) fn new(verb: &'static str) -> Arc<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = std::io::stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none();
        let bar = live.then(|| {
            let style = ProgressStyle::with_template(
                "{bar:30} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}",
            );
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Arc::new(Self { verb, bar, planned: Mutex::new(0) })
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| errln!("{text}")),
            None => errln!("{text}"),
        }
    }

    /// Takes the bar away, so that the result can be printed.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Says what was done.
    pub(crate) fn finish(&self, summary: &Summary) {
        self.clear();
        errln!("{}", sentence(self.verb, summary));
    }
}

impl Progress for Shown {
    fn event(&self, event: Event) {
        let forward = |bytes: u64| {
            if let Some(bar) = &self.bar {
                bar.inc(bytes);
            }
        };
        match event {
            Event::Planned { bytes } => {
                let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
                *planned += bytes;
                if let Some(bar) = &self.bar {
                    bar.set_length(*planned);
                }
            }
            Event::Moved { bytes } => forward(bytes),
            Event::Skipped { size, .. } => forward(size),
            Event::Mounted { digest, size, from } => {
                forward(size);
                self.line(&format!("{} {} mounted from {from}", digest.short(), megabytes(size)));
            }
            Event::Done { digest, size } if size >= LARGE => {
                self.line(&format!("{} {} {}", digest.short(), megabytes(size), self.verb));
            }
            Event::Retrying { host, reason, wait } => {
                self.line(&format!("{host}: {reason}; again in {:.1} s", wait.as_secs_f64()));
            }
            Event::Started { .. } | Event::Done { .. } => {}
        }
    }
}

/// Tells a build's reader of what is fetched meanwhile.
pub(crate) struct InBuild {
    events: Arc<dyn Events>,
    begun: Mutex<HashMap<Digest, Instant>>,
}

impl InBuild {
    pub(crate) fn new(events: Arc<dyn Events>) -> Arc<Self> {
        Arc::new(Self { events, begun: Mutex::default() })
    }
}

impl Progress for InBuild {
    fn event(&self, event: Event) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { digest, .. } => {
                begun.insert(digest, Instant::now());
            }
            Event::Done { digest, size } => {
                let took = begun.remove(&digest).map(|begun| begun.elapsed()).unwrap_or_default();
                let what = format!("fetching {}", digest.short());
                self.events.event(engine::Event::Work { what, bytes: size, took });
            }
            Event::Retrying { host, reason, wait } => {
                let text = format!("{host}: {reason}; again in {:.1} s", wait.as_secs_f64());
                self.events.event(engine::Event::Warning(text));
            }
            _ => {}
        }
    }
}

/// A transfer in one sentence.
pub(crate) fn sentence(verb: &str, summary: &Summary) -> String {
    let blobs =
        |count: usize, what: &str| (count > 0).then(|| format!("{} {what}", counted(count as u64, "blob")));
    let parts = [
        blobs(summary.blobs_moved, verb),
        blobs(summary.blobs_mounted, "mounted"),
        blobs(summary.blobs_skipped, "there already"),
        Some(counted(summary.requests, "request")),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if summary.total == 0 {
        return format!("nothing moved: {parts}");
    }
    format!("moved {} of {}: {parts}", megabytes(summary.moved), megabytes(summary.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_moved_and_what_did_not() {
        let summary = Summary {
            requests: 9,
            moved: 1_250_000,
            total: 90_000_000,
            blobs_moved: 1,
            blobs_mounted: 2,
            blobs_skipped: 0,
        };
        assert_eq!(
            sentence("uploaded", &summary),
            "moved 1.2 MB of 90.0 MB: 1 blob uploaded, 2 blobs mounted, 9 requests"
        );
        assert_eq!(sentence("x", &Summary::default()), "nothing moved: 0 requests");
    }
}
