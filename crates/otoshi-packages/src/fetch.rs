//! Fetching files of repositories, whoever does it.

use std::io::Write;

use otoshi_http::{SafeUrl, Validators};

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

/// Fetches files.
pub trait Fetch: Sync {
    /// Fetches a file into a sink; fails with the reason in one line, without the address.
    ///
    /// An answer that is longer than the limit is cut off one byte behind it. A sink may get the beginning of a file that
    /// fails afterwards.
    fn get(&self, request: &Request, sink: &mut dyn Write) -> Result<Answer, String>;

    /// Names what it asks and what not: what came of one that asks less is no answer for one that asks more.
    fn realm(&self) -> &'static str {
        ""
    }
}
