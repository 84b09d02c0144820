//! A work queue of keys: each key is worked on by one worker at a time, waits at most once, and may be asked for later.
//!
//! ```text
//!   add ──► ready ──take──► active ──done──► (gone)
//!             ▲               │ add meanwhile: again = true, back to ready at done
//!   add_after ┘ when due      └ failed: back after the key's back-off
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Time since any fixed instant that the caller keeps.
pub type Time = Duration;

const RETRY_INITIAL: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// See the module. Bounded by the number of distinct keys.
#[derive(Debug)]
pub struct WorkQueue<K> {
    ready: VecDeque<K>,
    ready_set: BTreeSet<K>,
    /// Value: asked for again while active.
    active: BTreeMap<K, bool>,
    due: BTreeSet<(Time, K)>,
    due_of: BTreeMap<K, Time>,
    failures: BTreeMap<K, u32>,
}

impl<K> Default for WorkQueue<K> {
    fn default() -> Self {
        WorkQueue {
            ready: VecDeque::new(),
            ready_set: BTreeSet::new(),
            active: BTreeMap::new(),
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> WorkQueue<K> {
    pub fn add(&mut self, key: K) {
        if let Some(again) = self.active.get_mut(&key) {
            *again = true;
        } else if self.ready_set.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Asks for `key` at `at`; an earlier date that stands is kept.
    pub fn add_at(&mut self, key: K, at: Time) {
        if self.due_of.get(&key).is_some_and(|&standing| standing <= at) {
            return;
        }
        if let Some(later) = self.due_of.insert(key.clone(), at) {
            self.due.remove(&(later, key.clone()));
        }
        self.due.insert((at, key));
    }

    /// The next key to work on.
    pub fn take(&mut self, now: Time) -> Option<K> {
        self.promote(now);
        let key = self.ready.pop_front()?;
        self.ready_set.remove(&key);
        self.active.insert(key.clone(), false);
        Some(key)
    }

    /// `key` was worked on and is as wanted.
    pub fn done(&mut self, key: &K) {
        self.failures.remove(key);
        self.release(key);
    }

    /// `key` could not be finished: it comes back after 5 ms, doubling to 5 min.
    pub fn failed(&mut self, key: &K, now: Time) {
        let count = self.failures.entry(key.clone()).or_insert(0);
        let delay = RETRY_INITIAL.saturating_mul(1u32 << (*count).min(20)).min(RETRY_MAX);
        *count += 1;
        self.release(key);
        self.add_at(key.clone(), now + delay);
    }

    /// When `take` may next give something; None: only after an `add`.
    pub fn next_due(&self) -> Option<Time> {
        if self.ready.is_empty() { self.due.first().map(|(at, _)| *at) } else { Some(Time::ZERO) }
    }

    pub fn len(&self) -> usize {
        self.ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    fn release(&mut self, key: &K) {
        if self.active.remove(key) == Some(true) {
            self.add(key.clone());
        }
    }

    fn promote(&mut self, now: Time) {
        while let Some((at, key)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            self.due.remove(&(at, key.clone()));
            self.due_of.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_key_waits_once_and_runs_alone() {
        let mut queue = WorkQueue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(MS(0)), Some("a"));
        queue.add("a");
        assert_eq!(queue.take(MS(0)), None, "a is active");
        queue.done(&"a");
        assert_eq!(queue.take(MS(0)), Some("a"), "asked for while active");
        queue.done(&"a");
        assert_eq!(queue.take(MS(0)), None);
    }

    #[test]
    fn failures_back_off_and_success_forgets_them() {
        let mut queue = WorkQueue::default();
        let mut now = MS(0);
        for expected in [5, 10, 20] {
            queue.add("a");
            assert_eq!(queue.take(now), Some("a"));
            queue.failed(&"a", now);
            assert_eq!(queue.next_due(), Some(now + MS(expected)));
            now += MS(expected);
        }
        assert_eq!(queue.take(now), Some("a"));
        queue.done(&"a");
        queue.add("a");
        queue.take(now);
        queue.failed(&"a", now);
        assert_eq!(queue.next_due(), Some(now + MS(5)));
    }

    #[test]
    fn the_earliest_date_stands() {
        let mut queue = WorkQueue::default();
        queue.add_at("a", MS(50));
        queue.add_at("a", MS(20));
        queue.add_at("a", MS(90));
        assert_eq!(queue.take(MS(19)), None);
        assert_eq!(queue.take(MS(20)), Some("a"));
        queue.done(&"a");
        assert_eq!(queue.take(MS(1000)), None);
    }
}
