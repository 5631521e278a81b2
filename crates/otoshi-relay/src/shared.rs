//! What all connections of a relay have in common.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use otoshi_network::Relay as Entrance;

use crate::{hosts::Hosts, kept::Keep, visit::Visit};

/// What a step's network says to be let in.
pub(crate) type Token = [u8; Entrance::TOKEN];

/// What all connections have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) keep: Keep,
    pub(crate) hosts: Hosts,
    /// In bytes.
    pub(crate) saved: AtomicU64,
    /// The steps that are let in.
    visits: Mutex<HashMap<Token, Arc<Visit>>>,
    /// The hosts for which some step has not trusted this process.
    distrusted: Mutex<HashSet<String>>,
}

impl Shared {
    pub(crate) fn new(keep: Keep) -> Self {
        Self {
            keep,
            hosts: Hosts::default(),
            saved: AtomicU64::new(0),
            visits: Mutex::default(),
            distrusted: Mutex::default(),
        }
    }

    /// Lets a step in by its token.
    pub(crate) fn admit(&self, token: Token, visit: Arc<Visit>) {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).insert(token, visit);
    }

    /// Whose token it is, as long as the step runs.
    pub(crate) fn visit(&self, token: &Token) -> Option<Arc<Visit>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).get(token).map(Arc::clone)
    }

    /// Lets nobody in any more by a token.
    pub(crate) fn dismiss(&self, token: &Token) {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    /// Leaves a host to the steps from now on.
    pub(crate) fn distrust(&self, host: &str) {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    /// Whether a host is left to the steps.
    pub(crate) fn is_distrusted(&self, host: &str) -> bool {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }
}
