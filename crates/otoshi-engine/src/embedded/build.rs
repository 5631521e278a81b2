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
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use otoshi_dockerfile::{
    Base, BuildArgs, CommandForm, DockerfileError, GlobalScope, Graph, Healthcheck, Instruction, Located,
    ReachedStage, Scope, Source as From_,
};
use otoshi_explain::Explain;
use otoshi_http::SafeUrl;

use otoshi_oci::{Digest, Fields, Platform};
use otoshi_store::SnapshotId;

use super::{
    EmbeddedEngine,
    chain::{Chain, Layer},
    copy_step,
    export::Placement,
    export::steps_below,
    outside::{Outside, epoch, named_context},
    proxy, rootfs,
    run_step::{self, Stepped},
    source::Tree,
    stage::Stage,
    stage_on,
};
use crate::{BuildRequest, BuiltImage, EngineError, Event, Events, NamedContext, Output, StepId};

static BUILDS: AtomicUsize = AtomicUsize::new(0);

/// One build under way.
pub(crate) struct Build<'a> {
    pub(crate) engine: &'a EmbeddedEngine,
    pub(crate) request: &'a BuildRequest,
    pub(crate) events: &'a dyn Events,
    /// Tells this process's builds apart.
    pub(crate) number: usize,
    output: Output,
    graph: Graph,
    globals: GlobalScope,
    args: BuildArgs,
    done: Mutex<BTreeMap<usize, Option<Stage>>>,
    changed: Condvar,
    stopped: AtomicBool,
    steps_run: AtomicUsize,
    layers_written: AtomicUsize,
    /// The target and the stages below it: their steps become layers of the image.
    exported: BTreeSet<usize>,
    /// Whether it was said that a proxy is not reached.
    told_of_proxies: AtomicBool,
}

