use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use otoshi_dockerfile::{Dockerfile, GlobalScope, Graph, Surroundings, check::Findings, undeclared_args};
use otoshi_engine::{
    BuildRequest, BuiltImage, EmbeddedEngine, Engine, Event, Events, ImageSource, NetworkCache, Output,
    Secret, Silent, Ssh, names_context,
};
use otoshi_oci::{Digest, Platform, Reference};
use otoshi_pipeline::Remote;
use otoshi_store::Home;

use super::{
    allow::{self, Allow},
    asides::{Asides, switch},
    check,
    elsewhere::Elsewhere,
    given,
    output::{Destination, Made, Sent},
    source::{Source, commit_time},
};
use crate::{
    commands::network::{Network, Switch},
    engine::{engine, remote_for},
    failure::Failure,
    progress,
};

/// Build an image from a Dockerfile, as `docker build` does.
///
/// Prints the digest of the image's manifest, unless the image is written to standard output. The environment variable
/// SOURCE_DATE_EPOCH is passed on as a build argument.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// A directory, a git repository or the URL of a tar; `-` reads a Dockerfile, or a tar that contains one, from standard input
    context: PathBuf,
    /// The Dockerfile; `-` for standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name for the image; may be repeated
    #[arg(short, long, value_name = "REF")]
    tag: Vec<String>,
    /// Build argument; NAME alone takes the value of the environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Secret for RUN --mount=type=secret: id=ID,src=FILE or id=ID,env=NAME
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// SSH agent for RUN --mount=type=ssh and for ADD from git: default, ID=SOCKET or ID=KEY[,KEY]
    #[arg(long, value_name = "AGENT")]
    ssh: Vec<String>,
    /// Context that replaces an image or stage: NAME=DIR, NAME=REPOSITORY.git, NAME=docker-image://REF or
    /// NAME=oci-layout://DIR[:TAG]
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,
    /// Platform to build for, such as linux/386 [default: this machine's]
    #[arg(long)]
    platform: Option<Platform>,
    /// Label for the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Network for RUN steps that do not choose one
    #[arg(long, value_enum, default_value_t = Network::Default)]
    network: Network,
    /// Whether plain HTTP of RUN may be answered with what was fetched before, as far as servers allow
    #[arg(long, value_enum, default_value_t = Switch::On, value_name = "SWITCH")]
    network_cache: Switch,
    /// Allow the Dockerfile to use security.insecure, network.host, device (any) or device=NAME[,alias=NAME]
    #[arg(long, value_name = "WHAT")]
    allow: Vec<Allow>,
    /// Run every step again
    #[arg(long, value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    no_cache: bool,
    /// Also write the image to DIR, type=local,dest=DIR, type=tar, type=oci, or type=docker (with dest=FILE, or into Docker); `-` for
    /// standard output
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<Sent>,
    /// Write the digest to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Only show errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Show the output of every command
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    asides: Asides,
}

