//! Building one target: the reachable stages, each on a thread of its own, instruction by instruction.
//!
//! A stage starts when the stage below it is done, and a COPY waits for the stage it reads from only when it comes to
//! it. Stages refer to earlier stages only, so nobody waits in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Instant,
};

use otoshi_dockerfile::{Base, GlobalScope, Graph, Instruction, Located, Scope};
use otoshi_explain::Panicked;
use otoshi_http::SafeUrl;
use otoshi_oci::Platform;
use otoshi_store::SnapshotId;

use super::{
    EmbeddedEngine,
    build::Build,
    chain::Layer,
    copy_step::{self, Written},
    export::{Placement, Writing, steps_below},
    outside::{Outside, epoch, named_context},
    rootfs,
    run_step::{self, Stepped},
    setting,
    stage::Stage,
};
use crate::{BuildRequest, BuiltImage, EngineError, Event, Events, NamedContext, Output, StepId};

static BUILDS: AtomicUsize = AtomicUsize::new(0);

/// Builds the request's target and writes its image.
pub(crate) fn build(
    engine: &EmbeddedEngine,
    request: &BuildRequest,
    events: &dyn Events,
) -> Result<BuiltImage, EngineError> {
    let dockerfile = &request.dockerfile;
    let globals = GlobalScope::evaluate_for(
        dockerfile,
        &request.args,
        &request.platform.to_string(),
        &Platform::host().to_string(),
        request.target.as_deref(),
    )?;
    let outside = Outside { engine, request };
    let graph = Graph::reach_in(dockerfile, &globals, request.target.as_deref(), &outside)?;
    let output = Output { epoch: epoch(request, &globals)?, ..request.output };
    let build = Build {
        engine,
        request,
        events,
        number: BUILDS.fetch_add(1, Ordering::Relaxed),
        output,
        globals,
        args: request.args.clone(),
        done: Mutex::new(BTreeMap::new()),
        changed: Condvar::new(),
        stopped: AtomicBool::new(false),
        told_of_proxies: AtomicBool::new(false),
        steps_run: AtomicUsize::new(0),
        layers_written: AtomicUsize::new(0),
        exported: exported(&graph),
        graph,
    };
    let mut failures: Vec<EngineError> = Vec::new();
    let build_ref = &build;
    std::thread::scope(|scope| {
        let (ahead, results) = mpsc::channel();
        // Layers are written while the next steps run.
        scope.spawn(move || build_ref.write_ahead(&results));
        let spawn = |&index: &usize| {
            let ahead = ahead.clone();
            scope.spawn(move || build_ref.stage(index, &ahead))
        };
        let threads: Vec<_> = build_ref.graph.order.iter().map(spawn).collect();
        drop(ahead);
        for thread in threads {
            let panicked = |_| Err(EngineError::from(Panicked { what: "the thread of a stage" }));
            failures.extend(thread.join().unwrap_or_else(panicked).err());
        }
    });
    // The failure that stopped the others is the one to tell.
    failures.sort_by_key(|error| matches!(error, EngineError::Stopped));
    if let Some(error) = failures.into_iter().next() {
        return Err(error);
    }
    let stage = build.wait(build.graph.target)?;
    let writing = Writing { output, written: &build.layers_written, events };
    let mut image = engine.export(&stage, &request.labels, &request.annotations, writing)?;
    image.steps_run = build.steps_run.into_inner();
    Ok(image)
}

/// The target, and the stages that it starts from.
fn exported(graph: &Graph) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut next = Some(graph.target);
    while let Some(index) = next.filter(|index| found.insert(*index)) {
        next = match graph.stages.get(&index).map(|stage| &stage.base) {
            Some(Base::Stage(parent)) => Some(*parent),
            _ => None,
        };
    }
    found
}

/// What a step left, to be written as a layer; the results below it, the topmost first.
struct Ahead {
    snapshot: SnapshotId,
    below: Vec<SnapshotId>,
}

