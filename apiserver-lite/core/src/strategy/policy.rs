//! PodDisruptionBudgets, LimitRanges, ResourceQuotas, PriorityClasses and RuntimeClasses: limits on what pods may do.

use super::access::{Fill, Read};
use super::usual::Usual;
use serde_json::{Value, json};

pub(super) static POD_DISRUPTION_BUDGET: Usual = Usual {
    default: |object| {
        object.child("spec");
        let status = object.child("status");
        for (count, zero) in empty_budget().as_object().into_iter().flatten() {
            status.fill(count, zero.clone());
        }
    },
    status: Some(|_| empty_budget()),
    generation: &["spec"],
    unconditional_update: false,
    ..Usual::PLAIN
};

fn empty_budget() -> Value {
    json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
}

pub(super) static LIMIT_RANGE: Usual = Usual {
    default: default_limit_range,
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static RESOURCE_QUOTA: Usual = Usual {
    default: |object| {
        object.child("spec").canonical_resources("hard");
        let status = object.child("status");
        status.canonical_resources("hard");
        status.canonical_resources("used");
    },
    status: Some(|_| json!({})),
    ..Usual::PLAIN
};

pub(super) static PRIORITY_CLASS: Usual = Usual {
    default: |object| {
        object.fill("preemptionPolicy", "PreemptLowerPriority");
        object.fill("value", 0);
    },
    generation: &["value", "globalDefault", "description", "preemptionPolicy"],
    ..Usual::PLAIN
};

pub(super) static RUNTIME_CLASS: Usual = Usual {
    default: |object| object.with("overhead", |overhead| overhead.canonical_resources("podFixed")),
    create_on_update: true,
    unconditional_update: false,
    ..Usual::PLAIN
};

/// Container limits fill each other: a maximum is a default limit, a default limit a default request, a minimum too.
fn default_limit_range(object: &mut Value) {
    object.child("spec").each("limits", |item| {
        for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            item.canonical_resources(list);
        }
        if item.text("type") != "Container" {
            return;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            for (name, amount) in item[from].clone().as_object().into_iter().flatten() {
                item.child(to).fill(name, amount.clone());
            }
        }
    });
}