impl Build<'_> {
    /// Says once where a proxy is that a step's own network does not reach.
    pub(crate) fn warn_of_proxies(&self, env: &[(String, String)]) {
        if let Some(warning) = proxy::on_loopback(env)
            && !self.told_of_proxies.swap(true, Ordering::Relaxed)
        {
            self.events.event(Event::Warning(warning));
        }
    }
}

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
            let panicked = |_| Err(EngineError::invalid("a build thread panicked"));
            failures.extend(thread.join().unwrap_or_else(panicked).err());
        }
    });
    // The failure that stopped the others is the one to tell.
    failures.sort_by_key(|error| matches!(error, EngineError::Stopped));
    if let Some(error) = failures.into_iter().next() {
        return Err(error);
    }
    let stage = build.wait(build.graph.target)?;
    let written = build.layers_written;
    let mut image = engine.export(&stage, &request.labels, &request.annotations, output, &written, events)?;
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
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Writes layers of results as they come, one after the other.
    ///
    /// A layer that cannot be written is tried again when the image is, and the failure is told then.
    fn write_ahead(&self, results: &mpsc::Receiver<Ahead>) {
        for Ahead { snapshot, below } in results {
            if self.is_stopped() {
                return;
            }
            let placement = Placement::default();
            let (written, events) = (&self.layers_written, self.events);
            let blob = self.engine.blob_of(&snapshot, &below, &placement, self.output, written, events);
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

    /// Waits for a stage.
    fn wait(&self, index: usize) -> Result<Stage, EngineError> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match done.get(&index) {
                Some(Some(stage)) => return Ok(stage.clone()),
                Some(None) => return Err(EngineError::Stopped),
                None if self.is_stopped() => return Err(EngineError::Stopped),
                None => done = self.changed.wait(done).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What a `--from` of the stage `index` reads.
    pub(crate) fn tree(&self, index: usize, from: Option<&str>) -> Result<Tree<'_>, EngineError> {
        Ok(match self.graph.source(&self.request.dockerfile, index, from) {
            From_::Context => Tree::Context(&self.request.context),
            From_::Stage(other) => Tree::Chain(self.wait(other)?.chain),
            From_::Image(name) if name == "scratch" => Tree::Chain(Chain::scratch()),
            From_::Image(name) | From_::Named(name) => match named_context(self.request, &name) {
                Some(NamedContext::Directory(context)) => Tree::Context(context),
                Some(NamedContext::Scratch) => Tree::Chain(Chain::scratch()),
                Some(NamedContext::Image(digest)) => {
                    Tree::Chain(Chain::of_image(&self.engine.image(digest, &self.request.platform)?))
                }
                None => {
                    let platform = &self.request.platform;
                    let found = self.engine.find_image(self.request, &name, platform);
                    Tree::Chain(Chain::of_image(&found.map_err(|error| self.meant_stage(error, &name))?))
                }
            },
        })
    }

    /// Proposes the stage that was meant, where there is no such image.
    fn meant_stage(&self, error: EngineError, name: &str) -> EngineError {
        let stages = self.request.dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref());
        let Some(near) = otoshi_dockerfile::suggest(name, stages) else { return error };
        let hint = Some(format!("did you mean the stage {near:?}?"));
        match error {
            EngineError::NoImage { .. } => EngineError::Invalid { message: error.to_string(), hint },
            EngineError::Registry { message, .. } => EngineError::Registry { message, hint },
            other => other,
        }
    }

    /// The platform of a stage: what FROM says, else that of the build.
    fn platform(&self, stage: &ReachedStage) -> Result<Platform, EngineError> {
        let Some(text) = &stage.platform else { return Ok(self.request.platform.clone()) };
        text.parse().map_err(|error: otoshi_oci::PlatformError| EngineError::invalid(error.to_string()))
    }

    /// What a step's result is kept under: its key, and when everything is to run again a name of its own.
    pub(crate) fn result_key(&self, key: &Digest) -> Digest {
        if !self.request.no_cache {
            return key.clone();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let once = Fields::new("once 1").text(key.as_str()).text(now.to_le_bytes());
        once.number(std::process::id()).number(StepId::next().0 as u64).digest()
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
            Ok(stage_on(image, scope, epoch))
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

    /// Says where in the Dockerfile an error arose.
    fn locate(&self, error: EngineError, span: &std::ops::Range<usize>) -> EngineError {
        let at = |message: String, hint: Option<String>| {
            Box::new(DockerfileError::at(&self.request.dockerfile, span.clone(), message, hint))
        };
        match error {
            EngineError::Command { what, code, .. } => {
                let place = at(format!("{what} ended with exit code {code}"), None);
                EngineError::Command { what, code, at: Some(place) }
            }
            EngineError::Stopped | EngineError::Dockerfile(_) => error,
            EngineError::Invalid { message, hint } => EngineError::Dockerfile(at(message, hint)),
            EngineError::NoImage { .. } | EngineError::Http(_) => {
                let hint = error.hint();
                EngineError::Dockerfile(at(error.to_string(), hint))
            }
            other => other,
        }
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
                let result = copy_step::copy(self, stage, index, copy, text, None)?;
                stepped(stage, result, text);
            }
            Instruction::Add(add) => {
                let result = copy_step::copy(self, stage, index, &add.copy, text, Some(add))?;
                stepped(stage, result, text);
            }
            Instruction::Workdir(word) => {
                let text_path = stage.scope.expand(word)?;
                let path = rootfs::absolute(stage.cwd(), &text_path);
                let made = run_step::workdir(self.engine, stage, &path, self.request.no_cache)?;
                // An absolute path stays as it is written; a relative one is joined.
                stage.config.config.working_dir = if text_path.starts_with('/') { text_path } else { path };
                match made {
                    Some(made) => stepped(stage, made, text),
                    None => stage.note(text),
                }
            }
            // It is no part of this image's history: it happens later.
            Instruction::Onbuild(trigger) => stage.config.config.on_build.push(trigger.clone()),
            setting => {
                self.setting(stage, setting)?;
                stage.note(text);
            }
        }
        Ok(cached)
    }

    /// Carries out an instruction that changes the config only.
    fn setting(&self, stage: &mut Stage, instruction: &Instruction) -> Result<(), EngineError> {
        let run = &mut stage.config.config;
        match instruction {
            Instruction::Arg(args) => {
                for arg in args {
                    stage.scope.declare(arg)?;
                }
            }
            Instruction::Env(pairs) => {
                for (name, value) in stage.scope.set_env(pairs)? {
                    run.set_env(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                for (name, value) in pairs {
                    run.labels.insert(stage.scope.expand(name)?, stage.scope.expand(value)?);
                }
            }
            Instruction::User(user) => run.user = stage.scope.expand(user)?,
            Instruction::Shell(shell) => run.shell = Some(shell.clone()),
            Instruction::Entrypoint(command) => {
                run.entrypoint = Some(super::stage::argv(run.shell.as_deref(), command))
                    .filter(|argv| !is_empty_exec(command, argv));
                if !stage.cmd_is_own {
                    run.cmd = None;
                }
            }
            Instruction::Cmd(command) => {
                run.cmd = Some(super::stage::argv(run.shell.as_deref(), command));
                stage.cmd_is_own = true;
            }
            Instruction::Expose(ports) => {
                for word in ports {
                    for port in stage.scope.expand_many(word)? {
                        run.exposed_ports.extend(exposed(&port)?);
                    }
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    run.volumes.insert(stage.scope.expand(path)?);
                }
            }
            Instruction::StopSignal(signal) => {
                run.stop_signal = Some(self::signal(&stage.scope.expand(signal)?)?);
            }
            Instruction::Healthcheck(check) => {
                run.healthcheck = Some(healthcheck(check));
            }
            Instruction::Maintainer(name) => stage.config.author = Some(name.clone()),
            Instruction::Run(_)
            | Instruction::Copy(_)
            | Instruction::Add(_)
            | Instruction::Workdir(_)
            | Instruction::Onbuild(_) => {}
        }
        Ok(())
    }
}

fn is_empty_exec(command: &CommandForm, argv: &[String]) -> bool {
    matches!(command, CommandForm::Exec(_)) && argv.is_empty()
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

/// Reads `EXPOSE`: a port or a range, with or without a protocol; an address or a port of the host before it says nothing.
fn exposed(text: &str) -> Result<Vec<String>, EngineError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let wrong = || EngineError::Invalid {
        message: format!("EXPOSE {text}: not a port"),
        hint: Some("as in 80, 8000-8010 or 53/udp".into()),
    };
    let ports = ports.rsplit(':').next().unwrap_or(ports);
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    let protocol = protocol.to_lowercase();
    let protocol = if protocol.is_empty() { "tcp" } else { &protocol };
    if first > last || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The names of signals, without `SIG`; `RTMIN` and `RTMAX` may be followed by a distance.
const SIGNALS: [&str; 35] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "UNUSED",
];

/// Reads `STOPSIGNAL`: a number that is not 0, or a name with or without `SIG`.
fn signal(text: &str) -> Result<String, EngineError> {
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time =
        [("RTMIN", '+', 0..=15), ("RTMAX", '-', 0..=14)].into_iter().any(|(start, sign, distances)| {
            name.strip_prefix(start).is_some_and(|rest| {
                rest.is_empty()
                    || rest
                        .strip_prefix(sign)
                        .and_then(|n| n.parse().ok())
                        .is_some_and(|n: u8| distances.contains(&n))
            })
        });
    let is_number = text.parse::<i32>().is_ok_and(|number| number != 0);
    if is_number || real_time || SIGNALS.contains(&name) {
        return Ok(text.to_owned());
    }
    let near = otoshi_dockerfile::suggest(name, SIGNALS);
    Err(EngineError::Invalid {
        message: format!("STOPSIGNAL {text}: there is no such signal"),
        hint: near.map(|near| format!("did you mean SIG{near}?")),
    })
}

fn healthcheck(check: &Healthcheck) -> otoshi_oci::config::Healthcheck {
    let nanos = |time: Option<std::time::Duration>| time.map_or(0, |time| time.as_nanos() as i64);
    match check {
        Healthcheck::None => {
            otoshi_oci::config::Healthcheck { test: vec!["NONE".into()], ..Default::default() }
        }
        Healthcheck::Test { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                CommandForm::Exec(argv) => ["CMD".to_owned()].into_iter().chain(argv.clone()).collect(),
                // Whoever runs the test looks up the image's shell.
                CommandForm::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
            };
            otoshi_oci::config::Healthcheck {
                test,
                interval: nanos(*interval),
                timeout: nanos(*timeout),
                start_period: nanos(*start_period),
                start_interval: nanos(*start_interval),
                retries: retries.map_or(0, i64::from),
                ..Default::default()
            }
        }
    }
}
