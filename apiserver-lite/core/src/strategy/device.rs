//! The kinds of `resource.k8s.io`: devices and claims on them.

use super::access::{Fill, Read};
use super::field::{Path, duplicate, ill_formed, immutable, invalid, required};
use super::usual::{ALL_METADATA, Usual};
use crate::status::Findings;
use kedge_api::names;
use serde_json::{Value, json};

pub(super) static RESOURCE_CLAIM: Usual = Usual {
    status_keeps: ALL_METADATA,
    default: |object| {
        default_claim(object.child("spec"));
        object.child("status");
    },
    status: Some(|_| json!({})),
    validate: |object| validate_claim(&object["spec"], &Path::new("spec")),
    validate_update: |object, old| immutable(&Path::new("spec"), &object["spec"], &old["spec"]),
    ..Usual::PLAIN
};

pub(super) static RESOURCE_CLAIM_TEMPLATE: Usual = Usual {
    default: |object| {
        let template = object.child("spec");
        template.child("metadata");
        default_claim(template.child("spec"));
    },
    validate: |object| validate_claim(&object["spec"]["spec"], &Path::new("spec.spec")),
    validate_update: |object, old| immutable(&Path::new("spec"), &object["spec"], &old["spec"]),
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
    validate: validate_slice,
    validate_update: |object, _| validate_slice(object),
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
    request.each("tolerations", |toleration| toleration.fill_text("operator", "Equal"));
}

fn positive(number: i64, path: &Path) -> Findings {
    if number > 0 { Findings::new() } else { vec![invalid(path, number, "must be greater than zero")] }
}

fn validate_claim(spec: &Value, path: &Path) -> Findings {
    let devices = &spec["devices"];
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, request) in devices.list("requests").iter().enumerate() {
        let (at, name) = (path.child("devices.requests").index(index), request.text("name"));
        findings.extend(ill_formed(&at.child("name"), name, names::dns_label(name)));
        if request.has("exactly") {
            findings.extend(validate_request(&request["exactly"], &at.child("exactly")));
        }
        for (index, option) in request.list("firstAvailable").iter().enumerate() {
            findings.extend(validate_request(option, &at.child("firstAvailable").index(index)));
        }
        if seen.contains(&name) {
            findings.push(duplicate(&at, name));
        }
        seen.push(name);
    }
    for (index, constraint) in devices.list("constraints").iter().enumerate() {
        let at = path.child("devices.constraints").index(index).child("matchAttribute");
        let attribute = constraint.text("matchAttribute");
        if constraint.has("matchAttribute") && !attribute.contains('/') {
            let why = "a fully qualified name must be a domain and a name separated by a slash";
            findings.push(invalid(&at, attribute, why));
        }
    }
    findings
}

fn validate_request(request: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let (at, class) = (path.child("deviceClassName"), request.text("deviceClassName"));
    match class {
        "" => findings.push(required(&at, "")),
        _ => findings.extend(ill_formed(&at, class, names::dns_subdomain(class))),
    }
    if request.text("allocationMode") == "ExactCount" {
        findings.extend(positive(request.number("count").unwrap_or_default(), &path.child("count")));
    }
    findings
}

/// The fields that say where the devices of a slice are: exactly one of them.
const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

fn validate_slice(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let driver = spec.text("driver");
    let mut findings = match driver {
        "" => vec![required(&path.child("driver"), "")],
        _ => ill_formed(&path.child("driver"), driver, names::dns_subdomain(driver)),
    };
    let (pool, at) = (&spec["pool"], path.child("pool"));
    if pool.text("name").is_empty() {
        findings.push(required(&at.child("name"), ""));
    }
    let slices = pool.number("resourceSliceCount").unwrap_or_default();
    findings.extend(positive(slices, &at.child("resourceSliceCount")));
    let given: Vec<String> =
        PLACES.iter().filter(|place| is_given(&spec[**place])).map(|place| format!("`{place}`")).collect();
    let all: Vec<String> = PLACES.iter().map(|place| format!("`{place}`")).collect();
    let need = format!("exactly one of {} is required", all.join(", "));
    match given.len() {
        0 => findings.push(required(&path, &need)),
        1 => {}
        _ => {
            let why = format!("{need}, but multiple fields are set");
            findings.push(invalid(&path, format!("{{{}}}", given.join(", ")), &why));
        }
    }
    findings
}

fn is_given(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => !text.is_empty(),
        other => !other.is_null(),
    }
}
