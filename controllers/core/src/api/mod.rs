//! The kinds that controllers alone read, projected to what they read. Templates and selectors stay JSON: a controller hands
//! them on and must not lose a field that it does not know.

use kedge_api::{Condition, IntOrString, ObjectMeta, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* })*) => {
        $($(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* })*
    };
}

macro_rules! objects {
    ($($kind:ty),*) => {
        $(impl kedge_api::Object for $kind {
            fn meta(&self) -> &kedge_api::ObjectMeta {
                &self.metadata
            }
        })*
    };
}

mod apps;
mod batch;
mod policy;
mod storage;

pub use apps::*;
pub use batch::*;
pub use policy::*;
pub use storage::*;

kinds! {
    Deployment { metadata: ObjectMeta, spec: DeploymentSpec, status: DeploymentStatus, }
    DeploymentSpec {
        replicas: Option<i64>,
        selector: Value,
        template: Value,
        strategy: DeploymentStrategy,
        min_ready_seconds: i64,
        revision_history_limit: Option<i64>,
        paused: bool,
        progress_deadline_seconds: Option<i64>,
    }
    DeploymentStrategy { r#type: String, rolling_update: Option<RollingUpdate>, }
    RollingUpdate { max_surge: Option<IntOrString>, max_unavailable: Option<IntOrString>, }
    DeploymentStatus {
        observed_generation: i64,
        replicas: i64,
        updated_replicas: i64,
        ready_replicas: i64,
        available_replicas: i64,
        unavailable_replicas: i64,
        terminating_replicas: Option<i64>,
        collision_count: Option<i64>,
        conditions: Vec<DeploymentCondition>,
    }
    DeploymentCondition {
        r#type: String,
        status: String,
        reason: String,
        message: String,
        last_update_time: Option<Time>,
        last_transition_time: Option<Time>,
    }
    ReplicaSet { metadata: ObjectMeta, spec: ReplicaSetSpec, status: ReplicaSetStatus, }
    ReplicaSetSpec { replicas: Option<i64>, selector: Value, template: Value, min_ready_seconds: i64, }
    ReplicaSetStatus {
        replicas: i64,
        fully_labeled_replicas: i64,
        ready_replicas: i64,
        available_replicas: i64,
        terminating_replicas: Option<i64>,
        observed_generation: i64,
        conditions: Vec<Condition>,
    }
    Namespace { metadata: ObjectMeta, spec: NamespaceSpec, status: NamespaceStatus, }
    NamespaceSpec { finalizers: Vec<String>, }
    NamespaceStatus { phase: String, conditions: Vec<Condition>, }
    ServiceAccount { metadata: ObjectMeta, }
    ConfigMap {
        metadata: ObjectMeta,
        /// Only of `kube-root-ca.crt`; the others' content is nobody's business here.
        #[serde(deserialize_with = "root_ca_only")]
        data: BTreeMap<String, String>,
    }
    Endpoints { metadata: ObjectMeta, subsets: Option<Value>, }
    Lease { metadata: ObjectMeta, spec: LeaseSpec, }
    LeaseSpec { renew_time: Option<Time>, lease_duration_seconds: Option<i64>, }
}

/// The key under which the CA is published.
pub const ROOT_CA_KEY: &str = "ca.crt";

fn root_ca_only<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let mut data: BTreeMap<String, String> = Option::deserialize(deserializer)?.unwrap_or_default();
    if data.len() != 1 {
        data.clear();
    }
    data.retain(|key, _| key == ROOT_CA_KEY);
    Ok(data)
}

objects!(Deployment, ReplicaSet, Namespace, ServiceAccount, ConfigMap, Endpoints, Lease);

impl Deployment {
    pub fn replicas(&self) -> i64 {
        self.spec.replicas.unwrap_or(1)
    }

    pub fn condition(&self, r#type: &str) -> Option<&DeploymentCondition> {
        self.status.conditions.iter().find(|condition| condition.r#type == r#type)
    }
}

impl ReplicaSet {
    pub fn replicas(&self) -> i64 {
        self.spec.replicas.unwrap_or(1)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.get(key).map(String::as_str)
    }
}
