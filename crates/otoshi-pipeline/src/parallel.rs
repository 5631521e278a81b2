//! Many things asked side by side, so many at a time.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use otoshi_once::hold;

/// Does the same for all items, at most `most` at a time; the results are in the order of the items.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], most: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let one_after_another = || {
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            let result = work(item);
            hold(&done).push((index, result));
        }
    };
    // A scope goes on with the panic of a thread.
    thread::scope(|scope| {
        for _ in 1..most.min(items.len()) {
            scope.spawn(one_after_another);
        }
        one_after_another();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_at_a_time_and_in_order() {
        let (running, highest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<u64> = (0..40).collect();
        let doubled = side_by_side(&items, 4, |item| {
            highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(2));
            running.fetch_sub(1, Ordering::SeqCst);
            item * 2
        });
        assert_eq!(doubled, (0..40).map(|item| item * 2).collect::<Vec<_>>());
        assert!((2..=4).contains(&highest.load(Ordering::SeqCst)));
        assert!(side_by_side(&[] as &[u64], 4, |item| *item).is_empty());
    }
}
