//! Writes Event objects: equal ones are counted, a flood is dropped, and nobody waits.
//!
//! Tasks: each [`Recorder`] has a few, fed by bounded channels; they end when the last handle is dropped. The events of one
//! object go through one task, so their order is kept, and a slow disk is waited for by many at a time.

use crate::{Client, PatchKind, Result};
use kedge_api::resource::EVENTS;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

const WRITERS: usize = 8;
/// Events waiting for one writer; more than these are dropped with a log line.
const QUEUE_MAX: usize = 128;
/// Events that one writer remembers for counting; upstream keeps 4,096 in all.
const SERIES_MAX: usize = 512;
/// An equal event after this long starts a count of its own.
const SERIES_AGE: Duration = Duration::from_secs(600);

/// One observation to tell about.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The `ObjectReference` of the object that it is about.
    pub about: Value,
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    pub reason: String,
    pub message: String,
}

/// Where a component hands in its events. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    writers: Vec<mpsc::Sender<Event>>,
}

struct Series {
    name: String,
    namespace: String,
    count: u64,
    last: SystemTime,
}

impl Recorder {
    /// `component` is the event's source, `host` the node it speaks for (may be empty).
    pub fn start(client: Client, component: &str, host: &str) -> Recorder {
        let start = |_| {
            let (sender, receiver) = mpsc::channel(QUEUE_MAX);
            let writer = Writer {
                client: client.clone(),
                component: component.to_owned(),
                host: host.to_owned(),
                series: BTreeMap::new(),
                order: VecDeque::new(),
            };
            tokio::spawn(writer.run(receiver));
            sender
        };
        Recorder { writers: (0..WRITERS).map(start).collect() }
    }

    pub fn tell(&self, event: Event) {
        let mut hasher = DefaultHasher::new();
        (event.about["uid"].as_str(), event.about["name"].as_str()).hash(&mut hasher);
        let writer = &self.writers[(hasher.finish() % WRITERS as u64) as usize];
        if let Err(error) = writer.try_send(event) {
            tracing::warn!(%error, "event dropped");
        }
    }
}

struct Writer {
    client: Client,
    component: String,
    host: String,
    series: BTreeMap<String, Series>,
    /// Keys of `series` in the order of their making.
    order: VecDeque<String>,
}

impl Writer {
    async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            if let Err(error) = self.write(&event).await {
                tracing::warn!(reason = event.reason, %error, "event not written");
            }
        }
    }

    async fn write(&mut self, event: &Event) -> Result<()> {
        let now = SystemTime::now();
        let about =
            json!([event.about["uid"], event.about["kind"], event.about["name"], event.about["fieldPath"]]);
        let key = format!("{about}{}{}{}", event.kind, event.reason, event.message);
        if let Some(series) = self.series.get_mut(&key)
            && now.duration_since(series.last).is_ok_and(|age| age < SERIES_AGE)
        {
            series.count += 1;
            series.last = now;
            let patch = json!({"count": series.count, "lastTimestamp": rfc3339(now)});
            let (namespace, name) = (series.namespace.clone(), series.name.clone());
            let patched: Result<Value> =
                self.client.patch(EVENTS, &namespace, &name, "", PatchKind::Merge, &patch).await;
            match patched {
                Err(error) if error.is_not_found() => {}
                other => return other.map(|_| ()),
            }
        }
        self.create(event, key, now).await
    }

    async fn create(&mut self, event: &Event, key: String, now: SystemTime) -> Result<()> {
        let namespace = event.about["namespace"].as_str().unwrap_or("default").to_owned();
        let nanos = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{}.{nanos:x}", event.about["name"].as_str().unwrap_or_default());
        let mut source = json!({"component": self.component});
        if !self.host.is_empty() {
            source["host"] = self.host.as_str().into();
        }
        let object = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": event.about, "reason": event.reason, "message": event.message, "type": event.kind,
            "count": 1, "firstTimestamp": rfc3339(now), "lastTimestamp": rfc3339(now), "source": source,
            "reportingComponent": self.component, "reportingInstance": self.host,
        });
        let _: Value = self.client.create(EVENTS, &namespace, &object).await?;
        self.remember(key, Series { name, namespace, count: 1, last: now });
        Ok(())
    }

    fn remember(&mut self, key: String, series: Series) {
        if self.series.insert(key.clone(), series).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > SERIES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.series.remove(&oldest);
        }
    }
}

fn rfc3339(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    kedge_api::Time(i64::try_from(seconds).unwrap_or(i64::MAX)).to_string()
}
