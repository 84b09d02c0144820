//! Roles and their bindings.

use super::access::{Fill, Read};
use super::field::{Path, ill_formed, invalid, invalid_struct, not_supported, required};
use super::labels::validate_selector;
use super::usual::Usual;
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) static ROLE: Usual = Usual {
    default: default_role,
    validate: |object| validate_rules(object, true),
    validate_update: |object, _| validate_rules(object, true),
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static CLUSTER_ROLE: Usual = Usual {
    default: default_role,
    validate: validate_cluster_role,
    validate_update: |object, _| validate_cluster_role(object),
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static ROLE_BINDING: Usual = Usual {
    default: default_binding,
    validate: |object| validate_binding(object, true),
    validate_update: |object, old| validate_binding_update(object, old, true),
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static CLUSTER_ROLE_BINDING: Usual = Usual {
    default: default_binding,
    validate: |object| validate_binding(object, false),
    validate_update: |object, old| validate_binding_update(object, old, false),
    create_on_update: true,
    ..Usual::PLAIN
};

fn default_role(object: &mut Value) {
    if object.lacks("rules") {
        object["rules"] = Value::Null;
    }
}

fn default_binding(object: &mut Value) {
    object.child("roleRef").fill_text("apiGroup", GROUP);
    object.each("subjects", |subject| {
        if matches!(subject.text("kind"), "User" | "Group") {
            subject.fill_text("apiGroup", GROUP);
        }
    });
}

fn validate_rules(object: &Value, is_namespaced: bool) -> Findings {
    let rules = object.list("rules").iter().enumerate();
    rules
        .flat_map(|(index, rule)| validate_rule(rule, is_namespaced, &Path::new("rules").index(index)))
        .collect()
}

fn validate_rule(rule: &Value, is_namespaced: bool, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if rule.lacks("verbs") {
        findings.push(required(&path.child("verbs"), "verbs must contain at least one value"));
    }
    if !rule.lacks("nonResourceURLs") {
        let at = path.child("nonResourceURLs");
        let mut refuse = |why: &str| findings.push(invalid(&at, rule["nonResourceURLs"].clone(), why));
        if is_namespaced {
            refuse("namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|list| !rule.lacks(list)) {
            refuse("rules cannot apply to both regular resources and non-resource URLs");
        }
        return findings;
    }
    if rule.lacks("apiGroups") {
        let why = "resource rules must supply at least one api group";
        findings.push(required(&path.child("apiGroups"), why));
    }
    if rule.lacks("resources") {
        findings.push(required(&path.child("resources"), "resource rules must supply at least one resource"));
    }
    findings
}

fn validate_cluster_role(object: &Value) -> Findings {
    let mut findings = validate_rules(object, false);
    if object.has("aggregationRule") {
        let at = Path::new("aggregationRule").child("clusterRoleSelectors");
        let selectors = object["aggregationRule"].list("clusterRoleSelectors");
        if selectors.is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            findings.push(required(&at, why));
        }
        for (index, selector) in selectors.iter().enumerate() {
            findings.extend(validate_selector(selector, &at.index(index)));
        }
    }
    findings
}

fn validate_binding(object: &Value, is_namespaced: bool) -> Findings {
    let (role, path) = (&object["roleRef"], Path::new("roleRef"));
    let mut findings = Findings::new();
    if role.text("apiGroup") != GROUP {
        findings.push(not_supported(&path.child("apiGroup"), role.text("apiGroup"), &[GROUP]));
    }
    let kinds: &[&str] = if is_namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&role.text("kind")) {
        findings.push(not_supported(&path.child("kind"), role.text("kind"), kinds));
    }
    match role.text("name") {
        "" => findings.push(required(&path.child("name"), "")),
        name => findings.extend(ill_formed(&path.child("name"), name, names::path_segment(name))),
    }
    for (index, subject) in object.list("subjects").iter().enumerate() {
        findings.extend(validate_subject(subject, is_namespaced, &Path::new("subjects").index(index)));
    }
    findings
}

fn validate_subject(subject: &Value, is_namespaced: bool, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let (name, group) = (subject.text("name"), subject.text("apiGroup"));
    if name.is_empty() {
        findings.push(required(&path.child("name"), ""));
    }
    match subject.text("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                findings.extend(ill_formed(&path.child("name"), name, names::dns_subdomain(name)));
            }
            if !group.is_empty() {
                findings.push(not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !is_namespaced && subject.text("namespace").is_empty() {
                findings.push(required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            findings.push(not_supported(&path.child("apiGroup"), group, &[GROUP]));
        }
        "User" | "Group" => {}
        other => {
            findings.push(not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]));
        }
    }
    findings
}

fn validate_binding_update(object: &Value, old: &Value, is_namespaced: bool) -> Findings {
    let mut findings = validate_binding(object, is_namespaced);
    let role = &object["roleRef"];
    if *role != old["roleRef"] {
        let shown = ["APIGroup", "Kind", "Name"].into_iter().zip(["apiGroup", "kind", "name"]);
        let shown: Vec<(&str, Value)> = shown.map(|(name, field)| (name, role[field].clone())).collect();
        findings.push(invalid_struct(&Path::new("roleRef"), &shown, "cannot change roleRef"));
    }
    findings
}
