//! Namespaces, Nodes and Leases: the kinds that the cluster itself is made of.

use super::access::{Fill, Read};
use super::field::{Path, duplicate_struct, forbidden, ill_formed, invalid, not_negative, one_of, positive};
use super::networking::validate_cidr;
use super::pod::{validate_resource_name, validate_value};
use super::usual::{Usual, keep_all_but_status};
use super::{Part, Strategy};
use crate::status::Findings;
use kedge_api::names;
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
        object.child("metadata").drop_field("namespace");
        label_with_name(object);
        object["status"] = json!({"phase": "Active"});
        let spec = object.child("spec");
        if !spec.texts("finalizers").any(|finalizer| finalizer == "kubernetes") {
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

    fn validate_create(&self, object: &Value) -> Findings {
        let mut findings = validate_finalizers(object);
        findings.extend(validate_pod_security(object));
        findings
    }

    fn validate_update(&self, object: &Value, _old: &Value, part: Part<'_>) -> Findings {
        match part {
            Part::Subresource("finalize") => validate_finalizers(object),
            Part::Main => validate_pod_security(object),
            Part::Status | Part::Subresource(_) => Findings::new(),
        }
    }
}

fn label_with_name(object: &mut Value) {
    let name = object["metadata"].text("name").to_owned();
    if !name.is_empty() {
        object.child("metadata").child("labels")["kubernetes.io/metadata.name"] = name.into();
    }
}

/// The labels that pod security reads.
fn validate_pod_security(namespace: &Value) -> Findings {
    let mut findings = Findings::new();
    let path = Path::new("metadata").child("labels");
    for mode in ["enforce", "audit", "warn"] {
        let level = format!("pod-security.kubernetes.io/{mode}");
        let version = format!("{level}-version");
        let labels = &namespace["metadata"]["labels"];
        let known = ["privileged", "baseline", "restricted"];
        if let Some(text) = labels[&level].as_str().filter(|text| !known.contains(text)) {
            let why = format!("must be one of {}", known.join(", "));
            findings.push(invalid(&path.key(&level), text, &why));
        }
        let is_version = |text: &str| {
            text == "latest" || text.strip_prefix("v1.").is_some_and(|minor| minor.parse::<u16>().is_ok())
        };
        if let Some(text) = labels[&version].as_str().filter(|text| !is_version(text)) {
            findings.push(invalid(&path.key(&version), text, "must be \"latest\" or \"v1.x\""));
        }
    }
    findings
}

fn validate_finalizers(namespace: &Value) -> Findings {
    let path = Path::new("spec").child("finalizers");
    let mut findings = Findings::new();
    for name in namespace["spec"].texts("finalizers") {
        let wrong = names::qualified_name(name);
        if wrong.is_empty()
            && !name.contains('/')
            && !["kubernetes", "orphan", "foregroundDeletion"].contains(&name)
        {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            findings.push(invalid(&path, name, why));
        }
        findings.extend(ill_formed(&path, name, wrong));
    }
    findings
}

/// A node's status may come with its creation, but not with an update of its spec.
pub(super) struct Node;

impl Strategy for Node {
    fn default(&self, object: &mut Value) {
        default_node(object);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, part: Part<'_>) {
        match part {
            Part::Main => object.take_from(old, "status"),
            Part::Status => keep_all_but_status(object, old),
            Part::Subresource(_) => {}
        }
    }

    fn validate_create(&self, object: &Value) -> Findings {
        validate_node(object)
    }

    fn validate_update(&self, object: &Value, old: &Value, part: Part<'_>) -> Findings {
        match part {
            Part::Main => validate_node_update(object, old),
            Part::Status | Part::Subresource(_) => Findings::new(),
        }
    }
}

