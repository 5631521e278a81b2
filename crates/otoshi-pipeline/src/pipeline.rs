//! The walk over the four phases.
//!
//! Planning and building take the same steps up to the point where a stale phase would run. A build goes on with what
//! the phase really gave: a phase that depends on it is decided on then, so an identical result stops there. The runner
//! runs beside the builder when it copies nothing out of it, else beside the compile command.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use otoshi_engine::{Context, Engine, EngineError, Event, Events, Output, StepId, Unread};
use otoshi_explain::{Explain, Kind};
use otoshi_oci::{Digest, Platform, Reference};
use otoshi_project::{Lock, Phase, Project, Role};
use otoshi_store::Home;

use crate::{
    BaseSource, PackageBases, Part, PhasePlan, PipelineError, Plan, Remote, StoreBases,
    bases::{Bases, Rules},
    files::{Files, role_reference},
    memory::Memory,
    observe::Observation,
    plan::PLAN_VERSION,
    record::{Ledger, Made},
    source::Reader,
};

pub(crate) use crate::settle::Settled;

/// How many bytes of source that nobody has read yet are told of.
const MUCH: u64 = 100 << 20;
/// How often a walk begins anew before what a registry lost is an error.
const MAX_WALKS: usize = 8;

/// A project on a store and an engine.
pub struct Pipeline<'a> {
    pub(crate) home: &'a Home,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) project: &'a Project,
    pub(crate) platform: Platform,
    pub(crate) output: Output,
    pub(crate) no_cache: bool,
    pub(crate) remote: Option<&'a Remote>,
    pub(crate) memory: Option<Memory<'a>>,
    pub(crate) bases: Option<&'a dyn BaseSource>,
    /// In place of the file.
    pub(crate) lock: Option<Mutex<Lock>>,
}

/// The state of one walk.
pub(crate) struct Walk<'a> {
    /// `None` while planning.
    pub(crate) events: Option<&'a dyn Events>,
    pub(crate) files: &'a Files,
    pub(crate) bases: &'a Bases,
    /// Images of the roles that are known: reference → manifest.
    pub(crate) roles: BTreeMap<String, Digest>,
    pub(crate) phases: Vec<PhasePlan>,
    pub(crate) settled: Vec<Settled>,
    /// What each phase observes, as far as that is known.
    pub(crate) observed: Vec<(Phase, Vec<Part>)>,
    contexts: BTreeMap<String, Arc<Context>>,
}

/// What a walk found out.
pub(crate) struct Walked {
    pub(crate) plan: Plan,
    /// The phases whose results are known.
    pub(crate) settled: Vec<Settled>,
    pub(crate) bases: Bases,
    /// While planning: what each phase observes, as far as that is known.
    pub(crate) observed: Vec<(Phase, Vec<Part>)>,
}

/// A phase that is observed and can be decided on.
pub(crate) struct Job<'a> {
    pub(crate) phase: Phase,
    pub(crate) seen: Observation,
    pub(crate) run: Box<dyn FnOnce(&dyn Events) -> Result<Ran, PipelineError> + Send + 'a>,
}

/// What running a phase gave.
pub(crate) struct Ran {
    pub(crate) made: Made,
    pub(crate) layers_written: usize,
}

/// A phase before it is decided on.
pub(crate) enum Next<'a> {
    /// The project has no such phase.
    Absent,
    /// What it observes depends on a phase that did not run.
    Pending {
        phase: Phase,
        on: Phase,
    },
    Job(Job<'a>),
}

/// What a phase gives to those after it.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    /// The project has no such phase.
    Absent,
    /// Not known while planning.
    Unknown,
    Made(Made),
}

impl<'a> Walk<'a> {
    fn new(events: Option<&'a dyn Events>, files: &'a Files, bases: &'a Bases) -> Self {
        Self {
            events,
            files,
            bases,
            roles: BTreeMap::new(),
            phases: Vec::new(),
            settled: Vec::new(),
            observed: Vec::new(),
            contexts: BTreeMap::new(),
        }
    }
}

