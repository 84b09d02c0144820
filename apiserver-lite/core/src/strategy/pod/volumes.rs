//! Volumes: exactly one source each, and what each source asks for.

use super::super::access::Read;
use super::super::field::{Path, duplicate, forbidden, ill_formed, invalid, not_supported, one_of, required};
use super::super::storage_rules::validate_claim_spec;
use super::environment::validate_downward_file;
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

/// The sources of a pod's volume with the name that upstream gives a second one in its refusal.
const SOURCES: [(&str, &str); 30] = [
    ("emptyDir", "emptyDir"),
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Gathers what is wrong and gives back the volumes that are right: mounts may refer to those alone.
pub(super) fn validate<'a>(spec: &'a Value, path: &Path, findings: &mut Findings) -> Vec<&'a Value> {
    let mut right: Vec<&Value> = Vec::new();
    for (index, volume) in spec.list("volumes").iter().enumerate() {
        let (at, name) = (path.index(index), volume.text("name"));
        let mut wrong = validate_sources(volume, &at);
        match name {
            "" => wrong.push(required(&at.child("name"), "")),
            _ => wrong.extend(ill_formed(&at.child("name"), name, names::dns_label(name))),
        }
        if right.iter().any(|known| known.text("name") == name) {
            wrong.push(duplicate(&at.child("name"), name));
        }
        if wrong.is_empty() {
            right.push(volume);
        }
        findings.extend(wrong);
    }
    right
}