fn validate_node(object: &Value) -> Findings {
    let spec = &object["spec"];
    let mut findings = validate_taints(spec.list("taints"), &Path::new("metadata").child("taints"));
    for (list, path) in [("capacity", "status.capacity"), ("allocatable", "status.allocatable")] {
        for (name, amount) in object["status"].entries(list) {
            let at = Path::new(path).key(name);
            findings.extend(validate_resource_name(name, &at));
            if let Ok(amount) = amount.as_str().unwrap_or_default().parse() {
                findings.extend(validate_value(name, amount, &at));
            }
        }
    }
    let at = Path::new("spec").child("podCIDRs");
    let ranges: Vec<&str> = spec.texts("podCIDRs").collect();
    for (index, range) in ranges.iter().enumerate() {
        findings.extend(validate_cidr(range, &at.index(index)));
    }
    if ranges.len() == 2 && ranges[0].contains(':') == ranges[1].contains(':') {
        let why = "may specify no more than one CIDR for each IP family";
        findings.push(invalid(&at, spec["podCIDRs"].clone(), why));
    }
    findings
}

fn validate_taints(taints: &[Value], path: &Path) -> Findings {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let mut findings = Findings::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in taints.iter().enumerate() {
        let (at, key) = (path.index(index), taint.text("key"));
        let (value, effect) = (taint.text("value"), taint.text("effect"));
        findings.extend(ill_formed(&at.child("key"), key, names::qualified_name(key)));
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            findings.push(invalid(&at.child("value"), value, &wrong.join(";")));
        }
        findings.extend(one_of(&at.child("effect"), effect, &EFFECTS));
        if seen.contains(&(key, effect)) {
            let shown = [
                ("Key", key.into()),
                ("Value", value.into()),
                ("Effect", effect.into()),
                ("TimeAdded", taint["timeAdded"].clone()),
            ];
            findings.push(duplicate_struct(&at, &shown, "taints must be unique by key and effect pair"));
        }
        seen.push((key, effect));
    }
    findings
}

fn validate_node_update(object: &Value, old: &Value) -> Findings {
    let (spec, before, path) = (&object["spec"], &old["spec"], Path::new("spec"));
    let mut findings = validate_node(object);
    if !before.lacks("podCIDRs") && spec["podCIDRs"] != before["podCIDRs"] {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        findings.push(forbidden(&path.child("podCIDRs"), why));
    }
    if !before.text("providerID").is_empty() && spec["providerID"] != before["providerID"] {
        let why = "node updates may not change providerID except from \"\" to valid";
        findings.push(forbidden(&path.child("providerID"), why));
    }
    findings
}

pub(super) static LEASE: Usual = Usual {
    default: |object| {
        object.child("spec");
    },
    on_create: drop_coordination,
    on_update: |object, _| drop_coordination(object),
    validate: validate_lease,
    validate_update: |object, _| validate_lease(object),
    create_on_update: true,
    unconditional_update: false,
    ..Usual::PLAIN
};

/// Coordinated leader election is a feature that is off.
fn drop_coordination(lease: &mut Value) {
    for field in ["strategy", "preferredHolder"] {
        lease.child("spec").drop_field(field);
    }
}

fn validate_lease(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = Findings::new();
    if let Some(seconds) = spec.number("leaseDurationSeconds") {
        findings.extend(positive(&path.child("leaseDurationSeconds"), seconds));
    }
    if let Some(transitions) = spec.number("leaseTransitions") {
        findings.extend(not_negative(&path.child("leaseTransitions"), transitions));
    }
    findings
}

fn default_node(object: &mut Value) {
    let spec = object.child("spec");
    // The singular form is the first of the plural, whichever of them is written.
    let single = spec.text("podCIDR").to_owned();
    if !single.is_empty() && spec.lacks("podCIDRs") {
        spec["podCIDRs"] = json!([single]);
    } else if single.is_empty() && !spec.lacks("podCIDRs") {
        spec["podCIDR"] = spec["podCIDRs"][0].clone();
    }
    let status = object.child("status");
    status.canonical_resources("capacity");
    status.canonical_resources("allocatable");
    if !status.has("allocatable") && status.has("capacity") {
        status["allocatable"] = status["capacity"].clone();
    }
    status.child("daemonEndpoints").child("kubeletEndpoint").fill("Port", 0);
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
