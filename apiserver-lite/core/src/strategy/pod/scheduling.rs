//! Where a pod may run: affinity, gates, spreading, tolerations.

use super::super::access::Read;
use super::super::field::{Path, duplicate, forbidden, ill_formed, invalid, not_supported, required};
use super::super::labels::{validate_label_key, validate_selector};
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn validate_affinity(affinity: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if affinity.has("nodeAffinity") {
        findings.extend(validate_node_affinity(&affinity["nodeAffinity"], &path.child("nodeAffinity")));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (terms, at) = (&affinity[kind], path.child(kind));
        for (index, term) in terms.list(REQUIRED).iter().enumerate() {
            findings.extend(validate_pod_term(term, &at.child(REQUIRED).index(index)));
        }
        for (index, weighted) in terms.list(PREFERRED).iter().enumerate() {
            let at = at.child(PREFERRED).index(index);
            findings.extend(validate_weight(weighted, &at));
            findings.extend(validate_pod_term(&weighted["podAffinityTerm"], &at.child("podAffinityTerm")));
        }
    }
    findings
}

fn validate_node_affinity(affinity: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if affinity.has(REQUIRED) {
        findings.extend(validate_node_selector(&affinity[REQUIRED], &path.child(REQUIRED)));
    }
    for (index, term) in affinity.list(PREFERRED).iter().enumerate() {
        let at = path.child(PREFERRED).index(index);
        findings.extend(validate_weight(term, &at));
        findings.extend(validate_node_term(&term["preference"], false, &at.child("preference")));
    }
    findings
}

fn validate_weight(term: &Value, path: &Path) -> Findings {
    let weight = term.number("weight").unwrap_or_default();
    if (1..=100).contains(&weight) {
        return Findings::new();
    }
    vec![invalid(&path.child("weight"), weight, "must be in the range 1-100")]
}

/// A `NodeSelector`, of a pod or a volume.
pub(in super::super) fn validate_node_selector(selector: &Value, path: &Path) -> Findings {
    let at = path.child("nodeSelectorTerms");
    if selector.lacks("nodeSelectorTerms") {
        return vec![required(&at, "must have at least one node selector term")];
    }
    let terms = selector.list("nodeSelectorTerms").iter().enumerate();
    terms.flat_map(|(index, term)| validate_node_term(term, true, &at.index(index))).collect()
}

fn validate_node_term(term: &Value, check_values: bool, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, requirement) in term.list("matchExpressions").iter().enumerate() {
        let at = path.child("matchExpressions").index(index);
        findings.extend(validate_node_requirement(requirement, check_values, &at));
    }
    for (index, requirement) in term.list("matchFields").iter().enumerate() {
        findings.extend(validate_field_requirement(requirement, &path.child("matchFields").index(index)));
    }
    findings
}

