//! A phase on its way: observed, decided on, run, and what it gives to those after it.

use otoshi_engine::Events;
use otoshi_oci::Digest;
use otoshi_project::Phase;

use crate::{PipelineError, observe::Observation, record::Made};

/// A phase that is observed and can be decided on.
pub(crate) struct Job<'a> {
    pub(crate) phase: Phase,
    pub(crate) seen: Observation,
    pub(crate) run: Box<dyn FnOnce(&dyn Events) -> Result<Ran, PipelineError> + Send + 'a>,
}

/// What running a phase gave.
pub(crate) struct Ran {
    pub(crate) made: Made,
    pub(crate) layers_written: usize,
}

/// A phase before it is decided on.
pub(crate) enum Next<'a> {
    /// The project has no such phase.
    Absent,
    /// What it observes depends on a phase that did not run.
    Pending {
        phase: Phase,
        on: Phase,
    },
    Job(Job<'a>),
}

/// A phase whose result is known.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) phase: Phase,
    pub(crate) key: Digest,
    pub(crate) seen: Observation,
    pub(crate) made: Made,
}

/// What a phase gives to those after it.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    /// The project has no such phase.
    Absent,
    /// Not known while planning.
    Unknown,
    Made(Made),
}

impl Settled {
    /// A phase whose result is not there yet.
    pub(crate) fn before(job: &Job<'_>, key: &Digest) -> Self {
        Self { phase: job.phase, key: key.clone(), seen: job.seen.clone(), made: Made::default() }
    }
}

impl Given {
    /// The image of a phase that makes one, which has the phase's name.
    pub(crate) fn image(&self, phase: Phase) -> Option<&Digest> {
        match self {
            Self::Made(made) => made.image(phase),
            _ => None,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}
