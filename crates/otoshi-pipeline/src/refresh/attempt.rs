//! One attempt of a refresh: a lock that moved, what must run for it, and the proof of what came of it.
//!
//! The lock is one of its own, in memory, so that an attempt that is given up, or ends half-way, leaves everything as it was.

use std::collections::BTreeSet;

use otoshi_engine::{Event, Events};
use otoshi_oci::{Digest, Image};
use otoshi_project::{Lock, Role};
use otoshi_rebase::{
    Finding, Kind,
    proof::judge,
    seam::{SEAM, layers_of},
};

use super::{
    choice::{Thought, choose_plan},
    cost::Candidate,
    images::Images,
    options::RefreshOptions,
    upgrade::{RunnerUpgrades, Upgrades},
};
use crate::{
    Moved, PhasePlan, PipelineError, Plan, Rebaser, Status,
    bases::{Bases, Rules},
    job::Settled,
    locked::Locked,
    walker::{Walked, Walker},
};

/// A lock that moved, and the plan for it.
pub(super) struct Prepared<'a> {
    /// The project on that lock.
    moving: Locked<'a>,
    pub(super) moved: Vec<Moved>,
    pub(super) upgrades: Upgrades,
    pub(super) plan: Plan,
    pub(super) settled: Vec<Settled>,
    pub(super) choice: Vec<Candidate>,
}

impl Prepared<'_> {
    /// The lock that moved.
    pub(super) fn lock(&self) -> Result<Lock, PipelineError> {
        self.moving.lock.load()
    }
}

/// What one attempt gave.
pub(super) struct Attempt {
    pub(super) plan: Plan,
    pub(super) settled: Vec<Settled>,
    pub(super) bases: Bases,
    pub(super) findings: Vec<Finding>,
    pub(super) waived: Vec<Finding>,
    /// What people should know.
    pub(super) notes: Vec<String>,
    /// The lock that it stands on.
    pub(super) lock: Lock,
}

/// What all attempts of a refresh begin from.
pub(super) struct Attempts<'w> {
    pub(super) on: &'w Locked<'w>,
    pub(super) options: &'w RefreshOptions,
    pub(super) events: &'w dyn Events,
    /// The images as they are.
    pub(super) before: &'w Images,
}

impl<'w> Attempts<'w> {
    /// Moves a lock, and plans; names, and the project's lock, stay as they are. `builder` says why its side moves, where it
    /// does.
    pub(super) fn prepare(&self, builder: Option<&str>) -> Result<Prepared<'w>, PipelineError> {
        // Commands may run that compute arguments.
        let events = (!self.options.dry_run).then_some(self.events);
        let moving = self.on.on_lock(self.on.lock.load()?);
        let moved = moving.move_bases(events, moving_rules(builder.is_some()))?;
        let upgrades = RunnerUpgrades(&moving).settle(None)?;
        let Walked { plan, settled, .. } = Walker(&moving).walk(None, Rules::default())?;
        let thought = Thought {
            phases: &plan.phases,
            moved: &moved,
            names_move: Images::of(&moving.world, &settled) != *self.before,
            builder: builder.map(str::to_owned),
        };
        let choice = choose_plan(&moving, thought)?;
        Ok(Prepared { moving, moved, upgrades, plan, settled, choice })
    }

    /// Runs what must run, and proves what came of it; names, and the project's lock, stay as they are.
    pub(super) fn attempt(&self, prepared: Prepared<'_>) -> Result<Attempt, PipelineError> {
        let Prepared { moving, moved, upgrades, .. } = prepared;
        let upgrades =
            if upgrades.unknown { RunnerUpgrades(&moving).settle(Some(self.events))? } else { upgrades };
        let rules = Rules { hold: true, ..Rules::default() };
        let Walked { plan, settled, bases, .. } = Walker(&moving).walk(Some(self.events), rules)?;
        let plan = counting_earlier(Plan { moved, ..plan }, upgrades.ran);
        let found = self.prove(&Images::of(&self.on.world, &settled))?;
        let (findings, waived) = judge(found.into_iter().collect(), &self.options.allow);
        let lock = moving.lock.load()?;
        Ok(Attempt { plan, settled, bases, findings, waived, notes: upgrades.notes, lock })
    }

    /// What the new app images would not find.
    fn prove(&self, images: &Images) -> Result<BTreeSet<Finding>, PipelineError> {
        let world = &self.on.world;
        let mut found: BTreeSet<Finding> = BTreeSet::new();
        // One for all images: they share their runners, and each is read once.
        let rebaser = world.remote.map(|remote| Rebaser::new(world.home, remote));
        for (name, new) in images.apps(world) {
            let Some(old) = self.before.0.get(name).filter(|old| *old != new) else { continue };
            match self.prove_app(rebaser.as_ref(), old, new)? {
                Some(findings) => found.extend(findings),
                None => self.events.event(Event::Warning(format!(
                    "{name}: it does not say where its runner ends, so nothing can be proved about it"
                ))),
            }
        }
        Ok(found)
    }

    /// What an app image would not find on its new runner; `None` where that cannot be told.
    fn prove_app(
        &self,
        rebaser: Option<&Rebaser<'_>>,
        old: &Digest,
        new: &Digest,
    ) -> Result<Option<Vec<Finding>>, PipelineError> {
        let Some(rebaser) = rebaser else { return Ok(None) };
        let (old, new) = (self.on.world.load_image(old)?, self.on.world.load_image(new)?);
        let (Some(old_seam), Some(new_seam)) = (seam_of(&old), seam_of(&new)) else { return Ok(None) };
        if old.diff_ids()[..old_seam] == new.diff_ids()[..new_seam] {
            return Ok(Some(Vec::new()));
        }
        rebaser.prove_both((&old, old_seam), (&new, new_seam)).map(Some)
    }
}

/// What moves: the runner's side, and the builder's where it is asked for.
fn moving_rules(builder: bool) -> Rules<'static> {
    let move_roles: &[Role] = if builder { &Role::MADE } else { &[Role::Runner, Role::App] };
    Rules { move_roles, ..Rules::default() }
}

/// A plan that counts what ran before it, too, to find out what there was to do.
pub(super) fn counting_earlier(plan: Plan, ran: Vec<PhasePlan>) -> Plan {
    let early = |phase: &PhasePlan| {
        ran.iter().find(|early| early.status == Status::Stale && early.phase == phase.phase)
    };
    let counted = plan.phases.into_iter().map(|phase| match early(&phase) {
        None => phase,
        Some(early) => PhasePlan {
            layers_written: phase.layers_written + early.layers_written,
            took_ms: Some(phase.took_ms.unwrap_or_default() + early.took_ms.unwrap_or_default()),
            reasons: if phase.status == Status::Stale { phase.reasons } else { early.reasons.clone() },
            status: Status::Stale,
            ..phase
        },
    });
    Plan { phases: counted.collect(), ..plan }
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
