//! What many ask for and one finds out: whoever comes meanwhile waits for that one thing, and for nothing else.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A value for each key, with a lock of its own.
pub struct Keyed<K, V>(Mutex<HashMap<K, Arc<Mutex<V>>>>);

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> fmt::Debug for Keyed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, V: Default> Keyed<K, V> {
    /// The value of a key, which begins as the default one. The lock of all keys is held for the search alone.
    pub fn of(&self, key: K) -> Arc<Mutex<V>> {
        Arc::clone(hold(&self.0).entry(key).or_default())
    }
}

/// Values that are found out once for each key.
#[derive(Debug)]
pub struct OnceMap<K, V>(Keyed<K, Option<V>>);

impl<K, V> Default for OnceMap<K, V> {
    fn default() -> Self {
        Self(Keyed::default())
    }
}

impl<K: Eq + Hash, V: Clone> OnceMap<K, V> {
    /// The value of a key, found out by the first who asks.
    pub fn get(&self, key: K, find: impl FnOnce() -> V) -> V {
        let Ok(value) = self.try_get(key, || Ok::<_, Infallible>(find()));
        value
    }

    /// The same where it can fail. A failure is that one's alone: the next one tries again.
    pub fn try_get<E>(&self, key: K, find: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        self.try_get_when(key, || find().map(|value| (value, true)))
    }

    /// The same for values of which some count once: those that are found with `false` are not kept.
    ///
    /// Fails as `find` does, and keeps nothing then.
    pub fn try_get_when<E>(&self, key: K, find: impl FnOnce() -> Result<(V, bool), E>) -> Result<V, E> {
        let cell = self.0.of(key);
        let mut cell = hold(&cell);
        if let Some(known) = &*cell {
            return Ok(known.clone());
        }
        let (value, is_kept) = find()?;
        if is_kept {
            *cell = Some(value.clone());
        }
        Ok(value)
    }
}

/// Locks a value, whatever became of who held it before.
pub fn hold<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn one_finds_out_and_the_others_wait_for_that_key_alone() {
        let (map, found, both) = (OnceMap::default(), AtomicU32::new(0), Barrier::new(2));
        let count = |key: u32| {
            found.fetch_add(1, Ordering::SeqCst);
            // Two keys are found out at the same time, or nobody ever gets through.
            both.wait();
            key * 10
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(map.get(1, || count(1)), 10));
                scope.spawn(|| assert_eq!(map.get(2, || count(2)), 20));
            }
        });
        assert_eq!(found.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_failed_or_counts_once_is_found_out_again() {
        let map = OnceMap::default();
        assert_eq!(map.try_get("a", || Err("no")), Err("no"));
        assert_eq!(map.try_get_when("a", || Ok::<_, &str>((1, false))), Ok(1));
        assert_eq!(map.try_get("a", || Ok::<_, &str>(2)), Ok(2));
        assert_eq!(map.try_get("a", || Err("not asked")), Ok(2));
    }
}
