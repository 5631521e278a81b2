//! Phase 4: one image per process, from a Dockerfile whose stages are the processes, or put together without one.
//!
//! Put together: paths copied out of the builder, the source and the compiled output, each a layer on the runner; a
//! process is another config over the same layers. A process's command is metadata in both ways.

use std::collections::BTreeMap;

use otoshi_engine::{
    AppLayer, AssembleRequest, BuildRequest, BuiltImage, Context, Event, Events, ImageChanges, Output,
};
use otoshi_oci::Digest;
use otoshi_project::{NamedProcess, Phase, Role};

use super::{
    annotations,
    commands::{argv, seen_by_all},
    dockerfile::RoleBuild,
    output::CompiledOutput,
};
use crate::{
    Part, PipelineError,
    files::RoleFile,
    job::{Given, Job, Next, Ran},
    observe::Observation,
    part::Value,
    record::Made,
    source::Reader,
    walk::Walk,
    world::World,
};

const PHASE: Phase = Phase::App;

/// What the phases before this one gave.
pub(crate) struct Before<'g> {
    pub(crate) builder: &'g Given,
    pub(crate) compiled: &'g Given,
    pub(crate) runner: &'g Given,
}

/// Phase 4.
pub(crate) fn app<'w>(walk: &mut Walk<'w>, before: &Before<'_>) -> Result<Next<'w>, PipelineError> {
    let (world, Before { builder, .. }) = (walk.world, before);
    let pending = |on| Ok(Next::Pending { phase: PHASE, on });
    if before.compiled.is_unknown() {
        return pending(if builder.is_unknown() { Phase::Builder } else { Phase::Compile });
    }
    let made = match before.compiled {
        Given::Made(made) => made.clone(),
        _ => Made::default(),
    };
    let mut seen = seen_by_all(world, PHASE);
    if let Some((_, content)) = &made.output {
        seen.add(Part::whole(Phase::Compile, content.clone()));
    }
    for process in &world.project.processes {
        // The name is the image's; without a command a stage says it.
        let command = process.command.as_ref().map(Value::from);
        seen.add(Part::Process { name: process.name.clone(), command });
        for (name, value) in &process.env {
            seen.add_setting(format!("{}.env.{name}", process.name), value);
        }
        if !process.expose.is_empty() {
            let (name, value) = (format!("{}.expose", process.name), Value::List(process.expose.clone()));
            seen.add(Part::Setting { name, value });
        }
    }
    let (assembler, compiled) = (Assembler(world), CompiledOutput { world, made });
    if let Some(file) = &walk.files.app {
        return match walk.waits_for(file) {
            Some(on) => pending(on),
            None => assembler.stages(walk, file, compiled, seen),
        };
    }
    let Some(runner) = before.runner.image(Phase::Runner) else { return pending(Phase::Runner) };
    let needs_builder = !world.project.manifest.app.dependencies.is_empty();
    let builder = match builder {
        Given::Unknown if needs_builder => return pending(Phase::Builder),
        given => given.image(Phase::Builder),
    };
    let below = Below { builder: builder.cloned(), runner: runner.clone() };
    assembler.layers(walk, below, compiled, seen)
}

/// The images that app images without a Dockerfile are put together from.
struct Below {
    builder: Option<Digest>,
    runner: Digest,
}

/// Puts the images of processes together.
#[derive(Clone, Copy)]
struct Assembler<'w>(&'w World<'w>);

