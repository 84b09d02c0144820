//! A DaemonSet on a few nodes, as scripts.

use super::*;
use crate::cluster::Cluster;
use kedge_api::resource::{CONTROLLER_REVISIONS, NODES};

fn key() -> ObjectKey {
    ObjectKey::new("d", "agent")
}

fn set(image: &str, strategy: Value) -> Value {
    json!({"metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": strategy, "revisionHistoryLimit": 10,
        "template": {"metadata": {"labels": {"app": "agent"}},
            "spec": {"containers": [{"name": "c", "image": image}], "nodeSelector": {"os": "linux"}}}}})
}

fn rolling(unavailable: i64, surge: i64) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
}

fn world(nodes: &[&str], strategy: Value) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        let object = json!({"metadata": {"name": node, "labels": {"os": "linux"}}, "spec": {}});
        cluster.create(NODES, "", object).unwrap();
    }
    cluster.create(DAEMON_SETS, "d", set("a", strategy)).unwrap();
    cluster
}

/// `node image ready` of every pod.
fn pods(cluster: &Cluster) -> String {
    let mut all: Vec<String> = cluster
        .list(PODS)
        .map(|value| {
            let pod: Pod = serde_json::from_value(value.clone()).unwrap();
            let going = if pod.metadata.deletion_timestamp.is_some() { "-" } else { "" };
            let ready = if pod.is_ready() { "+" } else { "" };
            format!("{}:{}{ready}{going}", nodes::node_of(&pod).unwrap(), pod.spec.containers[0].image)
        })
        .collect();
    all.sort();
    all.join(" ")
}

/// Binds and starts every pod, and finishes the deletions.
fn kubelets(cluster: &mut Cluster) {
    let all: Vec<Pod> = cluster.list(PODS).map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
    for pod in all {
        let name = &pod.metadata.name;
        if pod.metadata.deletion_timestamp.is_some() {
            cluster.delete(PODS, "d", name, true).unwrap();
        } else if !pod.is_ready() {
            let node = nodes::node_of(&pod).unwrap();
            cluster.patch(PODS, "d", name, &json!({"spec": {"nodeName": node}})).unwrap();
            cluster.pod_status("d", name, "Running", true).unwrap();
        }
    }
}

fn turn(cluster: &mut Cluster, controller: &DaemonSetController) {
    cluster.now.0 += 1;
    kubelets(cluster);
    cluster.settle(controller, &key()).unwrap();
}

#[test]
fn one_pod_on_every_node_that_fits() {
    let controller = DaemonSetController::default();
    let mut cluster = world(&["a", "b"], rolling(1, 0));
    let windows = json!({"metadata": {"name": "w", "labels": {"os": "windows"}}, "spec": {}});
    cluster.create(NODES, "", windows).unwrap();
    let tainted = json!({"metadata": {"name": "t", "labels": {"os": "linux"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    cluster.create(NODES, "", tainted).unwrap();
    cluster.settle(&controller, &key()).unwrap();
    assert_eq!(pods(&cluster), "a:a b:a");
    turn(&mut cluster, &controller);
    let status = cluster.get(DAEMON_SETS, "d", "agent").unwrap()["status"].clone();
    assert_eq!(status["numberAvailable"], 2, "{status}");
    assert_eq!(status["desiredNumberScheduled"], 2, "{status}");
    // The label goes, and so does the pod; a NoSchedule taint would have let it stay.
    cluster
        .patch(NODES, "", "b", &json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}))
        .unwrap();
    cluster.patch(NODES, "", "a", &json!({"metadata": {"labels": {"os": null}}})).unwrap();
    cluster.settle(&controller, &key()).unwrap();
    turn(&mut cluster, &controller);
    assert_eq!(pods(&cluster), "b:a+");
}

#[test]
fn a_rolling_update_takes_one_node_at_a_time() {
    let controller = DaemonSetController::default();
    let mut cluster = world(&["a", "b", "c"], rolling(1, 0));
    cluster.settle(&controller, &key()).unwrap();
    turn(&mut cluster, &controller);
    cluster.patch(DAEMON_SETS, "d", "agent", &set("b", rolling(1, 0))).unwrap();
    cluster.settle(&controller, &key()).unwrap();
    assert_eq!(pods(&cluster), "a:a+- b:a+ c:a+");
    cluster.delete(PODS, "d", &first_going(&cluster), true).unwrap();
    cluster.settle(&controller, &key()).unwrap();
    assert_eq!(pods(&cluster), "a:b b:a+ c:a+", "the new pod is not ready");
    for _ in 0..6 {
        turn(&mut cluster, &controller);
    }
    assert_eq!(pods(&cluster), "a:b+ b:b+ c:b+");
    assert_eq!(cluster.list(CONTROLLER_REVISIONS).count(), 2);
    // Undoing gives the first revision a new number and makes no third.
    cluster.patch(DAEMON_SETS, "d", "agent", &set("a", rolling(3, 0))).unwrap();
    cluster.settle(&controller, &key()).unwrap();
    let mut numbers: Vec<i64> =
        cluster.list(CONTROLLER_REVISIONS).map(|r| r["revision"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
}

fn first_going(cluster: &Cluster) -> String {
    let going = cluster.list(PODS).find(|pod| !pod["metadata"]["deletionTimestamp"].is_null()).unwrap();
    going["metadata"]["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_surge_makes_the_new_pod_first() {
    let controller = DaemonSetController::default();
    let mut cluster = world(&["a", "b"], rolling(0, 1));
    cluster.settle(&controller, &key()).unwrap();
    turn(&mut cluster, &controller);
    cluster.patch(DAEMON_SETS, "d", "agent", &set("b", rolling(0, 1))).unwrap();
    cluster.settle(&controller, &key()).unwrap();
    assert_eq!(pods(&cluster), "a:a+ a:b b:a+");
    for _ in 0..6 {
        turn(&mut cluster, &controller);
    }
    assert_eq!(pods(&cluster), "a:b+ b:b+");
}

#[test]
fn failed_pods_are_replaced_with_back_off() {
    let controller = DaemonSetController::default();
    let mut cluster = world(&["a"], rolling(1, 0));
    let mut waits = Vec::new();
    for _ in 0..4 {
        cluster.settle(&controller, &key()).unwrap();
        let name = cluster.list(PODS).next().unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
        cluster.pod_status("d", &name, "Failed", false).unwrap();
        let since = cluster.now.0;
        while let Some(at) = cluster.settle(&controller, &key()).unwrap().requeue_at {
            cluster.now = at;
        }
        waits.push(cluster.now.0 - since);
        assert_eq!(pods(&cluster), "a:a", "a fresh one");
    }
    assert_eq!(waits, [0, 1, 2, 4]);
}

#[test]
fn a_selector_for_everything_is_refused() {
    let mut cluster = Cluster::default();
    let mut object = set("a", rolling(1, 0));
    object["spec"]["selector"] = json!({});
    cluster.create(DAEMON_SETS, "d", object).unwrap();
    let plan = cluster.settle(&DaemonSetController::default(), &key()).unwrap();
    assert_eq!(plan.events[0].reason, "SelectingAll");
}
