//! Trying again: what may work the next time, how often, and after how long.
//!
//! ```text
//! failure 1   wait ~1×first   failure 2   wait ~2×first   failure 3   …   attempts, deadline: given up
//!                             Retry-After: 5   wait 5 s                   longer than the longest wait: given up
//! ```
//!
//! What may pass: connections that break, 408, 425, 429, and 5xx but for 501. Everything else is final.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9110#name-retry-after>

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::error::{is_certificate_error, reason};

/// A host that cannot even be connected to is tried this often.
const CONNECT_ATTEMPTS: u32 = 3;

/// How often and after how long something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often in a row nothing may come of it.
    pub attempts: u32,
    /// The first wait; each further one is twice as long.
    pub first_wait: Duration,
    /// The longest wait. A server that asks for more is taken at its word: that is an error now.
    pub longest_wait: Duration,
    /// How long after the first failure in a row the last try may begin.
    pub deadline: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(60),
            deadline: Duration::from_secs(600),
        }
    }
}

impl Retries {
    /// Begins to count failures.
    pub fn backoff(self) -> Backoff {
        Backoff { retries: self, failures: 0, since: None }
    }
}

/// Counts the failures in a row of one thing that is tried.
#[derive(Debug, Clone)]
pub struct Backoff {
    retries: Retries,
    failures: u32,
    since: Option<Instant>,
}

impl Backoff {
    /// Counts a failure, and says after how long to try again; `None` where it is time to give up.
    pub fn failed(&mut self, failure: &Failure) -> Option<Duration> {
        // Between three quarters and all of a wait, so that many clients do not come back together.
        let random = RandomState::new().build_hasher().finish();
        self.failed_at(Instant::now(), failure, 0.75 + (random % 1024) as f64 / 4096.0)
    }

    fn failed_at(&mut self, now: Instant, failure: &Failure, part: f64) -> Option<Duration> {
        let Retries { attempts, first_wait, longest_wait, deadline } = self.retries;
        self.failures += 1;
        let since = *self.since.get_or_insert(now);
        let most = if failure.is_connect { attempts.min(CONNECT_ATTEMPTS) } else { attempts };
        if self.failures >= most {
            return None;
        }
        let wait = match failure.asked {
            // Whoever asks for more patience than there is must be heard by the user instead.
            Some(asked) if asked > longest_wait => return None,
            Some(asked) => asked,
            None => {
                first_wait.saturating_mul(1 << (self.failures - 1).min(16)).min(longest_wait).mul_f64(part)
            }
        };
        (now.saturating_duration_since(since).saturating_add(wait) <= deadline).then_some(wait)
    }

    /// Counts what may be a failure; after how long to try again and why, or `None` where there is no use in it or no time left.
    pub fn after(&mut self, failure: Option<Failure>) -> Option<(Duration, String)> {
        let failure = failure?;
        Some((self.failed(&failure)?, failure.reason))
    }

    /// Says that something came of it after all: failures are counted from the beginning.
    pub fn progressed(&mut self) {
        (self.failures, self.since) = (0, None);
    }
}

/// A failure that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in one line.
    pub reason: String,
    /// The wait that the server asks for.
    pub asked: Option<Duration>,
    is_connect: bool,
}

impl Failure {
    /// Makes one of a transfer that broke off.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), asked: None, is_connect: false }
    }

    /// Looks at what came of a request; `None` where that is final, be it good or not.
    pub fn of(outcome: &Result<Response, reqwest::Error>) -> Option<Self> {
        match outcome {
            Ok(response) if !is_transient(response.status()) => None,
            Ok(response) => Some(Self {
                reason: format!("it answered {}", response.status().as_u16()),
                asked: retry_after(response.headers()),
                is_connect: false,
            }),
            Err(error) if error.is_builder() || error.is_redirect() || is_certificate_error(error) => None,
            Err(error) => Some(Self { is_connect: error.is_connect(), ..Self::broken(reason(error)) }),
        }
    }
}

/// Whether an answer may be another one the next time.
fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=599)
}

/// Reads `Retry-After`: seconds, or a date; none of a time that is over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let wait = date.timestamp().duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries = Retries {
        attempts: 4,
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(3),
        deadline: Duration::from_secs(100),
    };

    fn asking(seconds: u64) -> Failure {
        Failure { asked: Some(Duration::from_secs(seconds)), ..Failure::broken("x") }
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_end_with_the_attempts() {
        let (mut backoff, now) = (RETRIES.backoff(), Instant::now());
        let mut wait = || backoff.failed_at(now, &Failure::broken("x"), 1.0).map(|wait| wait.as_secs());
        assert_eq!([wait(), wait(), wait(), wait()], [Some(1), Some(2), Some(3), None]);
        let mut patient = Retries { attempts: u32::MAX, ..RETRIES }.backoff();
        assert!((0..100).all(|_| patient.failed_at(now, &asking(0), 1.0).is_some()), "no overflow");
    }

    #[test]
    fn a_wait_is_a_little_different_each_time() {
        let wait = || RETRIES.backoff().failed(&Failure::broken("x")).unwrap().as_millis();
        let waits: Vec<_> = (0..64).map(|_| wait()).collect();
        assert!(waits.iter().all(|wait| (750..=1000).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[test]
    fn a_server_is_given_the_time_that_it_asks_for_or_none() {
        let now = Instant::now();
        assert_eq!(RETRIES.backoff().failed_at(now, &asking(3), 1.0), Some(Duration::from_secs(3)));
        assert_eq!(RETRIES.backoff().failed_at(now, &asking(4), 1.0), None);
    }

    #[test]
    fn what_goes_on_for_too_long_is_given_up_and_what_went_on_counts_anew() {
        let (mut backoff, start) = (RETRIES.backoff(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let broken = Failure::broken("x");
        assert!(backoff.failed_at(start, &broken, 1.0).is_some());
        assert!(backoff.clone().failed_at(after(98), &broken, 1.0).is_some());
        assert!(backoff.clone().failed_at(after(99), &broken, 1.0).is_none());
        backoff.progressed();
        assert!(backoff.failed_at(after(99), &broken, 1.0).is_some());
    }

    #[test]
    fn whoever_cannot_be_connected_to_is_tried_less_often() {
        let connecting = Failure { is_connect: true, ..Failure::broken("x") };
        let mut backoff = Retries { attempts: 9, ..RETRIES }.backoff();
        let waits = std::iter::from_fn(|| backoff.failed(&connecting)).count();
        assert_eq!(waits, CONNECT_ATTEMPTS as usize - 1);
    }

    #[test]
    fn what_may_pass_is_told_from_what_is_final() {
        let all = |statuses: &[u16], expected: bool| {
            statuses.iter().all(|status| is_transient(StatusCode::from_u16(*status).unwrap()) == expected)
        };
        assert!(all(&[408, 425, 429, 500, 502, 503, 504, 520, 599], true));
        assert!(all(&[200, 206, 301, 304, 400, 401, 403, 404, 410, 416, 501], false));
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(with("7"), Some(Duration::from_secs(7)));
        assert_eq!(with(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(with("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let later = jiff::Timestamp::now() + Duration::from_secs(3600);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).unwrap();
        let wait = with(&date).unwrap().as_secs();
        assert!((3590..=3600).contains(&wait), "{wait}");
        for nonsense in ["soon", "", "-1", "7.5", "18446744073709551616"] {
            assert_eq!(with(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
