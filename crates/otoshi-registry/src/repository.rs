//! Where something is: a registry's host and a repository in it.

use std::fmt;

use otoshi_oci::Reference;
use serde::{Deserialize, Serialize};

use crate::error::Asked;

/// Names a repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Repository {
    /// The registry's host as references have it, with its port if it has one.
    pub registry: String,
    /// The repository's name in it.
    pub name: String,
}

impl Repository {
    /// The repository that a reference is in.
    pub fn of(reference: &Reference) -> Self {
        Self { registry: reference.registry().to_owned(), name: reference.repository().to_owned() }
    }

    pub(crate) fn asked(&self, what: impl Into<String>) -> Asked {
        Asked { repository: self.to_string(), what: what.into() }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}
