//! What a kind decides and nothing else: defaults, what a create or update may carry, and validation with all findings.
//!
//! The registry calls, on create: `default`, `prepare_for_create`, admission, `validate_create`; on update: `default`,
//! `prepare_for_update`, admission, `validate_update`. Metadata that every kind shares (name, labels, finalizers, generation
//! of the uid and the creationTimestamp) is the registry's own, in `registry/`; a strategy sees it already filled in.

pub mod access;
mod autoscaling;
mod batch;
mod batch_rules;
mod certificate;
mod cluster;
mod config;
mod cron;
mod device;
mod endpoints;
mod event;
mod extension;
mod extension_rules;
pub mod field;
mod flow_control;
mod ingress_rules;
mod labels;
mod networking;
mod pod;
mod policy;
mod rbac;
#[cfg(test)]
mod recordings;
mod review;
mod service;
mod service_rules;
mod storage;
mod storage_rules;
mod usual;
mod warnings;
mod workload_rules;
mod workloads;

pub use certificate::stamp_conditions;

use crate::status::Findings;
use serde_json::Value;

/// The part of an object that a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The object itself: everything but status.
    Main,
    Status,
    /// `binding`, `ephemeralcontainers`, `resize`, `finalize`, `approval`, …
    Subresource(&'a str),
}

/// The decisions of one kind. Every method has a behaviour that suits a plain kind without status.
pub trait Strategy: Sync {
    /// Fills in what upstream's defaulting fills in; also run on objects read back in another version.
    fn default(&self, _object: &mut Value) {}
    /// Clears what a client may not set (status) and sets what the server sets (generation 1).
    fn prepare_for_create(&self, _object: &mut Value) {}
    /// Keeps from `old` what this part may not change; bumps `metadata.generation` where upstream does.
    fn prepare_for_update(&self, _object: &mut Value, _old: &Value, _part: Part<'_>) {}
    fn validate_create(&self, _object: &Value) -> Findings {
        Findings::new()
    }
    fn validate_update(&self, _object: &Value, _old: &Value, _part: Part<'_>) -> Findings {
        Findings::new()
    }
    /// `Warning: 299` texts for a created or updated object.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }
    /// The grace period that a DELETE without one gets, in seconds; 0 deletes at once (only pods differ).
    fn default_grace_s(&self, _object: &Value) -> i64 {
        0
    }
    /// May PUT create the object (leases, events, …)?
    fn create_on_update(&self) -> bool {
        false
    }
    /// May a PUT come without resourceVersion?
    fn unconditional_update(&self) -> bool {
        true
    }
}

/// The strategy of a kind; kinds without one of their own get the plain behaviour.
pub fn strategy_of(group: &str, kind: &str) -> &'static dyn Strategy {
    match (group, kind) {
        ("", "Pod") => &pod::Pod,
        ("", "Service") => &service::Service,
        ("", "Namespace") => &cluster::Namespace,
        ("", "Node") => &cluster::Node,
        ("", "ConfigMap") => &config::CONFIG_MAP,
        ("", "Secret") => &config::SECRET,
        ("", "ServiceAccount") => &config::SERVICE_ACCOUNT,
        ("", "Endpoints") => &endpoints::ENDPOINTS,
        ("", "Event") => &event::CORE_EVENT,
        ("", "ReplicationController") => &workloads::REPLICATION_CONTROLLER,
        ("", "PodTemplate") => &workloads::POD_TEMPLATE,
        ("", "PersistentVolume") => &storage::PERSISTENT_VOLUME,
        ("", "PersistentVolumeClaim") => &storage::PERSISTENT_VOLUME_CLAIM,
        ("", "LimitRange") => &policy::LIMIT_RANGE,
        ("", "ResourceQuota") => &policy::RESOURCE_QUOTA,
        ("apps", "Deployment") => &workloads::DEPLOYMENT,
        ("apps", "ReplicaSet") => &workloads::REPLICA_SET,
        ("apps", "StatefulSet") => &workloads::STATEFUL_SET,
        ("apps", "DaemonSet") => &workloads::DAEMON_SET,
        ("apps", "ControllerRevision") => &workloads::CONTROLLER_REVISION,
        ("batch", "Job") => &batch::JOB,
        ("batch", "CronJob") => &batch::CRON_JOB,
        ("autoscaling", "HorizontalPodAutoscaler") => &autoscaling::HORIZONTAL_POD_AUTOSCALER,
        ("policy", "PodDisruptionBudget") => &policy::POD_DISRUPTION_BUDGET,
        ("scheduling.k8s.io", "PriorityClass") => &policy::PRIORITY_CLASS,
        ("node.k8s.io", "RuntimeClass") => &policy::RUNTIME_CLASS,
        ("discovery.k8s.io", "EndpointSlice") => &endpoints::ENDPOINT_SLICE,
        ("coordination.k8s.io", "Lease") => &cluster::LEASE,
        ("events.k8s.io", "Event") => &event::EVENT,
        ("rbac.authorization.k8s.io", "Role") => &rbac::ROLE,
        ("rbac.authorization.k8s.io", "ClusterRole") => &rbac::CLUSTER_ROLE,
        ("rbac.authorization.k8s.io", "RoleBinding") => &rbac::ROLE_BINDING,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => &rbac::CLUSTER_ROLE_BINDING,
        ("networking.k8s.io", "Ingress") => &networking::INGRESS,
        ("networking.k8s.io", "IngressClass") => &networking::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => &networking::NETWORK_POLICY,
        ("networking.k8s.io", "IPAddress") => &networking::IP_ADDRESS,
        ("networking.k8s.io", "ServiceCIDR") => &networking::SERVICE_CIDR,
        ("storage.k8s.io", "StorageClass") => &storage::STORAGE_CLASS,
        ("storage.k8s.io", "CSIDriver") => &storage::CSI_DRIVER,
        ("storage.k8s.io", "CSINode") => &storage::CSI_NODE,
        ("storage.k8s.io", "CSIStorageCapacity") => &storage::CSI_STORAGE_CAPACITY,
        ("storage.k8s.io", "VolumeAttachment") => &storage::VOLUME_ATTACHMENT,
        ("storage.k8s.io", "VolumeAttributesClass") => &storage::VOLUME_ATTRIBUTES_CLASS,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => &extension::CUSTOM_RESOURCE_DEFINITION,
        ("apiregistration.k8s.io", "APIService") => &extension::API_SERVICE,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => &extension::VALIDATING_WEBHOOKS,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => &extension::MUTATING_WEBHOOKS,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => &extension::VALIDATING_POLICY,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => &extension::MUTATING_POLICY,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding")
        | ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => &extension::POLICY_BINDING,
        ("authorization.k8s.io", "SubjectAccessReview")
        | ("authorization.k8s.io", "LocalSubjectAccessReview")
        | ("authorization.k8s.io", "SelfSubjectAccessReview") => &review::ACCESS_REVIEW,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => &flow_control::FLOW_SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => &flow_control::PRIORITY_LEVEL,
        ("resource.k8s.io", "ResourceClaim") => &device::RESOURCE_CLAIM,
        ("resource.k8s.io", "ResourceClaimTemplate") => &device::RESOURCE_CLAIM_TEMPLATE,
        ("resource.k8s.io", "ResourceSlice") => &device::RESOURCE_SLICE,
        ("resource.k8s.io", "DeviceClass") => &device::DEVICE_CLASS,
        ("certificates.k8s.io", "CertificateSigningRequest") => &certificate::SIGNING_REQUEST,
        _ => &PLAIN,
    }
}

static PLAIN: usual::Usual = usual::Usual::PLAIN;
