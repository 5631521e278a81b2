//! What all connections of a relay have in common.

use std::sync::atomic::AtomicU64;

use otoshi_network::Relay as Entrance;

use crate::{hosts::Hosts, kept::Keep};

/// What all connections have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) token: [u8; Entrance::TOKEN],
    pub(crate) keep: Keep,
    pub(crate) hosts: Hosts,
    /// In bytes.
    pub(crate) saved: AtomicU64,
}
