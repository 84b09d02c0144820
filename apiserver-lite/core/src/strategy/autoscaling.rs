//! HorizontalPodAutoscalers, in the form of v2.

use super::access::{Fill, Read};
use super::usual::Usual;
use serde_json::{Value, json};

pub(super) static HORIZONTAL_POD_AUTOSCALER: Usual = Usual {
    default: default_autoscaler,
    status: Some(|_| empty_status()),
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
