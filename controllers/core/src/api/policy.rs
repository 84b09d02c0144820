//! Disruption budgets and quotas.

use kedge_api::{Condition, IntOrString, ObjectMeta, Time, pod::ResourceList};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

kinds! {
    PodDisruptionBudget { metadata: ObjectMeta, spec: BudgetSpec, status: BudgetStatus, }
    BudgetSpec { min_available: Option<IntOrString>, max_unavailable: Option<IntOrString>, selector: Value, }
    BudgetStatus {
        observed_generation: i64,
        disrupted_pods: BTreeMap<String, Time>,
        disruptions_allowed: i64,
        current_healthy: i64,
        desired_healthy: i64,
        expected_pods: i64,
        conditions: Vec<Condition>,
    }
    ResourceQuota { metadata: ObjectMeta, spec: QuotaSpec, status: QuotaStatus, }
    QuotaSpec { hard: ResourceList, scope_selector: Value, scopes: Vec<String>, }
    QuotaStatus { hard: ResourceList, used: ResourceList, }
}

objects!(PodDisruptionBudget, ResourceQuota);
