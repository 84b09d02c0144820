//! Namespaces, Nodes and Leases: the kinds that the cluster itself is made of.

use super::access::{Fill, Read};
use super::usual::{Usual, keep_all_but_status};
use super::{Part, Strategy};
use crate::status::Findings;
use serde_json::{Value, json};

pub(super) struct Namespace;

impl Strategy for Namespace {
    fn default(&self, object: &mut Value) {
        label_with_name(object);
        object.child("spec");
        object.child("status").fill_text("phase", "Active");
    }

    fn prepare_for_create(&self, object: &mut Value) {
        // A generated name was not there yet when the defaults were filled in.
        label_with_name(object);
        object["status"] = json!({"phase": "Active"});
        let spec = object.child("spec");
        if !spec
            .texts("finalizers")
            .any(|finalizer| finalizer == "kubernetes")
        {
            spec.fill("finalizers", json!([]));
            if let Some(list) = spec["finalizers"].as_array_mut() {
                list.push("kubernetes".into());
            }
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, part: Part<'_>) {
        match part {
            Part::Main => {
                object.child("spec").take_from(&old["spec"], "finalizers");
                object.take_from(old, "status");
            }
            Part::Status => keep_all_but_status(object, old),
            Part::Subresource("finalize") => object.take_from(old, "status"),
            Part::Subresource(_) => {}
        }
    }

    fn validate_create(&self, _object: &Value) -> Findings {
        Findings::new()
    }
}

fn label_with_name(object: &mut Value) {
    let name = object["metadata"].text("name").to_owned();
    if !name.is_empty() {
        object.child("metadata").child("labels")["kubernetes.io/metadata.name"] = name.into();
    }
}

pub(super) static NODE: Usual = Usual {
    default: default_node,
    ..Usual::PLAIN
};

pub(super) static LEASE: Usual = Usual {
    default: |object| {
        object.child("spec");
    },
    create_on_update: true,
    unconditional_update: false,
    ..Usual::PLAIN
};

/// A node's status may come with its creation: kubelets register so.
fn default_node(object: &mut Value) {
    object.child("spec");
    let status = object.child("status");
    status.canonical_resources("capacity");
    status.canonical_resources("allocatable");
    if !status.has("allocatable") && status.has("capacity") {
        status["allocatable"] = status["capacity"].clone();
    }
    status
        .child("daemonEndpoints")
        .child("kubeletEndpoint")
        .fill("Port", 0);
    let info = status.child("nodeInfo");
    for field in [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ] {
        info.fill(field, "");
    }
}
