//! What a change outside would make run: the plan as things are beside the plan as they would be.
//!
//! A phase is affected when it would observe something else, or depends on one that would. So the answer is that of the
//! planner itself, whatever was built here before.

use std::collections::BTreeMap;

use otoshi_project::Phase;

use crate::{Part, PhasePlan, Plan, Reason, Status, reason::difference};

/// A plan, with what each phase observes.
#[derive(Debug)]
pub struct Outlook {
    /// The plan.
    pub plan: Plan,
    observed: BTreeMap<Phase, Vec<Part>>,
}

impl Outlook {
    pub(crate) fn new(plan: Plan, observed: Vec<(Phase, Vec<Part>)>) -> Self {
        Self { plan, observed: observed.into_iter().collect() }
    }

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
