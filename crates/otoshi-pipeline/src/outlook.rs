//! What a change outside would make run: the plan as things are beside the plan as they would be.
//!
//! A phase is affected when it would observe something else, or depends on one that would. So the answer is that of the
//! planner itself, whatever was built here before.

use std::collections::{BTreeMap, BTreeSet};

use otoshi_project::{BaseName, Lock, Phase, Role};

use crate::{
    BaseSource, Part, PhasePlan, Pipeline, PipelineError, Plan, Reason, Status,
    arguments::argument_base_name,
    bases::{Bases, Rules},
    files::Files,
    reason::difference,
};

/// A base that a project uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedBase {
    /// The role that uses it: `builder`, `runner`, `app`, or `args` where an argument is computed in it.
    pub role: Role,
    /// The base, as the Dockerfile has it after expansion.
    pub reference: BaseName,
    /// The Dockerfile that names it; none for `args`.
    pub dockerfile: Option<String>,
}

/// A plan, with what each phase observes.
#[derive(Debug)]
pub struct Outlook {
    /// The plan.
    pub plan: Plan,
    observed: BTreeMap<Phase, Vec<Part>>,
}

impl Pipeline<'_> {
    /// Every base that the project uses, by role.
    pub fn used_bases(&self) -> Result<Vec<UsedBase>, PipelineError> {
        let computed = self.computed_arguments(None, Rules::default())?;
        let files = Files::load(self.project, &self.platform, &computed)?;
        let mut found = Vec::new();
        for file in files.all() {
            let dockerfile = Some(file.path.clone());
            let used = |reference| UsedBase { role: file.role, reference, dockerfile: dockerfile.clone() };
            found.extend(file.bases.iter().cloned().map(used));
        }
        for (_, name, _) in self.project.computed()? {
            let reference = argument_base_name(name)?;
            found.push(UsedBase { role: Role::Arguments, reference, dockerfile: None });
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The lock with the bases that it lacks, and without those that nothing uses any more; runs and writes nothing.
    pub fn locked_bases(&self) -> Result<Lock, PipelineError> {
        let computed = self.computed_arguments(None, Rules::default())?;
        let files = Files::load(self.project, &self.platform, &computed)?;
        let (mut lock, all) = (self.lock()?, files.all().collect::<Vec<_>>());
        let settle = |source: &dyn BaseSource| {
            Bases::settle(&all, &mut lock, source, &self.platform, Rules::default()).map(drop)
        };
        self.with_base_source(Some(&otoshi_engine::Silent), settle)?;
        let mut used = BTreeSet::new();
        for (name, base, _) in self.project.computed()? {
            let base = argument_base_name(base)?;
            self.argument_base(&mut lock, &name, &base, Rules::default(), Some(&otoshi_engine::Silent))?;
            used.insert(base);
        }
        if let Some(bases) = lock.roles.get_mut(&Role::Arguments) {
            bases.retain(|base, _| used.contains(base));
        }
        lock.roles.retain(|_, bases| !bases.is_empty());
        Ok(lock)
    }

    /// Plans, and keeps what each phase observes, to be compared with another outlook.
    pub fn outlook(&self) -> Result<Outlook, PipelineError> {
        let walked = self.walk_once(None, Rules::default())?;
        Ok(Outlook { plan: walked.plan, observed: walked.observed.into_iter().collect() })
    }
}

impl Outlook {
    /// The phases that would run, or may turn out to have to, when things became those of `then`; each with its reasons.
    pub fn would_run(&self, then: &Self) -> Vec<PhasePlan> {
        let mut affected: Vec<PhasePlan> = Vec::new();
        for phase in then.plan.phases.iter().filter(|phase| phase.status != Status::Fresh) {
            let (before, after) = (self.observed.get(&phase.phase), then.observed.get(&phase.phase));
            let reasons = match (before, after) {
                (Some(before), Some(after)) if before == after => continue,
                (Some(before), Some(after)) => difference(before, after, &|_| Vec::new()),
                _ => Vec::new(),
            };
            let differs = !reasons.is_empty();
            // Files that changed meanwhile, and what was never built, are no consequence of this change.
            let upstream = affected.iter().map(|other| other.phase).find(|other| {
                phase.phase == Phase::App || phase.reasons.iter().any(|reason| reason.waits_for(*other))
            });
            match upstream {
                _ if differs => affected.push(PhasePlan { reasons, ..phase.clone() }),
                Some(upstream) => {
                    let reasons = vec![Reason::depends(upstream)];
                    affected.push(PhasePlan { reasons, ..phase.clone() });
                }
                None => {}
            }
        }
        affected
    }

    /// The phases that would run if some of them gave something else, each for a reason that no plan knows of; and those that
    /// look at what these give.
    pub fn would_run_again(&self, again: &[(Phase, Reason)]) -> Vec<PhasePlan> {
        let mut affected: BTreeMap<Phase, PhasePlan> = BTreeMap::new();
        for phase in &self.plan.phases {
            if let Some((_, reason)) = again.iter().find(|(name, _)| *name == phase.phase) {
                let (status, reasons) = (Status::Stale, vec![reason.clone()]);
                affected.insert(phase.phase, PhasePlan { status, reasons, ..phase.clone() });
            }
        }
        loop {
            let known = affected.len();
            for phase in &self.plan.phases {
                let upstream = affected.values().map(|other| other.phase);
                let upstream = upstream.filter(|other| self.looks_at(phase, *other)).collect::<Vec<_>>();
                if let (Some(upstream), false) = (upstream.first(), affected.contains_key(&phase.phase)) {
                    let reasons = vec![Reason::depends(*upstream)];
                    affected
                        .insert(phase.phase, PhasePlan { status: Status::Pending, reasons, ..phase.clone() });
                }
            }
            if affected.len() == known {
                return affected.into_values().collect();
            }
        }
    }

    /// Whether a phase observes something of what another gives; where that is not known yet, whether it waits for it.
    fn looks_at(&self, phase: &PhasePlan, other: Phase) -> bool {
        let Some(parts) = self.observed.get(&phase.phase) else {
            return phase.phase == Phase::App || phase.reasons.iter().any(|reason| reason.waits_for(other));
        };
        parts.iter().filter_map(Part::taken).any(|taken| taken.of == other)
    }
}
