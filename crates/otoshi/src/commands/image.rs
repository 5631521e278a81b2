use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use otoshi_dockerfile::{Dockerfile, undeclared_args};
use otoshi_engine::{BuildRequest, Context, Engine, EngineError, Event, Secret};
use otoshi_oci::Reference;
use otoshi_store::Home;

use crate::{failure::Failure, progress};

/// Works on single images, without a project.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    Build(Build),
}

/// Builds an image from a Dockerfile, as `docker build` does.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The directory that COPY and ADD read
    context: PathBuf,
    /// The Dockerfile [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The image's name
    #[arg(short, long, value_name = "REF")]
    tag: Vec<String>,
    /// A build argument; without a value, that of the environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// The stage to build
    #[arg(long)]
    target: Option<String>,
    /// A secret: id=ID,src=FILE or id=ID,env=NAME
    #[arg(long)]
    secret: Vec<String>,
    /// A label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Run every step again
    #[arg(long)]
    no_cache: bool,
    /// Show the output of every command
    #[arg(short, long)]
    verbose: bool,
}

impl ImageCommand {
    pub(crate) fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let Self::Build(build) = self;
        build.run(home)
    }
}

impl Build {
    fn run(self, home: &Arc<Home>) -> Result<ExitCode, Failure> {
        let _usage = super::claim(home)?;
        let tags: Vec<Reference> =
            self.tag.iter().map(|tag| Reference::parse(tag)).collect::<Result<_, _>>()?;
        let file = self.file.clone().unwrap_or_else(|| self.context.join("Dockerfile"));
        let shown = file.display().to_string();
        let text = fs::read_to_string(&file).map_err(Failure::io("reading", &shown))?;
        let dockerfile = Dockerfile::parse(&shown, &text).map_err(EngineError::from)?;
        let events = progress::to_standard_error(self.verbose);
        let args: BTreeMap<String, String> = self.build_arg.iter().filter_map(|text| pair(text)).collect();
        for name in undeclared_args(&dockerfile, &args) {
            events.event(Event::Warning(format!("no ARG declares the build argument {name}")));
        }
        let own_ignore = PathBuf::from(format!("{shown}.dockerignore"));
        let ignore = fs::read_to_string(own_ignore)
            .or_else(|_| fs::read_to_string(self.context.join(".dockerignore")))
            .ok();
        let context = Arc::new(Context::scan(home, &self.context, ignore.as_deref())?);
        let request = BuildRequest {
            target: self.target.clone(),
            args,
            labels: self.label.iter().filter_map(|text| pair(text)).collect(),
            secrets: self.secret.iter().map(|text| secret(text)).collect::<Result<_, _>>()?,
            no_cache: self.no_cache,
            ..BuildRequest::new(Arc::new(dockerfile), context)
        };
        let built = super::engine(home, &super::remote(home)).build(&request, events.as_ref())?;
        for tag in &tags {
            home.layout().tag(tag, built.descriptor.clone())?;
        }
        println!("{}", built.digest);
        Ok(ExitCode::SUCCESS)
    }
}

/// `NAME=VALUE`; a name alone has the value of the environment variable, if there is one.
fn pair(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => std::env::var(text).ok().map(|value| (text.to_owned(), value)),
    }
}

fn secret(text: &str) -> Result<(String, Secret), Failure> {
    let fields: BTreeMap<&str, &str> = text.split(',').filter_map(|field| field.split_once('=')).collect();
    let source =
        fields.get("src").or_else(|| fields.get("source")).map(|path| Secret::File(PathBuf::from(path)));
    let source = source.or_else(|| fields.get("env").map(|name| Secret::Env((*name).to_owned())));
    match (fields.get("id"), source) {
        (Some(id), Some(source)) => Ok(((*id).to_owned(), source)),
        _ => Err(Failure::usage(
            format!("--secret {text}: it needs an id, and src or env"),
            Some("id=token,src=token.txt".into()),
        )),
    }
}
