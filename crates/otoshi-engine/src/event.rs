//! What happens while the engine works, told to whoever shows it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// A number that tells the steps of one process apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

impl StepId {
    /// A number that no step of this process has.
    pub fn next() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step began; events of several steps may be interleaved.
    Started {
        /// Which step.
        step: StepId,
        /// The stage's name or number, as in `builder`.
        stage: String,
        /// The step's place in its stage, from 1, and how many steps that stage has.
        place: (usize, usize),
        /// The instruction, on one line.
        instruction: String,
    },
    /// A step's command wrote something; not always whole lines.
    Log {
        /// Which step.
        step: StepId,
        /// What it wrote to standard output or standard error.
        bytes: Vec<u8>,
    },
    /// A step is done.
    Done {
        /// Which step.
        step: StepId,
        /// Whether its result was there already.
        cached: bool,
        /// How long it took.
        took: Duration,
    },
    /// A step failed; the error comes back from the call.
    Failed {
        /// Which step.
        step: StepId,
    },
    /// Something worth saying that is no error.
    Warning(String),
    /// Work that is not an instruction, such as "writing a layer", with the bytes it went through.
    Work {
        /// What was done.
        what: String,
        /// How many bytes.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
}

/// Takes the events of an engine, from several threads at once.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _: Event) {}
}
