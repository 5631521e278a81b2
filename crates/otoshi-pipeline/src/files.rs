//! The roles' Dockerfiles: the build arguments that each sees, and the stages that its targets reach.
//!
//! A Dockerfile sees the versions, bases and arguments of `otoshi.toml`, and the images of earlier roles under
//! `BUILDER` and `RUNNER`, as references in a registry that does not exist: [`role_reference`].

use std::{collections::BTreeSet, fs, sync::Arc};

use otoshi_dockerfile::{Base, BuildArgs, Dockerfile, GlobalScope, Graph};
use otoshi_oci::Platform;
use otoshi_project::{BaseName, Phase, Project, Role};

use crate::{PipelineError, given::Asked};

/// One role's Dockerfile, with everything that gives it its meaning.
#[derive(Debug)]
pub(crate) struct RoleFile {
    pub(crate) role: Role,
    /// The phase that builds it.
    pub(crate) phase: Phase,
    /// The Dockerfile, relative to the project.
    pub(crate) path: String,
    pub(crate) dockerfile: Arc<Dockerfile>,
    /// What is built: a stage's name, or the last stage.
    pub(crate) targets: Vec<Target>,
    pub(crate) args: BuildArgs,
    /// The images that are reached and come from outside the project.
    pub(crate) bases: BTreeSet<BaseName>,
    /// What is likely a mistake.
    pub(crate) warnings: Vec<String>,
}

/// One target of a Dockerfile and the stages that it reaches.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: Option<String>,
    pub(crate) graph: Graph,
    /// The arguments before the first FROM, as this target has them.
    pub(crate) globals: GlobalScope,
}

impl Target {
    /// The image at the bottom of the target's own stages; none on `scratch`.
    pub(crate) fn base(&self) -> Option<&str> {
        let mut stage = self.graph.target;
        loop {
            match &self.graph.stages.get(&stage)?.base {
                // Stages stand on earlier ones only.
                Base::Stage(parent) => stage = *parent,
                Base::Image(name) => return Some(name),
                Base::Scratch | Base::Named(_) => return None,
            }
        }
    }
}

/// The Dockerfiles that a project has.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) builder: Option<RoleFile>,
    pub(crate) runner: RoleFile,
    pub(crate) app: Option<RoleFile>,
}

impl Files {
    pub(crate) fn load(
        project: &Project,
        platform: &Platform,
        computed: &BuildArgs,
    ) -> Result<Self, PipelineError> {
        project.check_dockerfiles()?;
        // Whether this machine has authorities of its own matters to what runs alone.
        if project.manifest.build.ca_certificates.as_deref() != Some("host") {
            project.ca_certificates()?;
        }
        let manifest = &project.manifest;
        let name = &manifest.project.name;
        let mut args = project.build_args(computed)?;
        let load = |made: Made<'_>, args: &BuildArgs| RoleFile::load(project, made, args.clone(), platform);
        let one = |target: &Option<String>| vec![target.clone()];
        let builder = match &manifest.builder {
            None => None,
            Some(image) => {
                let (path, targets) = (image.dockerfile.as_str(), one(&image.target));
                Some(load(Made { role: Role::Builder, phase: Phase::Builder, path, targets }, &args)?)
            }
        };
        if builder.is_some() {
            args.insert(manifest.build.builder_arg.clone(), role_reference(name, Role::Builder));
        }
        let image = &manifest.runner;
        let (path, targets) = (image.dockerfile.as_str(), one(&image.target));
        let runner = load(Made { role: Role::Runner, phase: Phase::Runner, path, targets }, &args)?;
        args.insert(manifest.build.runner_arg.clone(), role_reference(name, Role::Runner));
        let app = match &manifest.app.dockerfile {
            None => None,
            Some(path) => {
                let targets = project.processes.iter().map(|process| Some(process.target.clone())).collect();
                Some(load(Made { role: Role::App, phase: Phase::App, path, targets }, &args)?)
            }
        };
        Ok(Self { builder, runner, app })
    }

