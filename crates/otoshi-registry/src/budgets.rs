//! How many requests hosts still answer, as they say themselves.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use otoshi_http::header::HeaderMap;

/// How many requests hosts still answer.
#[derive(Default)]
pub(crate) struct Budgets {
    /// By host: when its budget is full again.
    full_again: Mutex<HashMap<String, Instant>>,
    /// By host: how many requests its last answer said are left.
    remaining: Mutex<HashMap<String, u64>>,
}

impl Budgets {
    /// How many requests a host said are left, in its last answer that said so.
    pub(crate) fn remaining(&self, host: &str) -> Option<u64> {
        self.remaining.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied()
    }

    /// Waits where the registry said that there is nothing left until some time soon.
    pub(crate) async fn wait(&self, host: &str) {
        let until = self.full_again.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
        if let Some(wait) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes note of `RateLimit-Remaining`, and where that is 0 of when it is more again, unless that is later than in `longest`.
    pub(crate) fn note(&self, host: &str, headers: &HeaderMap, longest: Duration) {
        let number = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| headers.get(*name))?.to_str().ok()?;
            value.split(';').next()?.trim().parse::<u64>().ok()
        };
        let Some(remaining) = number(["ratelimit-remaining", "x-ratelimit-remaining"]) else { return };
        self.remaining.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), remaining);
        if remaining != 0 {
            return;
        }
        let Some(reset) = number(["ratelimit-reset", "x-ratelimit-reset"]) else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        // Seconds from now, or a time since 1970.
        let wait = Duration::from_secs(if reset > 1_000_000_000 { reset.saturating_sub(now) } else { reset });
        if wait <= longest {
            let until = Instant::now() + wait;
            self.full_again.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), until);
        }
    }
}
