//! The walk over the four phases: to plan, and to build.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use otoshi_dockerfile::{CommandForm, Dockerfile};
use otoshi_engine::{
    AppLayer, AssembleRequest, BuildRequest, BuiltImage, CacheMount, Context, Engine, Events, ImageChanges,
    Output, RunRequest, Stdio, View,
};
use otoshi_oci::{Descriptor, Digest, Platform, Reference, find_manifest};
use otoshi_project::{Command, Lock, NamedProcess, Project};
use otoshi_store::{Home, Kind, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::{
    Part, PartKind, PipelineError, Reason,
    observe::Phase,
    part::{difference, key},
};

/// The form of [`Plan`] as data.
const PLAN_VERSION: u32 = 1;

/// Whether a phase must run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// What it would make is there.
    Fresh,
    /// It must run, or did run.
    Stale,
    /// It depends on what an earlier phase will make.
    Pending,
}

/// One phase of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PhasePlan {
    /// `builder`, `compile`, `runner` or `app`.
    pub phase: &'static str,
    /// 1 to 4.
    pub number: u8,
    /// Whether it must run.
    pub status: Status,
    /// Why, when it must.
    pub reasons: Vec<Reason>,
    /// Layers written when it ran.
    pub layers_written: usize,
}

/// Every phase with its status; after a build, what ran and what was kept.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The project's name.
    pub project: String,
    /// The phases, in order.
    pub phases: Vec<PhasePlan>,
    /// The images by name → digest of the manifest, as far as they are known.
    pub images: BTreeMap<String, String>,
}

/// What a phase made; [`Kind::Phase`] records hold it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Made {
    /// Image manifests, by role or process.
    images: BTreeMap<String, Digest>,
    /// The compiled output: its snapshot and the digest of its content.
    output: Option<(SnapshotId, Digest)>,
}

/// A project on a store and an engine.
pub struct Pipeline<'a> {
    home: &'a Home,
    engine: &'a dyn Engine,
    project: &'a Project,
    platform: Platform,
}

/// The state of one walk.
struct Walk<'a> {
    /// `None` while planning.
    events: Option<&'a dyn Events>,
    args: BTreeMap<String, String>,
    roles: BTreeMap<String, Digest>,
    lock: Lock,
    frozen: bool,
    phases: Vec<PhasePlan>,
    contexts: BTreeMap<String, Arc<Context>>,
}

impl<'a> Pipeline<'a> {
    /// Puts the three together.
    pub fn new(home: &'a Home, engine: &'a dyn Engine, project: &'a Project) -> Self {
        Self { home, engine, project, platform: Platform::host() }
    }

    /// Says what a build would do, and runs nothing.
    pub fn plan(&self) -> Result<Plan, PipelineError> {
        self.walk(None, false)
    }

    /// Runs what must run. With `locked`, a base that `otoshi.lock` lacks is an error.
    pub fn build(&self, locked: bool, events: &dyn Events) -> Result<Plan, PipelineError> {
        self.walk(Some(events), locked)
    }

    /// Moves the runner's and the app's side of `otoshi.lock` to what the tags name now (with `builder`, that side too), and builds.
    pub fn refresh(&self, builder: bool, events: &dyn Events) -> Result<Plan, PipelineError> {
        let path = self.project.root.join("otoshi.lock");
        let mut lock = Lock::load(&path)?;
        let moved: Vec<(String, String)> = lock
            .roles
            .iter()
            .filter(|(role, _)| builder || role.as_str() != "builder")
            .flat_map(|(role, bases)| bases.keys().map(move |base| (role.clone(), base.clone())))
            .collect();
        for (role, base) in moved {
            let (index, manifest) = self.resolve(&role, &base)?;
            lock.set(&role, &base, &self.platform.to_string(), index.as_str(), manifest.as_str());
        }
        lock.save(&path)?;
        self.build(false, events)
    }

    /// The name of an image of this project, such as `shop/web`.
    pub fn image_name(&self, part: &str) -> String {
        format!("{}/{part}", self.project.manifest.project.name)
    }

