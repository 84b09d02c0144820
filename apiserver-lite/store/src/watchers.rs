//! Who watches which part of the key space.

use crate::Event;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// Takes events in order. Called with the store locked: it must neither block nor call back into the store.
pub trait Sink: Send + Sync {
    /// False ends the watch, for example because its reader is too slow.
    fn send(&self, event: &Arc<Event>) -> bool;
}

type Watcher = (WatchId, Box<dyn Sink>);

/// Sinks by the prefix they asked for. A prefix is a whole key or ends with a slash, so that an event finds its sinks by
/// looking up the few prefixes of its own key, however many watches there are.
#[derive(Default)]
pub struct Watchers {
    by_prefix: BTreeMap<String, Vec<Watcher>>,
    prefixes: BTreeMap<WatchId, String>,
    last: u64,
}

impl Watchers {
    pub fn add(&mut self, prefix: &str, sink: Box<dyn Sink>) -> WatchId {
        self.last += 1;
        let id = WatchId(self.last);
        self.by_prefix.entry(prefix.to_owned()).or_default().push((id, sink));
        self.prefixes.insert(id, prefix.to_owned());
        id
    }

    pub fn remove(&mut self, id: WatchId) {
        let Some(prefix) = self.prefixes.remove(&id) else {
            return;
        };
        if let Some(sinks) = self.by_prefix.get_mut(&prefix) {
            sinks.retain(|(sink, _)| *sink != id);
            if sinks.is_empty() {
                self.by_prefix.remove(&prefix);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    pub fn publish(&mut self, events: &[Arc<Event>]) {
        let mut ended = Vec::new();
        for event in events {
            let slashes = event.key.match_indices('/').map(|(at, _)| &event.key[..=at]);
            for prefix in slashes.chain([&*event.key]) {
                let sinks = self.by_prefix.get(prefix).map_or(&[][..], |sinks| sinks);
                ended.extend(sinks.iter().filter(|(_, sink)| !sink.send(event)).map(|(id, _)| *id));
            }
        }
        for id in ended {
            self.remove(id);
        }
    }
}
