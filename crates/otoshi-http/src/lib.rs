//! HTTP as all of Otoshi speaks it.
//!
//! ```text
//! url           addresses that can be shown: who logs in there, and how, is in no error and no log
//! client        how a host is reached: authorities, proxies, redirects, timeouts
//! retry         what is tried again, how often and after how long
//! conditional   what a server is asked with, so that it sends only what changed
//! get           files, fetched with all of that by callers that wait
//! exchange      one request over a connection that is there: a socket of this machine, or one into a process's network
//! error         why there is none
//! ```
//!
//! Promises:
//! - What lets a request in goes to the scheme, host and port that it is for, and to no other, and into no error or log.
//! - An address by HTTPS leads to none by HTTP.
//! - Nothing of an unbounded size is taken, and nothing is tried for ever.

mod client;
mod conditional;
mod error;
mod exchange;
mod get;
mod retry;
mod url;

pub use reqwest::{Body, Client, Error as TransportError, Method, Response, StatusCode, Url, dns, header};

pub use crate::client::{ClientBuilder, host_of, is_loopback};
pub use crate::conditional::Validators;
pub use crate::error::{HttpError, RequestError, is_certificate_error, reason};
pub use crate::exchange::{ExchangeError, PostError, Reply, Target, get_over, post_over, status_over};
pub use crate::get::{Get, Getter, Got, Secret};
pub use crate::retry::{Backoff, Failure, Retries};
pub use crate::url::{SafeUrl, authority_of, host_in};