    fn walk(&self, events: Option<&dyn Events>, frozen: bool) -> Result<Plan, PipelineError> {
        let lock_path = self.project.root.join("otoshi.lock");
        let mut walk = Walk {
            events,
            args: self.project.build_args()?,
            roles: BTreeMap::new(),
            lock: Lock::load(&lock_path)?,
            frozen,
            phases: Vec::new(),
            contexts: BTreeMap::new(),
        };
        let manifest = &self.project.manifest;
        let mut images = BTreeMap::new();

        let builder = match &manifest.builder {
            None => Some(None),
            Some(image) => self.image_phase(&mut walk, "builder", 1, image, true)?.map(Some),
        };
        if let Some(Some(digest)) = &builder {
            self.role(&mut walk, &manifest.build.builder_arg, "builder", digest);
        }
        let known = builder.is_some();
        let compiled = self.compile(&mut walk, builder.clone().flatten(), known)?;
        let runner = self.image_phase(&mut walk, "runner", 3, &manifest.runner, known)?;
        if let Some(digest) = &runner {
            self.role(&mut walk, &manifest.build.runner_arg, "runner", digest);
        }
        let apps = self.app(&mut walk, builder.clone().flatten(), compiled, runner.clone(), known)?;
        let roles = [("builder", builder.flatten()), ("runner", runner)];
        images.extend(roles.into_iter().filter_map(|(role, digest)| Some((role.to_owned(), digest?))));
        images.extend(apps);
        if events.is_some() {
            for (name, digest) in &images {
                self.tag(&self.image_name(name), digest)?;
            }
            walk.lock.save(&lock_path)?;
        }
        let images =
            images.into_iter().map(|(name, digest)| (self.image_name(&name), digest.to_string())).collect();
        Ok(Plan {
            version: PLAN_VERSION,
            project: manifest.project.name.clone(),
            phases: walk.phases,
            images,
        })
    }

    /// Lets later Dockerfiles see a role's image.
    fn role(&self, walk: &mut Walk<'_>, argument: &str, role: &str, digest: &Digest) {
        let name = format!("otoshi.local/{}", self.image_name(role));
        walk.args.insert(argument.to_owned(), name.clone());
        walk.roles.insert(name, digest.clone());
    }

