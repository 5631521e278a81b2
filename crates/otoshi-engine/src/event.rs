//! What happens while the engine works, told to whoever shows it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use otoshi_explain::Remedy;

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
    /// A proxy on the host's loopback, which a command in a network of its own does not reach.
    UnreachedProxy(UnreachedProxy),
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

/// A proxy on the host's loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachedProxy {
    /// The variable that names it.
    pub variable: String,
    /// Its host, as written.
    pub host: String,
}

impl UnreachedProxy {
    /// What can be done about it.
    pub fn remedy(&self) -> Remedy {
        Remedy::LeaveLoopback
    }
}

impl std::fmt::Display for UnreachedProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { variable, host } = self;
        write!(f, "{variable} names {host}, which, in a network of its own, is the command itself")
    }
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
