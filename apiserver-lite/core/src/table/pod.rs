//! Pods: the one word that says how a pod is doing.

use super::cells::{Row, at, human, labels, or};
use kedge_api::Time;
use kedge_api::kinds::Kind;
use serde_json::{Value, json};

/// Rows of finished pods say so to clients that hide them.
pub fn row_conditions(kind: &Kind, object: &Value) -> Value {
    let condition = |reason: &str, message: &str| json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]);
    match (kind.kind, object["status"]["phase"].as_str()) {
        ("Pod", Some("Succeeded")) => condition("Succeeded", "The pod has completed successfully."),
        ("Pod", Some("Failed")) => condition("Failed", "The pod failed."),
        _ => Value::Null,
    }
}

pub fn template(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("template/spec/containers");
    vec![row.name(), names, images, labels(row.at("template/metadata/labels")).into()]
}

pub fn pod(row: &Row<'_>) -> Vec<Value> {
    let summary = summarize(row);
    let restarts = match summary.last_restart.filter(|_| summary.restarts != 0) {
        Some(last) => format!("{} ({} ago)", summary.restarts, human(row.now.0 - last.0)),
        None => summary.restarts.to_string(),
    };
    let address = row.list("status/podIPs").first().and_then(|ip| ip["ip"].as_str()).unwrap_or_default();
    vec![
        row.name(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        row.age(),
        or(address, "<none>").into(),
        or(row.text("spec/nodeName"), "<none>").into(),
        or(row.text("status/nominatedNodeName"), "<none>").into(),
        readiness_gates(row).into(),
    ]
}

struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Time>,
}

impl Summary {
    fn count_restarts(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        let finished = at(status, "lastState/terminated/finishedAt").as_str().and_then(Time::parse);
        self.last_restart = self.last_restart.max(finished);
    }
}

fn summarize(row: &Row<'_>) -> Summary {
    let phase = row.text("status/phase");
    let conditions = row.list("status/conditions");
    let gated = conditions.iter().any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    let reason = if gated { "SchedulingGated" } else { or(row.text("status/reason"), phase) };
    let sidecars = row.list("spec/initContainers").iter().filter(|c| is_sidecar(c)).count();
    let mut summary = Summary {
        reason: reason.to_owned(),
        ready: 0,
        total: row.list("spec/containers").len() + sidecars,
        restarts: 0,
        last_restart: None,
    };
    let initializing = initializing(row, &mut summary);
    let initialized = conditions.iter().any(|c| c["type"] == "Initialized" && c["status"] == "True");
    if !initializing || initialized {
        running(row, &mut summary);
    }
    if row.is_deleted() {
        if row.text("status/reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// Goes through the init containers up to the one that is not done; true if there is one.
fn initializing(row: &Row<'_>, summary: &mut Summary) -> bool {
    let specs = row.list("spec/initContainers");
    for (index, status) in row.list("status/initContainerStatuses").iter().enumerate() {
        summary.count_restarts(status);
        let sidecar = specs.iter().any(|spec| spec["name"] == status["name"] && is_sidecar(spec));
        let terminated = at(status, "state/terminated");
        if terminated.is_object() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            summary.ready += usize::from(status["ready"] == true);
            continue;
        }
        let waiting = at(status, "state/waiting/reason").as_str().unwrap_or_default();
        summary.reason = if terminated.is_object() {
            format!("Init:{}", end_of(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", specs.len())
        };
        return true;
    }
    false
}

/// The reason of a terminated state, or what ended it.
fn end_of(terminated: &Value) -> String {
    match (terminated["reason"].as_str().unwrap_or_default(), terminated["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Once initialized, only sidecars and main containers count.
fn running(row: &Row<'_>, summary: &mut Summary) {
    (summary.restarts, summary.last_restart) = (0, None);
    let specs = row.list("spec/initContainers");
    for status in row.list("status/initContainerStatuses") {
        if specs.iter().any(|spec| spec["name"] == status["name"] && is_sidecar(spec)) {
            summary.count_restarts(status);
        }
    }
    let (mut has_running, mut failure) = (false, String::new());
    for status in row.list("status/containerStatuses").iter().rev() {
        summary.count_restarts(status);
        let terminated = at(status, "state/terminated");
        let waiting = at(status, "state/waiting/reason").as_str().unwrap_or_default();
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if terminated.is_object() {
            summary.reason = end_of(terminated);
            if terminated["exitCode"].as_i64().unwrap_or(0) != 0 {
                failure.clone_from(&summary.reason);
            }
        } else if status["ready"] == true && at(status, "state/running").is_object() {
            has_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" {
        let ready =
            row.list("status/conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        match (has_running, ready, failure.is_empty()) {
            (true, true, _) => summary.reason = "Running".to_owned(),
            (_, _, false) => summary.reason = failure,
            (true, false, true) => summary.reason = "NotReady".to_owned(),
            (false, _, true) => {}
        }
    }
}

fn readiness_gates(row: &Row<'_>) -> String {
    let gates = row.list("spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let conditions = row.list("status/conditions");
    let is_true = |gate: &&Value| {
        conditions.iter().find(|c| c["type"] == gate["conditionType"]).is_some_and(|c| c["status"] == "True")
    };
    format!("{}/{}", gates.iter().filter(is_true).count(), gates.len())
}
