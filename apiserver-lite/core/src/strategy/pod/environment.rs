//! Environment variables and the references that fill them.

use super::super::access::Read;
use super::super::field::{Path, ill_formed, invalid, not_supported, required};
use super::super::labels::validate_label_key;
use crate::status::Findings;
use kedge_api::{Quantity, names};
use serde_json::Value;

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const MORE_THAN_ONE: &str = "may not have more than one field specified at a time";

pub(super) fn validate_env(env: &[Value], path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, variable) in env.iter().enumerate() {
        let (at, name) = (path.index(index), variable.text("name"));
        match name {
            "" => findings.push(required(&at.child("name"), "")),
            _ => findings.extend(ill_formed(&at.child("name"), name, names::env_var_name(name))),
        }
        if variable.has("valueFrom") {
            findings.extend(validate_source(variable, &at.child("valueFrom")));
        }
    }
    findings
}

fn validate_source(variable: &Value, path: &Path) -> Findings {
    let source = &variable["valueFrom"];
    let mut findings = Findings::new();
    let mut count = 0;
    if source.has("fieldRef") {
        count += 1;
        findings.extend(validate_field_ref(&source["fieldRef"], &ENV_FIELDS, &path.child("fieldRef")));
    }
    if source.has("resourceFieldRef") {
        count += 1;
        findings.extend(validate_resource_ref(
            &source["resourceFieldRef"],
            false,
            &path.child("resourceFieldRef"),
        ));
    }
    for reference in ["configMapKeyRef", "secretKeyRef"] {
        if source.has(reference) {
            count += 1;
            findings.extend(validate_key_ref(&source[reference], &path.child(reference)));
        }
    }
    if source.has("fileKeyRef") {
        count += 1;
        findings.extend(validate_file_ref(&source["fileKeyRef"], &path.child("fileKeyRef")));
    }
    if count == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        findings.push(invalid(path, "", why));
    } else if !variable.text("value").is_empty() {
        findings.push(invalid(path, "", "may not be specified when `value` is not empty"));
    } else if count > 1 {
        findings.push(invalid(path, "", MORE_THAN_ONE));
    }
    findings
}

fn validate_key_ref(reference: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if reference.text("name").is_empty() {
        findings.push(required(&path.child("name"), ""));
    }
    match reference.text("key") {
        "" => findings.push(required(&path.child("key"), "")),
        key => findings.extend(ill_formed(&path.child("key"), key, names::config_map_key(key))),
    }
    findings
}

fn validate_file_ref(reference: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for field in ["key", "volumeName", "path"] {
        if reference.text(field).is_empty() {
            findings.push(required(&path.child(field), ""));
        }
    }
    findings
}

pub(super) fn validate_env_from(sources: &[Value], path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, source) in sources.iter().enumerate() {
        let at = path.index(index);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            findings.extend(ill_formed(&at.child("prefix"), prefix, names::env_var_name(prefix)));
        }
        let mut count = 0;
        for reference in ["configMapRef", "secretRef"].iter().filter(|reference| source.has(reference)) {
            count += 1;
            if source[*reference].text("name").is_empty() {
                findings.push(required(&at.child(reference).child("name"), ""));
            }
        }
        match count {
            0 => findings.push(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => findings.push(invalid(path, "", MORE_THAN_ONE)),
        }
    }
    findings
}

/// A field of the pod, for a variable or a file of the downward API.
fn validate_field_ref(reference: &Value, fields: &[&str], path: &Path) -> Findings {
    let (version, field) = (reference.text("apiVersion"), reference.text("fieldPath"));
    if version.is_empty() {
        return vec![required(&path.child("apiVersion"), "")];
    }
    if field.is_empty() {
        return vec![required(&path.child("fieldPath"), "")];
    }
    let at = path.child("fieldPath");
    if let Some((map, key)) = field.strip_suffix(']').and_then(|field| field.split_once("['")) {
        let key = key.strip_suffix('\'').unwrap_or(key);
        return match map {
            "metadata.annotations" => validate_label_key(&key.to_lowercase(), &at),
            "metadata.labels" => validate_label_key(key, &at),
            _ => vec![invalid(&at, field, "does not support subscript")],
        };
    }
    if !is_selectable(field) {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        return vec![invalid(&at, field, &why)];
    }
    if fields.contains(&field) { Findings::new() } else { vec![not_supported(&at, field, fields)] }
}

/// The fields that upstream's conversion of field labels knows.
fn is_selectable(field: &str) -> bool {
    ENV_FIELDS.contains(&field)
        || VOLUME_FIELDS.contains(&field)
        || matches!(
            field,
            "spec.restartPolicy"
                | "spec.schedulerName"
                | "spec.hostNetwork"
                | "status.phase"
                | "status.nominatedNodeName"
        )
}

pub(super) fn validate_downward_file(file: &Value, path: &Path) -> Findings {
    let mut findings = super::volumes::validate_relative_path(file.text("path"), &path.child("path"));
    if file.has("fieldRef") {
        findings.extend(validate_field_ref(&file["fieldRef"], &VOLUME_FIELDS, &path.child("fieldRef")));
        if file.has("resourceFieldRef") {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            findings.push(invalid(path, "resource", why));
        }
    } else if file.has("resourceFieldRef") {
        findings.extend(validate_resource_ref(
            &file["resourceFieldRef"],
            true,
            &path.child("resourceFieldRef"),
        ));
    } else {
        findings.push(required(path, "one of fieldRef and resourceFieldRef is required"));
    }
    findings.extend(super::volumes::validate_mode(file, "mode", path));
    findings
}

fn validate_resource_ref(reference: &Value, of_volume: bool, path: &Path) -> Findings {
    let resource = reference.text("resource");
    if of_volume && reference.text("containerName").is_empty() {
        return vec![required(&path.child("containerName"), "")];
    }
    if resource.is_empty() {
        return vec![required(&path.child("resource"), "")];
    }
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if !RESOURCE_FIELDS.contains(&resource) && !huge {
        return vec![not_supported(&path.child("resource"), resource, &RESOURCE_FIELDS)];
    }
    validate_divisor(resource, reference.text("divisor"), path)
}

fn validate_divisor(resource: &str, divisor: &str, path: &Path) -> Findings {
    let divisor: Quantity = divisor.parse().unwrap_or(Quantity::ZERO);
    if divisor.is_zero() {
        return Findings::new();
    }
    let name = resource.split_once('.').map_or(resource, |(_, name)| name);
    let (units, shown): (&[&str], &str) = match name {
        "cpu" => (&["1m", "1"], "only divisor's values 1m and 1 are supported with the cpu resource"),
        _ => (
            &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"],
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the",
        ),
    };
    if units.iter().any(|unit| unit.parse() == Ok(divisor)) {
        return Findings::new();
    }
    let why = if name == "cpu" { shown.to_owned() } else { format!("{shown} {} resource", family(name)) };
    vec![invalid(&path.child("divisor"), resource, &why)]
}

fn family(name: &str) -> &str {
    match name {
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        _ => "hugepages",
    }
}
