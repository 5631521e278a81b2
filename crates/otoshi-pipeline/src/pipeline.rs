//! The walk over the four phases: observe, decide, run, record.
//!
//! Planning and building take the same steps up to the point where a stale phase would run. A build goes on with what
//! the phase really gave: a phase that depends on it is decided on then, so an identical result stops there. The runner
//! runs beside the builder when it copies nothing out of it, else beside the compile command.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use otoshi_engine::{Context, Engine, EngineError, Event, Events, Output};
use otoshi_oci::{Digest, Platform, Reference};
use otoshi_project::{Lock, Project};
use otoshi_store::Home;

use crate::{
    BaseSource, ErrorKind, Moved, PackageBases, Part, PhasePlan, PipelineError, Plan, Reason, ReasonKind,
    Remote, Status, StoreBases,
    bases::{Bases, Rules},
    files::{Files, role_reference},
    memory::Memory,
    observe::Observation,
    part::key,
    plan::PLAN_VERSION,
    record::{Ledger, Made},
};

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
    bases: Option<&'a dyn BaseSource>,
    /// In place of the file.
    lock: Option<Mutex<Lock>>,
}

/// The state of one walk.
pub(crate) struct Walk<'a> {
    /// `None` while planning.
    events: Option<&'a dyn Events>,
    pub(crate) files: &'a Files,
    pub(crate) bases: &'a Bases,
    /// Images of the roles that are known: reference → manifest.
    pub(crate) roles: BTreeMap<String, Digest>,
    phases: Vec<PhasePlan>,
    pub(crate) settled: Vec<Settled>,
    /// What each phase observes, as far as that is known.
    observed: Vec<(&'static str, Vec<Part>)>,
    contexts: BTreeMap<String, Arc<Context>>,
}