    /// The source as a phase sees it, scanned once for each ignore file.
    fn context(
        &self,
        walk: &mut Walk<'_>,
        phase: &'static str,
        dockerfile: Option<&str>,
    ) -> Result<Arc<Context>, PipelineError> {
        let own = dockerfile.map(|path| self.project.root.join(format!("{path}.dockerignore")));
        let path =
            own.filter(|path| path.is_file()).unwrap_or_else(|| self.project.root.join(".dockerignore"));
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|source| PipelineError::Read { path, source })?,
        };
        // Otoshi's own files are no source, unless the project says so.
        let text = format!("otoshi.toml\notoshi.lock\n{text}");
        if let Some(context) = walk.contexts.get(&text) {
            return Ok(Arc::clone(context));
        }
        let scanned = Context::scan(self.home, &self.project.root, Some(&text))
            .map_err(PipelineError::engine_in(phase))?;
        let context = Arc::new(scanned);
        walk.contexts.insert(text, Arc::clone(&context));
        Ok(context)
    }

    fn dockerfile(&self, phase: &'static str, path: &str) -> Result<Dockerfile, PipelineError> {
        let full = self.project.root.join(path);
        let text = fs::read_to_string(&full).map_err(|source| PipelineError::Read { path: full, source })?;
        Dockerfile::parse(path, &text).map_err(PipelineError::dockerfile(phase))
    }

    /// Phases 1 and 3: a Dockerfile. `None` when planning cannot know the result.
    fn image_phase(
        &self,
        walk: &mut Walk<'_>,
        name: &'static str,
        number: u8,
        image: &otoshi_project::Image,
        builder_known: bool,
    ) -> Result<Option<Digest>, PipelineError> {
        let dockerfile = self.dockerfile(name, &image.dockerfile)?;
        if !builder_known && uses_argument(&dockerfile, &self.project.manifest.build.builder_arg) {
            return Ok(pending(walk, name, number, "builder"));
        }
        let context = self.context(walk, name, Some(&image.dockerfile))?;
        let (args, roles) = (walk.args.clone(), walk.roles.clone());
        let target = image.target.as_deref();
        let phase = Phase {
            name,
            dockerfile: &dockerfile,
            target,
            args: &args,
            roles: &roles,
            platform: &self.platform,
        };
        let mut parts = phase.parts(self.engine, Some(&context))?;
        let mut images = walk.roles.clone();
        for base in phase.bases()? {
            let digest = self.locked(walk, name, &base)?;
            parts.push(Part::new(PartKind::Base, &base, &digest));
            images.insert(base, digest);
        }
        let settings = self.settings(&mut parts);
        let made = self.carry_out(walk, name, number, &parts, |events| {
            let request = BuildRequest {
                dockerfile: Arc::new(dockerfile.clone()),
                context: Arc::clone(&context),
                target: image.target.clone(),
                args: args.clone(),
                images: images.clone(),
                platform: self.platform.clone(),
                labels: BTreeMap::new(),
                annotations: BTreeMap::from([("dev.otoshi.role".to_owned(), name.to_owned())]),
                secrets: BTreeMap::new(),
                ca_certificates: settings.clone(),
                no_cache: false,
                output: Output::default(),
            };
            let built = self.engine.build(&request, events).map_err(PipelineError::engine_in(name))?;
            Ok((
                Made { images: BTreeMap::from([(name.to_owned(), built.digest)]), output: None },
                built.layers_written,
            ))
        })?;
        Ok(made.and_then(|made| made.images.get(name).cloned()))
    }

    /// Adds the settings that reach every command, and gives the certificates' path.
    fn settings(&self, parts: &mut Vec<Part>) -> Option<PathBuf> {
        let setting = self.project.manifest.build.ca_certificates.as_deref()?;
        parts.push(Part::new(PartKind::Setting, "ca-certificates", "offered"));
        Some(if setting == "host" {
            PathBuf::from("/etc/ssl/certs/ca-certificates.crt")
        } else {
            self.project.root.join(setting)
        })
    }

    /// Phase 2. The source's and the output's snapshots; outer `None` when planning cannot know.
    fn compile(
        &self,
        walk: &mut Walk<'_>,
        builder: Option<Digest>,
        known: bool,
    ) -> Result<Option<Made>, PipelineError> {
        let Some(compile) = &self.project.manifest.compile else { return Ok(Some(Made::default())) };
        if !known {
            return Ok(pending(walk, "compile", 2, "builder"));
        }
        let image = builder.ok_or_else(|| {
            PipelineError::invalid("[compile] needs a [builder]", "add one, or leave [compile] out")
        })?;
        let context = self.context(walk, "compile", None)?;
        let failed = || PipelineError::engine_in("compile");
        let mut parts = vec![
            Part::new(PartKind::Role, "builder", &image),
            Part::new(PartKind::Source, "tree", context.tree_digest().map_err(failed())?),
            Part::new(PartKind::Setting, "compile", format!("{compile:?}")),
        ];
        let certificates = self.settings(&mut parts);
        self.carry_out(walk, "compile", 2, &parts, |events| {
            let source = context.snapshot(self.home, (0, 0)).map_err(failed())?;
            let request = RunRequest {
                image: image.clone(),
                platform: self.platform.clone(),
                name: "compile".into(),
                command: Some(form(&compile.run)),
                entrypoint: compile.entrypoint,
                env: compile.env.clone().into_iter().collect(),
                cwd: Some(compile.workdir.clone()),
                user: None,
                view: Some(View { tree: self.home.snapshots().path(&source), at: compile.workdir.clone() }),
                keep: true,
                outputs: compile.outputs.clone(),
                exclude: compile.exclude.clone(),
                caches: compile
                    .caches
                    .iter()
                    .map(|path| CacheMount { id: path.clone(), target: path.clone(), locked: true })
                    .collect(),
                secrets: BTreeMap::new(),
                ca_certificates: certificates.clone(),
                network: true,
                stdio: Stdio::Events,
                started: None,
            };
            let outcome = self.engine.run(&request, events).map_err(failed())?;
            if outcome.code != 0 {
                let source = otoshi_engine::EngineError::Command {
                    what: format!("{:?}", compile.run),
                    code: outcome.code,
                    at: None,
                };
                return Err(PipelineError::Engine { phase: "compile", source });
            }
            Ok((Made { images: BTreeMap::new(), output: outcome.output }, 0))
        })
    }

    /// Phase 4: one image per process.
    fn app(
        &self,
        walk: &mut Walk<'_>,
        builder: Option<Digest>,
        compiled: Option<Made>,
        runner: Option<Digest>,
        builder_known: bool,
    ) -> Result<BTreeMap<String, Digest>, PipelineError> {
        let app = &self.project.manifest.app;
        let (Some(compiled), Some(runner), true) = (compiled, runner, builder_known) else {
            pending::<()>(walk, "app", 4, "an earlier phase");
            return Ok(BTreeMap::new());
        };
        let context = self.context(walk, "app", None)?;
        let mut parts = vec![
            Part::new(PartKind::Role, "runner", &runner),
            Part::new(
                PartKind::Source,
                "tree",
                context.tree_digest().map_err(PipelineError::engine_in("app"))?,
            ),
            Part::new(PartKind::Setting, "app", format!("{app:?}")),
        ];
        if let Some((_, content)) = &compiled.output {
            parts.push(Part::new(PartKind::Role, "compile", content));
        }
        for process in &self.project.processes {
            parts.push(Part::new(
                PartKind::Process,
                &process.name,
                format!("{:?} {}", process.command, process.target),
            ));
        }
        let settings = self.settings(&mut parts);
        let made = if let Some(path) = &app.dockerfile {
            let dockerfile = self.dockerfile("app", path)?;
            let (args, roles) = (walk.args.clone(), walk.roles.clone());
            let mut images = roles.clone();
            for process in &self.project.processes {
                let target = Some(process.target.as_str());
                let phase = Phase {
                    name: "app",
                    dockerfile: &dockerfile,
                    target,
                    args: &args,
                    roles: &roles,
                    platform: &self.platform,
                };
                for part in phase.parts(self.engine, None)? {
                    parts.push(Part { name: format!("{} ({})", part.name, process.name), ..part });
                }
                for base in phase.bases()? {
                    let digest = self.locked(walk, "app", &base)?;
                    parts.push(Part::new(PartKind::Base, format!("{base} ({})", process.name), &digest));
                    images.insert(base, digest);
                }
            }
            self.carry_out(walk, "app", 4, &parts, |events| {
                let merged = self.merged(&context, &compiled)?;
                let request = BuildRequest {
                    dockerfile: Arc::new(dockerfile.clone()),
                    context: merged,
                    target: None,
                    args: args.clone(),
                    images: images.clone(),
                    platform: self.platform.clone(),
                    labels: BTreeMap::new(),
                    annotations: annotations(),
                    secrets: BTreeMap::new(),
                    ca_certificates: settings.clone(),
                    no_cache: false,
                    output: Output::default(),
                };
                self.app_images(|process| self.app_stage(&request, process, events))
            })?
        } else {
            for path in &app.dependencies {
                let image = builder.as_ref().ok_or_else(|| {
                    PipelineError::invalid("[app] dependencies need a [builder]", "add one")
                })?;
                let content = self.engine.content(image, path).map_err(PipelineError::engine_in("app"))?;
                parts.push(Part::new(PartKind::Role, format!("builder {path}"), format!("{content:?}")));
            }
            self.carry_out(walk, "app", 4, &parts, |events| {
                let request = self.assembly(&context, &compiled, &runner, builder.as_ref())?;
                self.app_images(|process| {
                    let changes =
                        ImageChanges { cmd: process.command.as_ref().map(argv), ..request.changes.clone() };
                    let request = AssembleRequest { changes, ..request.clone() };
                    self.engine.assemble(&request, events).map_err(PipelineError::engine_in("app"))
                })
            })?
        };
        Ok(made.map(|made| made.images).unwrap_or_default())
    }

    fn app_images(
        &self,
        mut make: impl FnMut(&NamedProcess) -> Result<BuiltImage, PipelineError>,
    ) -> Result<(Made, usize), PipelineError> {
        let (mut made, mut written) = (Made::default(), 0);
        for process in &self.project.processes {
            let built = make(process)?;
            written += built.layers_written;
            made.images.insert(process.name.clone(), built.digest);
        }
        Ok((made, written))
    }

    /// A process that is a stage; a command in the project wins over the stage's.
    fn app_stage(
        &self,
        request: &BuildRequest,
        process: &NamedProcess,
        events: &dyn Events,
    ) -> Result<BuiltImage, PipelineError> {
        let failed = || PipelineError::engine_in("app");
        let request = BuildRequest { target: Some(process.target.clone()), ..request.clone() };
        let built = self.engine.build(&request, events).map_err(failed())?;
        let Some(command) = &process.command else { return Ok(built) };
        let assemble = AssembleRequest {
            base: built.digest.clone(),
            layers: Vec::new(),
            changes: ImageChanges { cmd: Some(argv(command)), ..ImageChanges::default() },
            annotations: annotations(),
            platform: self.platform.clone(),
            output: Output::default(),
        };
        let changed = self.engine.assemble(&assemble, events).map_err(failed())?;
        Ok(BuiltImage {
            steps_run: built.steps_run,
            layers_written: built.layers_written + changed.layers_written,
            ..changed
        })
    }

    /// Source and compiled output as one context.
    fn merged(&self, context: &Arc<Context>, compiled: &Made) -> Result<Arc<Context>, PipelineError> {
        let failed = || PipelineError::engine_in("app");
        let Some((output, _)) = &compiled.output else { return Ok(Arc::clone(context)) };
        let source = context.snapshot(self.home, (0, 0)).map_err(failed())?;
        Context::overlay(self.home, &source, output).map(Arc::new).map_err(failed())
    }

    /// The layers of an app without a Dockerfile.
    fn assembly(
        &self,
        context: &Context,
        compiled: &Made,
        runner: &Digest,
        builder: Option<&Digest>,
    ) -> Result<AssembleRequest, PipelineError> {
        let manifest = &self.project.manifest;
        let app = &manifest.app;
        let directory =
            app.dir.clone().or_else(|| manifest.compile.as_ref().map(|compile| compile.workdir.clone()));
        let directory = directory.unwrap_or_else(|| "/app".into());
        let source = context.snapshot(self.home, (0, 0)).map_err(PipelineError::engine_in("app"))?;
        let copies = app
            .dependencies
            .iter()
            .filter_map(|path| Some(AppLayer::CopyFrom { image: builder?.clone(), path: path.clone() }));
        let trees = [Some((source, Some((0, 0)))), compiled.output.clone().map(|(output, _)| (output, None))];
        let trees = trees.into_iter().flatten().map(|(snapshot, owner)| AppLayer::Tree {
            snapshot,
            at: directory.clone(),
            owner,
        });
        Ok(AssembleRequest {
            base: runner.clone(),
            layers: copies.chain(trees).collect(),
            changes: ImageChanges {
                env: app.env.clone(),
                exposed_ports: app
                    .expose
                    .iter()
                    .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") })
                    .collect(),
                working_dir: Some(directory),
                user: app.user.clone(),
                ..ImageChanges::default()
            },
            annotations: annotations(),
            platform: self.platform.clone(),
            output: Output::default(),
        })
    }

    /// Finds what the phase made for these parts; else says why not and, when building, makes it.
    fn carry_out(
        &self,
        walk: &mut Walk<'_>,
        phase: &'static str,
        number: u8,
        parts: &[Part],
        run: impl FnOnce(&dyn Events) -> Result<(Made, usize), PipelineError>,
    ) -> Result<Option<Made>, PipelineError> {
        let key = key(phase, parts);
        let records = self.home.records();
        let last_key = Digest::sha256_of(format!("{} {phase}", self.project.root.display()).as_bytes());
        let mut entry =
            PhasePlan { phase, number, status: Status::Fresh, reasons: Vec::new(), layers_written: 0 };
        let made = records.get::<Made>(Kind::Phase, key.hex());
        if let Some(made) = made.clone().filter(|made| self.is_there(made)) {
            records.touch(Kind::Phase, key.hex());
            walk.phases.push(entry);
            if walk.events.is_some()
                && records.get::<Vec<Part>>(Kind::Last, last_key.hex()).as_deref() != Some(parts)
            {
                records.put(Kind::Last, last_key.hex(), &parts)?;
            }
            return Ok(Some(made));
        }
        entry.status = Status::Stale;
        let simple = |text: &str| Reason { text: text.to_owned(), old: None, new: None };
        entry.reasons = match records.get::<Vec<Part>>(Kind::Last, last_key.hex()) {
            _ if made.is_some() => vec![simple("what it made is no longer in the store")],
            None => vec![simple("it was never run here")],
            Some(last) => difference(&last, parts),
        };
        if entry.reasons.is_empty() {
            entry.reasons.push(simple("the record of what it made is gone"));
        }
        let Some(events) = walk.events else {
            walk.phases.push(entry);
            return Ok(None);
        };
        let (made, layers_written) = run(events)?;
        entry.layers_written = layers_written;
        records.put(Kind::Phase, key.hex(), &made)?;
        records.put(Kind::Last, last_key.hex(), &parts)?;
        walk.phases.push(entry);
        Ok(Some(made))
    }

    fn is_there(&self, made: &Made) -> bool {
        let layout = self.home.layout();
        let whole = |digest: &Digest| {
            otoshi_oci::Image::load(layout, digest, &self.platform)
                .is_ok_and(|image| image.layers().iter().all(|layer| layout.has(&layer.digest)))
        };
        made.images.values().all(whole)
            && made.output.as_ref().is_none_or(|(id, _)| self.home.snapshots().get(id).is_some())
    }

    /// The manifest that the lock has for a base; the one that its tag names now when it has none.
    fn locked(&self, walk: &mut Walk<'_>, role: &'static str, base: &str) -> Result<Digest, PipelineError> {
        let platform = self.platform.to_string();
        if let Some(digest) = walk.lock.get(role, base, &platform).and_then(|text| text.parse().ok()) {
            return Ok(digest);
        }
        if walk.frozen {
            return Err(PipelineError::invalid(
                format!("otoshi.lock has no {base} for the {role}"),
                "run otoshi build without --locked",
            ));
        }
        let (index, manifest) = self.resolve(role, base)?;
        walk.lock.set(role, base, &platform, index.as_str(), manifest.as_str());
        Ok(manifest)
    }

    fn resolve(&self, role: &str, base: &str) -> Result<(Digest, Digest), PipelineError> {
        let invalid = |message: String| PipelineError::Invalid { message, hint: None };
        let reference = Reference::parse(base).map_err(|error| invalid(error.to_string()))?;
        let found: Descriptor = self.home.layout().resolve(&reference)?.ok_or_else(|| {
            PipelineError::invalid(
                format!("the {role} starts from {base}, which is not in the store"),
                format!("otoshi import ROOTFS.tar --name {base}"),
            )
        })?;
        let index = Digest::of(&found).map_err(|error| invalid(error.to_string()))?;
        let manifest = find_manifest(self.home.layout(), &index, &self.platform)
            .map_err(|error| invalid(error.to_string()))?;
        Ok((index, manifest))
    }

    /// Names an image; nothing is written when it has the name already.
    fn tag(&self, name: &str, digest: &Digest) -> Result<(), PipelineError> {
        let reference = Reference::parse(name)
            .map_err(|error| PipelineError::Invalid { message: error.to_string(), hint: None })?;
        let layout = self.home.layout();
        let named = layout.resolve(&reference)?.and_then(|found| Digest::of(&found).ok());
        if named.as_ref() != Some(digest) {
            layout.tag(&reference, layout.describe(digest)?)?;
        }
        Ok(())
    }
}

/// Notes a phase that planning cannot decide.
fn pending<T>(walk: &mut Walk<'_>, phase: &'static str, number: u8, on: &str) -> Option<T> {
    let reasons = vec![Reason { text: format!("depends on what {on} gives"), old: None, new: None }];
    walk.phases.push(PhasePlan { phase, number, status: Status::Pending, reasons, layers_written: 0 });
    None
}

fn uses_argument(dockerfile: &Dockerfile, name: &str) -> bool {
    dockerfile.globals.iter().any(|arg| arg.value.name == name)
}

fn annotations() -> BTreeMap<String, String> {
    BTreeMap::from([("dev.otoshi.role".to_owned(), "app".to_owned())])
}

fn form(command: &Command) -> CommandForm {
    match command {
        Command::Shell(text) => CommandForm::Shell(text.clone()),
        Command::Exec(argv) => CommandForm::Exec(argv.clone()),
    }
}

fn argv(command: &Command) -> Vec<String> {
    match command {
        Command::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
        Command::Exec(argv) => argv.clone(),
    }
}
