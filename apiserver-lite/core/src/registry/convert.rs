//! Kinds with two faces: HorizontalPodAutoscaler v1 and v2, Event of core and of events.k8s.io.
//!
//! One face is stored; the other is made at the edge, in both directions and without loss.

use kedge_api::kinds::Kind;
use serde_json::{Map, Value, json};

/// Brings an object that came in the version of `kind` into the version that is stored.
pub fn to_stored(kind: &Kind, object: &mut Value) {
    if kind.stored_as == kind.group_version() {
        return;
    }
    match kind.kind {
        "Event" => event_to_core(object),
        "HorizontalPodAutoscaler" => autoscaler_to_v2(object),
        _ => {}
    }
    object["apiVersion"] = kind.stored_as.api_version().into();
}

/// Brings a stored object into the version of `kind`.
pub fn from_stored(kind: &Kind, object: &mut Value) {
    if kind.stored_as == kind.group_version() {
        return;
    }
    match kind.kind {
        "Event" => event_from_core(object),
        "HorizontalPodAutoscaler" => autoscaler_from_v2(object),
        _ => {}
    }
    object["apiVersion"] = kind.api_version().into();
}

/// Core's name, the other group's name.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("source", "deprecatedSource"),
];

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(map) = object.as_object_mut()
        && let Some(value) = map.remove(from)
    {
        map.insert(to.to_owned(), value);
    }
}

fn event_to_core(object: &mut Value) {
    for (core, other) in EVENT_FIELDS {
        rename(object, other, core);
    }
    // Core sends these even when they are empty.
    for (key, empty) in [
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
        ("source", json!({})),
        ("reportingComponent", "".into()),
        ("reportingInstance", "".into()),
    ] {
        if object[key].is_null() {
            object[key] = empty;
        }
    }
}

fn event_from_core(object: &mut Value) {
    for (core, other) in EVENT_FIELDS {
        rename(object, core, other);
    }
    // What core sends empty, the other group leaves out.
    if let Some(map) = object.as_object_mut() {
        map.retain(|key, value| !(key.starts_with("reporting") && value == ""));
    }
}

/// Keeps in annotations of v1 what v1 has no fields for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

fn autoscaler_to_v2(object: &mut Value) {
    let mut metrics: Vec<Value> = take_annotation(object, METRICS).and_then(as_list).unwrap_or_default();
    let behavior = take_annotation(object, BEHAVIOR);
    let conditions = take_annotation(object, CONDITIONS);
    let mut current: Vec<Value> = take_annotation(object, CURRENT).and_then(as_list).unwrap_or_default();
    let spec = fields(object, "spec");
    if let Some(target) = spec.remove("targetCPUUtilizationPercentage") {
        metrics.push(json!({
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}},
        }));
    }
    if !metrics.is_empty() {
        spec.insert("metrics".to_owned(), metrics.into());
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".to_owned(), behavior);
    }
    let status = fields(object, "status");
    if let Some(used) = status.remove("currentCPUUtilizationPercentage") {
        current.push(json!({
            "type": "Resource",
            "resource": {"name": "cpu", "current": {"averageUtilization": used, "averageValue": "0"}},
        }));
    }
    if !current.is_empty() {
        status.insert("currentMetrics".to_owned(), current.into());
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".to_owned(), conditions);
    }
}

fn autoscaler_from_v2(object: &mut Value) {
    let spec = fields(object, "spec");
    let metrics = spec.remove("metrics").and_then(as_list).unwrap_or_default();
    let behavior = spec.remove("behavior");
    let (cpu, others) = split_cpu(metrics, |m| &m["resource"]["target"]["averageUtilization"]);
    if let Some(cpu) = cpu {
        spec.insert("targetCPUUtilizationPercentage".to_owned(), cpu);
    }
    let status = fields(object, "status");
    let current = status.remove("currentMetrics").and_then(as_list).unwrap_or_default();
    let conditions = status.remove("conditions");
    let (used, current) = split_cpu(current, |m| &m["resource"]["current"]["averageUtilization"]);
    if let Some(used) = used {
        status.insert("currentCPUUtilizationPercentage".to_owned(), used);
    }
    for (key, value) in [
        (METRICS, (!others.is_empty()).then(|| Value::from(others))),
        (BEHAVIOR, behavior),
        (CURRENT, (!current.is_empty()).then(|| Value::from(current))),
        (CONDITIONS, conditions),
    ] {
        if let Some(value) = value {
            let annotations = fields(&mut object["metadata"], "annotations");
            annotations.insert(key.to_owned(), value.to_string().into());
        }
    }
}

/// The first CPU utilisation among the metrics, and the others.
fn split_cpu(metrics: Vec<Value>, utilization: fn(&Value) -> &Value) -> (Option<Value>, Vec<Value>) {
    let mut cpu = None;
    let mut others = Vec::new();
    for metric in metrics {
        let is_cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
        match utilization(&metric) {
            Value::Null => others.push(metric),
            value if is_cpu && cpu.is_none() => cpu = Some(value.clone()),
            _ => others.push(metric),
        }
    }
    (cpu, others)
}

fn as_list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list),
        _ => None,
    }
}

fn fields<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object[key].is_object() {
        object[key] = json!({});
    }
    object[key].as_object_mut().expect("it was made an object above")
}

/// Takes a JSON annotation out; one that does not parse stays where it is.
fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
    let parsed = serde_json::from_str(annotations.get(key)?.as_str()?).ok()?;
    annotations.remove(key);
    if annotations.is_empty() {
        object["metadata"].as_object_mut()?.remove("annotations");
    }
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::kinds::lookup;

    #[test]
    fn there_and_back() {
        let autoscaler = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}, "status": {},
        });
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "n",
            "regarding": {"kind": "Pod"}, "deprecatedSource": {}, "deprecatedFirstTimestamp": null,
            "deprecatedLastTimestamp": null,
        });
        for (group, plural, object) in
            [("autoscaling", "horizontalpodautoscalers", autoscaler), ("events.k8s.io", "events", event)]
        {
            let kind = lookup(group, "v1", plural).unwrap();
            let mut there = object.clone();
            to_stored(kind, &mut there);
            assert_eq!(there["apiVersion"], kind.stored_as.api_version());
            from_stored(kind, &mut there);
            assert_eq!(there, object);
        }
    }
}
