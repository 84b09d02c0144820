//! PodDisruptionBudgets, LimitRanges, ResourceQuotas, PriorityClasses and RuntimeClasses: limits on what pods may do.

use super::access::{Fill, Read};
use super::field::{
    Path, duplicate, forbidden, ill_formed, immutable, invalid, invalid_struct, not_supported, one_of,
    required,
};
use super::labels::{validate_labels, validate_selector};
use super::pod::{validate_overhead, validate_resource_name, validate_tolerations, validate_value};
use super::usual::{Usual, start_generation};
use super::workload_rules::{validate_at_most_all, validate_count_or_percent};
use crate::status::Findings;
use kedge_api::{Quantity, names};
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
    validate: validate_budget,
    validate_update: |object, _| validate_budget(object),
    ..Usual::PLAIN
};

fn empty_budget() -> Value {
    json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
}

pub(super) static LIMIT_RANGE: Usual = Usual {
    default: default_limit_range,
    create_on_update: true,
    validate: validate_limit_range,
    validate_update: |object, _| validate_limit_range(object),
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
    validate: validate_quota,
    validate_update: |object, old| {
        let mut findings = validate_quota(object);
        let at = Path::new("spec").child("scopes");
        findings.extend(immutable(&at, &object["spec"]["scopes"], &old["spec"]["scopes"]));
        findings
    },
    ..Usual::PLAIN
};

pub(super) static PRIORITY_CLASS: Usual = Usual {
    default: |object| {
        object.fill("preemptionPolicy", "PreemptLowerPriority");
        object.fill("value", 0);
    },
    // The generation is there, and never moves.
    on_create: start_generation,
    validate: validate_priority_class,
    validate_update: |object, old| {
        let mut findings = Findings::new();
        if object["value"] != old["value"] {
            findings.push(forbidden(&Path::new("value"), "may not be changed in an update."));
        }
        let at = Path::new("preemptionPolicy");
        findings.extend(immutable(&at, &object["preemptionPolicy"], &old["preemptionPolicy"]));
        findings
    },
    ..Usual::PLAIN
};

pub(super) static RUNTIME_CLASS: Usual = Usual {
    default: |object| object.with("overhead", |overhead| overhead.canonical_resources("podFixed")),
    create_on_update: true,
    unconditional_update: false,
    validate: validate_runtime_class,
    validate_update: |object, old| immutable(&Path::new("handler"), &object["handler"], &old["handler"]),
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
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            for (name, amount) in item[from].clone().as_object().into_iter().flatten() {
                item.child(to).fill(name, amount.clone());
            }
        }
    });
}

fn validate_budget(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = Findings::new();
    if spec.has("minAvailable") && spec.has("maxUnavailable") {
        let shown = [
            ("MinAvailable", spec["minAvailable"].clone()),
            ("Selector", spec["selector"].clone()),
            ("MaxUnavailable", spec["maxUnavailable"].clone()),
            ("UnhealthyPodEvictionPolicy", spec["unhealthyPodEvictionPolicy"].clone()),
        ];
        findings.push(invalid_struct(&path, &shown, "minAvailable and maxUnavailable cannot be both set"));
    }
    for field in ["minAvailable", "maxUnavailable"].iter().filter(|field| spec.has(field)) {
        findings.extend(validate_count_or_percent(&spec[*field], &path.child(field)));
        findings.extend(validate_at_most_all(&spec[*field], &path.child(field)));
    }
    findings.extend(validate_selector(&spec["selector"], &path.child("selector")));
    let policy = spec.text("unhealthyPodEvictionPolicy");
    const POLICIES: [&str; 2] = ["AlwaysAllow", "IfHealthyBudget"];
    if spec.has("unhealthyPodEvictionPolicy") && !POLICIES.contains(&policy) {
        findings.push(not_supported(&path.child("unhealthyPodEvictionPolicy"), policy, &POLICIES));
    }
    findings
}

/// Upstream walks hash maps here; the order of the findings is that of their fields.
fn validate_limit_range(object: &Value) -> Findings {
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in object["spec"].list("limits").iter().enumerate() {
        let (at, kind) = (Path::new("spec").child("limits").index(index), item.text("type"));
        if kind.is_empty() {
            findings.push(required(&at.child("type"), ""));
        }
        if seen.contains(&kind) {
            findings.push(duplicate(&at.child("type"), kind));
        }
        seen.push(kind);
        findings.extend(validate_limit_item(item, &at));
    }
    findings.sort_by(|a, b| a.field.cmp(&b.field));
    findings
}

fn validate_limit_item(item: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let kind = item.text("type");
    for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if kind == "Pod" && list.starts_with("default") {
            if !item.lacks(list) {
                findings.push(forbidden(&path.child(list), "may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, _) in item.entries(list) {
            findings.extend(validate_resource_name(name, &path.child(list).key(name)));
        }
    }
    if kind == "PersistentVolumeClaim" && !item["min"].has("storage") && !item["max"].has("storage") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        findings.push(required(&path.child("limits"), why));
    }
    let mut names: Vec<&str> = Vec::new();
    for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        names.extend(item.entries(list).map(|(name, _)| name));
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        findings.extend(validate_limits_agree(item, name, path));
    }
    findings
}

