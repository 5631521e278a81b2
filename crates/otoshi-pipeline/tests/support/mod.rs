//! A project in a temporary directory, and an engine that notes what it was asked and makes images without layers.
//!
//! The engine stands in for the real one where a test is about which phases run; that the images are right is shown
//! with the real engine at the command line. What it makes follows from what it was given, so equal requests give equal
//! images: the instructions of the reached stages, the images below, and the files of the context that COPY names.

#![allow(dead_code, reason = "not every test uses every helper")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::Mutex,
};

use otoshi_dockerfile::{Base, GlobalScope, Graph, Instruction};
use otoshi_engine::{
    AppLayer, AssembleRequest, BuildRequest, BuiltImage, Engine, EngineError, Events, Output, RunOutcome,
    RunRequest, Silent, hash_tree,
};
use otoshi_oci::{Descriptor, DiffId, Digest, ImageConfig, Platform, Reference, write_image};
use otoshi_pipeline::{Pipeline, PipelineError, Plan, Status};
use otoshi_project::Project;
use otoshi_store::{Home, SnapshotId};

/// Notes what it is asked, and makes images without layers.
pub(crate) struct Recorder<'a> {
    home: &'a Home,
    pub(crate) calls: Mutex<Vec<String>>,
    /// Layers that were written once.
    layers: Mutex<BTreeSet<String>>,
    /// Whether every compile gives the same output.
    pub(crate) same_output: bool,
    /// Whether the content of every path of every image is the same.
    pub(crate) same_content: bool,
    pub(crate) exit_code: i32,
    /// Runs at the start of each call, to see which calls overlap.
    pub(crate) meet: Option<std::sync::Barrier>,
}

impl Recorder<'_> {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    fn image(&self, content: &str, annotations: &BTreeMap<String, String>, layers: usize) -> BuiltImage {
        let mut config = ImageConfig::new(&Platform::host());
        config.config.labels.insert("content".into(), Digest::sha256_of(content.as_bytes()).to_string());
        let descriptor = write_image(self.home.layout(), &config, &[], annotations).unwrap();
        BuiltImage {
            digest: Digest::of(&descriptor).unwrap(),
            descriptor,
            steps_run: 1,
            layers_written: layers,
        }
    }
}

impl Engine for Recorder<'_> {
    fn build(&self, request: &BuildRequest, _: &dyn Events) -> Result<BuiltImage, EngineError> {
        if let Some(meet) = &self.meet {
            meet.wait();
        }
        self.note(format!("build {} {:?}", request.dockerfile.name, request.target));
        let platform = request.platform.to_string();
        let globals = GlobalScope::evaluate(&request.dockerfile, &request.args, &platform, &platform)?;
        let graph = Graph::reach(&request.dockerfile, &globals, request.target.as_deref())?;
        let mut content = String::new();
        for index in &graph.order {
            if let Base::Image(name) = &graph.stages[index].base {
                content += &format!("on {}\n", request.images[name]);
            }
            for located in &request.dockerfile.stages[*index].instructions {
                content += &format!("{}\n", located.source);
                if let Instruction::Copy(copy) = &located.value
                    && copy.from.is_none()
                {
                    let sources: Vec<String> = copy.sources.iter().map(|word| word.0.clone()).collect();
                    content += request.context.select_digest(&sources)?.as_str();
                }
            }
        }
        Ok(self.image(&content, &request.annotations, 1))
    }

    fn assemble(&self, request: &AssembleRequest, _: &dyn Events) -> Result<BuiltImage, EngineError> {
        let mut written = 0;
        let mut content = format!("on {}\n{:?}\n", request.base, request.changes.cmd);
        for layer in &request.layers {
            let name = match layer {
                AppLayer::CopyFrom { image, path } => format!("copy {image} {path}"),
                AppLayer::Tree { snapshot, at, .. } => format!("tree {snapshot} {at}"),
            };
            content += &name;
            written += usize::from(self.layers.lock().unwrap().insert(name));
        }
        self.note(format!("assemble {:?} {written}", request.changes.cmd));
        Ok(self.image(&content, &request.annotations, written))
    }

    fn run(&self, request: &RunRequest, _: &dyn Events) -> Result<RunOutcome, EngineError> {
        if let Some(meet) = &self.meet {
            meet.wait();
        }
        self.note(format!("run {}", request.name));
        let source = hash_tree(&request.view.as_ref().unwrap().tree)?;
        let name = if self.same_output { "same".to_owned() } else { format!("{source} {}", request.image) };
        let content = Digest::sha256_of(name.as_bytes());
        let id = SnapshotId::of_key(&content);
        self.home.snapshots().draft().unwrap().commit(&id).unwrap();
        Ok(RunOutcome { code: self.exit_code, stdout: Vec::new(), output: Some((id, content)) })
    }

    fn pack(
        &self,
        _: &SnapshotId,
        _: Option<(u32, u32)>,
        _: Output,
    ) -> Result<(Descriptor, DiffId), EngineError> {
        unreachable!("the images of these tests have no layers, and none is published")
    }

    fn unpack(&self, _: &Digest, _: &SnapshotId) -> Result<(), EngineError> {
        unreachable!("nothing comes from a registry here")
    }

    fn remote(&self, source: &str, checksum: Option<&str>) -> Result<Option<String>, EngineError> {
        // Every address holds what this file says; a checksum says it without asking.
        let is_elsewhere = source.contains("://");
        let asked = || std::fs::read_to_string(self.home.root().join("elsewhere")).unwrap_or_default();
        Ok(is_elsewhere.then(|| checksum.map_or_else(asked, str::to_owned)))
    }

    fn content(&self, image: &Digest, path: &str) -> Result<Option<Digest>, EngineError> {
        let name = if self.same_content { path.to_owned() } else { format!("{image} {path}") };
        Ok(Some(Digest::sha256_of(name.as_bytes())))
    }
}

