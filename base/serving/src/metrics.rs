//! `/metrics`: a registry that components put their metrics in, and its text.

use crate::body::BoxBody;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex};

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shared by whoever counts and whoever answers.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Puts metrics in, at start.
    pub fn register(&self, put: impl FnOnce(&mut Registry)) {
        put(&mut self.0.lock().expect("no holder panics"));
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().expect("no holder panics");
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes any text");
        text
    }

    /// The answer to a GET of `/metrics`.
    pub fn response(&self) -> Response<BoxBody> {
        let body = Full::from(self.text()).map_err(|never| match never {}).boxed_unsync();
        let response = Response::builder().status(StatusCode::OK).header(CONTENT_TYPE, TYPE).body(body);
        response.expect("a known header is well formed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn what_is_registered_is_told() {
        let metrics = Metrics::default();
        let counter: Counter = Counter::default();
        metrics.register(|registry| registry.register("pods", "Pods seen", counter.clone()));
        counter.inc();
        assert!(metrics.text().contains("pods_total 1\n"), "{}", metrics.text());
        assert_eq!(metrics.response().headers()[CONTENT_TYPE], TYPE);
    }
}