impl<'w> Assembler<'w> {
    /// From a Dockerfile; its context is the source with the compiled output over it.
    fn stages(
        self,
        walk: &mut Walk<'w>,
        file: &'w RoleFile,
        compiled: CompiledOutput<'w>,
        mut seen: Observation,
    ) -> Result<Next<'w>, PipelineError> {
        let build = RoleBuild::of(walk, file)?;
        for process in &self.0.project.processes {
            seen.add_setting(format!("target of {}", process.name), &process.target);
        }
        build.observe(compiled.tree()?, &mut seen)?;
        let run = move |events: &dyn Events| {
            build.ensure_bases(events)?;
            let merged = compiled.over(&build.context)?;
            // Targets are in the order of the processes.
            let mut requests = build.requests(&merged)?;
            self.images(events, |process| {
                let request = requests.next().ok_or_else(|| {
                    PipelineError::Fault(format!("the process {} has no target", process.name))
                })?;
                self.stage(&request, process, events)
            })
        };
        Ok(Next::Job(Job { phase: PHASE, seen, run: Box::new(run) }))
    }

    /// A process that is a stage; what the project says of it wins over the stage.
    fn stage(
        self,
        request: &BuildRequest,
        process: &NamedProcess,
        events: &dyn Events,
    ) -> Result<BuiltImage, PipelineError> {
        let failed = || PipelineError::engine_in(PHASE);
        let built = self.0.engine.build(request, events).map_err(failed())?;
        if process.command.is_none() && process.env.is_empty() && process.expose.is_empty() {
            return Ok(built);
        }
        let assemble = AssembleRequest {
            base: built.digest.clone(),
            layers: Vec::new(),
            changes: changes(process, ImageChanges::default()),
            annotations: request.annotations.clone(),
            platform: self.0.platform.clone(),
            output: Output::default(),
            versions_of: self.0.image_name(Role::App.as_str()),
            checkout: Some(self.0.project.root.clone()),
        };
        let changed = self.0.engine.assemble(&assemble, events).map_err(failed())?;
        Ok(BuiltImage {
            steps_run: built.steps_run,
            layers_written: built.layers_written + changed.layers_written,
            ..changed
        })
    }

    /// Without a Dockerfile.
    fn layers(
        self,
        walk: &mut Walk<'w>,
        below: Below,
        compiled: CompiledOutput<'w>,
        mut seen: Observation,
    ) -> Result<Next<'w>, PipelineError> {
        let app = &self.0.project.manifest.app;
        let context = walk.context(PHASE, Reader::App)?;
        let directory = self.directory();
        // Its layers and its config become the app's: the manifest counts.
        seen.add(Part::whole(Phase::Runner, below.runner.clone()));
        seen.add_source(PHASE, &context)?;
        seen.add_setting("app.dir", &directory);
        for (name, value) in &app.env {
            seen.add_setting(format!("app.env.{name}"), value);
        }
        if let Some(user) = &app.user {
            seen.add_setting("app.user", user);
        }
        if !app.expose.is_empty() {
            seen.add(Part::Setting { name: "app.expose".into(), value: Value::List(app.expose.clone()) });
        }
        // Which layers there are, and in which order.
        let value = Value::List(app.dependencies.clone());
        seen.add(Part::Setting { name: "app.dependencies".into(), value });
        let mut layers = Vec::new();
        for path in &app.dependencies {
            let image = below.builder.as_ref().ok_or_else(|| {
                PipelineError::invalid(
                    "[app] dependencies are copied out of the builder, and there is none",
                    "add [builder], or leave dependencies out",
                )
            })?;
            let content = self.0.engine.content(image, path).map_err(PipelineError::engine_in(PHASE))?;
            let content = content.ok_or_else(|| {
                PipelineError::invalid(
                    format!("[app] dependencies: the builder image has no {path}"),
                    "name paths that the builder's Dockerfile makes",
                )
            })?;
            seen.add(Part::at_path(Phase::Builder, path, Some(content)));
            layers.push(AppLayer::CopyFrom { image: image.clone(), path: path.clone() });
        }
        let run = move |events: &dyn Events| {
            let request = self.request(&context, &compiled, below.runner, layers)?;
            self.images(events, |process| {
                let changes = changes(process, request.changes.clone());
                let request = AssembleRequest { changes, ..request.clone() };
                self.0.engine.assemble(&request, events).map_err(PipelineError::engine_in(PHASE))
            })
        };
        Ok(Next::Job(Job { phase: PHASE, seen, run: Box::new(run) }))
    }

    /// Where source and compiled output go.
    fn directory(self) -> String {
        let manifest = &self.0.project.manifest;
        let compile = manifest.compile.as_ref().map(|compile| compile.workdir.clone());
        manifest.app.dir.clone().or(compile).unwrap_or_else(|| "/app".to_owned())
    }

    fn request(
        self,
        context: &Context,
        compiled: &CompiledOutput<'_>,
        runner: Digest,
        mut layers: Vec<AppLayer>,
    ) -> Result<AssembleRequest, PipelineError> {
        let directory = self.directory();
        let app = &self.0.project.manifest.app;
        let source = context.snapshot(self.0.home, (0, 0)).map_err(PipelineError::engine_in(PHASE))?;
        layers.push(AppLayer::Tree {
            snapshot: source,
            at: directory.clone(),
            owner: Some((0, 0)),
            is_made: false,
        });
        if let Some((output, _)) = &compiled.made.output {
            compiled.restore()?;
            layers.push(AppLayer::Tree {
                snapshot: output.clone(),
                at: directory.clone(),
                owner: None,
                is_made: true,
            });
        }
        let mut said = annotations::of_role(Role::App);
        said.insert("org.opencontainers.image.base.digest".into(), runner.to_string());
        said.extend(annotations::of_seam(self.0, &runner));
        Ok(AssembleRequest {
            base: runner,
            layers,
            changes: ImageChanges {
                env: app.env.clone(),
                exposed_ports: app.expose.iter().map(port).collect(),
                working_dir: Some(directory),
                user: app.user.clone(),
                ..ImageChanges::default()
            },
            annotations: said,
            platform: self.0.platform.clone(),
            output: Output::default(),
            versions_of: self.0.image_name(Role::App.as_str()),
            checkout: Some(self.0.project.root.clone()),
        })
    }

    fn images(
        self,
        events: &dyn Events,
        mut make: impl FnMut(&NamedProcess) -> Result<BuiltImage, PipelineError>,
    ) -> Result<Ran, PipelineError> {
        let (mut images, mut layers_written) = (BTreeMap::new(), 0);
        for process in &self.0.project.processes {
            let built = make(process)?;
            let problems = self.0.engine.why_it_cannot_start(&built.digest, &self.0.platform);
            for problem in problems.map_err(PipelineError::engine_in(PHASE))? {
                events.event(Event::Warning(format!("{} will not start: {problem}", process.name)));
            }
            layers_written += built.layers_written;
            images.insert(process.name.clone(), built.digest);
        }
        Ok(Ran { made: Made { images, ..Made::default() }, layers_written })
    }
}

/// The settings of a process's image, on top of those that all have.
fn changes(process: &NamedProcess, of_all: ImageChanges) -> ImageChanges {
    let mut changes = of_all;
    changes.cmd = process.command.as_ref().map(argv);
    changes.env.extend(process.env.clone());
    changes.exposed_ports.extend(process.expose.iter().map(port));
    changes
}

/// A port as a config has it: TCP, where nothing else is said.
fn port(port: &String) -> String {
    if port.contains('/') { port.clone() } else { format!("{port}/tcp") }
}
