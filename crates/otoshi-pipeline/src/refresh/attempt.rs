//! One attempt of a refresh: a lock that moved, what must run for it, and the proof of what came of it.
//!
//! The lock is one of its own, in memory, so that an attempt that is given up, or ends half-way, leaves everything as it was.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_engine::{Event, Events};
use otoshi_oci::{Digest, Image};
use otoshi_project::{Lock, Role};
use otoshi_rebase::{
    Finding, Kind,
    proof::judge,
    seam::{SEAM, layers_of},
};

use super::{Candidate, RefreshOptions, upgrade::Upgrades};
use crate::{
    Moved, PhasePlan, Pipeline, PipelineError, Plan, Rebaser, Status, bases::Rules, pipeline::Settled,
};

/// A lock that moved, and the plan for it.
pub(super) struct Prepared<'a> {
    /// The project on that lock.
    moving: Pipeline<'a>,
    pub(super) moved: Vec<Moved>,
    pub(super) upgrades: Upgrades,
    pub(super) plan: Plan,
    pub(super) settled: Vec<Settled>,
    pub(super) choice: Vec<Candidate>,
}

impl Prepared<'_> {
    /// The lock that moved.
    pub(super) fn lock(&self) -> Result<Lock, PipelineError> {
        self.moving.lock()
    }
}

/// What one attempt gave.
pub(super) struct Attempt {
    pub(super) plan: Plan,
    pub(super) settled: Vec<Settled>,
    pub(super) findings: Vec<Finding>,
    pub(super) waived: Vec<Finding>,
    /// What people should know.
    pub(super) notes: Vec<String>,
    /// The lock that it stands on.
    pub(super) lock: Lock,
}

impl<'a> Pipeline<'a> {
    /// Moves a lock, and plans; names, and the project's lock, stay as they are. `builder` says why its side moves, where it
    /// does; `events` are there where commands may run that compute arguments.
    pub(super) fn prepare(
        &self,
        builder: Option<&str>,
        events: Option<&dyn Events>,
        before: &BTreeMap<String, Digest>,
    ) -> Result<Prepared<'a>, PipelineError> {
        let moving = self.on_lock(self.lock()?);
        let moved = moving.move_bases(events, moving_rules(builder.is_some()))?;
        let upgrades = moving.settle_upgrades(None)?;
        let (plan, settled, _) = moving.walk_whole(None, Rules::default())?;
        let names_move = self.named(&settled) != *before;
        let builder = builder.map(str::to_owned);
        let choice = moving.choose_plan(plan.phases.clone(), &moved, names_move, builder)?;
        Ok(Prepared { moving, moved, upgrades, plan, settled, choice })
    }

    /// Runs what must run, and proves what came of it; names, and the project's lock, stay as they are.
    pub(super) fn attempt(
        &self,
        prepared: Prepared<'_>,
        options: &RefreshOptions,
        events: &dyn Events,
        before: &BTreeMap<String, Digest>,
    ) -> Result<Attempt, PipelineError> {
        let Prepared { moving, moved, mut upgrades, .. } = prepared;
        if upgrades.unknown {
            upgrades = moving.settle_upgrades(Some(events))?;
        }
        let (mut plan, settled, _) =
            moving.walk_whole(Some(events), Rules { hold: true, ..Rules::default() })?;
        plan.moved = moved;
        count_as_well(&mut plan, upgrades.ran);
        let images = self.named(&settled);
        let mut found: BTreeSet<Finding> = BTreeSet::new();
        // One for all images: they share their runners, and each is read once.
        let rebaser = self.remote.map(|remote| Rebaser::new(self.home, remote));
        for (name, new) in &images {
            if let (Some(old), true) = (before.get(name), self.is_app(name))
                && old != new
            {
                match self.prove_app(rebaser.as_ref(), old, new)? {
                    Some(findings) => found.extend(findings),
                    None => events.event(Event::Warning(format!(
                        "{name}: it does not say where its runner ends, so nothing is proved of it"
                    ))),
                }
            }
        }
        let (findings, waived) = judge(found.into_iter().collect(), &options.allow);
        Ok(Attempt { plan, settled, findings, waived, notes: upgrades.notes, lock: moving.lock()? })
    }

    /// What an app image would not find on its new runner; `None` where that cannot be told.
    fn prove_app(
        &self,
        rebaser: Option<&Rebaser<'_>>,
        old: &Digest,
        new: &Digest,
    ) -> Result<Option<Vec<Finding>>, PipelineError> {
        let Some(rebaser) = rebaser else { return Ok(None) };
        let (old, new) = (self.load_image(old)?, self.load_image(new)?);
        let (Some(old_seam), Some(new_seam)) = (seam_of(&old), seam_of(&new)) else { return Ok(None) };
        if old.diff_ids()[..old_seam] == new.diff_ids()[..new_seam] {
            return Ok(Some(Vec::new()));
        }
        rebaser.prove_both((&old, old_seam), (&new, new_seam)).map(Some)
    }
}

/// What moves: the runner's side, and the builder's where it is asked for.
pub(super) fn moving_rules(builder: bool) -> Rules<'static> {
    let move_roles: &[Role] = if builder { &Role::MADE } else { &[Role::Runner, Role::App] };
    Rules { move_roles, ..Rules::default() }
}

/// Adds to a plan what ran before it, to find out what there was to do.
pub(super) fn count_as_well(plan: &mut Plan, ran: Vec<PhasePlan>) {
    for early in ran.into_iter().filter(|early| early.status == Status::Stale) {
        let Some(phase) = plan.phases.iter_mut().find(|phase| phase.phase == early.phase) else { continue };
        phase.layers_written += early.layers_written;
        phase.took_ms = Some(phase.took_ms.unwrap_or_default() + early.took_ms.unwrap_or_default());
        if phase.status != Status::Stale {
            phase.status = Status::Stale;
            phase.reasons = early.reasons;
        }
    }
}

/// Whether compiling the application on newer bases can make up for something.
pub(super) fn compiling_helps(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::LibcChanged
            | Kind::LoaderMissing
            | Kind::SonameMissing
            | Kind::VersionMissing
            | Kind::SymbolMissing
            | Kind::RuntimeChanged
    )
}

/// How many layers of an app image are its runner's.
fn seam_of(image: &Image) -> Option<usize> {
    let chain: Digest = image.annotations().get(SEAM)?.parse().ok()?;
    layers_of(image.diff_ids(), &chain)
}
