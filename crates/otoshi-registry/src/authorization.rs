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
    fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// Grants by host and scope; the scope of a password is empty.
#[derive(Debug, Default)]
pub(crate) struct Grants(HashMap<(String, String), Grant>);

impl Grants {
    /// What lets requests for these scopes in: a grant for just these, or a password's.
    pub(crate) fn good(&self, host: &str, scopes: &[String]) -> Option<&Grant> {
        let of = |scope: String| self.0.get(&(host.to_owned(), scope)).filter(|grant| grant.is_good());
        of(scopes.join(" ")).or_else(|| of(String::new()))
    }

    pub(crate) fn insert(&mut self, host: &str, scope: String, grant: Grant) {
        self.0.insert((host.to_owned(), scope), grant);
    }
}
