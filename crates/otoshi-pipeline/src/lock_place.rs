//! Where a project's lock is: its `otoshi.lock`, or one in memory that nobody else sees.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

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
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// What the lock says now.
    pub(crate) fn load(&self) -> Result<Lock, PipelineError> {
        match self {
            Self::Memory(lock) => Ok(lock.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Self::File(path) => Ok(Lock::load(path)?),
        }
    }

    pub(crate) fn save(&self, lock: &Lock) -> Result<(), PipelineError> {
        match self {
            Self::Memory(own) => *own.lock().unwrap_or_else(PoisonError::into_inner) = lock.clone(),
            Self::File(path) => drop(lock.save(path)?),
        }
        Ok(())
    }
}
