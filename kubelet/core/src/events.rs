//! Events, and how repeated ones become one: the same event counts up, many alike are combined, a flood is dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Moment;

/// Alike events beyond this many within [`SIMILAR_WINDOW`] are combined.
const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);
/// Per object: a burst of 25, then one in five minutes (upstream's numbers).
const BURST: i64 = 25;
const REFILL: Duration = Duration::from_secs(300);
/// Remembered events; the oldest is forgotten and would start a new count.
const REMEMBERED_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub severity: Severity,
    pub reason: &'static str,
    pub message: String,
    /// The container that it is about.
    pub container: Option<String>,
}

impl Event {
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Event {
        Event {
            severity: Severity::Normal,
            reason,
            message: message.into(),
            container: None,
        }
    }

    pub fn warning(reason: &'static str, message: impl Into<String>) -> Event {
        Event {
            severity: Severity::Warning,
            reason,
            message: message.into(),
            container: None,
        }
    }

    pub fn of(mut self, container: &str) -> Event {
        self.container = Some(container.to_owned());
        self
    }
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A new Event object; `message` may carry the mark of combined ones.
    Create { key: u64, message: String },
    /// The event with this key was seen again.
    Count { key: u64, count: i32 },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    object: String,
    container: Option<String>,
    severity: Severity,
    reason: &'static str,
    message: String,
}

#[derive(Debug)]
struct Seen {
    key: u64,
    count: i32,
    last: Moment,
}

#[derive(Debug, Default)]
struct Budget {
    left: i64,
    refilled: Moment,
}

#[derive(Debug, Default)]
pub struct Correlator {
    next_key: u64,
    seen: BTreeMap<Key, Seen>,
    budgets: BTreeMap<String, Budget>,
}

impl Correlator {
    /// `object` is the uid of what the event is about. None: dropped as part of a flood.
    pub fn record(&mut self, object: &str, event: &Event, now: Moment) -> Option<Write> {
        if !self.spend(object, now) {
            return None;
        }
        let mut key = Key {
            object: object.to_owned(),
            container: event.container.clone(),
            severity: event.severity,
            reason: event.reason,
            message: event.message.clone(),
        };
        if !self.seen.contains_key(&key) && self.similar(&key, now) >= SIMILAR_MAX {
            key.message = format!("(combined from similar events): {}", event.message);
            // All combined ones count as one: the newest message is shown.
            if let Some(known) = self.combined(&key) {
                key = known;
            }
        }
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.count = seen.count.saturating_add(1);
            seen.last = now;
            return Some(Write::Count {
                key: seen.key,
                count: seen.count,
            });
        }
        self.forget_oldest();
        self.next_key += 1;
        let message = key.message.clone();
        self.seen.insert(
            key,
            Seen {
                key: self.next_key,
                count: 1,
                last: now,
            },
        );
        Some(Write::Create {
            key: self.next_key,
            message,
        })
    }

    /// The object is gone.
    pub fn forget(&mut self, object: &str) {
        self.seen.retain(|key, _| key.object != object);
        self.budgets.remove(object);
    }

    fn spend(&mut self, object: &str, now: Moment) -> bool {
        let budget = self.budgets.entry(object.to_owned()).or_insert(Budget {
            left: BURST,
            refilled: now,
        });
        let refills = i64::try_from(now.since(budget.refilled).as_secs() / REFILL.as_secs()).unwrap_or(0);
        if refills > 0 {
            budget.left = (budget.left + refills).min(BURST);
            budget.refilled = now;
        }
        budget.left -= 1;
        if budget.left < 0 {
            budget.left = 0;
            return false;
        }
        true
    }

    fn alike<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = (&'a Key, &'a Seen)> {
        self.seen.iter().filter(move |(other, _)| {
            other.object == key.object
                && other.container == key.container
                && other.severity == key.severity
                && other.reason == key.reason
        })
    }

    fn similar(&self, key: &Key, now: Moment) -> usize {
        self.alike(key)
            .filter(|(_, seen)| now.since(seen.last) <= SIMILAR_WINDOW)
            .count()
    }

    fn combined(&self, key: &Key) -> Option<Key> {
        self.alike(key)
            .find(|(other, _)| other.message.starts_with("(combined from"))
            .map(|(other, _)| other.clone())
    }

    fn forget_oldest(&mut self) {
        if self.seen.len() >= REMEMBERED_MAX
            && let Some(oldest) = self
                .seen
                .iter()
                .min_by_key(|(_, seen)| seen.last)
                .map(|(key, _)| key.clone())
        {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_event_counts() {
        let mut events = Correlator::default();
        let event = Event::warning("BackOff", "again").of("c");
        assert_eq!(
            events.record("u", &event, Moment(0)),
            Some(Write::Create {
                key: 1,
                message: "again".into()
            })
        );
        assert_eq!(
            events.record("u", &event, Moment(1)),
            Some(Write::Count { key: 1, count: 2 })
        );
        let other = Event::warning("BackOff", "again").of("d");
        assert!(matches!(
            events.record("u", &other, Moment(2)),
            Some(Write::Create { key: 2, .. })
        ));
        events.forget("u");
        assert!(matches!(
            events.record("u", &event, Moment(3)),
            Some(Write::Create { key: 3, .. })
        ));
    }

    #[test]
    fn many_alike_are_combined() {
        let mut events = Correlator::default();
        let record = |events: &mut Correlator, n: i32| {
            events.record("u", &Event::warning("Failed", format!("{n}")), Moment(0))
        };
        for n in 0..10 {
            assert!(matches!(record(&mut events, n), Some(Write::Create { .. })));
        }
        let message = "(combined from similar events): 10".to_owned();
        assert_eq!(record(&mut events, 10), Some(Write::Create { key: 11, message }));
        assert_eq!(record(&mut events, 11), Some(Write::Count { key: 11, count: 2 }));
    }

    #[test]
    fn a_flood_is_dropped() {
        let mut events = Correlator::default();
        let event = Event::normal("Pulled", "x");
        let passed = (0..100)
            .filter(|_| events.record("u", &event, Moment(0)).is_some())
            .count();
        assert_eq!(passed, 25);
        assert!(events.record("u", &event, Moment(300_000)).is_some());
        assert!(events.record("u", &event, Moment(300_001)).is_none());
    }
}
