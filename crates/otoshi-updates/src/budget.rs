//! What registries have left for us: how many images may be fetched to look at before a floor is reached.

use std::{collections::BTreeMap, sync::Mutex};

use otoshi_once::hold;
use otoshi_registry::{Client, Repository};

/// How few requests may be left before no image is fetched, where nothing else is said.
const FLOOR: u64 = 10;
/// How many requests one image takes at most, without its layers: index, manifest, config.
const OF_AN_IMAGE: u64 = 3;

/// Counts what is being fetched, so that those who ask at the same time do not go below the floor together.
#[derive(Debug)]
pub(crate) struct Budget {
    floor: u64,
    /// Requests that may still be sent for what was begun, by registry.
    begun: Mutex<BTreeMap<String, u64>>,
}

/// A fetch that was begun; what it may take is given back when it ends.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    budget: &'a Budget,
    registry: String,
}

impl Budget {
    pub(crate) fn new(floor: Option<u64>) -> Self {
        Self { floor: floor.unwrap_or(FLOOR), begun: Mutex::default() }
    }

    /// Begins to fetch an image; fails with what is left where that is too little.
    pub(crate) fn begin(&self, client: &Client, repository: &Repository) -> Result<Begun<'_>, u64> {
        self.begin_with(client.remaining(repository), &repository.registry)
    }

    fn begin_with(&self, left: Option<u64>, registry: &str) -> Result<Begun<'_>, u64> {
        let mut begun = hold(&self.begun);
        let others = begun.entry(registry.to_owned()).or_default();
        if let Some(left) = left.filter(|left| left.saturating_sub(*others) <= self.floor) {
            return Err(left);
        }
        *others += OF_AN_IMAGE;
        Ok(Begun { budget: self, registry: registry.to_owned() })
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut begun = hold(&self.budget.begun);
        if let Some(others) = begun.get_mut(&self.registry) {
            *others = others.saturating_sub(OF_AN_IMAGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_ask_at_the_same_time_stop_at_the_floor_together() {
        let budget = Budget::new(Some(10));
        let first = budget.begin_with(Some(14), "a").unwrap();
        let _second = budget.begin_with(Some(14), "a").unwrap();
        assert_eq!(budget.begin_with(Some(14), "a").unwrap_err(), 14);
        assert!(budget.begin_with(Some(14), "b").is_ok());
        drop(first);
        assert!(budget.begin_with(Some(14), "a").is_ok());
        assert_eq!(budget.begin_with(Some(10), "b").unwrap_err(), 10);
        assert!(budget.begin_with(None, "b").is_ok(), "most registries say nothing");
    }
}