/// The pairs of which the first may not be above the second, with the words for both and the side that is shown.
fn validate_limits_agree(item: &Value, name: &str, path: &Path) -> Findings {
    let kind = item.text("type");
    let amount = |list: &str| -> Option<Quantity> {
        let hidden = kind == "Pod" && list.starts_with("default");
        if hidden { None } else { item[list].text(name).parse().ok() }
    };
    let mut findings = Findings::new();
    for (low, low_word, high, high_word, at) in [
        ("min", "min value", "max", "max value", "min"),
        ("min", "min value", "defaultRequest", "default request value", "defaultRequest"),
        ("defaultRequest", "default request value", "max", "max value", "defaultRequest"),
        ("defaultRequest", "default request value", "default", "default limit value", "defaultRequest"),
        ("min", "min value", "default", "default value", "default"),
        ("default", "default value", "max", "max value", "default"),
    ] {
        let (Some(low_amount), Some(high_amount)) = (amount(low), amount(high)) else {
            continue;
        };
        if low_amount > high_amount {
            let why = format!("{low_word} {low_amount} is greater than {high_word} {high_amount}");
            let shown = if at == low { low_amount } else { high_amount };
            // Upstream shows the other side of the two rules about `default`.
            let shown = match (at, low) {
                ("default", "min") => low_amount,
                ("default", _) => high_amount,
                _ => shown,
            };
            findings.push(invalid(&path.child(at).key(name), shown.to_string(), &why));
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio").filter(|ratio| *ratio < Quantity::from_milli(1000)) {
        let at = path.child("maxLimitRequestRatio").key(name);
        findings.push(invalid(&at, ratio.to_string(), &format!("ratio {ratio} is less than 1")));
    }
    findings
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn validate_quota(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = Findings::new();
    for (name, amount) in spec.entries("hard") {
        let at = path.child("hard").key(name);
        findings.extend(ill_formed(&at, name, names::qualified_name(name)));
        if let Ok(amount) = amount.as_str().unwrap_or_default().parse() {
            findings.extend(validate_value(name, amount, &at));
        }
    }
    let at = path.child("scopes");
    let scopes: Vec<&str> = spec.texts("scopes").collect();
    for _ in scopes.iter().filter(|scope| !SCOPES.contains(scope)) {
        findings.push(invalid(&at, spec["scopes"].clone(), "unsupported scope"));
    }
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            findings.push(invalid(&at, spec["scopes"].clone(), "conflicting scopes"));
        }
    }
    let at = path.child("scopeSelector.matchExpressions");
    for requirement in spec["scopeSelector"].list("matchExpressions") {
        findings.extend(validate_scope(requirement, &at));
    }
    findings
}

fn validate_scope(requirement: &Value, path: &Path) -> Findings {
    const ONLY_EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                               ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                               ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let (scope, operator) = (requirement.text("scopeName"), requirement.text("operator"));
    let mut findings = Findings::new();
    if !SCOPES.contains(&scope) {
        findings.push(invalid(&path.child("scopeName"), scope, "unsupported scope"));
    }
    let with_values = ["PriorityClass", "VolumeAttributesClass"].contains(&scope);
    if SCOPES.contains(&scope) && !with_values && operator != "Exists" {
        findings.push(invalid(&path.child("operator"), operator, ONLY_EXISTS));
    }
    let at = path.child("values");
    match (operator, requirement.lacks("values")) {
        ("In" | "NotIn", true) => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            findings.push(required(&at, why));
        }
        ("Exists" | "DoesNotExist", false) => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            findings.push(invalid(&at, requirement["values"].clone(), why));
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
        (other, _) => findings.push(invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    findings
}

fn validate_priority_class(object: &Value) -> Findings {
    const HIGHEST: i64 = 1_000_000_000;
    let mut findings = Findings::new();
    let name = object["metadata"].text("name");
    let is_system = ["system-cluster-critical", "system-node-critical"].contains(&name);
    if name.starts_with("system-") && !is_system {
        let why = "priority class names with 'system-' prefix are reserved for system use only";
        findings.push(forbidden(&Path::new("metadata.name"), why));
    }
    if !is_system && object.number("value").unwrap_or_default() > HIGHEST {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        findings.push(forbidden(&Path::new("value"), &why));
    }
    let policy = object.text("preemptionPolicy");
    findings.extend(one_of(&Path::new("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]));
    findings
}

fn validate_runtime_class(object: &Value) -> Findings {
    let handler = object.text("handler");
    let mut findings = ill_formed(&Path::new("handler"), handler, names::dns_label(handler));
    let at = Path::new("overhead").child("limits");
    findings.extend(validate_overhead(&object["overhead"]["podFixed"], &at));
    let (scheduling, at) = (&object["scheduling"], Path::new("scheduling"));
    findings.extend(validate_labels(&scheduling["nodeSelector"], &at.child("nodeSelector")));
    findings.extend(validate_tolerations(scheduling.list("tolerations"), &at.child("tolerations")));
    findings
}
