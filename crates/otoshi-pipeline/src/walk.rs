//! The state of one walk over the phases: what is known so far, and what each phase turned out to be.

use std::{collections::BTreeMap, sync::Arc};

use otoshi_engine::{Context, Events};
use otoshi_oci::Digest;
use otoshi_project::{Phase, Role};

use crate::{
    Part, PhasePlan, PipelineError,
    bases::Bases,
    files::{Files, RoleFile},
    job::{Given, Settled},
    source::{Reader, Source},
    world::World,
};

/// The state of one walk.
pub(crate) struct Walk<'a> {
    pub(crate) world: &'a World<'a>,
    /// `None` while planning.
    pub(crate) events: Option<&'a dyn Events>,
    pub(crate) files: &'a Files,
    pub(crate) bases: &'a Bases,
    /// Images of the roles that are known: reference → manifest.
    pub(crate) roles: BTreeMap<String, Digest>,
    pub(crate) phases: Vec<PhasePlan>,
    pub(crate) settled: Vec<Settled>,
    /// While planning: what each phase observes, as far as that is known.
    pub(crate) observed: Vec<(Phase, Vec<Part>)>,
    source: Source<'a>,
    contexts: BTreeMap<String, Arc<Context>>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        world: &'a World<'a>,
        events: Option<&'a dyn Events>,
        files: &'a Files,
        bases: &'a Bases,
    ) -> Self {
        Self {
            world,
            events,
            files,
            bases,
            roles: BTreeMap::new(),
            phases: Vec::new(),
            settled: Vec::new(),
            observed: Vec::new(),
            source: world.source(),
            contexts: BTreeMap::new(),
        }
    }

    /// Lets later Dockerfiles see a role's image.
    pub(crate) fn know(&mut self, phase: Phase, given: &Given) {
        if let (Some(digest), Some(role)) = (given.image(phase), phase.role()) {
            self.roles.insert(self.world.role_reference(role), digest.clone());
        }
    }

    /// The phase whose image a Dockerfile reaches and that is not known yet.
    pub(crate) fn waits_for(&self, file: &RoleFile) -> Option<Phase> {
        let images = file.images();
        let unknown =
            [(Role::Builder, Phase::Builder), (Role::Runner, Phase::Runner)].into_iter().find(|(role, _)| {
                let reference = self.world.role_reference(*role);
                images.contains(&reference) && !self.roles.contains_key(&reference)
            });
        unknown.map(|(_, phase)| phase)
    }

    /// The source as a phase sees it, scanned once for each list of what is left out.
    pub(crate) fn context(
        &mut self,
        phase: Phase,
        reader: Reader<'_>,
    ) -> Result<Arc<Context>, PipelineError> {
        let text = self.source.ignore_text(reader)?;
        if let Some(context) = self.contexts.get(&text) {
            return Ok(Arc::clone(context));
        }
        let scanned = self.source.scan(&text, self.events).map_err(PipelineError::engine_in(phase))?;
        let context = Arc::new(scanned);
        self.contexts.insert(text, Arc::clone(&context));
        Ok(context)
    }
}
