//! Statuses as upstream's kubelet was recorded to write them (the pods of the recordings are named by the tests).

use std::collections::BTreeMap;

use super::*;
use crate::plan::tests::World;
use kedge_cri_api::ContainerState;

fn status(world: &World) -> serde_json::Value {
    let messages = BTreeMap::new();
    let inputs = Inputs {
        old: &world.pod.status,
        observed: &world.observed,
        progress: &world.progress,
        host_ips: &["10.0.0.1".to_owned()],
        runtime_name: "kedge",
        messages: &messages,
        recursive_read_only: false,
        now: world.now,
    };
    serde_json::to_value(compute(&world.pod, &inputs)).unwrap()
}

fn condition<'a>(status: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == name).unwrap()
}

/// The first status of `delete-graceful`.
#[test]
fn a_pod_that_was_just_seen() {
    let mut world =
        World::new(serde_json::json!({"containers": [{"name": "c", "image": "i:1", "volumeMounts":
        [{"name": "v", "mountPath": "/v", "readOnly": true}]}]}));
    world.pod.status = PodStatus::default();
    let seen = status(&world);
    assert_eq!(
        (&seen["phase"], &seen["qosClass"], &seen["observedGeneration"]),
        (&"Pending".into(), &"BestEffort".into(), &1.into())
    );
    assert_eq!((&seen["hostIP"], &seen["hostIPs"][0]["ip"]), (&"10.0.0.1".into(), &"10.0.0.1".into()));
    assert_eq!(seen["podIP"], serde_json::Value::Null);
    assert_eq!(seen["resources"], serde_json::json!({}));
    assert_eq!(
        seen["containerStatuses"][0],
        serde_json::json!({"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {}, "ready": false,
            "restartCount": 0, "image": "i:1", "imageID": "", "started": false,
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Disabled"}]})
    );
    let names: Vec<&str> = seen["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| condition["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    );
    let ready = condition(&seen, "Ready");
    assert_eq!(ready["reason"], "ContainersNotReady");
    assert_eq!(ready["message"], "containers with unready status: [c]");
}

#[test]
fn a_running_pod_is_ready() {
    let mut world = World::new(serde_json::json!({"containers": [{"name": "b"}, {"name": "a"}]}));
    world.settle();
    let seen = status(&world);
    assert_eq!((&seen["phase"], &seen["podIP"]), (&"Running".into(), &"10.244.0.2".into()));
    assert_eq!(condition(&seen, "Ready")["status"], "True");
    assert_eq!(seen["containerStatuses"][0]["name"], "a", "sorted by name");
    assert_eq!(seen["containerStatuses"][0]["containerID"], "kedge://a-0");
    assert_eq!(seen["containerStatuses"][0]["resources"], serde_json::json!({}));
}

/// `crashloop-timing`: the exit is shown until the restart is due; then it moves to lastState.
#[test]
fn a_waiting_restart() {
    let mut world = World::new(serde_json::json!({"containers": [{"name": "c"}]}));
    world.settle();
    for _ in 0..2 {
        world.observed.containers[0].state = ContainerState::Exited;
        world.observed.containers[0].exit_code = 1;
        world.observed.containers[0].finished_at_ns = world.now.0 * 1_000_000;
        world.settle();
    }
    let seen = status(&world);
    assert_eq!(seen["containerStatuses"][0]["state"]["terminated"]["exitCode"], 1);
    world.now = world.now.after_s(10);
    let seen = status(&world);
    let container = &seen["containerStatuses"][0];
    assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(
        (&container["lastState"]["terminated"]["exitCode"], &container["restartCount"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&seen["phase"], condition(&seen, "Initialized")["status"].as_str()),
        (&"Running".into(), Some("True"))
    );
}

/// `vol-missing-cm`: deleted before anything could start.
#[test]
fn what_never_started_is_named_at_the_end() {
    let mut world = World::new(serde_json::json!({"containers": [{"name": "c"}]}));
    world.pod.metadata.deletion_timestamp = Some(kedge_api::Time(2_000));
    let seen = status(&world);
    let end = &seen["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(seen["phase"], "Failed");
    assert_eq!((&end["exitCode"], &end["reason"]), (&137.into(), &"ContainerStatusUnknown".into()));
    assert_eq!(end["startedAt"], serde_json::Value::Null);
    assert_eq!(end["message"], "The container could not be located when the pod was terminated");
    // The conditions are those of the pod that waited, then and later.
    assert_eq!(condition(&seen, "Ready")["reason"], "ContainersNotReady");
    world.pod.status = serde_json::from_value(seen).unwrap();
    assert_eq!(condition(&status(&world), "Ready")["reason"], "ContainersNotReady");
}

/// `termmsg-file`: who reads Succeeded may rely on the end of everything.
#[test]
fn a_terminal_phase_is_told_when_nothing_runs() {
    let mut world = World::new(serde_json::json!({"restartPolicy": "Never", "containers": [{"name": "c"}]}));
    world.settle();
    world.observed.containers[0].state = ContainerState::Exited;
    let seen = status(&world);
    assert_eq!((&seen["phase"], world.phase()), (&"Running".into(), Phase::Succeeded));
    assert_eq!(condition(&seen, "Ready")["reason"], "PodCompleted");
    world.progress.sandboxes_stopped.insert(world.observed.sandboxes[0].id.clone());
    world.observed.sandboxes[0].ready = false;
    let seen = status(&world);
    assert_eq!(seen["phase"], "Succeeded");
    assert_eq!(condition(&seen, "PodReadyToStartContainers")["status"], "False");
}

/// `liveness-http-404`: the newest container was removed first, and the count of its restarts went with it.
#[test]
fn the_last_status_stays_while_the_runtime_forgets() {
    let mut world = World::new(serde_json::json!({"containers": [{"name": "c"}]}));
    world.settle();
    world.observed.containers[0].state = ContainerState::Exited;
    world.settle();
    world.pod.metadata.deletion_timestamp = Some(kedge_api::Time(2_000));
    world.observed.containers.iter_mut().for_each(|container| container.state = ContainerState::Exited);
    world.progress.sandboxes_stopped.insert(world.observed.sandboxes[0].id.clone());
    world.observed.sandboxes[0].ready = false;
    let last = status(&world);
    assert_eq!(last["containerStatuses"][0]["restartCount"], 1);
    world.pod.status = serde_json::from_value(last.clone()).unwrap();
    world.observed.containers.remove(0);
    assert_eq!(status(&world), last);
}

/// `poststart-ok`: running means that the hook is through.
#[test]
fn a_container_that_is_being_started_shows_what_was() {
    let mut world = World::new(serde_json::json!({"containers": [{"name": "c"}]}));
    let before = status(&world);
    world.settle();
    world.pod.status = serde_json::from_value(before).unwrap();
    world.progress.container_mut("c").starting = true;
    let seen = status(&world);
    assert_eq!(seen["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(seen["phase"], "Pending");
}

/// `readiness-gate`, `sidecar-order`: what is not ready is listed.
#[test]
fn conditions_say_what_is_missing() {
    let mut world = World::new(
        serde_json::json!({"readinessGates": [{"conditionType": "x/gate"}], "containers": [{"name": "c"}]}),
    );
    world.settle();
    let seen = status(&world);
    let ready = condition(&seen, "Ready");
    assert_eq!(ready["reason"], "ReadinessGatesNotReady");
    assert_eq!(ready["message"], "corresponding condition of pod readiness gate \"x/gate\" does not exist.");
    assert_eq!(condition(&seen, "ContainersReady")["status"], "True");

    let world = World::new(
        serde_json::json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "m"}]}),
    );
    let seen = status(&world);
    assert_eq!(condition(&seen, "Initialized")["message"], "containers with incomplete status: [i s]");
    assert_eq!(condition(&seen, "Ready")["message"], "containers with unready status: [s m]");
    assert_eq!(seen["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
}

/// `sec-sysctl-unsafe`: a refused pod shows phase, reason and message alone.
#[test]
fn a_rejected_pod() {
    let mut world = World::new(serde_json::json!({"containers": [{"name": "c"}]}));
    world.progress.rejected = true;
    world.progress.ending = Some(crate::observed::Ending {
        reason: "NodeAffinity".into(),
        message: "Pod was rejected: x".into(),
    });
    let seen = status(&world);
    assert_eq!((&seen["phase"], &seen["reason"]), (&"Failed".into(), &"NodeAffinity".into()));
    assert_eq!(
        (&seen["conditions"], &seen["containerStatuses"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
}

#[test]
fn sums_of_resources() {
    let world = World::new(serde_json::json!({"containers": [
        {"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}}},
        {"name": "b", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "64Mi"}}}]}));
    let seen = status(&world);
    assert_eq!(seen["allocatedResources"], serde_json::json!({"cpu": "1100m", "memory": "32Mi"}));
    assert_eq!(seen["resources"]["limits"], serde_json::json!({"memory": "64Mi"}));
}
