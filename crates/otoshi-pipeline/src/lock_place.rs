//! Where a project's lock is: its `otoshi.lock`, or one in memory that nobody else sees.

use std::{path::PathBuf, sync::Mutex};

use otoshi_once::hold;
use otoshi_project::{Lock, Project};

use crate::PipelineError;

/// A place that has a lock.
#[derive(Debug)]
pub(crate) enum LockPlace {
    File(PathBuf),
    /// In place of the file.
    Memory(Mutex<Lock>),
}

impl LockPlace {
    /// A project's `otoshi.lock`.
    pub(crate) fn of(project: &Project) -> Self {
        Self::File(project.root.join("otoshi.lock"))
    }

    /// A lock that only this process sees.
    pub(crate) fn in_memory(lock: Lock) -> Self {
        Self::Memory(Mutex::new(lock))
    }

    /// Whether what is written there is seen by nobody.
    fn is_in_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// What the lock says now.
    pub(crate) fn load(&self) -> Result<Lock, PipelineError> {
        match self {
            Self::Memory(lock) => Ok(hold(lock).clone()),
            Self::File(path) => Ok(Lock::load(path)?),
        }
    }

    /// Changes the lock; a file only where phases run, and not while planning.
    pub(crate) fn change<T>(
        &self,
        runs: bool,
        change: impl FnOnce(&mut Lock) -> Result<T, PipelineError>,
    ) -> Result<T, PipelineError> {
        let mut lock = self.load()?;
        let before = lock.clone();
        let done = change(&mut lock)?;
        if (runs || self.is_in_memory()) && lock != before {
            self.save(&lock)?;
        }
        Ok(done)
    }

    pub(crate) fn save(&self, lock: &Lock) -> Result<(), PipelineError> {
        match self {
            Self::Memory(own) => *hold(own) = lock.clone(),
            Self::File(path) => drop(lock.save(path)?),
        }
        Ok(())
    }
}
