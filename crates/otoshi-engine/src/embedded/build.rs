//! One build under way: what its steps ask it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use otoshi_dockerfile::{BuildArgs, GlobalScope, Graph, ReachedStage, Source as From_};
use otoshi_oci::{Digest, Fields, Platform};

use super::{
    EmbeddedEngine, chain::Chain, outside::named_context, place::locate, proxy, source::Tree, stage::Stage,
};
use crate::{BuildRequest, EngineError, Event, Events, NamedContext, Output, StepId};

/// One build under way.
pub(crate) struct Build<'a> {
    pub(crate) engine: &'a EmbeddedEngine,
    pub(crate) request: &'a BuildRequest,
    pub(crate) events: &'a dyn Events,
    /// Tells this process's builds apart.
    pub(crate) number: usize,
    pub(super) output: Output,
    pub(super) graph: Graph,
    pub(super) globals: GlobalScope,
    pub(super) args: BuildArgs,
    pub(super) done: Mutex<BTreeMap<usize, Option<Stage>>>,
    pub(super) changed: Condvar,
    pub(super) stopped: AtomicBool,
    pub(super) steps_run: AtomicUsize,
    pub(super) layers_written: AtomicUsize,
    /// The target and the stages below it: their steps become layers of the image.
    pub(super) exported: BTreeSet<usize>,
    /// Whether it was said that a proxy is not reached.
    pub(super) told_of_proxies: AtomicBool,
}

impl Build<'_> {
    /// Says once where a proxy is that a step's own network does not reach.
    pub(crate) fn warn_of_proxies(&self, env: &[(String, String)]) {
        if let Some(proxy) = proxy::on_loopback(env)
            && !self.told_of_proxies.swap(true, Ordering::Relaxed)
        {
            self.events.event(Event::UnreachedProxy(proxy));
        }
    }
}

impl Build<'_> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Waits for a stage.
    pub(super) fn wait(&self, index: usize) -> Result<Stage, EngineError> {
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
        let hint = format!("did you mean the stage {near:?}?");
        match error {
            EngineError::NoImage { .. } => {
                EngineError::Invalid { message: error.to_string(), hint: Some(hint.into()) }
            }
            EngineError::Source(error) => EngineError::Source(error.with_remedy(hint)),
            other => other,
        }
    }

    /// The platform of a stage: what FROM says, else that of the build.
    pub(super) fn platform(&self, stage: &ReachedStage) -> Result<Platform, EngineError> {
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

    /// Says where in the Dockerfile an error arose.
    pub(super) fn locate(&self, error: EngineError, span: &std::ops::Range<usize>) -> EngineError {
        locate(&self.request.dockerfile, error, span)
    }
}
