//! A project that is checked, and what is asked for it.

use otoshi_engine::Engine;
use otoshi_explain::Wording;
use otoshi_pipeline::Remote;
use otoshi_project::Project;
use otoshi_store::Home;

use crate::outside::Outside;

/// Looks at what is newer than what a project uses; runs nothing and moves nothing.
pub struct Check<'a> {
    pub(super) outside: Outside<'a>,
    pub(super) engine: &'a dyn Engine,
    pub(super) project: &'a Project,
    pub(super) tells_phases: bool,
}

impl<'a> Check<'a> {
    /// Puts together what a check needs; the time is that of now. `words` says how a remedy is called.
    pub fn new(
        home: &'a Home,
        engine: &'a dyn Engine,
        project: &'a Project,
        remote: &'a Remote,
        words: Wording<'a>,
    ) -> Self {
        Self {
            outside: Outside::new(home, remote, &project.manifest.check, words),
            engine,
            project,
            tells_phases: true,
        }
    }

    /// Leaves out of findings which phases they would make run and where they come from, for one who asks neither.
    pub(crate) fn without_phases(mut self) -> Self {
        self.tells_phases = false;
        self
    }
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("project", &self.project.root).finish_non_exhaustive()
    }
}
