//! Phase 2: the compile command on a copy-on-write view of the source, in the builder; in the runner without one.

use otoshi_dockerfile::Ignore;
use otoshi_engine::{CacheMount, EngineError, Event, Events, RunRequest, Stdio, View};
use otoshi_oci::Image;
use otoshi_project::{Command, Phase};
use otoshi_tree::Inside;

use super::commands::{CommandSettings, form, seen_by_all};
use crate::{
    Part, PipelineError,
    job::{Given, Job, Next, Ran},
    leftover,
    part::Value,
    record::Made,
    source::Reader,
    walk::Walk,
};

const PHASE: Phase = Phase::Compile;

/// Phase 2, in the image that the phase `on` gave.
pub(crate) fn compile<'w>(walk: &mut Walk<'w>, on: Phase, given: &Given) -> Result<Next<'w>, PipelineError> {
    let (world, commands) = (walk.world, CommandSettings(walk.world.project));
    let Some(compile) = &world.project.manifest.compile else { return Ok(Next::Absent) };
    let Some(image) = given.image(on).cloned() else {
        return Ok(Next::Pending { phase: PHASE, on });
    };
    let failed = || PipelineError::engine_in(PHASE);
    let context = walk.context(PHASE, Reader::Compile)?;
    let mut seen = seen_by_all(world, PHASE);
    // A command sees files and settings, not how they are compressed: the config has the digests of both.
    let config = Image::load(world.home.layout(), &image, &world.platform).map_err(EngineError::from);
    seen.add(Part::whole(on, config.map_err(failed())?.id()));
    seen.add_source(PHASE, &context)?;
    seen.add(Part::Setting { name: "compile.run".into(), value: (&compile.run).into() });
    seen.add_setting("compile.workdir", &compile.workdir);
    seen.add_setting("compile.entrypoint", compile.entrypoint);
    for (name, value) in &compile.env {
        seen.add_setting(format!("compile.env.{name}"), value);
    }
    for (name, list) in [
        ("caches", &compile.caches),
        ("outputs", &compile.outputs),
        ("exclude", &compile.exclude),
        // Their names: a secret's value never counts.
        ("secrets", &compile.secrets),
    ] {
        if !list.is_empty() {
            seen.add(Part::Setting { name: format!("compile.{name}"), value: Value::List(list.clone()) });
        }
    }
    let run = move |events: &dyn Events| {
        let source = context.snapshot(world.home, (0, 0)).map_err(failed())?;
        // Another project's command has no say in what this one finds there.
        let id = |path: &str| format!("{} {path}", world.project.manifest.project.name);
        let cache = |path: &String| CacheMount { id: id(path), target: path.clone(), locked: true };
        let request = RunRequest {
            platform: world.platform.clone(),
            entrypoint: compile.entrypoint,
            env: compile.env.clone().into_iter().collect(),
            cwd: Some(compile.workdir.clone()),
            view: Some(View { tree: world.home.snapshots().path(&source), at: compile.workdir.clone() }),
            keep: true,
            outputs: compile.outputs.clone(),
            exclude: compile.exclude.clone(),
            caches: compile.caches.iter().map(cache).collect(),
            secrets: commands
                .secrets()
                .into_iter()
                .filter(|(name, _)| compile.secrets.contains(name))
                .collect(),
            network: commands.network(),
            network_cache: commands.network_cache(),
            ca_certificates: commands.ca_certificates()?,
            stdio: Stdio::Events,
            ..RunRequest::new(image, PHASE.as_str(), Some(form(&compile.run)))
        };
        let outcome = world.engine.run(&request, events).map_err(failed())?;
        if outcome.code != 0 {
            // On one line, whatever it holds.
            let what = match &compile.run {
                Command::Shell(text) => format!("{text:?}"),
                argv @ Command::Exec(_) => argv.to_string(),
            };
            return Err(failed()(EngineError::Command { what, code: outcome.code, at: None }));
        }
        let kept = outcome.output.as_ref().map(|(output, _)| world.home.snapshots().path(output));
        let inside = kept.as_ref().and_then(|tree| Inside::open(tree).ok());
        let is_missing =
            |path: &&String| inside.as_ref().is_none_or(|tree| !tree.has(path.trim_matches('/')));
        for path in compile.outputs.iter().filter(is_missing) {
            events.event(Event::Warning(format!("[compile] outputs: the command has not written {path}")));
        }
        if let Some(tree) = kept.filter(|_| compile.outputs.is_empty()) {
            let ignore =
                Ignore::parse(&world.source().said_ignore()?).map_err(EngineError::from).map_err(failed())?;
            let warning = leftover::warning(&tree, &ignore);
            let warning = warning.map_err(|source| PipelineError::Read { path: tree, source })?;
            if let Some(warning) = warning {
                events.event(Event::Warning(warning));
            }
        }
        Ok(Ran { made: Made { output: outcome.output, ..Made::default() }, layers_written: 0 })
    };
    Ok(Next::Job(Job { phase: PHASE, seen, run: Box::new(run) }))
}
