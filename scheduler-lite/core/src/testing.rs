//! Nodes and pods out of one line of text: `name key=value …`.

use std::sync::Arc;

use kedge_api::{Node, Pod};
use serde_json::{Value, json};

use crate::snapshot::Snapshot;

fn words(text: &str) -> (&str, impl Iterator<Item = (&str, &str)>) {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let pairs = rest.split_whitespace();
    (name, pairs.map(|word| word.split_once('=').unwrap_or((word, ""))))
}

fn push(list: &mut Value, value: Value) {
    match list {
        Value::Array(list) => list.push(value),
        other => *other = json!([value]),
    }
}

fn taint(text: &str) -> Value {
    let parts: Vec<&str> = text.split(':').collect();
    json!({"key": parts[0], "value": parts[1], "effect": parts[2]})
}

/// `NAME cpu=4 memory=8Gi pods=10 label=k:v taint=k:v:effect cordoned image=NAME@BYTES RESOURCE=AMOUNT`; 110 pods unless told.
pub fn node(text: &str) -> Arc<Node> {
    let (name, pairs) = words(text);
    let mut node = json!({"metadata": {"name": name, "labels": {}}, "spec": {}, "status": {"allocatable": {"pods": "110"}}});
    for (key, value) in pairs {
        match key {
            "label" => {
                let (key, value) = value.split_once(':').unwrap();
                node["metadata"]["labels"][key] = value.into();
            }
            "taint" => push(&mut node["spec"]["taints"], taint(value)),
            "cordoned" => node["spec"]["unschedulable"] = true.into(),
            "image" => {
                let (image, size) = value.split_once('@').unwrap();
                let size: i64 = size.parse().unwrap();
                push(&mut node["status"]["images"], json!({"names": [image], "sizeBytes": size}));
            }
            resource => node["status"]["allocatable"][resource] = value.into(),
        }
    }
    Arc::new(serde_json::from_value(node).unwrap())
}

/// `NAME cpu=1 memory=1Gi on=NODE phase=P port=80 priority=5 tolerates=k:v:effect image=I selector=k:v wants=NODE gate=G
/// never`; the uid is the name.
pub fn pod(text: &str) -> Arc<Pod> {
    let (name, pairs) = words(text);
    let mut pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "generation": 1},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {}}}]}, "status": {"phase": "Pending"}});
    for (key, value) in pairs {
        let spec = &mut pod["spec"];
        match key {
            "on" | "wants" => spec["nodeName"] = value.into(),
            "phase" => pod["status"]["phase"] = value.into(),
            "port" => {
                let port: i64 = value.parse().unwrap();
                push(&mut spec["containers"][0]["ports"], json!({"hostPort": port, "containerPort": port}));
            }
            "priority" => spec["priority"] = value.parse::<i64>().unwrap().into(),
            "tolerates" => push(&mut spec["tolerations"], taint(value)),
            "image" => spec["containers"][0]["image"] = value.into(),
            "selector" => {
                let (key, value) = value.split_once(':').unwrap();
                spec["nodeSelector"][key] = value.into();
            }
            "gate" => push(&mut spec["schedulingGates"], json!({"name": value})),
            "never" => spec["preemptionPolicy"] = "Never".into(),
            resource => spec["containers"][0]["resources"]["requests"][resource] = value.into(),
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// A pod that runs nowhere yet, with this affinity or other parts of the spec.
pub fn pod_with(spec: Value) -> Arc<Pod> {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "p"}, "spec": spec});
    if pod["spec"]["containers"].is_null() {
        pod["spec"]["containers"] = json!([{"name": "c"}]);
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// A snapshot of these nodes and pods; a line with `on=` is a pod.
pub fn snapshot(lines: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for line in lines {
        if line.contains(" on=") {
            snapshot.set_pod(pod(line));
        } else {
            snapshot.set_node(node(line));
        }
    }
    snapshot
}
