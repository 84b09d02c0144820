//! Tables: the columns of the kind table, and per kind the code that fills them.

mod cells;
mod cluster;
mod network;
mod pod;
mod storage;
mod workloads;

use crate::status::ApiError;
use cells::Row;
use kedge_api::Time;
use kedge_api::kinds::Kind;
use serde_json::{Value, json};

/// Which part of an object a row carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    pub fn parse(word: &str) -> Result<Include, ApiError> {
        match word {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::None),
            "Object" => Ok(Include::Object),
            other => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be \
                 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// The table of some objects of a kind, without list metadata. `version` is that of meta.k8s.io.
pub fn table(kind: &Kind, version: &str, mut objects: Vec<Value>, now: Time, include: Include) -> Value {
    if kind.kind == "FlowSchema" {
        // In the order in which they are tried.
        objects.sort_by_key(|object| object["spec"]["matchingPrecedence"].as_i64());
    }
    let columns: Vec<Value> = kind
        .columns
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "type": c.kind, "format": c.format, "description": c.description,
                "priority": c.priority,
            })
        })
        .collect();
    let rows: Vec<Value> =
        objects.into_iter().map(|object| row(kind, version, object, now, include)).collect();
    // Kinds without columns of their own leave the rows out where there are none.
    let plain = std::ptr::fn_addr_eq(filler(kind), cluster::plain as fn(&Row<'_>) -> Vec<Value>);
    let rows = if plain && rows.is_empty() { Value::Null } else { rows.into() };
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": {},
        "columnDefinitions": columns, "rows": rows,
    })
}

fn row(kind: &Kind, version: &str, mut object: Value, now: Time, include: Include) -> Value {
    let about = Row { object: &object, now };
    let cells = filler(kind)(&about);
    let conditions = pod::row_conditions(kind, &object);
    let shown = match include {
        Include::None => Value::Null,
        Include::Object => object,
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": object["metadata"].take(),
        }),
    };
    let mut row = json!({"cells": cells, "object": shown});
    if !conditions.is_null() {
        row["conditions"] = conditions;
    }
    row
}

/// The code that fills the columns of a kind.
fn filler(kind: &Kind) -> fn(&Row<'_>) -> Vec<Value> {
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod,
        ("", "PodTemplate") => pod::template,
        ("", "ReplicationController") => workloads::replication_controller,
        ("apps", "ReplicaSet") => workloads::replica_set,
        ("apps", "Deployment") => workloads::deployment,
        ("apps", "StatefulSet") => workloads::stateful_set,
        ("apps", "DaemonSet") => workloads::daemon_set,
        ("apps", "ControllerRevision") => workloads::controller_revision,
        ("batch", "Job") => workloads::job,
        ("batch", "CronJob") => workloads::cron_job,
        ("autoscaling", "HorizontalPodAutoscaler") => workloads::autoscaler,
        ("policy", "PodDisruptionBudget") => workloads::disruption_budget,
        ("", "Service") => network::service,
        ("", "Endpoints") => network::endpoints,
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice,
        ("networking.k8s.io", "Ingress") => network::ingress,
        ("networking.k8s.io", "IngressClass") => network::ingress_class,
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy,
        ("networking.k8s.io", "ServiceCIDR") => network::service_cidr,
        ("networking.k8s.io", "IPAddress") => network::ip_address,
        ("", "PersistentVolume") => storage::volume,
        ("", "PersistentVolumeClaim") => storage::claim,
        ("storage.k8s.io", "StorageClass") => storage::class,
        ("storage.k8s.io", "VolumeAttachment") => storage::attachment,
        ("storage.k8s.io", "VolumeAttributesClass") => storage::attributes_class,
        ("storage.k8s.io", "CSIDriver") => storage::driver,
        ("storage.k8s.io", "CSINode") => storage::csi_node,
        ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") | ("", "ServiceAccount") => {
            cluster::name_and_age
        }
        ("resource.k8s.io", "ResourceClaim") => storage::resource_claim,
        ("resource.k8s.io", "ResourceSlice") => storage::resource_slice,
        ("", "ConfigMap") => cluster::config_map,
        ("", "Secret") => cluster::secret,
        ("", "Namespace") => cluster::namespace,
        ("", "Node") => cluster::node,
        ("", "ResourceQuota") => cluster::resource_quota,
        ("" | "events.k8s.io", "Event") => cluster::event,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => cluster::binding,
        ("certificates.k8s.io", "CertificateSigningRequest") => cluster::signing_request,
        ("coordination.k8s.io", "Lease") => cluster::lease,
        ("scheduling.k8s.io", "PriorityClass") => cluster::priority_class,
        ("node.k8s.io", "RuntimeClass") => cluster::runtime_class,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => cluster::flow_schema,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => cluster::priority_level,
        ("apiregistration.k8s.io", "APIService") => cluster::api_service,
        ("admissionregistration.k8s.io", kind) => cluster::admission(kind),
        _ => cluster::plain,
    }
}

#[cfg(test)]
mod tests;
