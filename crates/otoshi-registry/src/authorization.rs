//! What lets requests in, for as long as it is good.

use std::collections::HashMap;
use std::time::Instant;

use otoshi_http::Secret;

/// The value of an `Authorization` header, and until when it is used.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) header: Secret,
    pub(crate) until: Option<Instant>,
}

impl Grant {
    pub(crate) fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// Grants by host and scope; the scope of a password is empty.
pub(crate) type Grants = HashMap<(String, String), Grant>;