fn validate_node_requirement(requirement: &Value, check_values: bool, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let at = path.child("values");
    match (requirement.text("operator"), requirement.list("values").len()) {
        ("In" | "NotIn", 0) => {
            findings.push(required(&at, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        ("Exists" | "DoesNotExist", 1..) => {
            findings
                .push(forbidden(&at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        ("Gt" | "Lt", count) if count != 1 => {
            findings.push(required(&at, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        (other, _) => findings.push(invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    findings.extend(validate_label_key(requirement.text("key"), &path.child("key")));
    for (index, value) in requirement.texts("values").enumerate().filter(|_| check_values) {
        findings.extend(ill_formed(&at.index(index), value, names::label_value(value)));
    }
    findings
}

fn validate_field_requirement(requirement: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let operator = requirement.text("operator");
    if !["In", "NotIn"].contains(&operator) {
        findings.push(invalid(&path.child("operator"), operator, "not a valid selector operator"));
    } else if requirement.list("values").len() != 1 {
        let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
        findings.push(required(&path.child("values"), why));
    }
    let key = requirement.text("key");
    if key != "metadata.name" {
        findings.push(invalid(&path.child("key"), key, "not a valid field selector key"));
        return findings;
    }
    for (index, value) in requirement.texts("values").enumerate() {
        findings.extend(ill_formed(&path.child("values").index(index), value, names::dns_subdomain(value)));
    }
    findings
}

fn validate_pod_term(term: &Value, path: &Path) -> Findings {
    let mut findings = validate_selector(&term["labelSelector"], &path.child("labelSelector"));
    findings.extend(validate_selector(&term["namespaceSelector"], &path.child("namespaceSelector")));
    for name in term.texts("namespaces") {
        findings.extend(ill_formed(&path.child("namespace"), name, names::dns_label(name)));
    }
    let key = term.text("topologyKey");
    if key.is_empty() {
        findings.push(required(&path.child("topologyKey"), "can not be empty"));
    }
    findings.extend(validate_label_key(key, &path.child("topologyKey")));
    findings
}

pub(super) fn validate_gates(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, gate) in spec.list("readinessGates").iter().enumerate() {
        let at = path.child("readinessGates").index(index).child("conditionType");
        findings.extend(validate_label_key(gate.text("conditionType"), &at));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, gate) in spec.list("schedulingGates").iter().enumerate() {
        let (at, name) = (path.child("schedulingGates").index(index), gate.text("name"));
        findings.extend(validate_label_key(name, &at));
        if seen.contains(&name) {
            findings.push(duplicate(&at, name));
        }
        seen.push(name);
    }
    findings
}

pub(super) fn validate_spread(spec: &Value, path: &Path) -> Findings {
    const ACTIONS: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
    let mut findings = Findings::new();
    let constraints = spec.list("topologySpreadConstraints");
    for (index, constraint) in constraints.iter().enumerate() {
        let at = path.index(index);
        let (key, action) = (constraint.text("topologyKey"), constraint.text("whenUnsatisfiable"));
        findings.extend(positive(&at.child("maxSkew"), constraint.number("maxSkew").unwrap_or_default()));
        if key.is_empty() {
            findings.push(required(&at.child("topologyKey"), "can not be empty"));
        }
        if !ACTIONS.contains(&action) {
            findings.push(not_supported(&at.child("whenUnsatisfiable"), action, &ACTIONS));
        }
        let same =
            |other: &Value| other.text("topologyKey") == key && other.text("whenUnsatisfiable") == action;
        if constraints[index + 1..].iter().any(same) {
            let at = at.child("{topologyKey, whenUnsatisfiable}");
            findings.push(duplicate(&at, format!("{{{key}, {action}}}")));
        }
        findings.extend(validate_spread_options(constraint, action, &at));
        findings.extend(validate_selector(&constraint["labelSelector"], &at.child("labelSelector")));
    }
    findings
}

fn validate_spread_options(constraint: &Value, action: &str, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if let Some(domains) = constraint.number("minDomains") {
        findings.extend(positive(&path.child("minDomains"), domains));
        if action != "DoNotSchedule" {
            let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            findings.push(invalid(&path.child("minDomains"), domains, &why));
        }
    }
    for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"].iter().filter(|field| constraint.has(field)) {
        let policy = constraint.text(field);
        if !["Honor", "Ignore"].contains(&policy) {
            findings.push(not_supported(&path.child(field), policy, &["Honor", "Ignore"]));
        }
    }
    findings
}

fn positive(path: &Path, value: i64) -> Findings {
    if value > 0 { Findings::new() } else { vec![invalid(path, value, "must be greater than zero")] }
}

pub(in super::super) fn validate_tolerations(tolerations: &[Value], path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, toleration) in tolerations.iter().enumerate() {
        let at = path.index(index);
        let (key, operator) = (toleration.text("key"), toleration.text("operator"));
        let (value, effect) = (toleration.text("value"), toleration.text("effect"));
        if !key.is_empty() {
            findings.extend(validate_label_key(key, &at.child("key")));
        } else if operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            findings.push(invalid(&at.child("operator"), operator, why));
        }
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            findings.push(invalid(&at.child("effect"), effect, why));
        }
        match operator {
            "Equal" | "" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    findings.push(invalid(&at.child("operator"), value, &wrong.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                findings.push(invalid(&at.child("operator"), value, why));
            }
            "Exists" => {}
            other => findings.push(not_supported(&at.child("operator"), other, &["Equal", "Exists"])),
        }
        const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            findings.push(not_supported(&at.child("effect"), effect, &EFFECTS));
        }
    }
    findings
}
