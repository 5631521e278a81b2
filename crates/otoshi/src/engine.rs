//! What commands work with: the engine, and the registries behind the store.

use std::sync::Arc;

use otoshi_engine::{EmbeddedEngine, Events};
use otoshi_pipeline::Remote;
use otoshi_registry::Quiet;
use otoshi_store::Home;

use crate::transfer::InBuild;

/// The registries behind the store, without showing what they do.
pub(crate) fn remote(home: &Arc<Home>) -> Arc<Remote> {
    Arc::new(Remote::new(Arc::clone(home), Arc::new(Quiet)))
}

/// The registries behind the store, for a build: what they do is told among its events.
pub(crate) fn remote_for(home: &Arc<Home>, events: &Arc<dyn Events>) -> Arc<Remote> {
    Arc::new(Remote::new(Arc::clone(home), InBuild::new(Arc::clone(events))))
}

/// An engine that fetches from registries what the store lacks.
pub(crate) fn engine(home: &Arc<Home>, remote: &Arc<Remote>) -> EmbeddedEngine {
    EmbeddedEngine::new(Arc::clone(home)).with_source(Arc::clone(remote) as _)
}
