//! Back-off between restarts of a container, and between pulls of an image: 10 s doubling to 5 min, forgotten after
//! 10 min without trouble. The first retry after a first failure is immediate, as upstream's is.

use std::time::Duration;

use crate::Moment;

pub const INITIAL: Duration = Duration::from_secs(10);
pub const MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    delay: Duration,
    updated: Moment,
}

impl Backoff {
    /// The moment before which nothing may be tried, and the delay that leads there, for a failure at `failed_at`.
    pub fn until(&self, failed_at: Moment) -> Option<(Moment, Duration)> {
        let entry = self.entry.filter(|entry| !entry.forgotten(failed_at))?;
        Some((failed_at.after(entry.delay), entry.delay))
    }

    pub fn is_waiting(&self, failed_at: Moment, now: Moment) -> bool {
        self.until(failed_at).is_some_and(|(until, _)| now < until)
    }

    /// Notes a try that follows a failure at `failed_at`: the next one waits longer.
    pub fn note(&mut self, failed_at: Moment, now: Moment) {
        let delay = match self.entry {
            Some(entry) if !entry.forgotten(failed_at) => (entry.delay * 2).min(MAX),
            _ => INITIAL,
        };
        self.entry = Some(Entry { delay, updated: now });
    }
}

impl Entry {
    fn forgotten(self, failed_at: Moment) -> bool {
        failed_at.since(self.updated) > MAX * 2
    }
}

/// A duration as Go prints whole seconds: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container that exits at once, restarted as soon as it may be.
    #[test]
    fn restarts_of_a_crashing_container() {
        let mut backoff = Backoff::default();
        let mut now = Moment(0);
        let mut delays = Vec::new();
        for _ in 0..8 {
            let failed_at = now;
            let (until, delay) = backoff.until(failed_at).unwrap_or((now, Duration::ZERO));
            delays.push(go_seconds(delay));
            now = until;
            backoff.note(failed_at, now);
        }
        assert_eq!(delays, ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
        let calm = now.after(MAX * 2 + Duration::from_millis(1));
        assert_eq!(backoff.until(calm), None, "ten minutes of running forget");
        backoff.note(calm, calm);
        assert_eq!(backoff.until(calm).unwrap().1, INITIAL);
    }
}