impl Given {
    /// The image of a phase that makes one, which has the phase's name.
    pub(crate) fn image(&self, phase: Phase) -> Option<&Digest> {
        match self {
            Self::Made(made) => made.images.get(phase.as_str()),
            _ => None,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

impl<'a> Pipeline<'a> {
    /// Puts the three together, for this machine's platform, with bases from the store.
    pub fn new(home: &'a Home, engine: &'a dyn Engine, project: &'a Project) -> Self {
        let (platform, output) = (Platform::host(), Output::default());
        Self {
            home,
            engine,
            project,
            platform,
            output,
            no_cache: false,
            remote: None,
            memory: None,
            bases: None,
            lock: None,
        }
    }

    /// Takes what a lock says in place of `otoshi.lock`, which is then neither read nor written.
    #[must_use]
    pub fn with_lock(mut self, lock: Lock) -> Self {
        self.lock = Some(Mutex::new(lock));
        self
    }

    /// Takes bases from somewhere else.
    #[must_use]
    pub fn with_bases(mut self, bases: &'a dyn BaseSource) -> Self {
        self.bases = Some(bases);
        self
    }

    /// Looks in registries for bases that are not in the store, and in the project's own for what phases made.
    #[must_use]
    pub fn with_remote(mut self, remote: &'a Remote) -> Self {
        let repository = self.project.repository();
        self.memory = repository.map(|reference| Memory::new(remote, reference, self.platform.clone()));
        if let Some(memory) = &self.memory {
            self.engine.believe(&memory.repository().to_string());
        }
        self.remote = Some(remote);
        self.bases = Some(remote);
        self
    }

    /// Sets how layers and timestamps are written.
    #[must_use]
    pub fn with_output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Makes every phase, and every step in it, run again.
    #[must_use]
    pub fn with_no_cache(mut self, no_cache: bool) -> Self {
        self.no_cache = no_cache;
        self
    }

    /// Says what a build would do, and runs nothing; `otoshi.lock` is not written.
    pub fn plan(&self) -> Result<Plan, PipelineError> {
        self.walk(None, Rules::default())
    }

    /// Runs what must run. Bases that `otoshi.lock` lacks are added to it; with `locked` they are an error.
    pub fn build(&self, locked: bool, events: &dyn Events) -> Result<Plan, PipelineError> {
        self.walk(Some(events), Rules { locked, ..Rules::default() })
    }

    /// Moves the runner's and the app's side of `otoshi.lock` to what the references name now (with `builder`, that side
    /// too), and builds. The report's `moved` says what moved.
    pub fn build_refreshed(&self, builder: bool, events: &dyn Events) -> Result<Plan, PipelineError> {
        let move_roles: &[Role] = if builder { &Role::MADE } else { &[Role::Runner, Role::App] };
        self.walk(Some(events), Rules { move_roles, ..Rules::default() })
    }

    /// The name of an image of this project, such as `shop/web`.
    pub fn image_name(&self, part: &str) -> String {
        format!("{}/{part}", self.project.manifest.project.name)
    }

    /// Walks; anew where a registry or the store turned out to have lost something, which is then made again.
    fn walk(&self, events: Option<&dyn Events>, rules: Rules<'_>) -> Result<Plan, PipelineError> {
        self.walk_whole(events, rules).map(|(plan, ..)| plan)
    }

    /// The same, with the phases and bases.
    pub(crate) fn walk_whole(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<(Plan, Vec<Settled>, Bases), PipelineError> {
        let forgotten = || self.remote.map_or(0, Remote::forgotten);
        for _ in 0..MAX_WALKS {
            let before = forgotten();
            match self.walk_through(events, rules) {
                Err(error) if error.kind() == Kind::Registry && forgotten() > before => {
                    tracing::debug!(%error, "a registry lost something");
                }
                // A phase whose result was damaged runs again.
                Err(error) if matches!(error.engine(), Some(EngineError::Lost { .. })) => {
                    if let Some(events) = events {
                        events.event(Event::Warning(format!("{error}: the phase runs again")));
                    }
                }
                outcome => return outcome,
            }
        }
        self.walk_through(events, rules)
    }

    /// Walks, and gives the phases whose results are known, and the bases, as well.
    pub(crate) fn walk_through(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<(Plan, Vec<Settled>, Bases), PipelineError> {
        self.walk_once(events, rules).map(|walked| (walked.plan, walked.settled, walked.bases))
    }

    pub(crate) fn begin(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<(Files, Bases), PipelineError> {
        let computed = self.computed_arguments(events, rules)?;
        let files = Files::load(self.project, &self.platform, &computed)?;
        let bases = self.settle_bases(&files, rules, events)?;
        Ok((files, bases))
    }

    /// Walks as far as the runner, and gives it with the phases that were looked at.
    pub(crate) fn walk_to_runner(
        &self,
        events: &dyn Events,
    ) -> Result<(Option<Digest>, Vec<PhasePlan>), PipelineError> {
        let (files, bases) = self.begin(Some(events), Rules::default())?;
        let mut walk = Walk::new(Some(events), &files, &bases);
        if self.waits_for(&walk, &files.runner).is_some() {
            let next = self.builder(&mut walk)?;
            let builder = self.settle(&mut walk, next)?;
            self.know(&mut walk, Phase::Builder, &builder);
        }
        let next = self.runner(&mut walk)?;
        let runner = self.settle(&mut walk, next)?;
        Ok((runner.image(Phase::Runner).cloned(), walk.phases))
    }

    /// Walks, and gives all that was found out on the way.
    pub(crate) fn walk_once(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<Walked, PipelineError> {
        let (files, bases) = self.begin(events, rules)?;
        let of_files = files.all().flat_map(|file| &file.warnings);
        let mut warnings: Vec<String> = self.project.warnings.iter().chain(of_files).cloned().collect();
        if let Some(events) = events {
            // Before anything runs.
            warnings.drain(..).for_each(|warning| events.event(Event::Warning(warning)));
        }
        let mut walk = Walk::new(events, &files, &bases);
        let (builder, compiled, runner) = self.first_three(&mut walk)?;
        self.know(&mut walk, Phase::Runner, &runner);
        let next = self.app(&mut walk, &builder, &compiled, &runner)?;
        let app = self.settle(&mut walk, next)?;

        let mut images = BTreeMap::new();
        for given in [builder, runner, app] {
            if let Given::Made(made) = given {
                images.extend(made.images);
            }
        }
        if events.is_some() && !rules.hold {
            for (name, digest) in &images {
                self.tag(&self.image_name(name), digest)?;
            }
        }
        let (mut phases, settled, observed) = (walk.phases, walk.settled, walk.observed);
        phases.sort_by_key(|phase| phase.phase);
        let named = images.into_iter().map(|(name, digest)| (self.image_name(&name), digest.to_string()));
        let plan = Plan {
            version: PLAN_VERSION,
            project: self.project.manifest.project.name.clone(),
            phases,
            images: named.collect(),
            moved: bases.moved.clone(),
            warnings: self.memory.as_ref().and_then(Memory::failure).into_iter().chain(warnings).collect(),
        };
        Ok(Walked { plan, settled, bases, observed })
    }

    /// The first three phases. The runner runs beside the others from the moment that it can be decided on: compiling waits for
    /// the builder alone.
    fn first_three<'w>(&'w self, walk: &mut Walk<'w>) -> Result<(Given, Given, Given), PipelineError> {
        thread::scope(|scope| {
            if walk.files.builder.is_none() {
                // The source is compiled in the runner, which then comes first.
                let next = self.runner(walk)?;
                let runner = self.settle(walk, next)?;
                let next = self.compile(walk, Phase::Runner, &runner)?;
                return Ok((Given::Absent, self.settle(walk, next)?, runner));
            }
            let mut beside = None;
            if self.waits_for(walk, &walk.files.runner).is_none() {
                let next = self.runner(walk)?;
                beside = Some(self.begin_phase(scope, walk, next)?);
            }
            let next = self.builder(walk)?;
            let builder = self.settle(walk, next)?;
            self.know(walk, Phase::Builder, &builder);
            let beside = if let Some(begun) = beside {
                begun
            } else {
                let next = self.runner(walk)?;
                self.begin_phase(scope, walk, next)?
            };
            let next = self.compile(walk, Phase::Builder, &builder)?;
            let compiled = self.settle(walk, next)?;
            Ok((builder, compiled, beside.end(walk)?))
        })
    }

    /// Calls with where bases come from. Without events, as while planning, no base is made of packages: one that would be made has
    /// a digest that stands for what it would be made of.
    pub(crate) fn with_base_source<T>(
        &self,
        events: Option<&dyn Events>,
        call: impl FnOnce(&dyn BaseSource) -> T,
    ) -> T {
        let here = StoreBases::new(self.home);
        call(&PackageBases::new(self.home, self.project, self.bases.unwrap_or(&here), events))
    }

    /// Lets later Dockerfiles see a role's image.
    fn know(&self, walk: &mut Walk<'_>, phase: Phase, given: &Given) {
        if let (Some(digest), Some(role)) = (given.image(phase), phase.role()) {
            walk.roles.insert(self.role_reference(role), digest.clone());
        }
    }

    pub(crate) fn role_reference(&self, role: Role) -> String {
        role_reference(&self.project.manifest.project.name, role)
    }

    /// The source as a phase sees it, scanned once for each list of what is left out.
    pub(crate) fn context(
        &self,
        walk: &mut Walk<'_>,
        phase: Phase,
        reader: Reader<'_>,
    ) -> Result<Arc<Context>, PipelineError> {
        let text = self.ignore_text(reader)?;
        if let Some(context) = walk.contexts.get(&text) {
            return Ok(Arc::clone(context));
        }
        let scanned = self.scan(&text, walk.events).map_err(PipelineError::engine_in(phase))?;
        let context = Arc::new(scanned);
        walk.contexts.insert(text, Arc::clone(&context));
        Ok(context)
    }

    /// Scans the source; says so where there is much to read.
    fn scan(&self, ignore: &str, events: Option<&dyn Events>) -> Result<Context, EngineError> {
        let begun = Cell::new(None);
        let tell = |unread: Unread| {
            let Some(events) = events.filter(|_| unread.bytes > MUCH) else { return };
            let step = StepId::next();
            let megabytes = unread.bytes / 1_000_000;
            let instruction = format!("reading {megabytes} MB of source in {} files", unread.files);
            events.event(Event::Started { step, stage: "source".to_owned(), place: (1, 1), instruction });
            begun.set(Some((step, Instant::now())));
        };
        let scanned = Context::scan_telling(self.home, &self.project.root, Some(ignore), &tell);
        if let (Some((step, since)), Some(events)) = (begun.get(), events) {
            events.event(match &scanned {
                Ok(_) => Event::Done { step, cached: false, took: since.elapsed() },
                Err(_) => Event::Failed { step },
            });
        }
        scanned
    }

    pub(crate) fn ledger(&self) -> Ledger<'_> {
        Ledger { home: self.home, project: self.project }
    }

    /// Names an image; nothing is written when it has the name already.
    fn tag(&self, name: &str, digest: &Digest) -> Result<(), PipelineError> {
        let reference = Reference::parse(name)?;
        let layout = self.home.layout();
        let named = layout.resolve(&reference)?.and_then(|found| Digest::of(&found).ok());
        if named.as_ref() != Some(digest) {
            layout.tag(&reference, layout.describe(digest)?)?;
        }
        Ok(())
    }
}
