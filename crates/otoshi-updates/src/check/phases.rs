//! Which phases a finding would make run.

use otoshi_pipeline::{Outlook, PhasePlan, Pipeline, PipelineError};
use otoshi_project::{Lock, Project};

use super::Check;
use crate::report::Finding;

impl Check<'_> {
    /// Asks the planner what would run if the project and the lock were these.
    pub(super) fn tell_phases(
        &self,
        finding: &mut Finding,
        pipeline: &Pipeline<'_>,
        before: &mut Option<Outlook>,
        project: &Project,
        lock: Lock,
    ) -> Result<(), PipelineError> {
        let phases = self.would_run(pipeline, before, project, lock);
        match phases {
            Ok(phases) => finding.phases = phases,
            // What was found is true all the same.
            Err(PipelineError::Registry(error)) => {
                finding.text.push_str(&format!("; what it would make run is not known: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn would_run(
        &self,
        pipeline: &Pipeline<'_>,
        before: &mut Option<Outlook>,
        project: &Project,
        lock: Lock,
    ) -> Result<Vec<PhasePlan>, PipelineError> {
        let now = match before.take() {
            Some(outlook) => outlook,
            None => pipeline.outlook()?,
        };
        let then =
            Pipeline::new(self.home, self.engine, project).with_remote(self.remote).with_lock(lock).outlook();
        let phases = then.map(|then| now.would_run(&then));
        *before = Some(now);
        phases
    }
}
