//! Waiting for a fact, with a limit.

use std::time::{Duration, Instant};

/// How often a fact is looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `fact` gives something; panics with `what` when it has not within `limit`.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, fact: impl FnMut() -> Option<T>) -> T {
    within(limit, fact).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Looks until `fact` gives something, but not longer than `limit`.
pub fn within<T>(limit: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        let found = fact();
        if found.is_some() || began.elapsed() > limit {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}
