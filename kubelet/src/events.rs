//! From the core's events to the recorder's.

use kedge_api::Pod;
use kedge_client::{Event as Told, Recorder};
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::names;
use serde_json::json;

pub(crate) fn tell_pod(recorder: &Recorder, pod: &Pod, event: Event) {
    let meta = &pod.metadata;
    let mut about = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    });
    if let Some(container) = &event.container {
        about["fieldPath"] = json!(names::field_path(pod, container));
    }
    tell(recorder, about, event);
}

pub(crate) fn tell_node(recorder: &Recorder, name: &str, event: Event) {
    // Upstream's kubelet names its node by name where the uid belongs.
    tell(recorder, json!({"kind": "Node", "name": name, "uid": name}), event);
}

fn tell(recorder: &Recorder, about: serde_json::Value, event: Event) {
    tracing::debug!(reason = %event.reason, message = event.message, "event");
    recorder.tell(Told {
        about,
        kind: event.severity.as_str(),
        reason: event.reason.into_owned(),
        message: event.message,
    });
}
