//! Settling a phase: what it made for what it observes is found, in the store or in the project's registry, or it runs and that is
//! recorded. While planning nothing runs: a phase that would have to is told with its reasons.

use std::{
    thread::{Scope, ScopedJoinHandle},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use otoshi_engine::Events;
use otoshi_explain::Panicked;
use otoshi_oci::Digest;
use otoshi_project::Phase;

use crate::{
    PhasePlan, PipelineError, Reason, ReasonKind, Status,
    job::{Given, Job, Next, Ran, Settled},
    memory::Recalled,
    part::key,
    record::Made,
    walk::Walk,
    world::World,
};

/// Settles the phases of a walk.
#[derive(Clone, Copy)]
pub(crate) struct Settler<'w>(pub(crate) &'w World<'w>);

impl<'w> Settler<'w> {
    /// Settles a phase: finds what it made, or runs it.
    pub(crate) fn settle(self, walk: &mut Walk<'_>, next: Next<'_>) -> Result<Given, PipelineError> {
        match self.decide(walk, next)? {
            Decided::Given(given) => Ok(given),
            Decided::Stale(stale) => {
                let settled = Settled::before(&stale.job, &stale.key);
                let ran = self.execute(stale.job, &stale.key, walk.events)?;
                Ok(done(walk, stale.entry, settled, ran))
            }
        }
    }

    /// Begins to settle a phase: where it must run, it runs beside what comes next.
    pub(crate) fn begin<'scope>(
        self,
        scope: &'scope Scope<'scope, 'w>,
        walk: &mut Walk<'w>,
        next: Next<'w>,
    ) -> Result<Begun<'scope>, PipelineError> {
        Ok(match self.decide(walk, next)? {
            Decided::Given(given) => Begun::Given(given),
            Decided::Stale(Stale { entry, key, job }) => {
                let settled = Settled::before(&job, &key);
                let events = walk.events;
                let running = scope.spawn(move || self.execute(job, &key, events));
                Begun::Running(Box::new(Running { entry, settled, running }))
            }
        })
    }

    /// Finds what a phase made for what it observes; else says why not.
    fn decide<'j>(self, walk: &mut Walk<'_>, next: Next<'j>) -> Result<Decided<'j>, PipelineError> {
        let job = match next {
            Next::Absent => return Ok(Decided::Given(Given::Absent)),
            Next::Pending { phase, on } => {
                walk.phases
                    .push(PhasePlan { reasons: vec![Reason::depends(on)], ..entry(phase, Status::Pending) });
                return Ok(Decided::Given(Given::Unknown));
            }
            Next::Job(job) => job,
        };
        let (ledger, key) = (self.0.ledger(), key(job.phase, &job.seen.parts));
        if walk.events.is_none() {
            walk.observed.push((job.phase, job.seen.parts.clone()));
        }
        let mut entry = entry(job.phase, Status::Fresh);
        entry.key = Some(key.to_string());
        let made = if self.0.no_cache { None } else { ledger.made(&key) };
        let lost = made.as_ref().and_then(|made| made.lost(self.0.home, &self.0.platform));
        let (made, lost) = match (made, lost) {
            (Some(made), None) => (Some(made), None),
            (made, lost) => match self.recall(&key)? {
                Some(recalled) => {
                    entry.found_in = self.0.memory.as_ref().map(|memory| memory.repository().to_string());
                    (Some(recalled), None)
                }
                None => (made, lost),
            },
        };
        if let (Some(made), None) = (&made, &lost) {
            walk.settled.push(Settled { made: made.clone(), ..Settled::before(&job, &key) });
            entry.output = made.one();
            walk.phases.push(entry);
            if walk.events.is_some() {
                ledger.touch(job.phase, &key);
                ledger.remember(job.phase, &key, &job.seen)?;
            }
            return Ok(Decided::Given(Given::Made(made.clone())));
        }
        let plain = |kind, text: String| vec![Reason::plain(kind, job.phase, text)];
        let reasons = match lost {
            _ if self.0.no_cache => plain(ReasonKind::Requested, "it was asked to run again".into()),
            Some(what) => plain(ReasonKind::Lost, format!("its result was lost: {what}")),
            None => ledger.reasons(job.phase, &key, &job.seen),
        };
        (entry.status, entry.reasons) = (Status::Stale, reasons);
        if walk.events.is_none() {
            walk.phases.push(entry);
            return Ok(Decided::Given(Given::Unknown));
        }
        Ok(Decided::Stale(Stale { entry, key, job }))
    }

    /// Runs a phase, and records what it made once it is there.
    fn execute(self, job: Job<'_>, key: &Digest, events: Option<&dyn Events>) -> Result<Ran, PipelineError> {
        let started = Instant::now();
        let mut ran = (job.run)(events.unwrap_or(&otoshi_engine::Silent))?;
        ran.made.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        ran.made.at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.0.ledger().record(key, &ran.made)?;
        self.0.ledger().remember(job.phase, key, &job.seen)?;
        Ok(ran)
    }

    /// What the registry remembers of a phase; it is remembered here from then on.
    fn recall(self, key: &Digest) -> Result<Option<Made>, PipelineError> {
        let Some(memory) = self.0.memory.as_ref().filter(|_| !self.0.no_cache) else { return Ok(None) };
        let Some(Recalled { made, contents, copied }) = memory.recall(key) else { return Ok(None) };
        for layer in &copied {
            self.0.engine.learn_copied(layer).map_err(PipelineError::engine_in(Phase::Builder))?;
        }
        for known in contents {
            let learned = self.0.engine.learn_content(&known.image, &known.path, known.content.as_ref());
            learned.map_err(PipelineError::engine_in(Phase::Builder))?;
        }
        self.0.ledger().learn(key, &made)?;
        Ok(Some(made))
    }
}

/// A phase that is known, or runs beside others.
pub(crate) enum Begun<'scope> {
    Given(Given),
    Running(Box<Running<'scope>>),
}

/// A phase that runs beside others.
pub(crate) struct Running<'scope> {
    entry: PhasePlan,
    settled: Settled,
    running: ScopedJoinHandle<'scope, Result<Ran, PipelineError>>,
}

impl Begun<'_> {
    /// Waits until it is settled.
    pub(crate) fn end(self, walk: &mut Walk<'_>) -> Result<Given, PipelineError> {
        match self {
            Self::Given(given) => Ok(given),
            Self::Running(begun) => {
                let Running { entry, settled, running } = *begun;
                let ran = running.join().map_err(|_| Panicked { what: "a phase" })?;
                Ok(done(walk, entry, settled, ran?))
            }
        }
    }
}

/// A phase that must run.
struct Stale<'a> {
    entry: PhasePlan,
    key: Digest,
    job: Job<'a>,
}

enum Decided<'a> {
    Given(Given),
    Stale(Stale<'a>),
}

fn entry(phase: Phase, status: Status) -> PhasePlan {
    PhasePlan {
        phase,
        number: phase.number(),
        status,
        reasons: Vec::new(),
        key: None,
        output: None,
        layers_written: 0,
        took_ms: None,
        found_in: None,
    }
}

/// Notes a phase that ran.
fn done(walk: &mut Walk<'_>, mut entry: PhasePlan, settled: Settled, ran: Ran) -> Given {
    entry.layers_written = ran.layers_written;
    entry.took_ms = Some(ran.made.took_ms);
    entry.output = ran.made.one();
    walk.phases.push(entry);
    walk.settled.push(Settled { made: ran.made.clone(), ..settled });
    Given::Made(ran.made)
}