/// A project and a store, each in a directory of its own.
pub(crate) struct Shop {
    directory: tempfile::TempDir,
    pub(crate) home: Home,
}

pub(crate) const MANIFEST: &str = r#"
[project]
name = "shop"
[versions]
RUBY = "3.1.2"
NODE = "20"
[bases]
RUBY_BASE = "test.local/ruby:{RUBY}"
NODE_BASE = "test.local/node:{NODE}"
RUNNER_BASE = "test.local/slim:12"
[builder]
dockerfile = "builder.Dockerfile"
[compile]
run = "make"
[runner]
dockerfile = "runner.Dockerfile"
[app]
dependencies = ["/opt/deps"]
[processes]
web = "serve"
cli = ["cli"]
"#;

impl Shop {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(&directory.path().join("home")).unwrap();
        let shop = Self { directory, home };
        shop.write("otoshi.toml", MANIFEST);
        shop.write(
            "builder.Dockerfile",
            "ARG RUBY_BASE\nARG NODE_BASE\nFROM ${NODE_BASE} AS node\nRUN npm ci\nFROM ${RUBY_BASE}\nARG RUBY\nCOPY Gemfile.lock /opt/\nCOPY --from=node /n /n\n",
        );
        shop.write(
            "runner.Dockerfile",
            "ARG RUNNER_BASE\nARG BUILDER\nFROM ${BUILDER} AS builder\nFROM ${RUNNER_BASE}\nCOPY --from=builder /opt/deps /opt/deps\n",
        );
        shop.write("Gemfile.lock", "gems 1\n");
        shop.write("app.rb", "app 1\n");
        shop.write("README", "hello\n");
        for name in ["ruby:3.1.2", "ruby:3.1.4", "node:20", "slim:12"] {
            shop.import(&format!("test.local/{name}"), "1", &[]);
        }
        shop
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("shop")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap()
    }

    /// Replaces a text in a file, which must have it.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replace(from, to));
    }

    /// Puts a base into the store, with an environment.
    pub(crate) fn import(&self, name: &str, content: &str, env: &[&str]) -> Digest {
        self.import_with_triggers(name, content, env, &[])
    }

    pub(crate) fn import_with_triggers(
        &self,
        name: &str,
        content: &str,
        env: &[&str],
        triggers: &[&str],
    ) -> Digest {
        let mut config = ImageConfig::new(&Platform::host());
        config.config.on_build = triggers.iter().map(ToString::to_string).collect();
        config.config.labels.insert("content".into(), format!("{name} {content}"));
        config.config.env = env.iter().map(ToString::to_string).collect();
        let descriptor = write_image(self.home.layout(), &config, &[], &BTreeMap::new()).unwrap();
        self.home.layout().names().tag(&Reference::parse(name).unwrap(), descriptor.clone()).unwrap();
        Digest::of(&descriptor).unwrap()
    }

    pub(crate) fn recorder(&self) -> Recorder<'_> {
        Recorder {
            home: &self.home,
            calls: Mutex::default(),
            layers: Mutex::default(),
            same_output: false,
            same_content: false,
            exit_code: 0,
            meet: None,
        }
    }

    pub(crate) fn with<T>(&self, engine: &Recorder<'_>, call: impl FnOnce(&Pipeline<'_>) -> T) -> T {
        let project = Project::find(&self.root()).unwrap();
        call(&Pipeline::new(&self.home, engine, &project))
    }

    pub(crate) fn plan(&self, engine: &Recorder<'_>) -> Plan {
        self.with(engine, |pipeline| pipeline.plan().unwrap())
    }

    pub(crate) fn try_build(&self, engine: &Recorder<'_>) -> Result<Plan, PipelineError> {
        self.with(engine, |pipeline| pipeline.build(false, &Silent))
    }

    /// Builds, after checking that the plan said the same of what it could know and asked the engine for nothing.
    pub(crate) fn build(&self, engine: &Recorder<'_>) -> Plan {
        let before = engine.calls.lock().unwrap().len();
        let plan = self.plan(engine);
        assert_eq!(engine.calls.lock().unwrap().len(), before, "a plan runs nothing");
        let report = self.try_build(engine).unwrap();
        for (planned, done) in plan.phases.iter().zip(&report.phases) {
            assert_eq!(planned.phase, done.phase);
            if planned.status != Status::Pending {
                assert_eq!((planned.status, &planned.reasons), (done.status, &done.reasons));
                assert_eq!(planned.key, done.key);
            }
        }
        report
    }
}

/// The numbers of the phases that ran.
pub(crate) fn ran(report: &Plan) -> Vec<u8> {
    let stale = report.phases.iter().filter(|phase| phase.status == Status::Stale);
    stale.map(|phase| phase.number).collect()
}

/// Why a phase ran, in words.
pub(crate) fn reasons(report: &Plan, number: u8) -> Vec<&str> {
    let phase = report.phases.iter().find(|phase| phase.number == number).unwrap();
    phase.reasons.iter().map(otoshi_pipeline::Reason::text).collect()
}
