//! A StatefulSet through growth, update and shrinking, as scripts.

use super::*;
use crate::cluster::Cluster;
use kedge_api::resource::PERSISTENT_VOLUME_CLAIMS;
use serde_json::json;

fn key() -> ObjectKey {
    ObjectKey::new("d", "web")
}

fn set(replicas: i64, image: &str, policy: &str) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "serviceName": "svc", "podManagementPolicy": policy, "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "selector": {"matchLabels": {"app": "web"}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn world(set: Value) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.create(STATEFUL_SETS, "d", set).unwrap();
    cluster.settle(&StatefulSetController, &key()).unwrap();
    cluster
}

/// `ordinal:image`, + ready, - going.
fn pods(cluster: &Cluster) -> String {
    let show = |value: &Value| {
        let pod: Pod = serde_json::from_value(value.clone()).unwrap();
        let ordinal = identity::ordinal("web", &pod.metadata.name).unwrap();
        let ready = if pod.is_ready() { "+" } else { "" };
        let going = if is_going(&pod) { "-" } else { "" };
        format!("{ordinal}:{}{ready}{going}", pod.spec.containers[0].image)
    };
    cluster.list(PODS).map(show).collect::<Vec<_>>().join(" ")
}

fn names(cluster: &Cluster, going: bool) -> Vec<String> {
    let is_going = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null() != going;
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.list(PODS).filter(is_going).map(name).collect()
}

/// The kubelets start what is there and end what is going; then the controller looks again.
fn turn(cluster: &mut Cluster) {
    cluster.now.0 += 1;
    for name in names(cluster, true) {
        cluster.delete(PODS, "d", &name, true).unwrap();
    }
    for name in names(cluster, false) {
        cluster.patch(PODS, "d", &name, &json!({"spec": {"nodeName": "n"}})).unwrap();
        cluster.pod_status("d", &name, "Running", true).unwrap();
    }
    cluster.settle(&StatefulSetController, &key()).unwrap();
}

fn turns(cluster: &mut Cluster, count: usize) {
    (0..count).for_each(|_| turn(cluster));
}

fn patch_spec(cluster: &mut Cluster, spec: Value) {
    cluster.patch(STATEFUL_SETS, "d", "web", &json!({"spec": spec})).unwrap();
    cluster.settle(&StatefulSetController, &key()).unwrap();
}

fn image(image: &str) -> Value {
    json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}})
}

#[test]
fn in_order_up_and_down_with_claims_that_stay() {
    let mut cluster = world(set(3, "a", "OrderedReady"));
    assert_eq!(pods(&cluster), "0:a");
    turn(&mut cluster);
    assert_eq!(pods(&cluster), "0:a+ 1:a");
    turns(&mut cluster, 2);
    assert_eq!(pods(&cluster), "0:a+ 1:a+ 2:a+");
    let pod = cluster.get(PODS, "d", "web-1").unwrap();
    assert_eq!(pod["spec"]["hostname"], "web-1");
    assert_eq!(pod["spec"]["subdomain"], "svc");
    assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-web-1");
    patch_spec(&mut cluster, json!({"replicas": 1}));
    assert_eq!(pods(&cluster), "0:a+ 1:a+ 2:a+-");
    turn(&mut cluster);
    assert_eq!(pods(&cluster), "0:a+ 1:a+-");
    turn(&mut cluster);
    assert_eq!(pods(&cluster), "0:a+");
    assert_eq!(cluster.list(PERSISTENT_VOLUME_CLAIMS).count(), 3, "claims outlive their pods");
}

#[test]
fn parallel_does_not_wait() {
    let mut cluster = world(set(3, "a", "Parallel"));
    assert_eq!(pods(&cluster), "0:a 1:a 2:a");
    turn(&mut cluster);
    patch_spec(&mut cluster, json!({"replicas": 0}));
    assert_eq!(pods(&cluster), "0:a+- 1:a+- 2:a+-");
}

