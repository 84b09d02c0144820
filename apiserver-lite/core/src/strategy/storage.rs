//! Volumes, claims and the kinds of `storage.k8s.io`.

use super::access::{Fill, Read};
use super::field::{Path, immutable};
use super::pod::default_volume_source;
use super::storage_rules;
use super::usual::{ALL_METADATA, Usual};
use super::warnings;
use serde_json::{Value, json};

pub(super) static PERSISTENT_VOLUME: Usual = Usual {
    default: default_volume,
    on_create: |object| add_finalizer(object, "kubernetes.io/pv-protection"),
    status: Some(
        |object| json!({"phase": "Pending", "lastPhaseTransitionTime": object["metadata"]["creationTimestamp"]}),
    ),
    validate: storage_rules::validate_volume,
    validate_update: storage_rules::validate_volume_update,
    warnings: warnings::of_persistent_volume,
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
    validate: storage_rules::validate_claim,
    validate_update: storage_rules::validate_claim_update,
    ..Usual::PLAIN
};

pub(super) static STORAGE_CLASS: Usual = Usual {
    default: |object| {
        object.fill("reclaimPolicy", "Delete");
        object.fill("volumeBindingMode", "Immediate");
    },
    validate: storage_rules::validate_class,
    validate_update: storage_rules::validate_class_update,
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
    validate: storage_rules::validate_driver,
    validate_update: storage_rules::validate_driver_update,
    warnings: warnings::of_csi_driver,
    ..Usual::PLAIN
};

pub(super) static CSI_NODE: Usual = Usual {
    default: |object| object.child("spec").fill("drivers", Value::Null),
    unconditional_update: false,
    validate: storage_rules::validate_csi_node,
    validate_update: |object, _| storage_rules::validate_csi_node(object),
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
    status_keeps: ALL_METADATA,
    default: |object| object.child("status").fill("attached", false),
    status: Some(|_| json!({"attached": false})),
    unconditional_update: false,
    validate: storage_rules::validate_attachment,
    validate_update: |object, old| immutable(&Path::new("spec"), &object["spec"], &old["spec"]),
    ..Usual::PLAIN
};

pub(super) static VOLUME_ATTRIBUTES_CLASS: Usual = Usual {
    validate: storage_rules::validate_attributes_class,
    validate_update: storage_rules::validate_attributes_class_update,
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
    if !spec.has("dataSourceRef") && !is_claim_or_snapshot(&spec["dataSource"]) {
        spec.drop_field("dataSource");
    }
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

/// The older field names nothing else; anything else in it is dropped, as it always was.
fn is_claim_or_snapshot(source: &Value) -> bool {
    matches!(
        (source.text("apiGroup"), source.text("kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
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
