//! Phases 1 and 3: the builder and the runner, each a Dockerfile; on the runner a layer of newer packages, where the lock has some.

use std::collections::BTreeMap;

use otoshi_engine::Events;
use otoshi_project::Phase;

use super::{commands::seen_by_all, dockerfile::RoleBuild, upgrade::Upgrader};
use crate::{
    Part, PipelineError,
    files::RoleFile,
    job::{Job, Next, Ran},
    record::Made,
    walk::Walk,
};

/// Phase 1.
pub(crate) fn builder<'w>(walk: &mut Walk<'w>) -> Result<Next<'w>, PipelineError> {
    let Some(file) = &walk.files.builder else { return Ok(Next::Absent) };
    image_phase(walk, file)
}

/// Phase 3.
pub(crate) fn runner<'w>(walk: &mut Walk<'w>) -> Result<Next<'w>, PipelineError> {
    let file = &walk.files.runner;
    image_phase(walk, file)
}

fn image_phase<'w>(walk: &mut Walk<'w>, file: &'w RoleFile) -> Result<Next<'w>, PipelineError> {
    let (world, role, phase) = (walk.world, file.role, file.phase);
    if let Some(on) = walk.waits_for(file) {
        return Ok(Next::Pending { phase, on });
    }
    let build = RoleBuild::of(walk, file)?;
    let mut seen = seen_by_all(world, phase);
    for target in file.targets.iter().filter_map(|target| target.name.as_ref()) {
        seen.add_setting("target", target);
    }
    build.observe(None, &mut seen)?;
    let upgrades = if phase == Phase::Runner { walk.bases.upgrades.clone() } else { BTreeMap::new() };
    for (package, version) in &upgrades {
        seen.add(Part::Upgrade { package: package.to_string(), version: version.to_string() });
    }
    let run = move |events: &dyn Events| {
        build.ensure_bases(events)?;
        let (mut made, mut layers_written) = (Made::default(), 0);
        for request in build.requests(&build.context)? {
            let built = world.engine.build(&request, events).map_err(PipelineError::engine_in(phase))?;
            layers_written += built.layers_written;
            let (digest, more) = Upgrader(world).upgraded(built.digest, &upgrades, events)?;
            layers_written += more;
            made.images.insert(role.to_string(), digest);
        }
        Ok(Ran { made, layers_written })
    };
    Ok(Next::Job(Job { phase, seen, run: Box::new(run) }))
}
