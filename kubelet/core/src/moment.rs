//! The clock reading that every decision gets as an argument.

use std::time::Duration;

use kedge_api::Time;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    pub fn from_nanos(nanos: i64) -> Moment {
        Moment(nanos.div_euclid(1_000_000))
    }

    pub fn from_time(time: Time) -> Moment {
        Moment(time.0.saturating_mul(1_000))
    }

    pub fn to_time(self) -> Time {
        Time(self.0.div_euclid(1_000))
    }

    pub fn after(self, delay: Duration) -> Moment {
        Moment(self.0.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn after_s(self, seconds: i64) -> Moment {
        Moment(self.0.saturating_add(seconds.saturating_mul(1_000)))
    }

    /// From an earlier moment to this one; zero where `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