impl Build {
    pub(super) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let check = |it: Self, json| {
            check::Check::new(it.context, it.file, it.build_arg, it.platform).with_json(json).run(home)
        };
        match (self.asides.check == Some(true), self.asides.call.as_str()) {
            (_, "check,format=json") => return check(self, true),
            (true, _) | (_, "check") => return check(self, false),
            (_, "build") => {}
            (_, "targets") => return self.list_targets(home),
            (_, other) => {
                let hint = "build, check, check,format=json or targets; otoshi image check points out likely mistakes";
                return Err(Failure::usage(format!("--call {other} is not supported"), Some(hint.into())));
            }
        }
        let _usage = home.claim()?;
        let tags: Vec<Reference> =
            self.tag.iter().map(|tag| Reference::parse(tag)).collect::<Result<_, _>>()?;
        let is_pushed = self.asides.push == Some(true)
            || self.output.iter().any(|sent| sent.destination == Destination::Registry);
        if is_pushed && tags.is_empty() {
            let hint = Some("give it a name with -t".to_owned());
            return Err(Failure::usage("the image to push has no name", hint));
        }
        let events: Arc<dyn Events> = if self.quiet || self.asides.is_quiet() {
            Arc::new(Silent)
        } else {
            progress::to_standard_error(self.verbose || self.asides.is_plain()).into()
        };
        for note in self.asides.notes() {
            events.event(Event::Warning(note));
        }
        let remote = remote_for(home, &events);
        let engine = engine(home, &remote);
        let ssh: BTreeMap<String, Ssh> =
            self.ssh.iter().map(|text| given::ssh(text)).collect::<Result<_, _>>()?;
        let agent = ssh.get("default");
        let secrets: BTreeMap<String, Secret> =
            self.secret.iter().map(|text| given::secret(text)).collect::<Result<_, _>>()?;
        let elsewhere = Elsewhere { engine: &engine, ssh: agent, secrets: &secrets };
        let source = Source::open(home, elsewhere, &self.context, self.file.as_deref())?;
        let args = self.arguments(&source.dockerfile, &engine, agent, events.as_ref())?;
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let findings = check::findings(home, &source.dockerfile, source.ignore.as_deref(), &args, &platform)?;
        warn(&source.dockerfile.name, &findings, events.as_ref())?;
        let (annotations, others) = self.asides.annotations();
        for other in others {
            let note =
                format!("--annotation {other}: the image has no index; only the image itself is annotated");
            events.event(Event::Warning(note));
        }
        let target = self.target.as_deref();
        let wanted = Reached::find(&source.dockerfile, &args, &platform, target, &self.build_context);
        let contexts = self.build_context.iter().filter(|text| wanted.uses(text));
        let images = if self.asides.pull == Some(true) {
            pulled(&wanted, &remote, &platform, events.as_ref())?
        } else {
            BTreeMap::new()
        };
        let request = BuildRequest {
            target: self.target.clone(),
            args,
            images,
            annotations: annotations.into_iter().collect(),
            labels: self.label.iter().map(|text| given::label(text)).collect(),
            contexts: contexts
                .map(|text| given::context(home, elsewhere, remote.as_ref(), &platform, text))
                .collect::<Result<_, _>>()?,
            network: self.network.into(),
            network_cache: match self.network_cache {
                Switch::On => NetworkCache::Http,
                Switch::Off => NetworkCache::Off,
            },
            allow_insecure: self.allow.contains(&Allow::Insecure),
            allow_host_network: self.allow.contains(&Allow::HostNetwork),
            allow_devices: allow::devices(&self.allow),
            no_cache: self.no_cache || !self.asides.no_cache_filter.is_empty(),
            output: Output { clamp: self.output.iter().any(|sent| sent.clamps), ..Output::default() },
            secrets,
            ssh,
            platform,
            // Versions of an image have one name, and different tags.
            versions_of: tags.first().map_or_else(|| self.context.display().to_string(), Reference::name),
            ..BuildRequest::new(source.dockerfile, source.context)
        };
        let built = engine.build(&request, events.as_ref())?;
        for tag in &tags {
            home.layout().names().tag(tag, built.descriptor.clone())?;
        }
        self.write_files(&built, &tags)?;
        let made = Made { digest: &built.digest, platform: &request.platform, names: &tags };
        let mut printed = true;
        for Sent { destination, .. } in &self.output {
            destination.write(home, &engine, made)?;
            printed &= !destination.is_standard_output();
        }
        if self.asides.load == Some(true) {
            let loaded = Destination::Docker.write(home, &engine, made);
            if let Err(failure) = loaded {
                let note = format!("--load: the image is in the store, but not in Docker: {failure}");
                events.event(Event::Warning(note));
            }
        }
        if is_pushed {
            super::push::push(home, &built.digest, &tags)?;
        }
        if printed {
            outln!("{}", built.digest);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The build arguments that are given, and those that the environment and the context give.
    fn arguments(
        &self,
        dockerfile: &Dockerfile,
        engine: &EmbeddedEngine,
        agent: Option<&Ssh>,
        events: &dyn Events,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let mut args: BTreeMap<String, String> =
            self.build_arg.iter().filter_map(|text| given::pair(text)).collect();
        for name in undeclared_args(dockerfile, &args) {
            events.event(Event::Warning(format!("no ARG declares the build argument {name}")));
        }
        if let Some((name, value)) = given::pair("SOURCE_DATE_EPOCH") {
            args.entry(name).or_insert(value);
        }
        if epoch(dockerfile, &args) == Some("context") {
            let time = commit_time(engine, agent, &self.context)?;
            args.insert("SOURCE_DATE_EPOCH".into(), time);
        }
        Ok(args)
    }

    /// Writes what is asked for beside the image: its digest, and what is known about it.
    fn write_files(&self, built: &BuiltImage, tags: &[Reference]) -> Result<(), Failure> {
        if let Some(path) = &self.iidfile {
            let shown = path.display().to_string();
            fs::write(path, built.digest.as_str()).map_err(Failure::io("writing", shown))?;
        }
        if let Some(path) = &self.asides.metadata_file {
            let names: Vec<String> = tags.iter().map(ToString::to_string).collect();
            let metadata = serde_json::json!({
                "containerimage.digest": built.digest,
                "containerimage.descriptor": built.descriptor,
                "image.name": names.join(","),
            });
            let text = serde_json::to_string_pretty(&metadata).unwrap_or_default();
            fs::write(path, text).map_err(Failure::io("writing", path.display().to_string()))?;
        }
        Ok(())
    }

    /// Lists the stages, the one that is built by default marked.
    fn list_targets(&self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = home.claim()?;
        let dockerfile = super::source::parsed(&self.context, self.file.as_deref())?;
        for stage in &dockerfile.stages {
            let name = stage.name.clone().unwrap_or_else(|| stage.index.to_string());
            let is_last = stage.index + 1 == dockerfile.stages.len();
            outln!("{name}{}", if is_last { "  (default)" } else { "" });
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what the checks found; fails where the Dockerfile says that findings are errors.
fn warn(name: &str, findings: &Findings, events: &dyn Events) -> Result<(), Failure> {
    for found in &findings.found {
        let text = format!("{name}:{}: {} ({})", found.line, found.message, found.rule.name());
        events.event(Event::Warning(text));
    }
    if findings.is_error {
        let message = format!("{name}: its check directive makes these findings an error");
        return Err(Failure::usage(message, Some("otoshi image check shows them in the file".into())));
    }
    Ok(())
}

/// The `SOURCE_DATE_EPOCH` that is given, or declared before the first FROM.
fn epoch<'a>(dockerfile: &'a Dockerfile, args: &'a BTreeMap<String, String>) -> Option<&'a str> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let declared = || dockerfile.globals.iter().rfind(|arg| arg.value.name == NAME)?.value.default.as_ref();
    args.get(NAME).map(String::as_str).or_else(|| declared().map(|word| word.0.as_str()))
}

/// What a target reaches of what is named outside of the Dockerfile.
struct Reached {
    /// Named contexts and images; `None` where it is not known, as in a Dockerfile that is wrong.
    names: Option<(BTreeSet<String>, BTreeSet<String>)>,
}

/// The names of the contexts that are given.
struct Names<'a>(&'a [String]);

impl Surroundings for Names<'_> {
    fn is_named_context(&self, name: &str) -> bool {
        self.0.iter().any(|text| names_context(given::context_name(text), name))
    }
}

impl Reached {
    fn find(
        dockerfile: &Dockerfile,
        args: &BTreeMap<String, String>,
        platform: &Platform,
        target: Option<&str>,
        contexts: &[String],
    ) -> Self {
        let own = Platform::host().to_string();
        let globals = GlobalScope::evaluate_for(dockerfile, args, &platform.to_string(), &own, target);
        let graph =
            globals.and_then(|globals| Graph::reach_in(dockerfile, &globals, target, &Names(contexts)));
        let names = graph.ok().map(|graph| {
            (graph.contexts().into_iter().map(str::to_owned).collect(), graph.images(dockerfile))
        });
        Self { names }
    }

