//! Recorded traces of upstream's scheduler, compared word for word.

use std::path::Path;
use std::sync::Arc;

use kedge_api::Pod;
use serde_json::Value;

use crate::decide::{Outcome, decide};
use crate::testing::{pod, snapshot};

fn recording(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/upstream/pods");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn message(lines: &[&str], pod: &Pod) -> String {
    match decide(&snapshot(lines), pod, 0).outcome {
        Outcome::Node(node) => node,
        Outcome::Unschedulable(diagnosis) => diagnosis.message(),
    }
}

#[test]
fn a_request_beyond_every_node() {
    let recorded = recording("unschedulable-cpu.json");
    let pod: Arc<Pod> = serde_json::from_value(recorded["pod"].clone()).map(Arc::new).unwrap();
    let event = &recorded["events"][0];
    assert_eq!(event["reason"], "FailedScheduling");
    assert_eq!(message(&["node cpu=2 memory=4Gi"], &pod), event["message"].as_str().unwrap());
}

/// As recorded in upstream's kubectl transcripts.
#[test]
fn a_selector_that_no_node_answers() {
    let pod = pod("p selector=no:where");
    let recorded = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to \
                    deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    assert_eq!(message(&["node cpu=2"], &pod), recorded);
}
