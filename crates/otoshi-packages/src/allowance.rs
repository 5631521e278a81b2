//! How much memory the repositories of one check may take, whoever names them and however many there are.
//!
//! What is worked on (a file as it came, its text, and what is made of it) waits until there is room for it; what stays until
//! the check ends is counted and refused where it is too much.

use std::sync::{Condvar, Mutex, PoisonError};

use otoshi_http::SafeUrl;

use otoshi_once::hold;

use crate::error::RepositoryError;

/// The most bytes that are worked on at the same time: an index of any distribution several times over.
const WORKING: u64 = 768 << 20;
/// The most bytes that stay.
const STAYING: u64 = 1 << 30;

/// Counts bytes.
#[derive(Debug)]
pub(crate) struct Allowance {
    working: Mutex<u64>,
    freed: Condvar,
    most_working: u64,
    staying: Mutex<u64>,
    most_staying: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self::new(WORKING, STAYING)
    }
}

impl Allowance {
    pub(crate) fn new(most_working: u64, most_staying: u64) -> Self {
        Self {
            working: Mutex::default(),
            freed: Condvar::new(),
            most_working,
            staying: Mutex::default(),
            most_staying,
        }
    }

    /// Waits until so many bytes may be worked on; fails for what is more than everything together. `url` is what it is for.
    pub(crate) fn work(&self, bytes: u64, url: &SafeUrl) -> Result<Working<'_>, RepositoryError> {
        if bytes > self.most_working {
            return Err(self.too_much(url, bytes, self.most_working));
        }
        let mut working = hold(&self.working);
        while *working + bytes > self.most_working {
            working = self.freed.wait(working).unwrap_or_else(PoisonError::into_inner);
        }
        *working += bytes;
        Ok(Working { of: self, bytes })
    }

    /// Counts bytes that stay; fails where there is no room for them.
    pub(crate) fn stay(&self, bytes: u64, url: &SafeUrl) -> Result<(), RepositoryError> {
        let mut staying = hold(&self.staying);
        let all = staying.saturating_add(bytes);
        if all > self.most_staying {
            return Err(self.too_much(url, all, self.most_staying));
        }
        *staying = all;
        Ok(())
    }

    fn too_much(&self, url: &SafeUrl, bytes: u64, most: u64) -> RepositoryError {
        RepositoryError::TooMuch { url: url.clone(), bytes, most }
    }
}

/// Bytes that are worked on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Working<'a> {
    of: &'a Allowance,
    bytes: u64,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        *hold(&self.of.working) -= self.bytes;
        self.of.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Allowance;

    #[test]
    fn work_waits_for_room_and_never_takes_more() {
        let (allowance, now, most) = (Allowance::new(100, 100), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for number in 0..32_u64 {
                let (allowance, now, most) = (&allowance, &now, &most);
                scope.spawn(move || {
                    let bytes = 10 + number;
                    let _working = allowance.work(bytes, &"x".into()).unwrap();
                    most.fetch_max(now.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    now.fetch_sub(bytes, Ordering::SeqCst);
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100);
        assert_eq!(allowance.work(101, &"http://x.test/".into()).unwrap_err().code(), "too-much");
        assert!(allowance.work(100, &"x".into()).is_ok());
    }

    #[test]
    fn what_stays_is_counted() {
        let allowance = Allowance::new(100, 100);
        assert!(allowance.stay(60, &"x".into()).is_ok() && allowance.stay(40, &"x".into()).is_ok());
        assert!(
            allowance
                .stay(1, &"http://u:p@x.test/".into())
                .unwrap_err()
                .to_string()
                .starts_with("http://x.test/ is not read")
        );
    }
}
