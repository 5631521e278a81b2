//! The lock that a pipeline stands on: the project's `otoshi.lock`, or one of its own in memory.

use std::sync::{Mutex, PoisonError};

use otoshi_engine::Events;
use otoshi_project::Lock;

use crate::{
    BaseSource, Moved, Pipeline, PipelineError,
    bases::{Bases, Rules},
    files::Files,
    memory::Memory,
};

impl Pipeline<'_> {
    /// The same project on a lock of its own: what moves there is not seen by anybody.
    pub(crate) fn on_lock(&self, lock: Lock) -> Self {
        Self {
            platform: self.platform.clone(),
            memory: self.memory.as_ref().map(Memory::anew),
            lock: Some(Mutex::new(lock)),
            ..*self
        }
    }

    /// Whether there is a lock in place of the file.
    pub(crate) fn has_own_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// Moves bases as the rules say, on the lock; nothing runs but what computes arguments.
    pub(crate) fn move_bases(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<Vec<Moved>, PipelineError> {
        self.begin(events, rules).map(|(_, bases)| bases.moved)
    }

    /// Settles the bases, and writes the lock before anything runs: a failing build does not make the next one look again.
    pub(crate) fn settle_bases(
        &self,
        files: &Files,
        rules: Rules<'_>,
        events: Option<&dyn Events>,
    ) -> Result<Bases, PipelineError> {
        let mut lock = self.lock()?;
        let before = lock.clone();
        let all: Vec<_> = files.all().collect();
        let settle = |source: &dyn BaseSource| Bases::settle(&all, &mut lock, source, &self.platform, rules);
        let bases = self.with_base_source(events, settle)?;
        if (events.is_some() || self.has_own_lock()) && lock != before {
            self.save_lock(&lock)?;
        }
        self.describe(&bases);
        Ok(bases)
    }

    /// What the lock says now.
    pub(crate) fn lock(&self) -> Result<Lock, PipelineError> {
        match &self.lock {
            Some(lock) => Ok(lock.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            None => Ok(Lock::load(&self.project.root.join("otoshi.lock"))?),
        }
    }

    pub(crate) fn save_lock(&self, lock: &Lock) -> Result<(), PipelineError> {
        match &self.lock {
            Some(own) => *own.lock().unwrap_or_else(PoisonError::into_inner) = lock.clone(),
            None => drop(lock.save(&self.project.root.join("otoshi.lock"))?),
        }
        Ok(())
    }
}
