use super::*;
use kedge_api::kinds::{kinds, lookup};

fn check(group: &str, plural: &str, object: Value, expected: &str) {
    let kind = lookup(group, "v1", plural).unwrap();
    let table = table(kind, "v1", vec![object], Time(100), Include::None);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let words: Vec<String> = cells.iter().map(|cell| cells::scalar(cell, "null")).collect();
    assert_eq!(words.join(" | "), expected, "{plural}");
    assert_eq!(cells.len(), kind.columns.len(), "{plural}");
}

#[test]
fn every_kind_fills_its_columns() {
    for kind in kinds().iter().filter(|kind| !kind.columns.is_empty()) {
        let table = table(kind, "v1", vec![json!({"metadata": {"name": "a"}})], Time(0), Include::None);
        let cells = table["rows"][0]["cells"].as_array().unwrap().len();
        // Upstream sends one cell more than it defines columns.
        let extra = usize::from(kind.kind == "IPAddress");
        assert_eq!(cells, kind.columns.len() + extra, "{} {}", kind.group, kind.kind);
    }
}

#[test]
fn pods() {
    let pod = |spec: Value, status: Value| json!({"metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": spec, "status": status});
    let one = json!({"containers": [{"name": "c"}]});
    let rest = "| 100s | <none> | <none> | <none> | <none>";
    check(
        "",
        "pods",
        pod(one.clone(), json!({"phase": "Pending"})),
        &format!("p | 0/1 | Pending | 0 {rest}"),
    );
    let running = json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "ready": true, "restartCount": 2, "state": {"running": {}},
         "lastState": {"terminated": {"finishedAt": "1970-01-01T00:01:00Z"}}}]});
    check("", "pods", pod(one.clone(), running), &format!("p | 1/1 | Running | 2 (40s ago) {rest}"));
    let crashing = json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
    check("", "pods", pod(one.clone(), crashing), &format!("p | 0/1 | CrashLoopBackOff | 0 {rest}"));
    let failed = json!({"phase": "Failed", "containerStatuses": [
        {"name": "c", "state": {"terminated": {"exitCode": 7}}}]});
    check("", "pods", pod(one, failed), &format!("p | 0/1 | ExitCode:7 | 0 {rest}"));
    let initializing =
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]});
    let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]});
    check("", "pods", pod(spec, initializing), &format!("p | 0/1 | Init:0/1 | 0 {rest}"));
}

#[test]
fn services() {
    let service = json!({"metadata": {"name": "s"}, "spec": {
        "type": "NodePort", "clusterIPs": ["10.96.0.5"], "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}],
        "selector": {"a": "b"},
    }});
    check("", "services", service, "s | NodePort | 10.96.0.5 | <none> | 80:30000/TCP | <unknown> | a=b");
}

#[test]
fn durations() {
    for (seconds, expected) in [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (601, "10m"),
        (10_800, "3h"),
        (10_860, "3h1m"),
        (100_000, "27h"),
        (180_000, "2d2h"),
        (800_000, "9d"),
        (70_000_000, "2y80d"),
        (300_000_000, "9y"),
    ] {
        assert_eq!(cells::human(seconds), expected);
    }
}
