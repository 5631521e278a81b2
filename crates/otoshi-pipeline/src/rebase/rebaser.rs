//! What all rebases have in common: the store, registries, and what was asked there once.

use std::{collections::BTreeSet, sync::Arc};

use otoshi_oci::{DiffId, Digest, Platform, Reference};
use otoshi_once::{Keyed, OnceMap};
use otoshi_rebase::{Waiver, proof::Base};
use otoshi_registry::Repository;
use otoshi_store::Home;

use super::images::{Images, Named};
use crate::{PipelineError, Remote};

/// Says what is to be done with an image.
#[derive(Debug, Clone, Default)]
pub struct RebaseOptions {
    /// The new base; without it, what the name of the old base stands for now.
    pub onto: Option<Reference>,
    /// The old base, where the image does not say it.
    pub base: Option<Reference>,
    /// The platforms that move, all where there are none.
    pub platforms: Vec<Platform>,
    /// Findings that are accepted.
    pub allow: Vec<Waiver>,
    /// Nothing is written.
    pub dry_run: bool,
}

/// Puts images on another base.
pub struct Rebaser<'a> {
    pub(super) home: &'a Home,
    pub(super) remote: &'a Remote,
    names: OnceMap<Reference, Option<Arc<Named>>>,
    pub(super) proofs: OnceMap<Vec<DiffId>, Arc<Base>>,
    /// The tags of repositories, as far as they say what belongs to an image.
    pub(super) tags: OnceMap<Repository, Option<Arc<BTreeSet<String>>>>,
    /// Layers of new bases that were taken over into repositories.
    pub(super) taken: Keyed<Repository, BTreeSet<Digest>>,
}

impl<'a> Rebaser<'a> {
    /// Works on a store and the registries behind it.
    pub fn new(home: &'a Home, remote: &'a Remote) -> Self {
        let (names, proofs, tags, taken) = Default::default();
        Self { home, remote, names, proofs, tags, taken }
    }

    pub(super) fn images(&self) -> Images<'_> {
        Images { home: self.home, remote: self.remote }
    }

    /// What a base's name stands for; asked once.
    pub(super) fn name(&self, reference: &Reference) -> Result<Option<Arc<Named>>, PipelineError> {
        self.names.try_get(reference.clone(), || Ok(self.images().named(reference)?.map(Arc::new)))
    }
}

/// The error of a name that nothing has.
pub(super) fn missing(reference: &Reference) -> PipelineError {
    PipelineError::Missing { reference: reference.familiar() }
}

impl std::fmt::Debug for Rebaser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebaser").finish_non_exhaustive()
    }
}
