//! Where volumes and block devices appear inside a container.

use super::super::access::Read;
use super::super::field::{Path, forbidden, invalid, not_found, not_supported, required};
use super::validation::Context;
use super::volumes::validate_no_backsteps;
use crate::status::Findings;
use serde_json::Value;

pub(super) fn validate(container: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = validate_mounts(container, context, &path.child("volumeMounts"));
    findings.extend(validate_devices(container, context, &path.child("volumeDevices")));
    findings
}

fn find<'a>(context: &Context<'a>, name: &str) -> Option<&'a Value> {
    context.volumes.iter().copied().find(|volume| volume.text("name") == name)
}

fn validate_mounts(container: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let devices = container.list("volumeDevices");
    let mut points: Vec<&str> = Vec::new();
    for (index, mount) in container.list("volumeMounts").iter().enumerate() {
        let at = path.index(index);
        let (name, point) = (mount.text("name"), mount.text("mountPath"));
        if name.is_empty() {
            findings.push(required(&at.child("name"), ""));
        }
        if find(context, name).is_none() {
            findings.push(not_found(&at.child("name"), name));
        }
        if point.is_empty() {
            findings.push(required(&at.child("mountPath"), ""));
        }
        if points.contains(&point) {
            findings.push(invalid(&at.child("mountPath"), point, "must be unique"));
        }
        points.push(point);
        if devices.iter().any(|device| device.text("name") == name) {
            findings.push(invalid(&at.child("name"), name, "must not already exist in volumeDevices"));
        }
        if devices.iter().any(|device| device.text("devicePath") == point) {
            let why = "must not already exist as a path in volumeDevices";
            findings.push(invalid(&at.child("mountPath"), point, why));
        }
        findings.extend(validate_sub_paths(mount, path, &at));
        findings.extend(validate_propagation(mount, container, &path.child("mountPropagation")));
        findings.extend(validate_recursive_read_only(mount, &path.child("recursiveReadOnly")));
    }
    findings
}

/// Upstream reports some of these at the list instead of the item; so do we.
fn validate_sub_paths(mount: &Value, list: &Path, item: &Path) -> Findings {
    let mut findings = Findings::new();
    let (sub, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    if !sub.is_empty() {
        findings.extend(validate_descending(sub, &list.child("subPath")));
    }
    if !expression.is_empty() {
        if !sub.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            findings.push(invalid(&item.child("subPathExpr"), expression, why));
        }
        findings.extend(validate_descending(expression, &list.child("subPathExpr")));
    }
    findings
}

/// A relative path that never steps up.
pub(super) fn validate_descending(target: &str, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if target.starts_with('/') {
        findings.push(invalid(path, target, "must be a relative path"));
    }
    findings.extend(validate_no_backsteps(target, path));
    findings
}

fn validate_propagation(mount: &Value, container: &Value, path: &Path) -> Findings {
    const MODES: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
    let mut findings = Findings::new();
    if !mount.has("mountPropagation") {
        return findings;
    }
    let mode = mount.text("mountPropagation");
    if !MODES.contains(&mode) {
        findings.push(not_supported(path, mode, &MODES));
    }
    if mode == "Bidirectional" && !container["securityContext"].flag("privileged") {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        findings.push(forbidden(path, why));
    }
    findings
}

fn validate_recursive_read_only(mount: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if !mount.has("recursiveReadOnly") {
        return findings;
    }
    match mount.text("recursiveReadOnly") {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.flag("readOnly") {
                findings.push(forbidden(path, "may only be specified when readOnly is true"));
            }
            if !["", "None"].contains(&mount.text("mountPropagation")) {
                let why = "may only be specified when mountPropagation is None or not specified";
                findings.push(forbidden(path, why));
            }
        }
        other => findings.push(not_supported(path, other, &["Disabled", "Enabled", "IfPossible"])),
    }
    findings
}

fn validate_devices(container: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mounts = container.list("volumeMounts");
    let (mut names_seen, mut paths_seen): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (index, device) in container.list("volumeDevices").iter().enumerate() {
        let at = path.index(index);
        let (name, device_path) = (device.text("name"), device.text("devicePath"));
        if name.is_empty() {
            findings.push(required(&at.child("name"), ""));
        }
        if names_seen.contains(&name) {
            findings.push(invalid(&at.child("name"), name, "must be unique"));
        }
        match find(context, name) {
            None => findings.push(not_found(&at.child("name"), name)),
            Some(volume) if volume.has("persistentVolumeClaim") || volume.has("ephemeral") => {}
            Some(_) => {
                let why =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                findings.push(invalid(&at.child("name"), name, why));
            }
        }
        if device_path.is_empty() {
            findings.push(required(&at.child("devicePath"), ""));
        }
        if paths_seen.contains(&device_path) {
            findings.push(invalid(&at.child("devicePath"), device_path, "must be unique"));
        }
        if validate_no_backsteps(device_path, &at).is_empty() {
            paths_seen.push(device_path);
        } else {
            findings.push(invalid(&at.child("devicePath"), device_path, "can not contain backsteps ('..')"));
        }
        if mounts.iter().any(|mount| mount.text("name") == name) {
            findings.push(invalid(&at.child("name"), name, "must not already exist in volumeMounts"));
        }
        if mounts.iter().any(|mount| mount.text("mountPath") == device_path) {
            let why = "must not already exist as a path in volumeMounts";
            findings.push(invalid(&at.child("devicePath"), device_path, why));
        }
        names_seen.push(name);
    }
    findings
}