#[test]
fn an_update_goes_from_the_last_to_the_partition() {
    let mut cluster = world(set(3, "a", "OrderedReady"));
    turns(&mut cluster, 3);
    let mut spec = image("b");
    spec["updateStrategy"] = json!({"rollingUpdate": {"partition": 1}});
    patch_spec(&mut cluster, spec);
    assert_eq!(pods(&cluster), "0:a+ 1:a+ 2:a+-");
    turn(&mut cluster);
    assert_eq!(pods(&cluster), "0:a+ 1:a+ 2:b");
    turns(&mut cluster, 4);
    assert_eq!(pods(&cluster), "0:a+ 1:b+ 2:b+");
    let status = cluster.get(STATEFUL_SETS, "d", "web").unwrap()["status"].clone();
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(1), &json!(2)), "{status}");
    // A pod below the partition that dies comes back with the old template.
    cluster.delete(PODS, "d", "web-0", true).unwrap();
    cluster.settle(&StatefulSetController, &key()).unwrap();
    assert_eq!(pods(&cluster), "0:a 1:b+ 2:b+");
    turn(&mut cluster);
    patch_spec(&mut cluster, json!({"updateStrategy": {"rollingUpdate": {"partition": 0}}}));
    turns(&mut cluster, 3);
    let status = cluster.get(STATEFUL_SETS, "d", "web").unwrap()["status"].clone();
    assert_eq!(status["currentRevision"], status["updateRevision"], "complete");
}

#[test]
fn a_pod_that_never_gets_ready_holds_everything_up() {
    let mut cluster = world(set(3, "a", "OrderedReady"));
    cluster.pod_status("d", "web-0", "Running", false).unwrap();
    let plan = cluster.settle(&StatefulSetController, &key()).unwrap();
    assert_eq!(plan.waiting_for.as_deref(), Some("pod web-0 to be available"));
    assert_eq!(pods(&cluster), "0:a");
}

#[test]
fn a_pod_that_ended_is_made_again() {
    let mut cluster = world(set(1, "a", "OrderedReady"));
    cluster.pod_status("d", "web-0", "Failed", false).unwrap();
    cluster.settle(&StatefulSetController, &key()).unwrap();
    let pod = cluster.get(PODS, "d", "web-0").unwrap();
    assert_eq!(pod["status"]["phase"], "Pending");
}

#[test]
fn ordinals_may_start_elsewhere() {
    let mut object = set(2, "a", "Parallel");
    object["spec"]["ordinals"] = json!({"start": 5});
    let mut cluster = world(object);
    assert_eq!(pods(&cluster), "5:a 6:a");
    turn(&mut cluster);
    patch_spec(&mut cluster, json!({"ordinals": {"start": 6}}));
    assert_eq!(pods(&cluster), "5:a+- 6:a+ 7:a");
    turns(&mut cluster, 2);
    assert_eq!(pods(&cluster), "6:a+ 7:a+");
}

#[test]
fn claims_go_with_their_pod_or_with_the_set() {
    let mut object = set(2, "a", "OrderedReady");
    object["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let mut cluster = world(object);
    turns(&mut cluster, 2);
    let owner = |cluster: &Cluster, claim: &str| {
        let owners =
            &cluster.get(PERSISTENT_VOLUME_CLAIMS, "d", claim).unwrap()["metadata"]["ownerReferences"];
        owners[0]["kind"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(owner(&cluster, "data-web-1"), "StatefulSet");
    patch_spec(&mut cluster, json!({"replicas": 1}));
    assert_eq!(
        (owner(&cluster, "data-web-0"), owner(&cluster, "data-web-1")),
        ("StatefulSet".into(), "Pod".into())
    );
    // The collector has not taken the claim yet: the next pod of that name waits for it.
    turn(&mut cluster);
    patch_spec(&mut cluster, json!({"replicas": 2}));
    assert_eq!(pods(&cluster), "0:a+");
    cluster.delete(PERSISTENT_VOLUME_CLAIMS, "d", "data-web-1", true).unwrap();
    cluster.settle(&StatefulSetController, &key()).unwrap();
    assert_eq!(pods(&cluster), "0:a+ 1:a");
}
