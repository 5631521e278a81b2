//! Phase 4: one image per process, from a Dockerfile whose stages are the processes, or put together without one.
//!
//! Put together: paths copied out of the builder, the source and the compiled output, each a layer on the runner; a
//! process is another config over the same layers. A process's command is metadata in both ways.

use std::{collections::BTreeMap, sync::Arc};

use otoshi_engine::{
    AppLayer, AssembleRequest, BuildRequest, BuiltImage, Context, Event, Events, ImageChanges,
};
use otoshi_oci::{Digest, Image};
use otoshi_project::{NamedProcess, Phase, Role};

use super::{argv, bases_of, role_annotations};
use crate::{
    Part, Pipeline, PipelineError,
    files::RoleFile,
    observe::{Compiled, Observation, Observer},
    part::Value,
    pipeline::{Given, Job, Next, Ran, Walk},
    record::Made,
    source::Reader,
};

const PHASE: Phase = Phase::App;

impl Pipeline<'_> {
    /// Phase 4.
    pub(crate) fn app<'w>(
        &'w self,
        walk: &mut Walk<'w>,
        builder: &Given,
        compiled: &Given,
        runner: &Given,
    ) -> Result<Next<'w>, PipelineError> {
        let pending = |on| Ok(Next::Pending { phase: PHASE, on });
        if compiled.is_unknown() {
            return pending(if builder.is_unknown() { Phase::Builder } else { Phase::Compile });
        }
        let compiled = match compiled {
            Given::Made(made) => made.clone(),
            _ => Made::default(),
        };
        let mut seen = Observation::default();
        self.add_settings(PHASE, &mut seen);
        if let Some((_, content)) = &compiled.output {
            seen.add(Part::whole(Phase::Compile, content.clone()));
        }
        for process in &self.project.processes {
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
        if let Some(file) = &walk.files.app {
            return match self.waits_for(walk, file) {
                Some(on) => pending(on),
                None => self.app_stages(walk, file, compiled, seen),
            };
        }
        let Some(runner) = runner.image(Phase::Runner) else { return pending(Phase::Runner) };
        let needs_builder = !self.project.manifest.app.dependencies.is_empty();
        let builder = match builder {
            Given::Unknown if needs_builder => return pending(Phase::Builder),
            given => given.image(Phase::Builder),
        };
        self.app_layers(walk, builder, runner.clone(), compiled, seen)
    }

    /// From a Dockerfile; its context is the source with the compiled output over it.
    fn app_stages<'w>(
        &'w self,
        walk: &mut Walk<'w>,
        file: &'w RoleFile,
        compiled: Made,
        mut seen: Observation,
    ) -> Result<Next<'w>, PipelineError> {
        let context = self.context(walk, PHASE, Reader::Dockerfile(file))?;
        let images = self.images(walk, file);
        for process in &self.project.processes {
            seen.add_setting(format!("target of {}", process.name), &process.target);
        }
        let observer = Observer {
            engine: self.engine,
            layout: self.home.layout(),
            platform: &self.platform,
            file,
            images: &images,
            context: &context,
            compiled: self.compiled_tree(&compiled)?,
        };
        observer.observe(&mut seen)?;
        let bases = bases_of(walk, Role::App);
        let annotations: Vec<_> =
            file.targets.iter().map(|target| self.annotations(walk, file, target)).collect();
        let run = move |events: &dyn Events| {
            self.ensure_bases(Role::App, &bases, events)?;
            let merged = self.merged(&context, &compiled)?;
            let ca_certificates = self.ca_certificates()?;
            // Targets are in the order of the processes.
            let mut targets = file.targets.iter().zip(annotations);
            self.app_images(events, |process| {
                let Some((target, annotations)) = targets.next() else {
                    return Err(PipelineError::Fault(format!("the process {} has no target", process.name)));
                };
                let request = self.build_request(file, target, &merged, &images, annotations);
                let request = BuildRequest { ca_certificates: ca_certificates.clone(), ..request };
                self.app_stage(&request, process, events)
            })
        };
        Ok(Next::Job(Job { phase: PHASE, seen, run: Box::new(run) }))
    }

    /// A process that is a stage; what the project says of it wins over the stage.
    fn app_stage(
        &self,
        request: &BuildRequest,
        process: &NamedProcess,
        events: &dyn Events,
    ) -> Result<BuiltImage, PipelineError> {
        let failed = || PipelineError::engine_in(PHASE);
        let built = self.engine.build(request, events).map_err(failed())?;
        if process.command.is_none() && process.env.is_empty() && process.expose.is_empty() {
            return Ok(built);
        }
        let assemble = AssembleRequest {
            base: built.digest.clone(),
            layers: Vec::new(),
            changes: changes(process, ImageChanges::default()),
            annotations: request.annotations.clone(),
            platform: self.platform.clone(),
            output: self.output,
            versions_of: self.image_name(Role::App.as_str()),
            checkout: Some(self.project.root.clone()),
        };
        let changed = self.engine.assemble(&assemble, events).map_err(failed())?;
        Ok(BuiltImage {
            steps_run: built.steps_run,
            layers_written: built.layers_written + changed.layers_written,
            ..changed
        })
    }

    /// The compiled output, as far as planning looks at it.
    fn compiled_tree(&self, compiled: &Made) -> Result<Option<Compiled>, PipelineError> {
        let Some((id, _)) = &compiled.output else { return Ok(None) };
        if let (None, Some(links)) = (self.home.snapshots().get(id), &compiled.links) {
            return Ok(Some(Compiled::Links(links.clone())));
        }
        self.restore(compiled)?;
        Ok(Some(Compiled::Tree(self.home.snapshots().path(id))))
    }

    /// Brings the compiled output here, where only a registry has it.
    fn restore(&self, compiled: &Made) -> Result<(), PipelineError> {
        let Some((id, _)) = &compiled.output else { return Ok(()) };
        let (None, Some(artifact), Some(remote)) =
            (self.home.snapshots().get(id), &compiled.artifact, self.remote)
        else {
            return Ok(());
        };
        let image = Image::load(self.home.layout(), artifact, &self.platform)?;
        // The source comes first, what compiling wrote last.
        if let Some(layer) = image.layers().last() {
            remote.fetch_layer(layer)?;
            self.engine.unpack(&layer.digest, id).map_err(PipelineError::engine_in(Phase::Compile))?;
        }
        Ok(())
    }

    /// Source and compiled output as one context.
    fn merged(&self, context: &Arc<Context>, compiled: &Made) -> Result<Arc<Context>, PipelineError> {
        let failed = || PipelineError::engine_in(PHASE);
        let Some((output, _)) = &compiled.output else { return Ok(Arc::clone(context)) };
        self.restore(compiled)?;
        let source = context.snapshot(self.home, (0, 0)).map_err(failed())?;
        Context::overlay(self.home, &source, output, &self.project.root).map(Arc::new).map_err(failed())
    }

    /// Without a Dockerfile.
    fn app_layers<'w>(
        &'w self,
        walk: &mut Walk<'w>,
        builder: Option<&Digest>,
        runner: Digest,
        compiled: Made,
        mut seen: Observation,
    ) -> Result<Next<'w>, PipelineError> {
        let app = &self.project.manifest.app;
        let context = self.context(walk, PHASE, Reader::App)?;
        let directory = self.app_directory();
        // Its layers and its config become the app's: the manifest counts.
        seen.add(Part::whole(Phase::Runner, runner.clone()));
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
            let image = builder.ok_or_else(|| {
                PipelineError::invalid(
                    "[app] dependencies are copied out of the builder, and there is none",
                    "add [builder], or leave dependencies out",
                )
            })?;
            let content = self.engine.content(image, path).map_err(PipelineError::engine_in(PHASE))?;
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
            let request = self.assembly(&context, &compiled, runner, layers, directory)?;
            self.app_images(events, |process| {
                let changes = changes(process, request.changes.clone());
                let request = AssembleRequest { changes, ..request.clone() };
                self.engine.assemble(&request, events).map_err(PipelineError::engine_in(PHASE))
            })
        };
        Ok(Next::Job(Job { phase: PHASE, seen, run: Box::new(run) }))
    }

    /// Where source and compiled output go.
    fn app_directory(&self) -> String {
        let manifest = &self.project.manifest;
        let compile = manifest.compile.as_ref().map(|compile| compile.workdir.clone());
        manifest.app.dir.clone().or(compile).unwrap_or_else(|| "/app".to_owned())
    }

    fn assembly(
        &self,
        context: &Context,
        compiled: &Made,
        runner: Digest,
        mut layers: Vec<AppLayer>,
        directory: String,
    ) -> Result<AssembleRequest, PipelineError> {
        let app = &self.project.manifest.app;
        let source = context.snapshot(self.home, (0, 0)).map_err(PipelineError::engine_in(PHASE))?;
        layers.push(AppLayer::Tree {
            snapshot: source,
            at: directory.clone(),
            owner: Some((0, 0)),
            is_made: false,
        });
        if let Some((output, _)) = &compiled.output {
            self.restore(compiled)?;
            layers.push(AppLayer::Tree {
                snapshot: output.clone(),
                at: directory.clone(),
                owner: None,
                is_made: true,
            });
        }
        let mut annotations = role_annotations(Role::App);
        annotations.insert("org.opencontainers.image.base.digest".into(), runner.to_string());
        annotations.extend(self.seam(&runner));
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
            annotations,
            platform: self.platform.clone(),
            output: self.output,
            versions_of: self.image_name(Role::App.as_str()),
            checkout: Some(self.project.root.clone()),
        })
    }

    fn app_images(
        &self,
        events: &dyn Events,
        mut make: impl FnMut(&NamedProcess) -> Result<BuiltImage, PipelineError>,
    ) -> Result<Ran, PipelineError> {
        let (mut images, mut layers_written) = (BTreeMap::new(), 0);
        for process in &self.project.processes {
            let built = make(process)?;
            let problems = self.engine.why_it_cannot_start(&built.digest, &self.platform);
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
