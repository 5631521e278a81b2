use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, ValueEnum};
use otoshi_dockerfile::undeclared_args;
use otoshi_engine::{BuildRequest, Engine, Event, Events, Output, Silent, Ssh};
use otoshi_oci::{Platform, Reference};
use otoshi_store::Home;

use super::{check, given, output::Sent, source::Source};
use crate::{failure::Failure, progress};

/// Builds an image from a Dockerfile, as `docker build` does.
///
/// Prints the digest of the image's manifest, unless the image is written to standard output. The environment variable
/// SOURCE_DATE_EPOCH is a build argument.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The directory that COPY and ADD read, or a git repository or the URL of a tar; `-` reads a Dockerfile, or a tar that holds
    /// one, from standard input
    context: PathBuf,
    /// The Dockerfile; `-` is standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The image's name; may be given several times
    #[arg(short, long, value_name = "REF")]
    tag: Vec<String>,
    /// A build argument; without a value, that of the environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// The stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A secret for RUN --mount=type=secret: id=ID,src=FILE or id=ID,env=NAME
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// An SSH agent for RUN --mount=type=ssh and ADD of git repositories: default, ID=SOCKET or ID=KEY[,KEY]
    #[arg(long, value_name = "AGENT")]
    ssh: Vec<String>,
    /// A context that takes the place of an image or stage: NAME=DIR, NAME=REPOSITORY.git, NAME=docker-image://REF or
    /// NAME=oci-layout://DIR[:TAG]
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,
    /// The platform built for, such as linux/386 [default: this machine's]
    #[arg(long)]
    platform: Option<Platform>,
    /// A label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The network of RUN steps that say none themselves
    #[arg(long, value_enum, default_value_t = Network::Default)]
    network: Network,
    /// What the Dockerfile may do beyond the usual: security.insecure, network.host
    #[arg(long, value_enum, value_name = "WHAT")]
    allow: Vec<Allow>,
    /// Run every step again
    #[arg(long)]
    no_cache: bool,
    /// Where else the image goes: DIR, type=local,dest=DIR, type=tar, type=oci, or type=docker (with dest=FILE, or into Docker); `-` is
    /// standard output
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<Sent>,
    /// Write the digest to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Show nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Show the output of every command
    #[arg(short, long)]
    verbose: bool,
}

/// A network for RUN steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    Default,
    None,
    Host,
}

/// A permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Allow {
    #[value(name = "security.insecure")]
    Insecure,
    #[value(name = "network.host")]
    HostNetwork,
}

impl Build {
    pub(super) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = super::super::claim(home)?;
        let tags: Vec<Reference> =
            self.tag.iter().map(|tag| Reference::parse(tag)).collect::<Result<_, _>>()?;
        let events: Arc<dyn Events> =
            if self.quiet { Arc::new(Silent) } else { progress::to_standard_error(self.verbose).into() };
        let remote = super::super::remote_for(home, &events);
        let engine = super::super::engine(home, &remote);
        let ssh: BTreeMap<String, Ssh> =
            self.ssh.iter().map(|text| given::ssh(text)).collect::<Result<_, _>>()?;
        let source = Source::open(home, &engine, ssh.get("default"), &self.context, self.file.as_deref())?;
        let mut args: BTreeMap<String, String> =
            self.build_arg.iter().filter_map(|text| given::pair(text)).collect();
        for name in undeclared_args(&source.dockerfile, &args) {
            events.event(Event::Warning(format!("no ARG declares the build argument {name}")));
        }
        if let Some((name, value)) = given::pair("SOURCE_DATE_EPOCH") {
            args.entry(name).or_insert(value);
        }
        let platform = self.platform.unwrap_or_else(Platform::host);
        let ignore = source.ignore.as_deref();
        let findings = check::findings(home, &source.dockerfile, ignore, &args, &platform)?;
        for found in &findings.found {
            let (name, line) = (&source.dockerfile.name, found.line);
            let text = format!("{name}:{line}: {} ({})", found.message, found.rule.name());
            events.event(Event::Warning(text));
        }
        if findings.is_error {
            let message =
                format!("{}: its check directive makes these findings an error", source.dockerfile.name);
            return Err(Failure::usage(message, Some("otoshi image check shows them in the file".into())));
        }
        let request = BuildRequest {
            target: self.target,
            args,
            labels: self.label.iter().map(|text| given::label(text)).collect(),
            secrets: self.secret.iter().map(|text| given::secret(text)).collect::<Result<_, _>>()?,
            contexts: self
                .build_context
                .iter()
                .map(|text| {
                    given::context(&engine, remote.as_ref(), &platform, ssh.get("default"), home, text)
                })
                .collect::<Result<_, _>>()?,
            network: self.network != Network::None,
            allow_insecure: self.allow.contains(&Allow::Insecure),
            allow_host_network: self.allow.contains(&Allow::HostNetwork),
            no_cache: self.no_cache,
            output: Output { clamp: self.output.iter().any(|sent| sent.clamps), ..Output::default() },
            ssh,
            platform,
            // Versions of an image have one name, and different tags.
            versions_of: tags.first().map_or_else(|| self.context.display().to_string(), Reference::name),
            ..BuildRequest::new(source.dockerfile, source.context)
        };
        let built = engine.build(&request, events.as_ref())?;
        for tag in &tags {
            home.layout().tag(tag, built.descriptor.clone())?;
        }
        if let Some(path) = &self.iidfile {
            let shown = path.display().to_string();
            fs::write(path, built.digest.as_str()).map_err(Failure::io("writing", shown))?;
        }
        let mut printed = true;
        for Sent { destination, .. } in &self.output {
            destination.write(home, &engine, &built.digest, &request.platform, &tags)?;
            printed &= !destination.is_standard_output();
        }
        if printed {
            println!("{}", built.digest);
        }
        Ok(ExitCode::SUCCESS)
    }
}
