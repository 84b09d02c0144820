//! Pods: what is filled in, what a create and each kind of update may carry, and what is wrong with one.

mod defaults;
mod resources;

use super::access::{Fill, Read};
use super::usual::{keep_generation, start_generation};
use super::{Part, Strategy};
use serde_json::{Value, json};

pub(super) use defaults::{default_template, default_volume_source};

pub(super) struct Pod;

impl Strategy for Pod {
    fn default(&self, pod: &mut Value) {
        defaults::default_pod(pod);
        pod.child("status");
    }

    fn prepare_for_create(&self, pod: &mut Value) {
        start_generation(pod);
        drop_disabled_fields(pod.child("spec"));
        let mut status = json!({"phase": "Pending", "qosClass": resources::qos_class(&pod["spec"])});
        if !pod["spec"].lacks("schedulingGates") {
            status["conditions"] = json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null,
                "lastTransitionTime": pod["metadata"]["creationTimestamp"],
            }]);
        }
        pod["status"] = status;
    }

    fn prepare_for_update(&self, pod: &mut Value, old: &Value, part: Part<'_>) {
        keep_generation(pod, old);
        match part {
            Part::Main => pod.take_from(old, "status"),
            Part::Status => {
                pod.take_from(old, "spec");
                pod.child("metadata")
                    .take_from(&old["metadata"], "ownerReferences");
                keep_qos_class(pod, old);
            }
            Part::Subresource("ephemeralcontainers") => keep_all_but(pod, old, &["ephemeralContainers"]),
            Part::Subresource(_) => {}
        }
        if pod["spec"] != old["spec"] {
            let generation = old["metadata"].number("generation").unwrap_or_default() + 1;
            pod.child("metadata")["generation"] = generation.into();
        }
    }

    /// A DELETE without a period takes the pod's own.
    fn default_grace_s(&self, pod: &Value) -> i64 {
        pod["spec"].number("terminationGracePeriodSeconds").unwrap_or(30)
    }
}

/// Fields behind feature gates that are off by default in 1.36.
fn drop_disabled_fields(spec: &mut Value) {
    spec.each("volumes", |volume| {
        volume.with("projected", |projected| {
            projected.each("sources", |source| source.drop_field("clusterTrustBundle"));
        })
    });
}

/// The class is computed once; writers that do not know it leave it out.
fn keep_qos_class(pod: &mut Value, old: &Value) {
    if pod["status"].text("qosClass").is_empty() {
        pod.child("status").take_from(&old["status"], "qosClass");
    }
}

/// Only these fields of the spec come from the request.
fn keep_all_but(pod: &mut Value, old: &Value, fields: &[&str]) {
    let asked = pod["spec"].clone();
    let given = std::mem::replace(pod, old.clone());
    for field in fields {
        pod.child("spec").take_from(&asked, field);
    }
    pod.child("metadata")
        .take_from(&given["metadata"], "resourceVersion");
    pod.child("metadata")
        .take_from(&given["metadata"], "managedFields");
}
