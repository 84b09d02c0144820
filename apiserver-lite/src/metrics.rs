//! `/metrics`, under upstream's names where the meaning is the same.

use crate::answer::text;
use crate::body::BoxBody;
use crate::context::Context;
use http::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: String,
    resource: &'static str,
    code: u16,
}

const BUCKETS_S: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0];

pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let seconds = Histogram::new(BUCKETS_S);
        registry.register("apiserver_request", "Requests by verb, resource and code", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Time until the answer began",
            seconds.clone(),
        );
        Metrics { registry, requests, seconds }
    }
}

impl Metrics {
    pub fn observe(&self, method: &str, resource: &'static str, code: u16, elapsed: Duration) {
        // Methods are the client's words: only known ones become labels.
        let verb = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].iter().find(|known| **known == method);
        let labels = Labels { verb: verb.copied().unwrap_or("other").to_owned(), resource, code };
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }
}

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

pub fn handle(context: &Context) -> Response<BoxBody> {
    let mut out = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut out, &context.metrics.registry) {
        tracing::warn!(%error, "metrics could not be written");
    }
    let (compacted, history) = context.store.history();
    out.truncate(out.trim_end_matches("# EOF\n").len());
    for (name, help, value) in [
        ("kedge_store_revision", "Newest revision", context.store.revision().0),
        ("kedge_store_compacted_revision", "Oldest readable revision", compacted.0),
        ("kedge_store_history_bytes", "Bytes that only history holds", history as u64),
    ] {
        out.push_str(&format!("# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n"));
    }
    text(200, CONTENT_TYPE, out)
}