fn validate_sources(volume: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut found = false;
    for (name, refused_as) in SOURCES.iter().filter(|(name, _)| volume.has(name)) {
        if found {
            findings.push(forbidden(&path.child(refused_as), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        findings.extend(validate_source(name, &volume[*name], &path.child(name)));
    }
    if !found {
        findings.push(required(path, "must specify a volume type"));
    }
    findings
}

/// The sources that a node of ours mounts are checked in full, the others for what they must name.
pub(in super::super) fn validate_source(name: &str, source: &Value, path: &Path) -> Findings {
    match name {
        "emptyDir" => validate_empty_dir(source, path),
        "hostPath" => validate_host_path(source, path),
        "secret" => validate_keyed(source, "secretName", path),
        "configMap" => validate_keyed(source, "name", path),
        "downwardAPI" => {
            let mut findings = validate_mode(source, "defaultMode", path);
            for file in source.list("items") {
                findings.extend(validate_downward_file(file, path));
            }
            findings
        }
        "projected" => validate_projected(source, path),
        "persistentVolumeClaim" => require(source, &["claimName"], path),
        "csi" => validate_csi(source, path),
        "ephemeral" => match &source["volumeClaimTemplate"] {
            Value::Null => vec![required(&path.child("volumeClaimTemplate"), "")],
            template => validate_claim_spec(&template["spec"], &path.child("volumeClaimTemplate.spec")),
        },
        "image" => {
            let mut findings = require(source, &["reference"], path);
            let policies = ["Always", "IfNotPresent", "Never"];
            findings.extend(one_of(&path.child("pullPolicy"), source.text("pullPolicy"), &policies));
            findings
        }
        "nfs" => {
            let mut findings = require(source, &["server", "path"], path);
            if !source.text("path").starts_with('/') {
                findings.push(invalid(&path.child("path"), source.text("path"), "must be an absolute path"));
            }
            findings
        }
        "gitRepo" => require(source, &["repository"], path),
        "iscsi" => require(source, &["targetPortal", "iqn"], path),
        "glusterfs" => require(source, &["endpoints", "path"], path),
        "rbd" => require(source, &["image"], path),
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => require(source, &["volumeID"], path),
        "flexVolume" => require(source, &["driver"], path),
        "azureFile" => require(source, &["secretName", "shareName"], path),
        "azureDisk" => require(source, &["diskName", "diskURI"], path),
        "vsphereVolume" => require(source, &["volumePath"], path),
        "scaleIO" => require(source, &["gateway", "system", "volumeName"], path),
        _ => Findings::new(),
    }
}

fn require(source: &Value, fields: &[&str], path: &Path) -> Findings {
    let missing = fields.iter().filter(|field| source.text(field).is_empty());
    missing.map(|field| required(&path.child(field), "")).collect()
}

fn validate_empty_dir(source: &Value, path: &Path) -> Findings {
    let is_negative = source.text("sizeLimit").parse().is_ok_and(kedge_api::Quantity::is_negative);
    if !is_negative {
        return Findings::new();
    }
    vec![forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity")]
}

fn validate_host_path(source: &Value, path: &Path) -> Findings {
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let target = source.text("path");
    if target.is_empty() {
        return vec![required(&path.child("path"), "")];
    }
    let mut findings = validate_no_backsteps(target, &path.child("path"));
    let kind = source.text("type");
    if !TYPES.contains(&kind) {
        findings.push(not_supported(&path.child("type"), kind, &TYPES));
    }
    findings
}

pub(super) fn validate_no_backsteps(target: &str, path: &Path) -> Findings {
    if target.split('/').any(|part| part == "..") {
        return vec![invalid(path, target, "must not contain '..'")];
    }
    Findings::new()
}

/// A path below the volume's root whose name is not reserved for the writer of the volume.
pub(super) fn validate_relative_path(target: &str, path: &Path) -> Findings {
    if target.is_empty() {
        return vec![required(path, "")];
    }
    let mut findings = super::mounts::validate_descending(target, path);
    if target.starts_with("..") && !target.starts_with("../") {
        findings.push(invalid(path, target, "must not start with '..'"));
    }
    findings
}

pub(super) fn validate_mode(source: &Value, field: &str, path: &Path) -> Findings {
    match source.number(field) {
        Some(mode) if !(0..=0o777).contains(&mode) => vec![invalid(&path.child(field), mode, MODE)],
        _ => Findings::new(),
    }
}

fn validate_keyed(source: &Value, name: &str, path: &Path) -> Findings {
    let mut findings = require(source, &[name], path);
    findings.extend(validate_mode(source, "defaultMode", path));
    for (index, item) in source.list("items").iter().enumerate() {
        findings.extend(validate_item(item, &path.child("items").index(index)));
    }
    findings
}

fn validate_item(item: &Value, path: &Path) -> Findings {
    let mut findings = require(item, &["key"], path);
    findings.extend(validate_relative_path(item.text("path"), &path.child("path")));
    findings.extend(validate_mode(item, "mode", path));
    findings
}

fn validate_csi(source: &Value, path: &Path) -> Findings {
    let mut findings = validate_driver_name(source.text("driver"), &path.child("driver"));
    if source.has("nodePublishSecretRef") && source["nodePublishSecretRef"].text("name").is_empty() {
        findings.push(required(&path.child("nodePublishSecretRef.name"), ""));
    }
    findings
}

/// Names of CSI drivers. Upstream compares them without case, then complains as if about lower case.
pub(in super::super) fn validate_driver_name(driver: &str, path: &Path) -> Findings {
    const DRIVER_LENGTH_MAX: usize = 63;
    if driver.is_empty() {
        return vec![required(path, "")];
    }
    let mut findings = Findings::new();
    if driver.len() > DRIVER_LENGTH_MAX {
        findings.push(super::super::field::too_long(path, DRIVER_LENGTH_MAX));
    }
    findings.extend(ill_formed(path, driver, names::dns_subdomain(&driver.to_lowercase())));
    findings
}

fn validate_projected(source: &Value, path: &Path) -> Findings {
    let mut findings = validate_mode(source, "defaultMode", path);
    let mut paths: Vec<&str> = Vec::new();
    for (index, part) in source.list("sources").iter().enumerate() {
        let at = path.child("sources").index(index);
        let mut count = 0;
        for name in ["secret", "configMap"].iter().filter(|name| part.has(name)) {
            count += 1;
            let at = at.child(name);
            findings.extend(require(&part[*name], &["name"], &at));
            for (index, item) in part[*name].list("items").iter().enumerate() {
                findings.extend(validate_item(item, &at.child("items").index(index)));
                findings.extend(claim_path(item.text("path"), part[*name].text("name"), &mut paths, path));
            }
        }
        if part.has("downwardAPI") {
            count += 1;
            for file in part["downwardAPI"].list("items") {
                findings.extend(validate_downward_file(file, &at.child("downwardAPI")));
                findings.extend(claim_path(file.text("path"), file.text("path"), &mut paths, path));
            }
        }
        if part.has("serviceAccountToken") {
            count += 1;
            let token = &part["serviceAccountToken"];
            findings.extend(validate_token(token, &at.child("serviceAccountToken")));
            findings.extend(claim_path(token.text("path"), token.text("path"), &mut paths, path));
        }
        if count > 1 {
            findings.push(forbidden(&at, "may not specify more than 1 volume type per source"));
        }
    }
    findings
}

fn claim_path<'a>(target: &'a str, shown: &str, paths: &mut Vec<&'a str>, path: &Path) -> Findings {
    if target.is_empty() {
        return Findings::new();
    }
    if paths.contains(&target) {
        return vec![invalid(path, shown, "conflicting duplicate paths")];
    }
    paths.push(target);
    Findings::new()
}

fn validate_token(token: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let seconds = token.number("expirationSeconds").unwrap_or_default();
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        findings.push(invalid(&path.child("expirationSeconds"), seconds, why));
    }
    if seconds > 1 << 32 {
        let why = "may not specify a duration larger than 2^32 seconds";
        findings.push(invalid(&path.child("expirationSeconds"), seconds, why));
    }
    findings.extend(validate_relative_path(token.text("path"), &path.child("path")));
    findings
}
