//! Fetching files of repositories, whoever does it.

use std::io::Write;
use std::sync::Arc;

use otoshi_http::{HttpError, SafeUrl, Validators};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The address.
    pub url: SafeUrl,
    /// What is known already, so that nothing is sent when it has not changed.
    pub known: Validators,
    /// The most bytes that are taken.
    pub limit: u64,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The file, which went into the sink.
    Sent(Validators),
    /// What is known is still good.
    NotModified,
    /// There is no such file.
    Missing,
}

/// Says why a file did not come: in one line, and without its address, which whoever asks has said already.
///
/// Its causes are in its own words, so that it has no others.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// It was asked for at something that is no address.
    #[error("{0}")]
    Address(String),
    /// What an image names does not lead there.
    #[error("{0}")]
    Refused(String),
    /// The request failed.
    #[error("{}", .0.reason())]
    Http(Arc<HttpError>),
    /// The server answered that nothing changed, to a request that said nothing of what is known.
    #[error("it answered 304 to an unconditional request")]
    Unasked,
    /// It is longer than it may be.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
}

/// Fetches files.
pub trait Fetch: Sync {
    /// Fetches a file into a sink.
    ///
    /// An answer that is longer than the limit is cut off one byte behind it. A sink may get the beginning of a file that
    /// fails afterwards.
    fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, FetchError>;

    /// Names what it asks and what not: what came of one that asks less is no answer for one that asks more.
    fn realm(&self) -> &'static str {
        ""
    }
}
