//! Pods: what is filled in, what a create and each kind of update may carry, and what is wrong with one.

mod containers;
mod defaults;
mod environment;
mod mounts;
mod probes;
mod resource_rules;
mod resources;
mod scheduling;
mod security;
mod update;
mod validation;
mod volumes;

use super::access::{Fill, Read};
use super::usual::{keep_generation, start_generation};
use super::{Part, Strategy, warnings};
use crate::status::Findings;
use serde_json::{Value, json};

pub(super) use containers::validate_port_number;
pub(super) use defaults::{default_template, default_volume_source};
pub(super) use probes::validate_port;
pub(super) use resource_rules::{validate_name as validate_resource_name, validate_overhead, validate_value};
pub(super) use scheduling::{validate_node_selector, validate_tolerations};
pub(super) use validation::{validate_ip, validate_template};
pub(super) use volumes::{validate_driver_name, validate_source};

pub(super) struct Pod;

impl Strategy for Pod {
    fn default(&self, pod: &mut Value) {
        defaults::default_pod(pod);
        pod.child("status");
    }

    fn prepare_for_create(&self, pod: &mut Value) {
        start_generation(pod);
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
                pod.child("metadata").take_from(&old["metadata"], "ownerReferences");
                keep_qos_class(pod, old);
            }
            Part::Subresource("ephemeralcontainers") => keep_all_but(pod, old, &["ephemeralContainers"]),
            Part::Subresource("resize") => keep_all_but_resources(pod, old),
            Part::Subresource(_) => {}
        }
        if pod["spec"] != old["spec"] {
            let generation = old["metadata"].number("generation").unwrap_or_default() + 1;
            pod.child("metadata")["generation"] = generation.into();
        }
    }

    fn validate_create(&self, pod: &Value) -> Findings {
        validation::validate_create(pod)
    }

    fn validate_update(&self, pod: &Value, old: &Value, part: Part<'_>) -> Findings {
        match part {
            Part::Main => update::validate_main(pod, old),
            Part::Status => update::validate_status(pod, old),
            Part::Subresource("ephemeralcontainers") => update::validate_ephemeral_containers(pod, old),
            Part::Subresource("resize") => update::validate_resize(pod, old),
            Part::Subresource(_) => Findings::new(),
        }
    }

    fn warnings(&self, pod: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::of_pod(pod)
    }

    /// A DELETE without a period takes the pod's own.
    fn default_grace_s(&self, pod: &Value) -> i64 {
        pod["spec"].number("terminationGracePeriodSeconds").unwrap_or(30)
    }
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
    pod.child("metadata").take_from(&given["metadata"], "resourceVersion");
    pod.child("metadata").take_from(&given["metadata"], "managedFields");
}

/// A resize brings amounts for the containers that are there, and nothing else.
fn keep_all_but_resources(pod: &mut Value, old: &Value) {
    let asked = pod["spec"].clone();
    keep_all_but(pod, old, &[]);
    for list in ["initContainers", "containers"] {
        if asked.list(list).len() != old["spec"].list(list).len() {
            // Validation refuses the change with the containers as they were asked for.
            pod.child("spec").take_from(&asked, list);
            continue;
        }
        let mut asked = asked.list(list).iter();
        pod.child("spec").each(list, |container| {
            if let Some(asked) = asked.next() {
                for field in ["resources", "resizePolicy", "name"] {
                    container.take_from(asked, field);
                }
            }
        });
    }
}
