use super::plan::{Plan, Stream, plan};
use kedge_apiserver_core::registry::options::QueryString;
use serde_json::{Value, json};

fn pod(containers: &[&str], node: &str, statuses: Value) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
    json!({
        "spec": {"containers": containers, "initContainers": [{"name": "first"}], "nodeName": node},
        "status": {"containerStatuses": statuses},
    })
}

fn show(stream: Stream, pod: &Value, query: &str) -> String {
    match plan(stream, pod, "ns", "p1", &QueryString::parse(query)) {
        Ok(Plan::Empty) => "empty".to_owned(),
        Ok(Plan::Ask { node, path }) => format!("{node} {path}"),
        Err(error) => format!("{} {}", error.code, error.message),
    }
}

#[test]
fn requests_become_the_kubelets() {
    let one = pod(&["main"], "n", json!([]));
    let check = |stream: Stream, query: &str, expected: &str| {
        assert_eq!(show(stream, &one, query), expected, "{query}")
    };
    check(Stream::Log, "", "n /containerLogs/ns/p1/main");
    check(
        Stream::Log,
        "follow=true&tailLines=5&timestamps=true&container=first&sinceTime=2026-01-01T00:00:00Z",
        "n /containerLogs/ns/p1/first?follow=true&timestamps=true&sinceTime=2026-01-01T00%3A00%3A00Z&tailLines=5",
    );
    check(
        Stream::Exec,
        "command=sh&command=-c&command=echo+a%26b&container=main&stdout=true&stderr=true&stdin=false",
        "n /exec/ns/p1/main?output=1&error=1&command=sh&command=-c&command=echo%20a%26b",
    );
    check(Stream::Attach, "stdin=1&tty=true&stdout=true", "n /attach/ns/p1/main?input=1&output=1&tty=1");
    check(Stream::PortForward, "", "n /portForward/ns/p1");
    check(Stream::PortForward, "ports=80", "n /portForward/ns/p1?port=80");
}

/// kubectl transcripts 467, 478, 479, 489, 497.
#[test]
fn refusals_are_worded_as_upstreams() {
    let waiting = json!([{"name": "main", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}]);
    let one = pod(&["main"], "n", waiting);
    let check = |stream: Stream, pod: &Value, query: &str, expected: &str| {
        assert_eq!(show(stream, pod, query), expected, "{query}");
    };
    check(Stream::Log, &one, "container=nosuch", "400 container nosuch is not valid for pod p1");
    let text = "400 container \"main\" in pod \"p1\" is waiting to start: ErrImageNeverPull";
    check(Stream::Log, &one, "", text);
    let text = "400 previous terminated container \"main\" in pod \"p1\" not found";
    check(Stream::Log, &one, "previous=true", text);
    check(
        Stream::Exec,
        &one,
        "container=main",
        "400 you must specify at least one command for the container",
    );
    let nowhere = pod(&["main"], "", json!([]));
    check(Stream::Log, &nowhere, "", "empty");
    let text = "422 PodLogOptions \"p1\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0";
    check(Stream::Log, &nowhere, "tailLines=-1", text);
    check(Stream::Exec, &nowhere, "", "400 pod p1 does not have a host assigned");
    let two = pod(&["c1", "c2"], "n", json!([]));
    let text = "400 a container name must be specified for pod p1, choose one of: [c1 c2] or one of the init containers: [first]";
    check(Stream::Log, &two, "", text);
}
