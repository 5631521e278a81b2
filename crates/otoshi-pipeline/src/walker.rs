//! The walk over the four phases.
//!
//! Planning and building take the same steps up to the point where a stale phase would run. A build goes on with what
//! the phase really gave: a phase that depends on it is decided on then, so an identical result stops there. The runner
//! runs beside the builder when it copies nothing out of it, else beside the compile command.

use std::{collections::BTreeMap, thread};

use otoshi_engine::{EngineError, Event, Events};
use otoshi_explain::{Explain, Kind};
use otoshi_oci::Digest;
use otoshi_project::Phase;

use crate::{
    Part, PhasePlan, PipelineError, Plan, Remote,
    bases::{Bases, Rules},
    job::{Given, Settled},
    locked::Locked,
    memory::Memory,
    phases::{Before, app, builder, compile, runner},
    plan::PLAN_VERSION,
    settle::Settler,
    walk::Walk,
    world::World,
};

/// How often a walk begins anew before what a registry lost is an error.
const MAX_WALKS: usize = 8;

/// What a walk found out.
pub(crate) struct Walked {
    pub(crate) plan: Plan,
    /// The phases whose results are known.
    pub(crate) settled: Vec<Settled>,
    pub(crate) bases: Bases,
    /// While planning: what each phase observes, as far as that is known.
    pub(crate) observed: Vec<(Phase, Vec<Part>)>,
}

/// Walks over the phases of a project on its lock.
#[derive(Clone, Copy)]
pub(crate) struct Walker<'w>(pub(crate) &'w Locked<'w>);

impl<'w> Walker<'w> {
    /// Walks; anew where a registry or the store turned out to have lost something, which is then made again. Without events it
    /// plans, and nothing runs.
    pub(crate) fn walk(self, events: Option<&dyn Events>, rules: Rules<'_>) -> Result<Walked, PipelineError> {
        let forgotten = || self.world().remote.map_or(0, Remote::forgotten);
        for _ in 0..MAX_WALKS {
            let before = forgotten();
            match self.once(events, rules) {
                Err(error) if error.kind() == Kind::Registry && forgotten() > before => {
                    tracing::debug!(%error, "a registry lost something");
                }
                // A phase whose result was damaged runs again.
                Err(error) if matches!(error.engine(), Some(EngineError::Lost { .. })) => {
                    if let Some(events) = events {
                        events.event(Event::Warning(format!("{error}: the phase runs again")));
                    }
                }
                outcome => return outcome,
            }
        }
        self.once(events, rules)
    }

    /// Walks as far as the runner, and gives it with the phases that were looked at.
    pub(crate) fn to_runner(
        self,
        events: &dyn Events,
    ) -> Result<(Option<Digest>, Vec<PhasePlan>), PipelineError> {
        let (files, bases) = self.0.settle(Some(events), Rules::default())?;
        let (mut walk, settler) =
            (Walk::new(self.world(), Some(events), &files, &bases), Settler(self.world()));
        if walk.waits_for(&files.runner).is_some() {
            let next = builder(&mut walk)?;
            let builder = settler.settle(&mut walk, next)?;
            walk.know(Phase::Builder, &builder);
        }
        let next = runner(&mut walk)?;
        let runner = settler.settle(&mut walk, next)?;
        Ok((runner.image(Phase::Runner).cloned(), walk.phases))
    }

    /// Walks, and gives all that was found out on the way.
    pub(crate) fn once(self, events: Option<&dyn Events>, rules: Rules<'_>) -> Result<Walked, PipelineError> {
        let world = self.world();
        let (files, bases) = self.0.settle(events, rules)?;
        let of_files = files.all().flat_map(|file| &file.warnings);
        let mut warnings: Vec<String> = world.project.warnings.iter().chain(of_files).cloned().collect();
        if let Some(events) = events {
            // Before anything runs.
            warnings.drain(..).for_each(|warning| events.event(Event::Warning(warning)));
        }
        let mut walk = Walk::new(world, events, &files, &bases);
        let (builder, compiled, runner) = first_three(&mut walk)?;
        walk.know(Phase::Runner, &runner);
        let next = app(&mut walk, &Before { builder: &builder, compiled: &compiled, runner: &runner })?;
        let app = Settler(world).settle(&mut walk, next)?;

        let mut images = BTreeMap::new();
        for given in [builder, runner, app] {
            if let Given::Made(made) = given {
                images.extend(made.images);
            }
        }
        if events.is_some() && !rules.hold {
            for (name, digest) in &images {
                world.tag(&world.image_name(name), digest)?;
            }
        }
        let (mut phases, settled, observed) = (walk.phases, walk.settled, walk.observed);
        phases.sort_by_key(|phase| phase.phase);
        let named = images.into_iter().map(|(name, digest)| (world.image_name(&name), digest.to_string()));
        let plan = Plan {
            version: PLAN_VERSION,
            project: world.project.manifest.project.name.clone(),
            phases,
            images: named.collect(),
            moved: bases.moved.clone(),
            warnings: world.memory.as_ref().and_then(Memory::failure).into_iter().chain(warnings).collect(),
        };
        Ok(Walked { plan, settled, bases, observed })
    }

    fn world(self) -> &'w World<'w> {
        &self.0.world
    }
}

/// The first three phases. The runner runs beside the others from the moment that it can be decided on: compiling waits for
/// the builder alone.
fn first_three(walk: &mut Walk<'_>) -> Result<(Given, Given, Given), PipelineError> {
    let settler = Settler(walk.world);
    thread::scope(|scope| {
        if walk.files.builder.is_none() {
            // The source is compiled in the runner, which then comes first.
            let next = runner(walk)?;
            let runner = settler.settle(walk, next)?;
            let next = compile(walk, Phase::Runner, &runner)?;
            return Ok((Given::Absent, settler.settle(walk, next)?, runner));
        }
        let mut beside = None;
        if walk.waits_for(&walk.files.runner).is_none() {
            let next = runner(walk)?;
            beside = Some(settler.begin(scope, walk, next)?);
        }
        let next = builder(walk)?;
        let builder = settler.settle(walk, next)?;
        walk.know(Phase::Builder, &builder);
        let beside = if let Some(begun) = beside {
            begun
        } else {
            let next = runner(walk)?;
            settler.begin(scope, walk, next)?
        };
        let next = compile(walk, Phase::Builder, &builder)?;
        let compiled = settler.settle(walk, next)?;
        Ok((builder, compiled, beside.end(walk)?))
    })
}
