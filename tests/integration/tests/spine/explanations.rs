//! What a user reads when looking into things that work, and into those that do not.

use crate::manifests;
use kedge_integration::lab::{Lab, NODE, NODE_IP};
use kedge_integration::run::contains;
use kedge_integration::wait::eventually;
use std::time::Duration;

pub fn describe(lab: &Lab) {
    contains(
        &lab.kubectl(&format!("describe node {NODE}")).ok(),
        &[&format!("InternalIP: {NODE_IP}"), "Ready True", "PodCIDR: 10.244.0.0/24", "NodeReady"],
    );
    contains(
        &lab.kubectl("describe deployment hello").ok(),
        &["Replicas: 2 desired | 2 updated | 2 total | 2 available", "Available True", "ScalingReplicaSet"],
    );
    contains(
        &lab.kubectl("describe service hello").ok(),
        &["Type: NodePort", "NodePort: http 30080/TCP", "TargetPort: http/TCP", ":8080"],
    );
    contains(
        &lab.kubectl("describe pod -l app=hello").ok(),
        &["Status: Running", "Image: kedge.local/hello:1", "Ready True", "Scheduled", "Started"],
    );
}

pub fn unschedulable(lab: &Lab) {
    lab.apply(manifests::GIANT).ok();
    lab.kubectl("wait pod/giant --for=condition=PodScheduled=False --timeout=20s").ok();
    contains(&lab.kubectl("describe pod giant").ok(), &["Insufficient cpu"]);
    contains(
        &lab.kedge("why pod giant").ok(),
        &["0/1 nodes are available", "NodeResourcesFit no: Insufficient cpu"],
    );
    lab.remove_pod("giant");
}

pub fn missing_image(lab: &Lab) {
    lab.apply(manifests::MISSING).ok();
    let reason = eventually("the pull has failed", Duration::from_secs(30), || {
        let reason = lab.field("pod/missing", ".status.containerStatuses[0].state.waiting.reason");
        (!["", "ContainerCreating"].contains(&reason.as_str())).then_some(reason)
    });
    assert!(["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str()), "{reason}");
    contains(
        &lab.kubectl("describe pod missing").ok(),
        &["Failed to pull image \"kedge.local/no-such-image:1\""],
    );
    lab.remove_pod("missing");
}

pub fn sick(lab: &Lab) {
    lab.apply(manifests::SICK).ok();
    eventually("the container is restarted", Duration::from_secs(20), || {
        let count = lab.field("pod/sick", ".status.containerStatuses[0].restartCount");
        count.parse().is_ok_and(|count: u32| count > 0).then_some(())
    });
    contains(
        &lab.kubectl("describe pod sick").ok(),
        &["Liveness probe failed", "Container c failed liveness probe, will be restarted"],
    );
    lab.remove_pod("sick");
}

pub fn invalid(lab: &Lab) {
    contains(
        &lab.apply(manifests::INVALID).fails_with(1),
        &[
            "The Pod \"Bad_Name\" is invalid",
            "* metadata.name: Invalid value: \"Bad_Name\"",
            "* spec.containers[0].image: Required value",
            "* spec.containers[0].ports[0].containerPort: Invalid value: 99999",
            "* spec.restartPolicy: Unsupported value: \"Perhaps\"",
        ],
    );
    contains(&lab.kubectl("get pod Bad_Name").fails_with(1), &["NotFound"]);
}
