//! Claims, volumes and their classes.

use kedge_api::{ObjectMeta, pod::ResourceList, pod::ResourceRequirements};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

kinds! {
    PersistentVolumeClaim { metadata: ObjectMeta, spec: ClaimSpec, status: ClaimStatus, }
    ClaimSpec {
        access_modes: Vec<String>,
        selector: Value,
        resources: ResourceRequirements,
        volume_name: String,
        storage_class_name: Option<String>,
        volume_mode: Option<String>,
        volume_attributes_class_name: Option<String>,
    }
    ClaimStatus { phase: String, access_modes: Vec<String>, capacity: ResourceList, }
    PersistentVolume { metadata: ObjectMeta, spec: VolumeSpec, status: VolumeStatus, }
    VolumeSpec {
        capacity: ResourceList,
        access_modes: Vec<String>,
        claim_ref: Option<ClaimReference>,
        persistent_volume_reclaim_policy: String,
        storage_class_name: String,
        volume_mode: Option<String>,
        volume_attributes_class_name: Option<String>,
        node_affinity: Value,
        host_path: Option<PathSource>,
        local: Option<PathSource>,
    }
    ClaimReference { namespace: String, name: String, uid: String, }
    PathSource { path: String, }
    VolumeStatus { phase: String, message: String, reason: String, }
    StorageClass {
        metadata: ObjectMeta,
        provisioner: String,
        parameters: BTreeMap<String, String>,
        reclaim_policy: Option<String>,
        mount_options: Vec<String>,
        volume_binding_mode: Option<String>,
    }
}

objects!(PersistentVolumeClaim, PersistentVolume, StorageClass);