    /// All of them, in the order of their phases.
    pub(crate) fn all(&self) -> impl Iterator<Item = &RoleFile> {
        self.builder.iter().chain([&self.runner]).chain(&self.app)
    }
}

/// What a Dockerfile makes: for which role, in which phase, and which stages.
struct Made<'a> {
    role: Role,
    phase: Phase,
    /// In the project's directory.
    path: &'a str,
    targets: Vec<Option<String>>,
}

impl RoleFile {
    fn load(
        project: &Project,
        made: Made<'_>,
        args: BuildArgs,
        platform: &Platform,
    ) -> Result<Self, PipelineError> {
        let Made { role, phase, path, targets } = made;
        let full = project.root.join(path);
        let bytes = fs::read(&full).map_err(|source| PipelineError::Read { path: full, source })?;
        let wrong = || PipelineError::dockerfile(phase);
        let text = otoshi_dockerfile::encoding::text(path, &bytes).map_err(wrong())?;
        let dockerfile = Dockerfile::parse(path, &text).map_err(wrong())?;
        let build = &project.manifest.build;
        let roles = [(build.builder_arg.as_str(), Role::Builder), (build.runner_arg.as_str(), Role::Runner)];
        let asked = Asked { role, phase, dockerfile: &dockerfile, args: &args, roles };
        asked.check()?;
        let warnings = asked.warnings();
        let host = Platform::host().to_string();
        let platform = platform.to_string();
        let reach = |name: Option<String>| {
            let globals = GlobalScope::evaluate_for(&dockerfile, &args, &platform, &host, name.as_deref());
            let globals = globals.map_err(wrong())?;
            let graph = Graph::reach(&dockerfile, &globals, name.as_deref()).map_err(wrong())?;
            Ok::<_, PipelineError>(Target { name, graph, globals })
        };
        let targets = targets.into_iter().map(reach).collect::<Result<Vec<Target>, _>>()?;
        let images = targets.iter().flat_map(|target| target.graph.images(&dockerfile));
        let bases = images.filter(|name| !is_role(name)).map(|name| {
            BaseName::parse(&name).map_err(|source| PipelineError::BadBase { role, name, source })
        });
        let bases = bases.collect::<Result<_, _>>()?;
        let (path, dockerfile) = (path.to_owned(), Arc::new(dockerfile));
        Ok(Self { role, phase, path, dockerfile, targets, args, bases, warnings })
    }

    /// Every image that is reached, other roles' included, as FROM or `--from` has it after expansion.
    pub(crate) fn images(&self) -> BTreeSet<String> {
        self.targets.iter().flat_map(|target| target.graph.images(&self.dockerfile)).collect()
    }

    /// The build argument whose value this is, to call a base by in explanations.
    pub(crate) fn argument_of(&self, value: &str) -> Option<String> {
        let declared = |name: &str| self.dockerfile.globals.iter().any(|arg| arg.value.name == name);
        self.args
            .iter()
            .find(|(name, known)| known.as_str() == value && declared(name))
            .map(|(name, _)| name.clone())
    }
}

const ROLE_REGISTRY: &str = "otoshi.invalid/roles/";

/// The reference under which later Dockerfiles see a role's image.
pub(crate) fn role_reference(project: &str, role: Role) -> String {
    format!("{ROLE_REGISTRY}{project}/{role}")
}

/// Tells whether a reference means a role's image.
pub(crate) fn is_role(reference: &str) -> bool {
    reference.starts_with(ROLE_REGISTRY)
}

/// The role that such a reference means.
pub(crate) fn role_of(reference: &str) -> Option<Role> {
    let (_, name) = reference.strip_prefix(ROLE_REGISTRY)?.rsplit_once('/')?;
    Role::MADE.into_iter().find(|role| role.as_str() == name)
}
