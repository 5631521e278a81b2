//! What the compile command wrote, as phase 4 takes it: here, or in a registry until it is needed.

use std::sync::Arc;

use otoshi_engine::Context;
use otoshi_oci::Image;
use otoshi_project::Phase;

use crate::{PipelineError, observe::Compiled, record::Made, world::World};

/// What phase 2 made; nothing where the project compiles nothing.
pub(super) struct CompiledOutput<'w> {
    pub(super) world: &'w World<'w>,
    pub(super) made: Made,
}

impl CompiledOutput<'_> {
    /// The output, as far as planning looks at it.
    pub(super) fn tree(&self) -> Result<Option<Compiled>, PipelineError> {
        let snapshots = self.world.home.snapshots();
        let Some((id, _)) = &self.made.output else { return Ok(None) };
        if let (None, Some(links)) = (snapshots.get(id), &self.made.links) {
            return Ok(Some(Compiled::Links(links.clone())));
        }
        self.restore()?;
        Ok(Some(Compiled::Tree(snapshots.path(id))))
    }

    /// Brings the output here, where only a registry has it.
    pub(super) fn restore(&self) -> Result<(), PipelineError> {
        let world = self.world;
        let Some((id, _)) = &self.made.output else { return Ok(()) };
        let (None, Some(artifact), Some(remote)) =
            (world.home.snapshots().get(id), &self.made.artifact, world.remote)
        else {
            return Ok(());
        };
        let image = Image::load(world.home.layout(), artifact, &world.platform)?;
        // The source comes first, what compiling wrote last.
        if let Some(layer) = image.layers().last() {
            remote.fetch_layer(layer)?;
            world.engine.unpack(&layer.digest, id).map_err(PipelineError::engine_in(Phase::Compile))?;
        }
        Ok(())
    }

    /// The source and the output over it as one context.
    pub(super) fn over(&self, context: &Arc<Context>) -> Result<Arc<Context>, PipelineError> {
        let failed = || PipelineError::engine_in(Phase::App);
        let Some((output, _)) = &self.made.output else { return Ok(Arc::clone(context)) };
        self.restore()?;
        let (home, root) = (self.world.home, &self.world.project.root);
        let source = context.snapshot(home, (0, 0)).map_err(failed())?;
        Context::overlay(home, &source, output, root).map(Arc::new).map_err(failed())
    }
}
