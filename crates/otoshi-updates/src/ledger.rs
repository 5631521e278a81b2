//! The ledger: when each newer thing was first seen from here.
//!
//! Registries do not say when a tag appeared or moved, and what they say can be made up. So a minimum age goes by what this
//! machine saw itself, kept in the store's [`Kind::Seen`] records.
//!
//! Clocks go wrong. A thing is never made older by a clock that went back and came right again: what was noted meanwhile is
//! corrected. A time noted by a clock that was far ahead does not hold a thing for ever: it counts anew.

use otoshi_oci::Digest;
use otoshi_store::{Home, Kind, Record, StoreError};
use serde::{Deserialize, Serialize};

/// When something was first seen, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When it was first seen.
    pub(crate) first: u64,
    /// A later time that was noted before, which the clock has not reached again since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubted: Option<u64>,
}

impl Record for Entry {
    const KIND: Kind = Kind::Seen;
}

impl Entry {
    /// What is known after something was seen at a time.
    fn seen(known: Option<Self>, now: u64) -> Self {
        match known {
            None => Self { first: now, doubted: None },
            // The clock went back since, or was ahead then.
            Some(entry) if entry.first > now => {
                Self { first: now, doubted: Some(entry.doubted.unwrap_or(entry.first)) }
            }
            // It has come to where it was: it had gone back.
            Some(Self { doubted: Some(doubted), .. }) if now >= doubted => {
                Self { first: doubted, doubted: None }
            }
            Some(entry) => entry,
        }
    }
}

/// The ledger in a store, read at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ledger<'a> {
    home: &'a Home,
    now: u64,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(home: &'a Home, now: u64) -> Self {
        Self { home, now }
    }

    /// Notes that something was seen; gives when it was first, and how long ago that is, in seconds.
    ///
    /// `subject` is what may be newer, such as a repository, `what` the newer thing.
    pub(crate) fn see(&self, subject: &str, what: &str) -> Result<(u64, u64), StoreError> {
        let key = Digest::sha256_of(format!("{subject}\0{what}").as_bytes());
        let records = self.home.records();
        let known: Option<Entry> = records.get(key.hex());
        let entry = Entry::seen(known, self.now);
        if known == Some(entry) {
            records.touch::<Entry>(key.hex());
        } else {
            records.put(key.hex(), &entry)?;
        }
        Ok((entry.first, self.now.saturating_sub(entry.first)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn firsts(times: &[u64]) -> Vec<u64> {
        let mut known = None;
        let mut first = |now: &u64| {
            known = Some(Entry::seen(known, *now));
            known.map_or(0, |entry| entry.first)
        };
        times.iter().map(&mut first).collect()
    }

    #[test]
    fn the_first_time_stays() {
        assert_eq!(firsts(&[100, 150, 900]), [100, 100, 100]);
    }

    #[test]
    fn a_clock_that_went_back_for_a_while_makes_nothing_older() {
        assert_eq!(firsts(&[100, 7, 8, 120]), [100, 7, 7, 100]);
        assert_eq!(firsts(&[100, 7, 3, 5, 100]), [100, 7, 3, 3, 100]);
    }

    #[test]
    fn a_time_that_was_far_ahead_counts_anew() {
        assert_eq!(firsts(&[9_000_000, 100, 200, 300]), [9_000_000, 100, 100, 100]);
    }

    #[test]
    fn it_is_kept_in_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(Ledger::new(&home, 100).see("ruby", "3.1.4").unwrap(), (100, 0));
        assert_eq!(Ledger::new(&home, 150).see("ruby", "3.1.4").unwrap(), (100, 50));
        assert_eq!(Ledger::new(&home, 150).see("ruby", "3.1.5").unwrap(), (150, 0));
        assert_eq!(Ledger::new(&home, 90).see("ruby", "3.1.4").unwrap().1, 0);
    }

    proptest! {
        #[test]
        fn no_wandering_clock_makes_a_thing_older_than_a_right_one_would(
            start in 1000u64..2000, wrong in prop::collection::vec(0u64..1000, 0..8), later in 2000u64..3000
        ) {
            let mut times = vec![start];
            times.extend(&wrong);
            times.push(later);
            let firsts = firsts(&times);
            prop_assert_eq!(firsts.last(), Some(&start));
        }
    }
}
