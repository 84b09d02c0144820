//! `kedge why pod`: every plugin's verdict on every node, by the same core that decides.

use kedge_api::resource::{NODES, PODS};
use kedge_api::{Node, Pod};
use kedge_client::{Client, ListOptions};
use kedge_scheduler_core::{SCHEDULER_NAME, Snapshot, explain};
use std::fmt::Write;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read pod {pod}: {cause}")]
    Pod { pod: String, cause: kedge_client::Error },
    #[error("cannot list {what}: {cause}")]
    List { what: &'static str, cause: kedge_client::Error },
}

/// The report on one pod, ready to print.
pub async fn why(client: &Client, namespace: &str, name: &str) -> Result<String, Error> {
    let pod: Pod = client
        .get(PODS, namespace, name)
        .await
        .map_err(|cause| Error::Pod { pod: format!("{namespace}/{name}"), cause })?;
    let options = ListOptions::default();
    let nodes: Vec<Node> =
        client.list(NODES, None, &options).await.map_err(|cause| Error::List { what: "nodes", cause })?;
    let pods: Vec<Pod> =
        client.list(PODS, None, &options).await.map_err(|cause| Error::List { what: "pods", cause })?;
    Ok(report(pod, nodes, pods))
}

/// A pod that runs is looked at as if it were about to be placed again, its own place counted as free.
fn report(mut pod: Pod, nodes: Vec<Node>, pods: Vec<Pod>) -> String {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        snapshot.set_node(Arc::new(node));
    }
    for other in pods.into_iter().filter(|other| other.metadata.uid != pod.metadata.uid) {
        snapshot.set_pod(Arc::new(other));
    }
    let mut text = standing(&pod);
    pod.spec.node_name.clear();
    let _ = write!(text, "{}", explain(&snapshot, &pod, 0));
    text
}

/// One line on where the pod stands, for those whose answer is not in the verdicts.
fn standing(pod: &Pod) -> String {
    let name = pod.full_name();
    let scheduler = pod.spec.scheduler_name.as_str();
    if !pod.spec.node_name.is_empty() {
        format!("{name} is on node {} already; placed again, it would be so:\n", pod.spec.node_name)
    } else if pod.metadata.deletion_timestamp.is_some() {
        format!("{name} is being deleted and gets no node any more\n")
    } else if !scheduler.is_empty() && scheduler != SCHEDULER_NAME {
        format!("{name} waits for a scheduler named {scheduler}, which is not ours; ours would say:\n")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, cpu: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name},
            "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}}}))
        .unwrap()
    }

    fn pod(name: &str, cpu: &str, node: &str) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"namespace": "ns", "name": name, "uid": name}, "spec": {"nodeName": node,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}),
        )
        .unwrap()
    }

    fn check(pod: Pod, nodes: Vec<Node>, pods: Vec<Pod>, expected: &str) {
        assert_eq!(report(pod, nodes, pods), expected);
    }

    #[test]
    fn a_pod_that_fits_nowhere() {
        check(
            pod("p", "2", ""),
            vec![node("a", "1"), node("b", "2")],
            vec![pod("other", "1", "b")],
            "ns/p fits nowhere: 0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 \
             nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for \
             scheduling.\n\
             \x20 a\n    NodeUnschedulable                ok\n    NodeResourcesFit                 no: Insufficient cpu\n\
             \x20 b\n    NodeUnschedulable                ok\n    NodeResourcesFit                 no: Insufficient cpu\n",
        );
    }

    #[test]
    fn a_pod_that_runs_does_not_stand_in_its_own_way() {
        let text = report(pod("p", "1", "a"), vec![node("a", "1")], vec![pod("p", "1", "a")]);
        assert!(
            text.starts_with("ns/p is on node a already; placed again, it would be so:\nns/p fits on a\n"),
            "{text}"
        );
    }
}