impl Build<'_> {
    /// Writes layers of results as they come, one after the other.
    ///
    /// A layer that cannot be written is tried again when the image is, and the failure is told then.
    fn write_ahead(&self, results: &mpsc::Receiver<Ahead>) {
        for Ahead { snapshot, below } in results {
            if self.is_stopped() {
                return;
            }
            let placement = Placement::default();
            let writing = Writing { output: self.output, written: &self.layers_written, events: self.events };
            let blob = self.engine.blob_of(&snapshot, &below, &placement, writing);
            if let Err(error) = blob {
                tracing::debug!(%error, "a layer could not be written ahead");
            }
        }
    }

    /// Builds a stage and tells everybody who waits; hands results of exported stages on, to be written.
    fn stage(&self, index: usize, ahead: &mpsc::Sender<Ahead>) -> Result<(), EngineError> {
        let result = self.build_stage(index, ahead);
        let (outcome, result) = match result {
            Ok(stage) => (Some(stage), Ok(())),
            Err(error) => {
                if !self.stopped.swap(true, Ordering::SeqCst) {
                    self.engine.stop(self.number);
                }
                (None, Err(error))
            }
        };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, outcome);
        self.changed.notify_all();
        result
    }

    fn build_stage(&self, index: usize, ahead: &mpsc::Sender<Ahead>) -> Result<Stage, EngineError> {
        let request = self.request;
        let source = &request.dockerfile.stages[index];
        let epoch = self.output.epoch;
        let reached = &self.graph.stages[&index];
        let at = |error: EngineError| self.locate(error, &source.from.span);
        let platform = self.platform(reached).map_err(at)?;
        let scope = |env| Scope::for_base(&self.globals, &self.args, env);
        let on = |image: &otoshi_oci::Image| {
            // Nothing runs in a stage that a context stands for. And a registry that did not answer at first may do so now.
            let is_replaced =
                matches!(&reached.base, Base::Named(context) if source.name.as_ref() == Some(context));
            if !is_replaced && image.config.config.on_build.len() != reached.triggers.len() {
                return Err(at(EngineError::Invalid {
                    message: "the base's ONBUILD triggers could not be read when the build began".into(),
                    hint: Some("run the same command again".into()),
                }));
            }
            Ok(Stage::of(image, scope, epoch))
        };
        let mut stage = match &reached.base {
            Base::Scratch => Stage::on_scratch(&platform, scope, epoch),
            Base::Stage(parent) => Stage::on_stage(&self.wait(*parent)?),
            Base::Image(name) => on(&self.engine.find_image(request, name, &platform).map_err(at)?)?,
            Base::Named(name) => match named_context(request, name) {
                Some(NamedContext::Image(digest)) => {
                    on(&self.engine.image(digest, &platform).map_err(at)?)?
                }
                Some(NamedContext::Directory(context)) => {
                    let mut stage = Stage::on_scratch(&platform, scope, epoch);
                    stage.push(context.snapshot(self.engine.home(), (0, 0))?, &format!("context {name}"));
                    stage
                }
                Some(NamedContext::Scratch) => Stage::on_scratch(&platform, scope, epoch),
                None => return Err(at(EngineError::invalid(format!("there is no context {name}")))),
            },
        };
        if let (Base::Image(name), own) = (&reached.base, stage.config.platform())
            && (own.os != platform.os || own.architecture != platform.architecture)
        {
            let text = format!("{name} is for {own}, and the build asks for {platform}");
            self.events.event(Event::Warning(text));
        }
        // The triggers below run now, and are none of this stage's own.
        stage.config.config.on_build.clear();
        let instructions: Vec<&Located<Instruction>> = reached.instructions(&request.dockerfile).collect();
        let unnamed = || match index {
            0 => self.request.dockerfile.name.clone(),
            _ => format!("{} {index}", self.request.dockerfile.name),
        };
        let name = source.name.clone().unwrap_or_else(unnamed);
        let total = instructions.len();
        for (place, instruction) in instructions.into_iter().enumerate() {
            if self.is_stopped() {
                return Err(EngineError::Stopped);
            }
            let step = StepId::next();
            let started = Instant::now();
            let shown = leaves_files(&instruction.value);
            if shown {
                self.events.event(Event::Started {
                    step,
                    stage: name.clone(),
                    place: (place + 1, total),
                    instruction: without_logins(instruction),
                });
            }
            let layers = stage.chain.layers.len();
            match self.instruction(&mut stage, index, instruction, step) {
                Ok(cached) => {
                    if !cached {
                        self.steps_run.fetch_add(1, Ordering::Relaxed);
                        let new = stage.chain.layers.get(layers).filter(|_| self.exported.contains(&index));
                        if let Some(Layer::Step(snapshot)) = new {
                            // Nobody listens once the build is stopped.
                            let below = steps_below(&stage.chain.layers[..layers]);
                            let _ = ahead.send(Ahead { snapshot: snapshot.clone(), below });
                        }
                    }
                    if shown {
                        self.events.event(Event::Done { step, cached, took: started.elapsed() });
                    }
                }
                Err(error) => {
                    if shown {
                        self.events.event(Event::Failed { step });
                    }
                    return Err(self.locate(error, &instruction.span));
                }
            }
        }
        Ok(stage)
    }

    /// Carries out one instruction; tells whether nothing had to run for it.
    fn instruction(
        &self,
        stage: &mut Stage,
        index: usize,
        instruction: &Located<Instruction>,
        step: StepId,
    ) -> Result<bool, EngineError> {
        let text = without_logins(instruction);
        let text = text.as_str();
        let mut cached = true;
        let mut stepped = |stage: &mut Stage, result: Stepped, text: &str| {
            stage.push(result.snapshot, text);
            cached = result.cached;
        };
        match &instruction.value {
            Instruction::Run(run) => {
                let result = run_step::run(self, stage, index, run, step)?;
                let command = stage.argv(&run.script()).join(" ");
                stepped(stage, result, &format!("RUN {command}"));
            }
            Instruction::Copy(copy) => {
                let result = copy_step::copy(self, stage, index, Written { copy, add: None, text })?;
                stepped(stage, result, text);
            }
            Instruction::Add(add) => {
                let result =
                    copy_step::copy(self, stage, index, Written { copy: &add.copy, add: Some(add), text })?;
                stepped(stage, result, text);
            }
            Instruction::Workdir(word) => {
                let text_path = stage.scope.expand(word)?;
                let path = rootfs::absolute(stage.cwd(), &text_path);
                let made = run_step::workdir(self.engine, stage, &path, self.request.no_cache)?;
                // An absolute path stays as it is written; a relative one is joined, and nothing changes nothing.
                if text_path.starts_with('/') {
                    stage.config.config.working_dir = text_path;
                } else if !text_path.is_empty() || stage.config.config.working_dir.is_empty() {
                    stage.config.config.working_dir = path;
                }
                match made {
                    Some(made) => stepped(stage, made, text),
                    None => stage.note(text),
                }
            }
            // It is no part of this image's history: it happens later.
            Instruction::Onbuild(trigger) => stage.config.config.on_build.push(trigger.clone()),
            other => {
                setting::apply(stage, other)?;
                stage.note(text);
            }
        }
        Ok(cached)
    }
}

/// Whether an instruction may leave something in the file system, and so is shown as a step.
fn leaves_files(instruction: &Instruction) -> bool {
    matches!(
        instruction,
        Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_)
    )
}

/// An instruction as it is shown, and as the image's history has it: with no address's login.
fn without_logins(instruction: &Located<Instruction>) -> String {
    let text = instruction.source.clone();
    let Instruction::Add(add) = &instruction.value else { return text };
    let addresses = add.copy.sources.iter().filter(|word| word.0.contains("://"));
    addresses.fold(text, |text, word| SafeUrl::new(word.0.as_str()).hide_in(&text))
}
