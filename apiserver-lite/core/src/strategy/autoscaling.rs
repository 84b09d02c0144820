//! HorizontalPodAutoscalers, in the form of v2.

use super::access::{Fill, Read};
use super::field::{Path, forbidden, ill_formed, invalid, not_supported, required};
use super::usual::Usual;
use crate::status::Findings;
use kedge_api::{Quantity, names};
use serde_json::{Value, json};

pub(super) static HORIZONTAL_POD_AUTOSCALER: Usual = Usual {
    default: default_autoscaler,
    status: Some(|_| empty_status()),
    validate: validate_autoscaler,
    validate_update: |object, _| validate_autoscaler(object),
    ..Usual::PLAIN
};

fn empty_status() -> Value {
    json!({"currentMetrics": null, "desiredReplicas": 0})
}

fn default_autoscaler(object: &mut Value) {
    let is_first_version = object.text("apiVersion") == "autoscaling/v1";
    let spec = object.child("spec");
    spec.fill("minReplicas", 1);
    if is_first_version {
        return;
    }
    if spec.lacks("metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    spec.each("metrics", default_metric);
    spec.with("behavior", |behavior| {
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let up = behavior.child("scaleUp");
        up.fill("stabilizationWindowSeconds", 0);
        up.fill("selectPolicy", "Max");
        up.fill("policies", json!([pods, percent]));
        let down = behavior.child("scaleDown");
        down.fill("selectPolicy", "Max");
        down.fill("policies", json!([percent]));
    });
    let status = object.child("status");
    status.fill("currentMetrics", Value::Null);
    status.fill("desiredReplicas", 0);
}

fn default_metric(metric: &mut Value) {
    for source in ["resource", "containerResource", "pods", "object", "external"] {
        metric.with(source, |source| {
            source.with("target", |target| {
                target.canonical_quantity("averageValue");
                target.canonical_quantity("value");
            })
        });
    }
}

fn validate_autoscaler(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let (low, high) = (spec.number("minReplicas"), spec.number("maxReplicas").unwrap_or_default());
    let mut findings = Findings::new();
    if let Some(low) = low.filter(|low| *low < 1) {
        findings.push(invalid(&path.child("minReplicas"), low, "must be greater than or equal to 1"));
    }
    let at = path.child("maxReplicas");
    if high == 0 {
        findings.push(required(&at, "must be set and greater than 0"));
    } else if high < 0 {
        findings.push(invalid(&at, high, "must be greater than or equal to 1"));
    }
    if low.is_some_and(|low| high < low) {
        findings.push(invalid(&at, high, "must be greater than or equal to `minReplicas`"));
    }
    findings.extend(validate_reference(&spec["scaleTargetRef"], &path.child("scaleTargetRef")));
    findings.extend(validate_metrics(spec, low, &path.child("metrics")));
    for direction in ["scaleUp", "scaleDown"] {
        if spec["behavior"].has(direction) {
            let at = path.child("behavior").child(direction);
            findings.extend(validate_scaling(&spec["behavior"][direction], &at));
        }
    }
    findings
}

fn validate_reference(reference: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for field in ["kind", "name"] {
        match reference.text(field) {
            "" => findings.push(required(&path.child(field), "")),
            text => findings.extend(ill_formed(&path.child(field), text, names::path_segment(text))),
        }
    }
    let version = reference.text("apiVersion");
    if version.is_empty() && reference.text("kind") != "ReplicationController" {
        findings.push(invalid(&path.child("apiVersion"), version, "apiVersion must specify API group"));
    }
    findings
}

fn validate_metrics(spec: &Value, low: Option<i64>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, metric) in spec.list("metrics").iter().enumerate() {
        let at = path.index(index);
        for (source, of_resource) in [
            ("resource", true),
            ("containerResource", true),
            ("pods", false),
            ("object", false),
            ("external", false),
        ] {
            if metric.has(source) {
                findings.extend(validate_target(&metric[source], of_resource, &at.child(source)));
            }
        }
    }
    let scales_to_zero = |metric: &Value| ["Object", "External"].contains(&metric.text("type"));
    if low == Some(0) && !spec.list("metrics").iter().any(scales_to_zero) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        findings.push(forbidden(path, why));
    }
    findings
}

fn validate_target(source: &Value, of_resource: bool, path: &Path) -> Findings {
    let (target, at) = (&source["target"], path.child("target"));
    let mut findings = Findings::new();
    if of_resource && source.text("name").is_empty() {
        findings.push(required(&path.child("name"), "must specify a resource name"));
    }
    let kind = target.text("type");
    if kind.is_empty() {
        findings.push(required(&at.child("type"), "must specify a metric target type"));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let why = "must be either Utilization, Value, or AverageValue";
        findings.push(invalid(&at.child("type"), kind, why));
    }
    for field in ["value", "averageValue"] {
        let is_positive = |amount: Quantity| !amount.is_zero() && !amount.is_negative();
        if target.has(field) && !target.text(field).parse().is_ok_and(is_positive) {
            findings.push(invalid(&at.child(field), target[field].clone(), "must be positive"));
        }
    }
    if let Some(share) = target.number("averageUtilization").filter(|share| *share < 1) {
        findings.push(invalid(&at.child("averageUtilization"), share, "must be greater than 0"));
    }
    if of_resource {
        match (target.has("averageUtilization"), target.has("averageValue")) {
            (false, false) => {
                let why = "must set either a target raw value or a target utilization";
                findings.push(required(&at.child("averageUtilization"), why));
            }
            (true, true) => {
                let why = "may not set both a target raw value and a target utilization";
                findings.push(forbidden(&at.child("averageValue"), why));
            }
            _ => {}
        }
    }
    findings
}

fn validate_scaling(rules: &Value, path: &Path) -> Findings {
    const WINDOW_MAX: i64 = 3600;
    const PERIOD_MAX: i64 = 1800;
    let mut findings = Findings::new();
    let (at, window) = (path.child("stabilizationWindowSeconds"), rules.number("stabilizationWindowSeconds"));
    if let Some(window) = window.filter(|window| *window < 0) {
        findings.push(invalid(&at, window, "must be greater than or equal to zero"));
    }
    if let Some(window) = window.filter(|window| *window > WINDOW_MAX) {
        findings.push(invalid(&at, window, &format!("must be less than or equal to {WINDOW_MAX}")));
    }
    let select = rules.text("selectPolicy");
    if rules.has("selectPolicy") && !["Disabled", "Max", "Min"].contains(&select) {
        findings.push(not_supported(&path.child("selectPolicy"), select, &["Disabled", "Max", "Min"]));
    }
    if rules.lacks("policies") {
        findings.push(required(&path.child("policies"), "must specify at least one Policy"));
    }
    for (index, policy) in rules.list("policies").iter().enumerate() {
        let (at, kind) = (path.child("policies").index(index), policy.text("type"));
        if !["Percent", "Pods"].contains(&kind) {
            findings.push(not_supported(&at.child("type"), kind, &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let number = policy.number(field).unwrap_or_default();
            if number <= 0 {
                findings.push(invalid(&at.child(field), number, "must be greater than zero"));
            }
            if field == "periodSeconds" && number > PERIOD_MAX {
                let why = format!("must be less than or equal to {PERIOD_MAX}");
                findings.push(invalid(&at.child(field), number, &why));
            }
        }
    }
    findings
}
