//! Waiting for a fact, with a limit.

use std::time::{Duration, Instant};

/// How often a fact is looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `fact` gives something; panics with `what` when it has not within `limit`.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}
