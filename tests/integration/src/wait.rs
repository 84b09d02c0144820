//! Waiting for a fact, with a limit.

use std::time::{Duration, Instant};

/// How often a fact is looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// How many times longer than usual a machine may take, from `KEDGE_TEST_PATIENCE`: an emulated one needs more.
pub fn patience() -> u32 {
    std::env::var("KEDGE_TEST_PATIENCE").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// Looks until `fact` gives something; panics with `what` when it has not within `limit`.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, fact: impl FnMut() -> Option<T>) -> T {
    within(limit, fact).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Looks until `fact` gives something, but not longer than `limit`.
pub fn within<T>(limit: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    let limit = limit * patience();
    loop {
        let found = fact();
        if found.is_some() || began.elapsed() > limit {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}
