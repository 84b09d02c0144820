//! The Node object and its lease.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kedge_api::Node;
use kedge_api::node::NodeStatus;
use kedge_api::resource::{LEASES, NODES};
use kedge_client::{Error, PatchKind};
use kedge_kubelet_core::Moment;
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::node::{self, Pressure};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::{events, patch};

const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASE_DURATION_S: i64 = 40;
const LEASE_PERIOD: Duration = Duration::from_secs(10);
/// The status is looked at this often and sent when it differs, or after [`STATUS_SILENCE`].
const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// While the node is not Ready: what it waits for (a podCIDR, the runtime) has no way to wake us. Upstream looks as often.
const STARTING_PERIOD: Duration = Duration::from_millis(100);
const STATUS_SILENCE: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_millis(500);

pub(crate) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Renews the lease for ever. The node lifecycle controller reads it.
pub(crate) async fn keep_lease(agent: Arc<Agent>) {
    loop {
        match renew(&agent).await {
            Ok(()) => tokio::time::sleep(LEASE_PERIOD).await,
            Err(error) => {
                tracing::warn!(%error, "the node's lease is not renewed");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn renew(agent: &Agent) -> Result<(), Error> {
    let name = &agent.config.node_name;
    let spec = json!({
        "holderIdentity": name,
        "leaseDurationSeconds": LEASE_DURATION_S,
        "renewTime": micro_time(),
    });
    let patch = json!({ "spec": spec });
    match agent.client.patch::<Value>(LEASES, LEASE_NAMESPACE, name, "", PatchKind::Merge, &patch).await {
        Err(error) if error.is_not_found() => {}
        done => return done.map(drop),
    }
    let Some(node) = agent.node.borrow().clone() else {
        return Ok(());
    };
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.metadata.uid}]},
        "spec": spec,
    });
    agent.client.create::<Value>(LEASES, LEASE_NAMESPACE, &lease).await.map(drop)
}

/// `2026-11-25T00:23:55.123456Z`
fn micro_time() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = kedge_api::Time(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)).to_string();
    format!("{}.{:06}Z", seconds.trim_end_matches('Z'), since.subsec_micros())
}

/// Registers the node, then sends its status whenever it changes.
pub(crate) async fn keep_status(agent: Arc<Agent>) {
    let mut current = loop {
        match register(&agent).await {
            Ok(node) => break node,
            Err(error) => {
                tracing::warn!(%error, "the node is not registered");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    events::tell_node(
        &agent.recorder,
        &agent.config.node_name,
        Event::normal("Starting", "Starting kubelet."),
    );
    agent.node.send_replace(Some(Arc::new(current.clone())));
    let mut sent_at = tokio::time::Instant::now();
    loop {
        let status = read_status(&agent, &current.status).await;
        let silent_for = sent_at.elapsed();
        if node::differs(&current.status, &status) || silent_for >= STATUS_SILENCE {
            match send(&agent, &current, &status).await {
                Ok(node) => {
                    tell_changes(&agent, &current.status, &node.status);
                    current = node;
                    sent_at = tokio::time::Instant::now();
                    agent.node.send_replace(Some(Arc::new(current.clone())));
                }
                Err(error) if error.is_not_found() => {
                    tracing::warn!("the Node object is gone; registering again");
                    if let Ok(node) = register(&agent).await {
                        current = node;
                        agent.node.send_replace(Some(Arc::new(current.clone())));
                    }
                }
                Err(error) => tracing::warn!(%error, "the node's status is not written"),
            }
        }
        let is_ready = current.status.condition("Ready").is_some_and(kedge_api::Condition::is_true);
        let period = if is_ready { STATUS_PERIOD } else { STARTING_PERIOD };
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = agent.node_changed.notified() => {}
        }
    }
}

async fn read_status(agent: &Agent, old: &NodeStatus) -> NodeStatus {
    let runtime = agent.runtime.status().await.map_err(|error| error.to_string());
    let images = agent.images.list_images().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the images of the node cannot be listed");
        Vec::new()
    });
    node::status(&agent.machine, &runtime, &images, Pressure::default(), old, now())
}

async fn register(agent: &Agent) -> Result<Node, Error> {
    let name = &agent.config.node_name;
    let mut labels = node::labels(name, &agent.machine);
    labels.extend(agent.config.labels.clone());
    let status = read_status(agent, &NodeStatus::default()).await;
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
        "status": status,
    });
    if let Some(cidr) = &agent.config.pod_cidr {
        object["spec"] = json!({"podCIDR": cidr, "podCIDRs": [cidr]});
    }
    match agent.client.create::<Node>(NODES, "", &object).await {
        Err(error) if error.is_already_exists() => {}
        made => return made,
    }
    let labels = json!({"metadata": {"labels": labels}});
    agent.client.patch(NODES, "", name, "", PatchKind::Merge, &labels).await
}

async fn send(agent: &Agent, current: &Node, status: &NodeStatus) -> Result<Node, Error> {
    let value = |status: &NodeStatus| serde_json::to_value(status).unwrap_or_default();
    let Some(change) = patch::between(&value(&current.status), &value(status)) else {
        return Ok(current.clone());
    };
    let change = json!({ "status": change });
    agent.client.patch(NODES, "", &agent.config.node_name, "status", PatchKind::Strategic, &change).await
}

fn tell_changes(agent: &Agent, old: &NodeStatus, new: &NodeStatus) {
    let ready = |status: &NodeStatus| status.condition("Ready").is_some_and(kedge_api::Condition::is_true);
    let name = &agent.config.node_name;
    let message = |what: &str| format!("Node {name} status is now: {what}");
    match (ready(old), ready(new)) {
        (false, true) => {
            events::tell_node(&agent.recorder, name, Event::normal("NodeReady", message("NodeReady")))
        }
        (true, false) => {
            events::tell_node(&agent.recorder, name, Event::normal("NodeNotReady", message("NodeNotReady")))
        }
        _ => {}
    }
}
