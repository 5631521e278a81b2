//! A project, and what can be done with it: the one door to this room.

use std::{fs::File, sync::Arc};

use otoshi_engine::{Engine, Events};
use otoshi_explain::Wording;
use otoshi_oci::Digest;
use otoshi_project::{Lock, Project, Role};
use otoshi_registry::Progress;
use otoshi_store::Home;

use crate::{
    Outlook, PipelineError, Plan, Published, RefreshOptions, Refreshed, Remote, RolledBack, UsedBase,
    bases::Rules,
    lock_place::LockPlace,
    locked::Locked,
    publish::{Destination, Publisher, Results},
    refresh::{History, Refresher, alone},
    walker::Walker,
    world::World,
};

/// A project on a store and an engine.
pub struct Pipeline<'a>(Locked<'a>);

impl<'a> Pipeline<'a> {
    /// Puts the three together, for this machine's platform, with bases from the store.
    pub fn new(home: &'a Home, engine: &'a dyn Engine, project: &'a Project) -> Self {
        Self(Locked { world: World::new(home, engine, project), lock: LockPlace::of(project) })
    }

    /// Takes what a lock says in place of `otoshi.lock`, which is then neither read nor written.
    #[must_use]
    pub fn with_lock(mut self, lock: Lock) -> Self {
        self.0.lock = LockPlace::in_memory(lock);
        self
    }

    /// Looks in registries for bases that are not in the store, and in the project's own for what phases made.
    #[must_use]
    pub fn with_remote(mut self, remote: &'a Remote) -> Self {
        self.0.world = self.0.world.with_remote(remote);
        self
    }

    /// Makes every phase, and every step in it, run again.
    #[must_use]
    pub fn with_no_cache(mut self, no_cache: bool) -> Self {
        self.0.world.no_cache = no_cache;
        self
    }

    /// The name of an image of this project, such as `shop/web`.
    pub fn image_name(&self, part: &str) -> String {
        self.0.world.image_name(part)
    }

    /// Says what a build would do, and runs nothing; `otoshi.lock` is not written.
    ///
    /// Fails where the project's files are wrong, or a base cannot be resolved.
    pub fn plan(&self) -> Result<Plan, PipelineError> {
        self.walk(None, Rules::default())
    }

    /// Runs what must run. Bases that `otoshi.lock` lacks are added to it; with `locked` they are an error.
    ///
    /// Fails where the project's files are wrong, where a base cannot be resolved, and where a step or command fails.
    pub fn build(&self, locked: bool, events: &dyn Events) -> Result<Plan, PipelineError> {
        self.walk(Some(events), Rules { locked, ..Rules::default() })
    }

    /// Moves the runner's and the app's side of `otoshi.lock` to what the references name now (with `builder`, that side
    /// too), and builds. The report's `moved` says what moved.
    ///
    /// Fails as a build does; `otoshi.lock` and all names are unchanged then.
    pub fn build_refreshed(&self, builder: bool, events: &dyn Events) -> Result<Plan, PipelineError> {
        let move_roles: &[Role] = if builder { &Role::MADE } else { &[Role::Runner, Role::App] };
        self.walk(Some(events), Rules { move_roles, ..Rules::default() })
    }

    /// Plans, and keeps what each phase observes, to be compared with another outlook.
    ///
    /// Fails as [`Pipeline::plan`] does.
    pub fn outlook(&self) -> Result<Outlook, PipelineError> {
        let walked = Walker(&self.0).once(None, Rules::default())?;
        Ok(Outlook::new(walked.plan, walked.observed))
    }

    /// Every base that the project uses, by role.
    ///
    /// Fails where the project's files are wrong.
    pub fn used_bases(&self) -> Result<Vec<UsedBase>, PipelineError> {
        self.0.used_bases()
    }

    /// The lock with the bases that it lacks, and without those that nothing uses any more; runs and writes nothing.
    ///
    /// Fails where the project's files are wrong, or a base cannot be resolved.
    pub fn locked_bases(&self) -> Result<Lock, PipelineError> {
        self.0.whole_lock()
    }

    /// Takes in what moved outside. The report says what ran and what was kept; a refusal leaves everything as it was. The results are
    /// there for publishing, unless it was refused or nothing ran. `words` says how a remedy is called.
    ///
    /// Fails as a build does.
    pub fn refresh(
        &self,
        options: &RefreshOptions,
        words: Wording<'_>,
        events: &dyn Events,
    ) -> Result<(Refreshed, Option<Results>), PipelineError> {
        Refresher { on: &self.0, options, events, words }.refresh()
    }

    /// Goes back to what the images and the lock were before the last refresh.
    ///
    /// Fails where no earlier state is known here, or an image of it is no longer in the store; nothing is changed then.
    pub fn rollback(&self) -> Result<RolledBack, PipelineError> {
        History(&self.0.world).rollback()
    }

    /// Waits until no other refresh or update of the project runs; until the file is dropped, none begins.
    ///
    /// Fails where the project's directory cannot be opened or locked.
    pub fn alone(&self) -> Result<File, PipelineError> {
        alone(self.0.world.project)
    }

    /// Pushes what the last build made, for others to run and for other machines to build on. Everything must be built. Without the
    /// results of a walk that was just done, one is done to find them.
    ///
    /// `tag` is the tag of the app images; in one repository for all, it follows the process's name.
    ///
    /// Fails where something has not been built yet, where `[registry]` names no repository, or the registry refuses; no tag
    /// moves then.
    pub fn publish(
        &self,
        results: Option<&Results>,
        tag: Option<&str>,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, PipelineError> {
        let destination = Destination::of(&self.0.world)?;
        let publish =
            |results: &Results| Publisher::new(&self.0, results).publish(&destination, tag, progress);
        match results {
            Some(results) => publish(results),
            None => publish(&Results::built_before(&self.0)?),
        }
    }

    /// Pushes the compiled application alone, as an image that can be mounted. Gives its reference and digest.
    ///
    /// Fails where something has not been built yet, where `[registry]` names no repository, or the registry refuses; no tag
    /// moves then.
    pub fn publish_compiled(
        &self,
        tag: Option<&str>,
        progress: Arc<dyn Progress>,
    ) -> Result<Published, PipelineError> {
        let destination = Destination::of(&self.0.world)?;
        let results = Results::built_before(&self.0)?;
        Publisher::new(&self.0, &results).publish_compiled(&destination, tag, progress)
    }

    /// The compiled application as an image of the store: the source, and what compiling wrote over it.
    ///
    /// Fails where something has not been built yet, and where the project compiles nothing.
    pub fn compiled(&self) -> Result<Digest, PipelineError> {
        Publisher::new(&self.0, &Results::built_before(&self.0)?).compiled()
    }

    fn walk(&self, events: Option<&dyn Events>, rules: Rules<'_>) -> Result<Plan, PipelineError> {
        Walker(&self.0).walk(events, rules).map(|walked| walked.plan)
    }
}