/// What a walk found out.
pub(crate) struct Walked {
    pub(crate) plan: Plan,
    /// The phases whose results are known.
    pub(crate) settled: Vec<Settled>,
    pub(crate) bases: Bases,
    /// While planning: what each phase observes, as far as that is known.
    pub(crate) observed: Vec<(&'static str, Vec<Part>)>,
}

/// A phase that is observed and can be decided on.
pub(crate) struct Job<'a> {
    pub(crate) phase: &'static str,
    pub(crate) number: u8,
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
        phase: &'static str,
        number: u8,
        on: &'static str,
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
    pub(crate) fn image(&self, name: &str) -> Option<&Digest> {
        match self {
            Self::Made(made) => made.images.get(name),
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

    /// The same project on a lock of its own: what moves there is not seen by anybody.
    pub(crate) fn on_lock(&self, lock: Lock) -> Self {
        Self {
            platform: self.platform.clone(),
            memory: self.memory.as_ref().map(Memory::anew),
            lock: Some(Mutex::new(lock)),
            ..*self
        }
    }

    /// Whether there is a lock in place of the file.
    pub(crate) fn has_own_lock(&self) -> bool {
        self.lock.is_some()
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
        let repository = self.project.manifest.registry.as_ref().map(|registry| &registry.repository);
        self.memory = repository
            .and_then(|name| Reference::parse(name).ok())
            .map(|reference| Memory::new(remote, reference, self.platform.clone()));
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
        let move_roles: &[&str] = if builder { &["builder", "runner", "app"] } else { &["runner", "app"] };
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
                Err(error) if error.kind() == ErrorKind::Registry && forgotten() > before => {
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

    /// Moves bases as the rules say, on the lock; nothing runs but what computes arguments.
    pub(crate) fn move_bases(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<Vec<Moved>, PipelineError> {
        self.begin(events, rules).map(|(_, bases)| bases.moved)
    }

    fn begin(&self, events: Option<&dyn Events>, rules: Rules<'_>) -> Result<(Files, Bases), PipelineError> {
        let computed = self.computed_arguments(events, rules)?;
        let files = Files::load(self.project, &self.platform, &computed)?;
        let bases = self.settle_bases(&files, rules, events.is_some())?;
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
            let builder = self.settle_one(&mut walk, next)?;
            self.know(&mut walk, "builder", &builder);
        }
        let next = self.runner(&mut walk)?;
        let runner = self.settle_one(&mut walk, next)?;
        Ok((runner.image("runner").cloned(), walk.phases))
    }

    /// Walks, and gives all that was found out on the way.
    pub(crate) fn walk_once(
        &self,
        events: Option<&dyn Events>,
        rules: Rules<'_>,
    ) -> Result<Walked, PipelineError> {
        let (files, bases) = self.begin(events, rules)?;
        let mut walk = Walk::new(events, &files, &bases);
        let apart = self.waits_for(&walk, &files.runner).is_none();
        let (builder, compiled, runner) = if files.builder.is_some() && apart {
            let (next, other) = (self.builder(&mut walk)?, self.runner(&mut walk)?);
            let (builder, runner) = self.settle_two(&mut walk, next, other)?;
            self.know(&mut walk, "builder", &builder);
            let next = self.compile(&mut walk, "builder", &builder)?;
            (builder, self.settle_one(&mut walk, next)?, runner)
        } else if files.builder.is_some() {
            let next = self.builder(&mut walk)?;
            let builder = self.settle_one(&mut walk, next)?;
            self.know(&mut walk, "builder", &builder);
            let (compile, runner) = (self.compile(&mut walk, "builder", &builder)?, self.runner(&mut walk)?);
            let (compiled, runner) = self.settle_two(&mut walk, compile, runner)?;
            (builder, compiled, runner)
        } else {
            // Without a builder the source is compiled in the runner, which then comes first.
            let next = self.runner(&mut walk)?;
            let runner = self.settle_one(&mut walk, next)?;
            let next = self.compile(&mut walk, "runner", &runner)?;
            (Given::Absent, self.settle_one(&mut walk, next)?, runner)
        };
        self.know(&mut walk, "runner", &runner);
        let next = self.app(&mut walk, &builder, &compiled, &runner)?;
        let app = self.settle_one(&mut walk, next)?;

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
        phases.sort_by_key(|phase| phase.number);
        let named = images.into_iter().map(|(name, digest)| (self.image_name(&name), digest.to_string()));
        let plan = Plan {
            version: PLAN_VERSION,
            project: self.project.manifest.project.name.clone(),
            phases,
            images: named.collect(),
            moved: bases.moved.clone(),
            warnings: self.memory.as_ref().and_then(Memory::failure).into_iter().collect(),
        };
        Ok(Walked { plan, settled, bases, observed })
    }

    pub(crate) fn with_base_source<T>(&self, call: impl FnOnce(&dyn BaseSource) -> T) -> T {
        let here = StoreBases::new(self.home);
        call(&PackageBases::new(self.home, self.project, self.bases.unwrap_or(&here)))
    }

    /// Settles the bases, and writes the lock before anything runs: a failing build does not make the next one look again.
    pub(crate) fn settle_bases(
        &self,
        files: &Files,
        rules: Rules<'_>,
        write: bool,
    ) -> Result<Bases, PipelineError> {
        let mut lock = self.lock()?;
        let before = lock.clone();
        let all: Vec<_> = files.all().collect();
        let settle = |source: &dyn BaseSource| Bases::settle(&all, &mut lock, source, &self.platform, rules);
        let bases = self.with_base_source(settle)?;
        if (write || self.has_own_lock()) && lock != before {
            self.save_lock(&lock)?;
        }
        self.describe(&bases);
        Ok(bases)
    }

    /// What the lock says now.
    pub(crate) fn lock(&self) -> Result<Lock, PipelineError> {
        match &self.lock {
            Some(lock) => Ok(lock.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            None => Ok(Lock::load(&self.project.root.join("otoshi.lock"))?),
        }
    }

    pub(crate) fn save_lock(&self, lock: &Lock) -> Result<(), PipelineError> {
        match &self.lock {
            Some(own) => *own.lock().unwrap_or_else(PoisonError::into_inner) = lock.clone(),
            None => drop(lock.save(&self.project.root.join("otoshi.lock"))?),
        }
        Ok(())
    }

    /// Lets later Dockerfiles see a role's image.
    fn know(&self, walk: &mut Walk<'_>, role: &str, given: &Given) {
        if let Some(digest) = given.image(role) {
            walk.roles.insert(self.role_reference(role), digest.clone());
        }
    }

    pub(crate) fn role_reference(&self, role: &str) -> String {
        role_reference(&self.project.manifest.project.name, role)
    }

    /// The source as a phase sees it, scanned once for each ignore file: the Dockerfile's own, else the project's.
    pub(crate) fn context(
        &self,
        walk: &mut Walk<'_>,
        phase: &'static str,
        dockerfile: Option<&str>,
    ) -> Result<Arc<Context>, PipelineError> {
        let text = self.ignore_text(dockerfile)?;
        if let Some(context) = walk.contexts.get(&text) {
            return Ok(Arc::clone(context));
        }
        let scanned = Context::scan(self.home, &self.project.root, Some(&text))
            .map_err(PipelineError::engine_in(phase))?;
        let context = Arc::new(scanned);
        walk.contexts.insert(text, Arc::clone(&context));
        Ok(context)
    }

    /// The patterns of what is no source: those of the Dockerfile's own ignore file, else of the project's.
    pub(crate) fn ignore_text(&self, dockerfile: Option<&str>) -> Result<String, PipelineError> {
        let own = dockerfile.map(|path| self.project.root.join(format!("{path}.dockerignore")));
        let path =
            own.filter(|path| path.is_file()).unwrap_or_else(|| self.project.root.join(".dockerignore"));
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|source| PipelineError::Read { path, source })?,
        };
        // Otoshi's own files are no source, unless the project says so.
        Ok(format!("otoshi.toml\notoshi.toml.*.tmp\notoshi.lock\notoshi.lock.*.tmp\n{text}"))
    }

    pub(crate) fn ledger(&self) -> Ledger<'_> {
        Ledger { home: self.home, project: self.project }
    }

    fn settle_one(&self, walk: &mut Walk<'_>, next: Next<'_>) -> Result<Given, PipelineError> {
        let decided = self.decide(walk, next)?;
        let events = walk.events;
        self.finish(walk, decided, |job, key| self.execute(job, key, events))
    }

    /// Settles two phases that do not depend on each other; at the same time when both must run.
    fn settle_two(
        &self,
        walk: &mut Walk<'_>,
        first: Next<'_>,
        second: Next<'_>,
    ) -> Result<(Given, Given), PipelineError> {
        let (first, second) = (self.decide(walk, first)?, self.decide(walk, second)?);
        let events = walk.events;
        match (first, second) {
            (Decided::Stale(one), Decided::Stale(two)) => {
                let (one_settled, two_settled) = (one.settled(), two.settled());
                let (one_entry, two_entry) = (one.entry, two.entry);
                let (one, two) = thread::scope(|scope| {
                    let one = scope.spawn(|| self.execute(one.job, &one.key, events));
                    let two = self.execute(two.job, &two.key, events);
                    let panicked = |_| Err(PipelineError::plain("the thread of a phase panicked"));
                    (one.join().unwrap_or_else(panicked), two)
                });
                Ok((done(walk, one_entry, one_settled, one?), done(walk, two_entry, two_settled, two?)))
            }
            (first, second) => Ok((
                self.finish(walk, first, |job, key| self.execute(job, key, events))?,
                self.finish(walk, second, |job, key| self.execute(job, key, events))?,
            )),
        }
    }

    /// Finds what a phase made for what it observes; else says why not.
    fn decide<'j>(&self, walk: &mut Walk<'_>, next: Next<'j>) -> Result<Decided<'j>, PipelineError> {
        let job = match next {
            Next::Absent => return Ok(Decided::Given(Given::Absent)),
            Next::Pending { phase, number, on } => {
                let text = format!("depends on what the {on} gives");
                let reasons = vec![Reason::plain(ReasonKind::Depends, on, text)];
                walk.phases.push(PhasePlan { reasons, ..entry(phase, number, Status::Pending) });
                return Ok(Decided::Given(Given::Unknown));
            }
            Next::Job(job) => job,
        };
        let (ledger, key) = (self.ledger(), key(job.phase, &job.seen.parts));
        if walk.events.is_none() {
            walk.observed.push((job.phase, job.seen.parts.clone()));
        }
        let mut entry = entry(job.phase, job.number, Status::Fresh);
        entry.key = Some(key.to_string());
        let made = if self.no_cache { None } else { ledger.made(&key) };
        let lost = made.as_ref().and_then(|made| made.lost(self.home, &self.platform));
        let (made, lost) = match (made, lost) {
            (Some(made), None) => (Some(made), None),
            (made, lost) => match self.recall(&key)? {
                Some(recalled) => {
                    entry.found_in = self.memory.as_ref().map(|memory| memory.repository().to_string());
                    (Some(recalled), None)
                }
                None => (made, lost),
            },
        };
        if let (Some(made), None) = (&made, &lost) {
            walk.settled.push(Settled {
                phase: job.phase,
                key: key.clone(),
                seen: job.seen.clone(),
                made: made.clone(),
            });
            entry.output = made.one();
            walk.phases.push(entry);
            if walk.events.is_some() {
                ledger.touch(job.phase, &key);
                ledger.remember(job.phase, &key, &job.seen)?;
            }
            return Ok(Decided::Given(Given::Made(made.clone())));
        }
        let plain = |kind, text: String| vec![Reason::plain(kind, job.phase, text)];
        let reasons = match lost {
            _ if self.no_cache => plain(ReasonKind::Requested, "it was asked to run again".into()),
            Some(what) => plain(ReasonKind::Lost, format!("its result was lost: {what}")),
            None => ledger.reasons(job.phase, &key, &job.seen),
        };
        (entry.status, entry.reasons) = (Status::Stale, reasons);
        if walk.events.is_none() {
            walk.phases.push(entry);
            return Ok(Decided::Given(Given::Unknown));
        }
        Ok(Decided::Stale(Stale { entry, key, job }))
    }

    fn finish<'j>(
        &self,
        walk: &mut Walk<'_>,
        decided: Decided<'j>,
        execute: impl FnOnce(Job<'j>, &Digest) -> Result<Ran, PipelineError>,
    ) -> Result<Given, PipelineError> {
        match decided {
            Decided::Given(given) => Ok(given),
            Decided::Stale(stale) => {
                let settled = stale.settled();
                let ran = execute(stale.job, &stale.key)?;
                Ok(done(walk, stale.entry, settled, ran))
            }
        }
    }

    /// Runs a phase, and records what it made once it is there.
    fn execute(&self, job: Job<'_>, key: &Digest, events: Option<&dyn Events>) -> Result<Ran, PipelineError> {
        let started = Instant::now();
        let mut ran = (job.run)(events.unwrap_or(&otoshi_engine::Silent))?;
        ran.made.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        ran.made.at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.ledger().record(key, &ran.made)?;
        self.ledger().remember(job.phase, key, &job.seen)?;
        Ok(ran)
    }

    /// Names an image; nothing is written when it has the name already.
    fn tag(&self, name: &str, digest: &Digest) -> Result<(), PipelineError> {
        let reference = Reference::parse(name).map_err(PipelineError::plain)?;
        let layout = self.home.layout();
        let named = layout.resolve(&reference)?.and_then(|found| Digest::of(&found).ok());
        if named.as_ref() != Some(digest) {
            layout.tag(&reference, layout.describe(digest)?)?;
        }
        Ok(())
    }
}

/// A phase whose result is known.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) phase: &'static str,
    pub(crate) key: Digest,
    pub(crate) seen: Observation,
    pub(crate) made: Made,
}

/// A phase that must run.
struct Stale<'a> {
    entry: PhasePlan,
    key: Digest,
    job: Job<'a>,
}

impl Stale<'_> {
    /// What it will be when it has run.
    fn settled(&self) -> Settled {
        let (key, seen) = (self.key.clone(), self.job.seen.clone());
        Settled { phase: self.job.phase, key, seen, made: Made::default() }
    }
}

enum Decided<'a> {
    Given(Given),
    Stale(Stale<'a>),
}

fn entry(phase: &'static str, number: u8, status: Status) -> PhasePlan {
    PhasePlan {
        phase,
        number,
        status,
        reasons: Vec::new(),
        key: None,
        output: None,
        layers_written: 0,
        took_ms: None,
        found_in: None,
    }
}

/// Notes a phase that ran.
fn done(walk: &mut Walk<'_>, mut entry: PhasePlan, settled: Settled, ran: Ran) -> Given {
    entry.layers_written = ran.layers_written;
    entry.took_ms = Some(ran.made.took_ms);
    entry.output = ran.made.one();
    walk.phases.push(entry);
    walk.settled.push(Settled { made: ran.made.clone(), ..settled });
    Given::Made(ran.made)
}
