//! Access reviews: questions that are answered, never stored.

use super::access::Read;
use super::field::{Path, invalid, invalid_struct};
use super::usual::Usual;
use crate::status::Findings;
use serde_json::Value;

pub(super) static ACCESS_REVIEW: Usual = Usual { validate: validate_review, ..Usual::PLAIN };

fn validate_review(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut findings = Findings::new();
    match (resource.is_null(), other.is_null()) {
        (false, false) => {
            let shown = [("Path", other.text("path").into()), ("Verb", other.text("verb").into())];
            let why = "cannot be specified in combination with resourceAttributes";
            findings.push(invalid_struct(&path.child("nonResourceAttributes"), &shown, why));
        }
        (true, true) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            findings.push(invalid(&path.child("resourceAttributes"), Value::Null, why));
        }
        _ => {}
    }
    let asks_for_self = object.text("kind") == "SelfSubjectAccessReview";
    if !asks_for_self && spec.text("user").is_empty() && spec.lacks("groups") {
        findings.push(invalid(&path.child("user"), "", "at least one of user or group must be specified"));
    }
    for selector in ["fieldSelector", "labelSelector"].iter().filter(|selector| resource.has(selector)) {
        let (own, at) = (&resource[*selector], path.child("resourceAttributes").child(selector));
        let raw = own.text("rawSelector");
        if !raw.is_empty() && !own.lacks("requirements") {
            let why = "may not specified at the same time as requirements";
            findings.push(invalid(&at.child("rawSelector"), raw, why));
        }
    }
    findings
}
