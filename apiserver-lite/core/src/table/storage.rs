//! Volumes, their classes and drivers, and claimed devices.

use super::cells::{Row, join, or, scalar};
use serde_json::Value;

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub fn volume(row: &Row<'_>) -> Vec<Value> {
    let claim = match row.at("spec/claimRef") {
        Value::Null => String::new(),
        claim => format!("{}/{}", scalar(&claim["namespace"], ""), scalar(&claim["name"], "")),
    };
    vec![
        row.name(),
        scalar(row.at("spec/capacity/storage"), "0").into(),
        access_modes(row, "spec/accessModes").into(),
        row.text("spec/persistentVolumeReclaimPolicy").into(),
        phase(row).into(),
        claim.into(),
        class_name(row).into(),
        or(row.text("spec/volumeAttributesClassName"), "<unset>").into(),
        row.text("status/reason").into(),
        row.age(),
        or(row.text("spec/volumeMode"), "<unset>").into(),
    ]
}

pub fn claim(row: &Row<'_>) -> Vec<Value> {
    let bound = !row.text("spec/volumeName").is_empty();
    let of_volume = |text: String| if bound { text } else { String::new() };
    vec![
        row.name(),
        phase(row).into(),
        row.text("spec/volumeName").into(),
        of_volume(scalar(row.at("status/capacity/storage"), "0")).into(),
        of_volume(access_modes(row, "status/accessModes")).into(),
        class_name(row).into(),
        or(row.text("spec/volumeAttributesClassName"), "<unset>").into(),
        row.age(),
        or(row.text("spec/volumeMode"), "<unset>").into(),
    ]
}

fn phase<'a>(row: &'a Row<'_>) -> &'a str {
    if row.is_deleted() { "Terminating" } else { row.text("status/phase") }
}

fn class_name(row: &Row<'_>) -> String {
    match row.at("metadata/annotations")[CLASS_ANNOTATION].as_str() {
        Some(class) => class.to_owned(),
        None => row.text("spec/storageClassName").to_owned(),
    }
}

/// The modes by their short names, in upstream's order.
fn access_modes(row: &Row<'_>, path: &str) -> String {
    let has = |mode: &str| row.list(path).iter().any(|m| m == mode);
    let modes = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    join(modes.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| short), ",")
}

pub fn class(row: &Row<'_>) -> Vec<Value> {
    let annotations = row.at("metadata/annotations");
    let default = DEFAULT_ANNOTATIONS.iter().any(|key| annotations[key] == "true");
    let name = format!("{}{}", row.text("metadata/name"), if default { " (default)" } else { "" });
    vec![
        name.into(),
        row.text("provisioner").into(),
        or(row.text("reclaimPolicy"), "Delete").into(),
        or(row.text("volumeBindingMode"), "Immediate").into(),
        flag(row, "allowVolumeExpansion", false),
        row.age(),
    ]
}

fn flag(row: &Row<'_>, path: &str, default: bool) -> Value {
    row.at(path).as_bool().unwrap_or(default).into()
}

pub fn attachment(row: &Row<'_>) -> Vec<Value> {
    vec![
        row.name(),
        row.text("spec/attacher").into(),
        row.text("spec/source/persistentVolumeName").into(),
        row.text("spec/nodeName").into(),
        flag(row, "status/attached", false),
        row.age(),
    ]
}

pub fn attributes_class(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.text("driverName").into(), row.age()]
}

pub fn driver(row: &Row<'_>) -> Vec<Value> {
    let requests = match row.at("spec/tokenRequests").as_array() {
        None => "<unset>".to_owned(),
        Some(requests) => join(requests.iter().map(|r| r["audience"].as_str().unwrap_or_default()), ","),
    };
    let modes = join(row.list("spec/volumeLifecycleModes").iter().filter_map(Value::as_str), ",");
    vec![
        row.name(),
        flag(row, "spec/attachRequired", true),
        flag(row, "spec/podInfoOnMount", false),
        flag(row, "spec/storageCapacity", false),
        requests.into(),
        flag(row, "spec/requiresRepublish", false),
        or(&modes, "<none>").into(),
        row.age(),
    ]
}

pub fn csi_node(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.list("spec/drivers").len().into(), row.age()]
}

pub fn resource_claim(row: &Row<'_>) -> Vec<Value> {
    let allocated = !row.at("status/allocation").is_null();
    let reserved = allocated && !row.list("status/reservedFor").is_empty();
    let states = [
        (row.is_deleted(), "deleted"),
        (!allocated && !row.is_deleted(), "pending"),
        (allocated, "allocated"),
        (reserved, "reserved"),
    ];
    let state = join(states.iter().filter(|(holds, _)| *holds).map(|(_, word)| word), ",");
    vec![row.name(), state.into(), row.age()]
}

pub fn resource_slice(row: &Row<'_>) -> Vec<Value> {
    vec![
        row.name(),
        row.text("spec/nodeName").into(),
        row.text("spec/driver").into(),
        row.text("spec/pool/name").into(),
        row.age(),
    ]
}
