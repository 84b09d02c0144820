//! The other kinds of `apps/v1`, and the ReplicationController.

use super::{ReplicaSetStatus, RollingUpdate};
use kedge_api::{Condition, IntOrString, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

kinds! {
    ReplicationController {
        metadata: ObjectMeta,
        spec: ReplicationControllerSpec,
        status: ReplicaSetStatus,
    }
    ReplicationControllerSpec { replicas: Option<i64>, selector: Value, template: Value, min_ready_seconds: i64, }
    ControllerRevision { metadata: ObjectMeta, data: Value, revision: i64, }
    DaemonSet { metadata: ObjectMeta, spec: DaemonSetSpec, status: DaemonSetStatus, }
    DaemonSetSpec {
        selector: Value,
        template: Value,
        update_strategy: DaemonSetUpdateStrategy,
        min_ready_seconds: i64,
        revision_history_limit: Option<i64>,
    }
    DaemonSetUpdateStrategy { r#type: String, rolling_update: Option<RollingUpdate>, }
    DaemonSetStatus {
        current_number_scheduled: i64,
        number_misscheduled: i64,
        desired_number_scheduled: i64,
        number_ready: i64,
        observed_generation: i64,
        updated_number_scheduled: i64,
        number_available: i64,
        number_unavailable: i64,
        collision_count: Option<i64>,
    }
    StatefulSet { metadata: ObjectMeta, spec: StatefulSetSpec, status: StatefulSetStatus, }
    StatefulSetSpec {
        replicas: Option<i64>,
        selector: Value,
        template: Value,
        volume_claim_templates: Vec<Value>,
        service_name: String,
        pod_management_policy: String,
        update_strategy: StatefulSetUpdateStrategy,
        revision_history_limit: Option<i64>,
        min_ready_seconds: i64,
        persistent_volume_claim_retention_policy: Option<ClaimRetentionPolicy>,
        ordinals: Option<StatefulSetOrdinals>,
    }
    StatefulSetUpdateStrategy { r#type: String, rolling_update: Option<StatefulSetRollingUpdate>, }
    StatefulSetRollingUpdate { partition: i64, max_unavailable: Option<IntOrString>, }
    /// `Retain` or `Delete`, each.
    ClaimRetentionPolicy { when_deleted: String, when_scaled: String, }
    StatefulSetOrdinals { start: i64, }
    StatefulSetStatus {
        observed_generation: i64,
        replicas: i64,
        ready_replicas: i64,
        current_replicas: i64,
        updated_replicas: i64,
        current_revision: String,
        update_revision: String,
        collision_count: Option<i64>,
        available_replicas: i64,
        conditions: Vec<Condition>,
    }
}

objects!(ReplicationController, ControllerRevision, DaemonSet, StatefulSet);

impl StatefulSet {
    pub fn replicas(&self) -> i64 {
        self.spec.replicas.unwrap_or(1)
    }

    /// The first ordinal.
    pub fn start(&self) -> i64 {
        self.spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start)
    }
}
