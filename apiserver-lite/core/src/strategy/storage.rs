//! Volumes, claims and the kinds of `storage.k8s.io`.

use super::access::{Fill, Read};
use super::field::{Path, forbidden, ill_formed, invalid, not_supported, required};
use super::labels::validate_selector;
use super::pod::default_volume_source;
use super::usual::Usual;
use crate::status::Findings;
use kedge_api::names;
use serde_json::{Value, json};

pub(super) static PERSISTENT_VOLUME: Usual = Usual {
    default: default_volume,
    on_create: |object| add_finalizer(object, "kubernetes.io/pv-protection"),
    status: Some(
        |object| json!({"phase": "Pending", "lastPhaseTransitionTime": object["metadata"]["creationTimestamp"]}),
    ),
    ..Usual::PLAIN
};

pub(super) static PERSISTENT_VOLUME_CLAIM: Usual = Usual {
    default: |object| {
        default_claim_spec(object.child("spec"));
        object.child("status").fill_text("phase", "Pending");
    },
    on_create: |object| {
        mirror_data_source(object.child("spec"));
        add_finalizer(object, "kubernetes.io/pvc-protection");
    },
    status: Some(|_| json!({"phase": "Pending"})),
    ..Usual::PLAIN
};

pub(super) static STORAGE_CLASS: Usual = Usual {
    default: |object| {
        object.fill("reclaimPolicy", "Delete");
        object.fill("volumeBindingMode", "Immediate");
    },
    ..Usual::PLAIN
};

pub(super) static CSI_DRIVER: Usual = Usual {
    default: |object| {
        let spec = object.child("spec");
        spec.fill("attachRequired", true);
        spec.fill("podInfoOnMount", false);
        spec.fill("storageCapacity", false);
        spec.fill("fsGroupPolicy", "ReadWriteOnceWithFSType");
        spec.fill("requiresRepublish", false);
        spec.fill("seLinuxMount", false);
        if spec.lacks("volumeLifecycleModes") {
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
    },
    unconditional_update: false,
    ..Usual::PLAIN
};

pub(super) static CSI_NODE: Usual = Usual {
    default: |object| object.child("spec").fill("drivers", Value::Null),
    unconditional_update: false,
    ..Usual::PLAIN
};

pub(super) static CSI_STORAGE_CAPACITY: Usual = Usual {
    default: |object| {
        object.canonical_quantity("capacity");
        object.canonical_quantity("maximumVolumeSize");
    },
    unconditional_update: false,
    ..Usual::PLAIN
};

pub(super) static VOLUME_ATTACHMENT: Usual = Usual {
    default: |object| object.child("status").fill("attached", false),
    status: Some(|_| json!({"attached": false})),
    unconditional_update: false,
    ..Usual::PLAIN
};

fn default_volume(object: &mut Value) {
    object.child("status").fill_text("phase", "Pending");
    let spec = object.child("spec");
    spec.fill_text("persistentVolumeReclaimPolicy", "Retain");
    spec.fill("volumeMode", "Filesystem");
    spec.canonical_resources("capacity");
    default_volume_source(spec);
    spec.with("azureFile", |source| source.fill("secretNamespace", Value::Null));
}

/// The spec of a claim, also in templates.
pub(super) fn default_claim_spec(spec: &mut Value) {
    spec.fill("volumeMode", "Filesystem");
    let resources = spec.child("resources");
    resources.canonical_resources("requests");
    resources.canonical_resources("limits");
    for source in ["dataSource", "dataSourceRef"] {
        spec.with(source, |reference| reference.fill("apiGroup", Value::Null));
    }
}

/// A claim copies the older of the two names of its data source into the newer, and back where that says the same.
fn mirror_data_source(spec: &mut Value) {
    let (old, new) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if !old.is_null() && new.is_null() {
        spec["dataSourceRef"] = old;
    } else if old.is_null() && !new.is_null() && new.text("namespace").is_empty() {
        spec["dataSource"] = new;
    }
    if spec["dataSource"].is_null() {
        spec.drop_field("dataSource");
    }
    if spec["dataSourceRef"].is_null() {
        spec.drop_field("dataSourceRef");
    }
}

/// Upstream's admission plugin StorageObjectInUseProtection, which is on by default.
fn add_finalizer(object: &mut Value, finalizer: &str) {
    let metadata = object.child("metadata");
    if metadata.texts("finalizers").any(|known| known == finalizer) {
        return;
    }
    metadata.fill("finalizers", json!([]));
    if let Some(list) = metadata["finalizers"].as_array_mut() {
        list.push(finalizer.into());
    }
}

/// The spec of a claim, also in templates.
pub(super) fn validate_claim_spec(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    findings.extend(validate_access_modes(spec, path));
    findings.extend(validate_selector(&spec["selector"], &path.child("selector")));
    let amount = spec["resources"]["requests"].text("storage");
    let at = path.child("resources").key("storage");
    match amount.parse::<kedge_api::Quantity>() {
        Ok(amount) if amount.is_zero() || amount.is_negative() => {
            findings.push(invalid(&at, amount.to_string(), "must be greater than zero"));
        }
        Ok(_) => {}
        Err(_) => findings.push(required(&at, "")),
    }
    let class = spec.text("storageClassName");
    if !class.is_empty() {
        findings.extend(ill_formed(
            &path.child("storageClassName"),
            class,
            names::dns_subdomain(class),
        ));
    }
    let mode = spec.text("volumeMode");
    if spec.has("volumeMode") && !["Block", "Filesystem"].contains(&mode) {
        findings.push(not_supported(
            &path.child("volumeMode"),
            mode,
            &["Block", "Filesystem"],
        ));
    }
    findings
}

fn validate_access_modes(spec: &Value, path: &Path) -> Findings {
    const MODES: [&str; 4] = [
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOnce",
        "ReadWriteOncePod",
    ];
    let at = path.child("accessModes");
    if spec.lacks("accessModes") {
        return vec![required(&at, "at least 1 access mode is required")];
    }
    let mut findings = Findings::new();
    for mode in spec.texts("accessModes").filter(|mode| !MODES.contains(mode)) {
        findings.push(not_supported(&at, mode, &MODES));
    }
    let single = spec.texts("accessModes").any(|mode| mode == "ReadWriteOncePod");
    if single && spec.list("accessModes").len() > 1 {
        let why = "may not use ReadWriteOncePod with other access modes";
        findings.push(forbidden(&at, why));
    }
    findings
}
