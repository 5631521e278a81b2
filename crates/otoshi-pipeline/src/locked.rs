//! A project on a lock: its Dockerfiles, with the arguments that each sees, and what each of its bases is locked at.

use std::collections::BTreeSet;

use otoshi_engine::{Events, Silent};
use otoshi_project::{BaseName, Lock, Role};

use crate::{
    BaseSource, Moved, PipelineError,
    arguments::{Argument, Arguments},
    bases::{Bases, Rules},
    files::Files,
    lock_place::LockPlace,
    memory::start_key,
    world::World,
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

/// A project, and the lock that it stands on.
pub(crate) struct Locked<'a> {
    pub(crate) world: World<'a>,
    pub(crate) lock: LockPlace,
}

impl Locked<'_> {
    /// The same project on a lock of its own: what moves there is not seen by anybody.
    pub(crate) fn on_lock(&self, lock: Lock) -> Self {
        Self { world: self.world.anew(), lock: LockPlace::in_memory(lock) }
    }

    /// The Dockerfiles, and every base by the lock. A lock that lacks one is written before anything runs: a failing build does not
    /// make the next one look again.
    pub(crate) fn settle(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<(Files, Bases), PipelineError> {
        let files = self.files(events, rules)?;
        let bases = self.lock.change(events.is_some(), |lock| self.bases(&files, lock, rules, events))?;
        self.describe(&bases);
        Ok((files, bases))
    }

    /// Moves bases as the rules say, on the lock; nothing runs but what computes arguments.
    pub(crate) fn move_bases(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<Vec<Moved>, PipelineError> {
        self.settle(events, rules).map(|(_, bases)| bases.moved)
    }

    /// The Dockerfiles, with their arguments.
    pub(crate) fn files(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<Files, PipelineError> {
        let computed = self.arguments().values(events, rules)?;
        Files::load(self.world.project, &self.world.platform, &computed)
    }

    /// Every base that the project uses, by role.
    pub(crate) fn used_bases(&self) -> Result<Vec<UsedBase>, PipelineError> {
        let files = self.files(None, Rules::default())?;
        let mut found = Vec::new();
        for file in files.all() {
            let dockerfile = Some(file.path.clone());
            let used = |reference| UsedBase { role: file.role, reference, dockerfile: dockerfile.clone() };
            found.extend(file.bases.iter().cloned().map(used));
        }
        for argument in Argument::all(self.world.project)? {
            found.push(UsedBase { role: Role::Arguments, reference: argument.base, dockerfile: None });
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The lock with the bases that it lacks, and without those that nothing uses any more; runs and writes nothing.
    pub(crate) fn whole_lock(&self) -> Result<Lock, PipelineError> {
        let files = self.files(None, Rules::default())?;
        let mut lock = self.lock.load()?;
        self.bases(&files, &mut lock, Rules::default(), Some(&Silent))?;
        let mut used = BTreeSet::new();
        for argument in Argument::all(self.world.project)? {
            self.arguments().base(&mut lock, &argument, Rules::default(), Some(&Silent))?;
            used.insert(argument.base);
        }
        if let Some(bases) = lock.roles.get_mut(&Role::Arguments) {
            bases.retain(|base, _| used.contains(base));
        }
        lock.roles.retain(|_, bases| !bases.is_empty());
        Ok(lock)
    }

    fn bases(
        &self,
        files: &Files,
        lock: &mut Lock,
        rules: Rules<'_>,
        events: Option<&dyn Events>,
    ) -> Result<Bases, PipelineError> {
        let all: Vec<_> = files.all().collect();
        let settle = |source: &dyn BaseSource| Bases::settle(&all, lock, source, &self.world.platform, rules);
        self.world.with_base_source(events, settle)
    }

    fn arguments(&self) -> Arguments<'_> {
        Arguments { world: &self.world, lock: &self.lock }
    }

    /// Brings the configs of bases into the store, which a plan reads. Where one cannot be had, the phase that needs it says so.
    fn describe(&self, bases: &Bases) {
        let World { home, platform, memory, .. } = &self.world;
        let Some(remote) = self.world.remote else { return };
        let missing = || bases.all().any(|(.., digest)| !home.layout().has(digest));
        if let Some(memory) = memory.as_ref().filter(|_| missing()) {
            memory.recall_bases(&start_key(bases, platform));
        }
        for (_, base, digest) in bases.all().filter(|(.., digest)| !home.layout().has(digest)) {
            if let Err(error) = remote.ensure(base.reference(), digest, platform) {
                tracing::warn!(%base, %error, "nothing is known about a base");
            }
        }
    }
}