    /// Whether a named context is reached. The build itself says what is wrong where that is not known.
    fn uses(&self, text: &str) -> bool {
        let (known, value) = text.split_once('=').unwrap_or((text, ""));
        // What is on this machine is looked at anyway: a mistake in it is told.
        let is_elsewhere = ["docker-image://", "http://", "https://", "git://", "ssh://", "git@"];
        if !is_elsewhere.iter().any(|start| value.starts_with(start)) {
            return true;
        }
        let is_named = |names: &BTreeSet<String>| names.iter().any(|name| names_context(known, name));
        self.names.as_ref().is_none_or(|(contexts, _)| is_named(contexts))
    }
}

/// Asks registries what the reached images' names stand for now.
fn pulled(
    reached: &Reached,
    remote: &Remote,
    platform: &Platform,
    events: &dyn Events,
) -> Result<BTreeMap<String, Digest>, Failure> {
    let mut found = BTreeMap::new();
    for name in reached.names.iter().flat_map(|(_, images)| images) {
        let Ok(reference) = Reference::parse(name) else { continue };
        if reference.digest().is_some() || remote.local(&reference).map_err(Box::new)?.is_some() {
            continue;
        }
        match remote.find(&reference, platform)? {
            Some(digest) => _ = found.insert(name.clone(), digest),
            None => events.event(Event::Warning(format!(
                "--pull: {name} is in no registry; the one in the store is used"
            ))),
        }
    }
    Ok(found)
}
