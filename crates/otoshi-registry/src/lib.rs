//! A client for container registries: the OCI distribution API, with what makes it hold in practice.
//!
//! ```text
//! client                          the calls, which wait; everything below is asynchronous on a runtime of its own
//!   pull, push                    images and artifacts ⇄ a layout
//!   replace                       an image by one whose layers are in registries already
//!   downloads                     blobs that are read while they arrive
//!     manifest, blob, upload, listing     the parts of the API
//!       visit, call, answer       requests: redirects, trying again
//!         grant, challenge, credentials   what lets requests in
//!         transport, budgets      what all requests have in common
//!         hosts, settings         how registries are reached
//! ```
//!
//! Promises:
//! - Nothing gets into a layout whose digest is not the one asked for, and nothing of an unbounded size into memory.
//! - A tag moves only when everything that it stands for is there, and the tags of one push move together.
//! - What lets a request in goes to the host that asked for it and to no other, and into no error or log.
//!
//! Spec: <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md>

mod answer;
mod authorization;
mod blob;
mod budgets;
mod call;
mod challenge;
mod client;
mod credentials;
mod downloads;
mod error;
mod grant;
mod hosts;
mod link;
mod listing;
mod manifest;
mod progress;
mod pull;
mod push;
mod replace;
mod repository;
mod settings;
mod transport;
mod turns;
mod upload;
mod visit;

pub use crate::client::Client;
pub use crate::credentials::{Credentials, Login};
pub use crate::downloads::Downloads;
pub use crate::error::{Asked, RegistryError};
pub use crate::hosts::Hosts;
pub use crate::listing::fallback_tag;
pub use crate::manifest::Document;
pub use crate::progress::{Event, Progress, Quiet, Summary};
pub use crate::pull::{Depth, Pulled, WantedImage};
pub use crate::push::{Item, NoOrigins, Origins};
pub use crate::replace::Replacement;
pub use crate::repository::Repository;
pub use crate::settings::Settings;
pub use otoshi_http::Retries;
