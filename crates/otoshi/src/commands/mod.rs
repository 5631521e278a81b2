//! The commands, one file each.

mod build;
mod check;
mod diff;
mod doctor;
mod export;
mod gc;
mod history;
mod image;
mod images;
mod import;
mod inspect;
mod network;
mod plan;
mod pull;
mod push;
mod rebase;
mod refresh;
mod rmi;
mod rollback;
mod run;
mod schema;
mod tag;
mod update;
mod verify;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Subcommand;
use otoshi_engine::{EmbeddedEngine, Events};
use otoshi_oci::{Descriptor, Digest, Image, Platform, Reference};
use otoshi_pipeline::{Pipeline, Remote, Results};
use otoshi_registry::Quiet;
use otoshi_store::{Home, Usage};

use crate::{
    failure::Failure,
    transfer::{InBuild, Shown},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    InStore(InStore),
    Doctor(doctor::Doctor),
    Schema(schema::Schema),
}

/// The commands that need a store.
#[derive(Debug, Subcommand)]
pub(crate) enum InStore {
    Build(build::Build),
    Plan(plan::Plan),
    Check(check::Check),
    Update(update::Update),
    Run(run::Run),
    Import(import::Import),
    Pull(pull::Pull),
    Push(push::Push),
    Refresh(refresh::Refresh),
    Rollback(rollback::Rollback),
    Rebase(rebase::Rebase),
    Export(export::Export),
    #[command(visible_alias = "ls")]
    Images(images::Images),
    Tag(tag::Tag),
    Rmi(rmi::Rmi),
    History(history::History),
    Inspect(inspect::Inspect),
    Diff(diff::Diff),
    Gc(gc::Gc),
    Verify(verify::Verify),
    #[command(subcommand)]
    Image(image::ImageCommand),
}

impl Command {
    pub(crate) fn run(self, home: Option<PathBuf>) -> Result<ExitCode, Failure> {
        match self {
            Self::InStore(command) => command.run(home),
            Self::Doctor(command) => command.run(home),
            Self::Schema(command) => Ok(command.run()),
        }
    }
}

impl InStore {
    fn run(self, home: Option<PathBuf>) -> Result<ExitCode, Failure> {
        // Before any thread: what follows unpacks, mounts or changes owners.
        if !matches!(self, Self::Images(_) | Self::Inspect(_) | Self::History(_)) {
            otoshi_sandbox::enter_namespace()?;
        }
        let path = home.map_or_else(Home::default_path, Ok)?;
        let home = Arc::new(Home::open(&path)?);
        match self {
            Self::Build(command) => command.run(&home),
            Self::Plan(command) => command.run(&home),
            Self::Check(command) => command.run(&home),
            Self::Update(command) => command.run(&home),
            Self::Run(command) => command.run(&home),
            Self::Import(command) => command.run(&home),
            Self::Pull(command) => command.run(&home),
            Self::Push(command) => command.run(&home),
            Self::Rebase(command) => command.run(&home),
            Self::Refresh(command) => command.run(&home),
            Self::Rollback(command) => command.run(&home),
            Self::Export(command) => command.run(&home),
            Self::Images(command) => command.run(&home),
            Self::Tag(command) => command.run(&home),
            Self::Rmi(command) => command.run(&home),
            Self::History(command) => command.run(&home),
            Self::Inspect(command) => command.run(&home),
            Self::Diff(command) => command.run(&home),
            Self::Gc(command) => command.run(&home),
            Self::Verify(command) => command.run(&home),
            Self::Image(command) => command.run(&home),
        }
    }
}

/// The registries behind the store, without showing what they do.
fn remote(home: &Arc<Home>) -> Arc<Remote> {
    Arc::new(Remote::new(Arc::clone(home), Arc::new(Quiet)))
}

/// The registries behind the store, for a build: what they do is told among its events.
fn remote_for(home: &Arc<Home>, events: &Arc<dyn Events>) -> Arc<Remote> {
    Arc::new(Remote::new(Arc::clone(home), InBuild::new(Arc::clone(events))))
}

/// An engine that fetches from registries what the store lacks.
fn engine(home: &Arc<Home>, remote: &Arc<Remote>) -> EmbeddedEngine {
    EmbeddedEngine::new(Arc::clone(home)).with_source(Arc::clone(remote) as _)
}

/// The error of a reference that stands for nothing.
fn no_such_image(reference: &Reference) -> Failure {
    Failure::Missing {
        message: format!("{}: it has nothing under {}", reference.name(), tail(reference)),
        hint: "check the repository and the tag; a private one may need a login".to_owned(),
    }
}

/// Tag or digest.
fn tail(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("the digest {digest}"),
        (None, tag) => format!("the tag {}", tag.unwrap_or("latest")),
    }
}

/// A number of things: `1 record`, `2 records`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// A digest as people read it.
fn short(digest: &str) -> &str {
    &digest[..19.min(digest.len())]
}

/// Pushes what a project's images are now, as `otoshi push` does, and tells what moved.
fn publish(pipeline: &Pipeline<'_>, results: Option<&Results>, tag: Option<&str>) -> Result<(), Failure> {
    let shown = Shown::new("uploaded");
    let published = pipeline.publish(results, tag, Arc::clone(&shown) as _).map_err(Box::new)?;
    shown.finish(&published.summary);
    Ok(())
}

/// The error of a name that nothing in the store has.
fn not_in_store(name: &str) -> Failure {
    let hint = "otoshi images lists what is there; otoshi pull fetches more".to_owned();
    Failure::usage(format!("no image {name} in the store"), Some(hint))
}

/// Describes what a name or digest stands for in the store: a manifest, or an index.
fn describe(home: &Home, name: &str) -> Result<Descriptor, Failure> {
    if let Ok(digest) = name.parse::<Digest>() {
        if !home.layout().has(&digest) {
            return Err(not_in_store(name));
        }
        return Ok(home.layout().describe(&digest)?);
    }
    home.layout().resolve(&Reference::parse(name)?)?.ok_or_else(|| not_in_store(name))
}

/// Finds an image by its name or digest.
fn find(home: &Home, name: &str) -> Result<Image, Failure> {
    let digest = match name.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => {
            Digest::of(&describe(home, name)?).map_err(|error| Failure::usage(error.to_string(), None))?
        }
    };
    Ok(Image::load(home.layout(), &digest, &Platform::host())?)
}

/// Claims the store for the life of a command.
fn claim(home: &Home) -> Result<Usage, Failure> {
    Ok(home.claim()?)
}
