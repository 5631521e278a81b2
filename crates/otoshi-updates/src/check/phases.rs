//! Which phases a finding would make run: the answer is the planner's own.

use otoshi_explain::{Explain, Kind};
use otoshi_oci::{Digest, Image, Reference};
use otoshi_pipeline::{Outlook, PhasePlan, Pipeline, PipelineError, Reason, ReasonKind};
use otoshi_project::{Lock, Phase, Project, Role};

use super::{project::Check, used::Then};
const NOT_KNOWN: &str = "which phases it would rerun is not known";

/// The planner, and the plan as things are, which is made when it is first needed.
pub(super) struct Planner<'c, 'a> {
    check: &'c Check<'a>,
    pipeline: Pipeline<'c>,
    before: Option<Outlook>,
}

impl<'c, 'a> Planner<'c, 'a> {
    pub(super) fn new(check: &'c Check<'a>, pipeline: Pipeline<'c>) -> Self {
        Self { check, pipeline, before: None }
    }

    /// Asks what would run; where that is not known, gives the reason in its place.
    pub(super) fn phases(&mut self, then: Then) -> Result<Result<Vec<PhasePlan>, String>, PipelineError> {
        let _begun = match &then {
            Then::Project(_, _, newer) => match self.check.outside.begin(newer) {
                Ok(begun) => Some(begun),
                Err(stop) => return Ok(Err(format!("{NOT_KNOWN}: {}", stop.text()))),
            },
            _ => None,
        };
        match self.would_run(then) {
            Ok(phases) => Ok(Ok(phases)),
            // What was found is true all the same.
            Err(error) if error.kind() == Kind::Registry => Ok(Err(format!("{NOT_KNOWN}: {error}"))),
            Err(error) => Err(error),
        }
    }

    fn would_run(&mut self, then: Then) -> Result<Vec<PhasePlan>, PipelineError> {
        let check = self.check;
        let plan = |project: &Project, lock: Lock| {
            Pipeline::new(check.outside.home, check.engine, project)
                .with_remote(check.outside.remote)
                .with_lock(lock)
                .outlook()
        };
        Ok(match then {
            Then::Nothing => Vec::new(),
            Then::Lock(lock) => {
                let then = plan(check.project, lock)?;
                self.now()?.would_run(&then)
            }
            Then::Project(project, lock, _) => {
                let then = plan(&project, lock)?;
                self.now()?.would_run(&then)
            }
            Then::Again(phases, text) => {
                let reason = |phase: Phase| (phase, Reason::plain(ReasonKind::Packages, phase, text.clone()));
                let again: Vec<_> = phases.into_iter().map(reason).collect();
                self.now()?.would_run_again(&again)
            }
        })
    }

    /// The plan as things are.
    fn now(&mut self) -> Result<&Outlook, PipelineError> {
        let outlook = match self.before.take() {
            Some(outlook) => outlook,
            None => self.pipeline.outlook()?,
        };
        Ok(self.before.insert(outlook))
    }

    /// The runner that the project has now, with its name: that of the plan, which is told, else the one that was made last.
    pub(super) fn runner(&mut self) -> Result<Option<(String, Image, bool)>, PipelineError> {
        let name = self.pipeline.image_name(Role::Runner.as_str());
        let planned = match self.now() {
            Ok(outlook) => outlook.plan.images.get(&name).and_then(|digest| digest.parse().ok()),
            Err(error) => {
                // Why there is no plan is told of the base that it is about.
                tracing::debug!(%error, "no plan");
                None
            }
        };
        let outside = &self.check.outside;
        let layout = outside.home.layout();
        let named = || -> Result<Option<Digest>, PipelineError> {
            let reference = Reference::parse(&name)?;
            Ok(layout.names().resolve(&reference)?.and_then(|found| Digest::of(&found).ok()))
        };
        let is_planned = planned.is_some();
        let digest = planned.map_or_else(named, |digest| Ok(Some(digest)))?;
        Ok(digest.and_then(|digest| {
            Some((name, Image::load(layout, &digest, &outside.platform).ok()?, is_planned))
        }))
    }
}
