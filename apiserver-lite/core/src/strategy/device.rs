//! The kinds of `resource.k8s.io`: devices and claims on them.

use super::access::{Fill, Read};
use super::usual::Usual;
use serde_json::{Value, json};

pub(super) static RESOURCE_CLAIM: Usual = Usual {
    default: |object| {
        default_claim(object.child("spec"));
        object.child("status");
    },
    status: Some(|_| json!({})),
    ..Usual::PLAIN
};

pub(super) static RESOURCE_CLAIM_TEMPLATE: Usual = Usual {
    default: |object| {
        let template = object.child("spec");
        template.child("metadata");
        default_claim(template.child("spec"));
    },
    ..Usual::PLAIN
};

pub(super) static RESOURCE_SLICE: Usual = Usual {
    on_create: |object| {
        let created = object["metadata"]["creationTimestamp"].clone();
        object.child("spec").each("devices", |device| {
            device.each("taints", |taint| taint.fill("timeAdded", created.clone()));
        });
    },
    generation: &["spec"],
    ..Usual::PLAIN
};

pub(super) static DEVICE_CLASS: Usual = Usual {
    default: |object| {
        object.child("spec");
    },
    generation: &["spec"],
    ..Usual::PLAIN
};

fn default_claim(spec: &mut Value) {
    spec.child("devices").each("requests", |request| {
        request.with("exactly", default_request);
        request.each("firstAvailable", default_request);
    });
}

fn default_request(request: &mut Value) {
    request.fill_text("allocationMode", "ExactCount");
    if request.text("allocationMode") == "ExactCount" {
        request.fill_number("count", 1);
    }
    request.each("tolerations", |toleration| {
        toleration.fill_text("operator", "Equal")
    });
}
