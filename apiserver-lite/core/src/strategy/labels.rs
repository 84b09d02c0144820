//! Labels, annotations and selectors, wherever a kind carries them beside its own metadata.

use super::access::Read;
use super::field::{Path, forbidden, ill_formed, invalid, required, too_long};
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

const ANNOTATIONS_MAX: usize = 256 * 1024;

/// A map of labels (also a node selector).
pub(super) fn validate_labels(labels: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        findings.extend(validate_label_key(key, path));
        let value = value.as_str().unwrap_or_default();
        findings.extend(ill_formed(path, value, names::label_value(value)));
    }
    findings
}

pub(super) fn validate_label_key(key: &str, path: &Path) -> Findings {
    ill_formed(path, key, names::qualified_name(key))
}

pub(super) fn validate_annotations(annotations: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        size += key.len() + value.as_str().unwrap_or_default().len();
        findings.extend(ill_formed(path, key, names::qualified_name(&key.to_lowercase())));
    }
    if size > ANNOTATIONS_MAX {
        findings.push(too_long(path, ANNOTATIONS_MAX));
    }
    findings
}

/// A `metav1.LabelSelector`; null is fine.
pub(super) fn validate_selector(selector: &Value, path: &Path) -> Findings {
    let mut findings = validate_labels(&selector["matchLabels"], &path.child("matchLabels"));
    for (index, expression) in selector.list("matchExpressions").iter().enumerate() {
        findings.extend(validate_expression(expression, &path.child("matchExpressions").index(index)));
    }
    findings
}

fn validate_expression(expression: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let operator = expression.text("operator");
    match operator {
        "In" | "NotIn" if expression.lacks("values") => {
            findings.push(required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ));
        }
        "Exists" | "DoesNotExist" if !expression.lacks("values") => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            findings.push(forbidden(&path.child("values"), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => findings.push(invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
    findings.extend(validate_label_key(expression.text("key"), &path.child("key")));
    for (index, value) in expression.texts("values").enumerate() {
        findings.extend(ill_formed(&path.child("values").index(index), value, names::label_value(value)));
    }
    findings
}
