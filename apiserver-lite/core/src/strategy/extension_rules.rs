//! What is wrong with the kinds that extend the API. Expressions in CEL are compiled elsewhere; here are the rules around them.

use super::access::Read;
use super::field::{Path, duplicate, forbidden, ill_formed, invalid, not_supported, one_of, required};
use super::labels::validate_selector;
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

const ONE_CLIENT: &str = "exactly one of url or service is required";

pub(super) fn validate_webhooks(object: &Value) -> Findings {
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, webhook) in object.list("webhooks").iter().enumerate() {
        let (at, name) = (Path::new("webhooks").index(index), webhook.text("name"));
        findings.extend(validate_webhook(webhook, &at));
        findings.extend(validate_review_versions(webhook, &at.child("admissionReviewVersions")));
        if !name.is_empty() && seen.contains(&name) {
            findings.push(duplicate(&at.child("name"), name));
        }
        seen.push(name);
    }
    findings
}

fn validate_webhook(webhook: &Value, path: &Path) -> Findings {
    let mut findings = validate_full_name(webhook.text("name"), &path.child("name"));
    for (index, rule) in webhook.list("rules").iter().enumerate() {
        findings.extend(validate_rule(rule, &path.child("rules").index(index)));
    }
    findings.extend(one_of(&path.child("failurePolicy"), webhook.text("failurePolicy"), &["Fail", "Ignore"]));
    findings.extend(one_of(
        &path.child("matchPolicy"),
        webhook.text("matchPolicy"),
        &["Equivalent", "Exact"],
    ));
    const EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
    let (at, effects) = (path.child("sideEffects"), webhook.text("sideEffects"));
    if !webhook.has("sideEffects") {
        findings.push(required(&at, "must specify one of None, NoneOnDryRun"));
    } else if !EFFECTS.contains(&effects) {
        findings.push(not_supported(&at, effects, &EFFECTS));
    }
    let timeout = webhook.number("timeoutSeconds").unwrap_or_default();
    if !(1..=30).contains(&timeout) {
        let why = "the timeout value must be between 1 and 30 seconds";
        findings.push(invalid(&path.child("timeoutSeconds"), timeout, why));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        findings.extend(validate_selector(&webhook[selector], &path.child(selector)));
    }
    if webhook.has("reinvocationPolicy") {
        let policy = webhook.text("reinvocationPolicy");
        findings.extend(one_of(&path.child("reinvocationPolicy"), policy, &["IfNeeded", "Never"]));
    }
    findings.extend(validate_client(&webhook["clientConfig"], &path.child("clientConfig")));
    findings.extend(validate_conditions(webhook, &path.child("matchConditions")));
    findings
}

fn validate_full_name(name: &str, path: &Path) -> Findings {
    if name.is_empty() {
        return vec![required(path, "")];
    }
    let wrong = names::dns_subdomain(name);
    if !wrong.is_empty() {
        return vec![invalid(path, name, &wrong.join(","))];
    }
    if name.split('.').count() < 3 {
        return vec![invalid(
            path,
            name,
            "should be a domain with at least three segments separated by dots",
        )];
    }
    Findings::new()
}

fn validate_rule(rule: &Value, path: &Path) -> Findings {
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    let mut findings = validate_wild_list(rule, "operations", "operations", path);
    for (index, operation) in rule.texts("operations").enumerate() {
        if !OPERATIONS.contains(&operation) {
            findings.push(not_supported(&path.child("operations").index(index), operation, &OPERATIONS));
        }
    }
    findings.extend(validate_wild_list(rule, "apiGroups", "API groups", path));
    findings.extend(validate_wild_list(rule, "apiVersions", "API versions", path));
    for (index, _) in rule.texts("apiVersions").enumerate().filter(|(_, version)| version.is_empty()) {
        findings.push(required(&path.child("apiVersions").index(index), ""));
    }
    findings.extend(validate_resources(rule, &path.child("resources")));
    let scope = rule.text("scope");
    if rule.has("scope") && !["*", "Cluster", "Namespaced"].contains(&scope) {
        findings.push(not_supported(&path.child("scope"), scope, &["*", "Cluster", "Namespaced"]));
    }
    findings
}

/// Not empty, and nothing beside a `*`.
fn validate_wild_list(rule: &Value, list: &str, what: &str, path: &Path) -> Findings {
    let at = path.child(list);
    if rule.lacks(list) {
        return vec![required(&at, "")];
    }
    if rule.list(list).len() > 1 && rule.texts(list).any(|item| item == "*") {
        let why = format!("if '*' is present, must not specify other {what}");
        return vec![invalid(&at, rule[list].clone(), &why)];
    }
    Findings::new()
}

fn validate_resources(rule: &Value, path: &Path) -> Findings {
    let resources: Vec<&str> = rule.texts("resources").collect();
    if resources.is_empty() {
        return vec![required(path, "")];
    }
    let mut findings = Findings::new();
    for (index, resource) in resources.iter().enumerate() {
        let at = path.index(index);
        let Some((name, subresource)) = resource.split_once('/') else {
            if resource.is_empty() {
                findings.push(required(&at, ""));
            }
            continue;
        };
        for wider in [format!("{name}/*"), format!("*/{subresource}")] {
            if resources[..index].contains(&wider.as_str()) {
                let why = format!("if '{wider}' is present, must not specify {resource}");
                findings.push(invalid(&at, *resource, &why));
            }
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        findings.push(invalid(path, rule["resources"].clone(), why));
    }
    if resources.contains(&"*") && resources.iter().any(|name| *name != "*" && !name.contains('/')) {
        let why = "if '*' is present, must not specify other resources without subresources";
        findings.push(invalid(path, rule["resources"].clone(), why));
    }
    findings
}

fn validate_client(config: &Value, path: &Path) -> Findings {
    match (config.has("url"), config.has("service")) {
        (true, false) => validate_url(config.text("url"), &path.child("url")),
        (false, true) => validate_service(&config["service"], &path.child("service")),
        _ => vec![required(path, ONE_CLIENT)],
    }
}

fn validate_url(url: &str, path: &Path) -> Findings {
    const FORM: &str = "; desired format: https://host[/path]";
    let Some((scheme, rest)) = url.split_once("://") else {
        let why = format!("'https' is the only allowed URL scheme{FORM}");
        return vec![invalid(path, "", &why)];
    };
    let mut findings = Findings::new();
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme{FORM}");
        findings.push(invalid(path, scheme, &why));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        findings.push(invalid(path, "", &format!("host must be specified{FORM}")));
    }
    if let Some((user, _)) = host.split_once('@') {
        let why = "user information is not permitted in the URL";
        findings.push(invalid(path, user, why));
    }
    for (mark, what) in [('#', "fragments"), ('?', "query parameters")] {
        if let Some((_, part)) = url.split_once(mark) {
            let why = format!("{what} are not permitted in the URL");
            findings.push(invalid(path, part, &why));
        }
    }
    findings
}

fn validate_service(service: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for field in ["name", "namespace"] {
        if service.text(field).is_empty() {
            let why = format!("service {field} is required");
            findings.push(required(&path.child(field), &why));
        }
    }
    let port = service.number("port").unwrap_or(443);
    for why in names::port_number(port) {
        findings.push(invalid(&path.child("port"), port, &format!("port is not valid: {why}")));
    }
    let target = service.text("path");
    if service.has("path") && !target.starts_with('/') {
        findings.push(invalid(&path.child("path"), target, "must start with a '/'"));
    }
    findings
}

fn validate_review_versions(webhook: &Value, path: &Path) -> Findings {
    let versions: Vec<&str> = webhook.texts("admissionReviewVersions").collect();
    if versions.is_empty() {
        return vec![required(path, "must specify one of v1, v1beta1")];
    }
    let mut findings = Findings::new();
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            findings.push(invalid(&path.index(index), *version, "duplicate version"));
            continue;
        }
        findings.extend(ill_formed(&path.index(index), version, names::dns_1035_label(version)));
    }
    if !versions.iter().any(|version| ["v1", "v1beta1"].contains(version)) {
        let why = "must include at least one of v1, v1beta1";
        findings.push(invalid(path, webhook["admissionReviewVersions"].clone(), why));
    }
    findings
}

fn validate_conditions(holder: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in holder.list("matchConditions").iter().enumerate() {
        let (at, name) = (path.index(index), condition.text("name"));
        if condition.text("expression").trim().is_empty() {
            findings.push(required(&at.child("expression"), ""));
        }
        match name {
            "" => findings.push(required(&at.child("name"), "")),
            _ => findings.extend(ill_formed(&at.child("name"), name, names::qualified_name(name))),
        }
        if !name.is_empty() && seen.contains(&name) {
            findings.push(duplicate(&at.child("name"), name));
        }
        seen.push(name);
    }
    findings
}

pub(super) fn validate_policy(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = validate_policy_frame(spec, &path);
    findings.extend(validate_variables(spec, &path.child("variables")));
    if spec.lacks("validations") && spec.lacks("auditAnnotations") {
        for field in ["validations", "auditAnnotations"] {
            let why = "validations or auditAnnotations must be non-empty";
            findings.push(required(&path.child(field), why));
        }
    }
    for (index, rule) in spec.list("validations").iter().enumerate() {
        let at = path.child("validations").index(index).child("expression");
        if rule.text("expression").trim().is_empty() {
            findings.push(required(&at, "expression is not specified"));
        }
    }
    findings
}

pub(super) fn validate_mutating_policy(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = validate_policy_frame(spec, &path);
    findings.extend(validate_variables(spec, &path.child("variables")));
    if spec.lacks("mutations") {
        let why = "mutations must contain at least one item";
        findings.push(required(&path.child("mutations"), why));
    }
    let policy = spec.text("reinvocationPolicy");
    findings.extend(one_of(&path.child("reinvocationPolicy"), policy, &["IfNeeded", "Never"]));
    findings
}

fn validate_policy_frame(spec: &Value, path: &Path) -> Findings {
    let mut findings = one_of(&path.child("failurePolicy"), spec.text("failurePolicy"), &["Fail", "Ignore"]);
    if spec.has("paramKind") {
        for field in ["apiVersion", "kind"] {
            if spec["paramKind"].text(field).is_empty() {
                findings.push(required(&path.child("paramKind").child(field), ""));
            }
        }
    }
    let at = path.child("matchConstraints");
    if !spec.has("matchConstraints") {
        findings.push(required(&at, ""));
    } else {
        let constraints = &spec["matchConstraints"];
        findings.extend(validate_match(constraints, &at));
        if constraints.lacks("resourceRules") {
            findings.push(required(&at.child("resourceRules"), ""));
        }
    }
    findings.extend(validate_conditions(spec, &path.child("matchConditions")));
    findings
}

fn validate_match(constraints: &Value, path: &Path) -> Findings {
    let policy = constraints.text("matchPolicy");
    let mut findings = one_of(&path.child("matchPolicy"), policy, &["Equivalent", "Exact"]);
    for selector in ["namespaceSelector", "objectSelector"] {
        findings.extend(validate_selector(&constraints[selector], &path.child(selector)));
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in constraints.list(rules).iter().enumerate() {
            findings.extend(validate_rule(rule, &path.child(rules).index(index)));
        }
    }
    findings
}

fn validate_variables(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, variable) in spec.list("variables").iter().enumerate() {
        let (at, name) = (path.index(index), variable.text("name"));
        match name {
            "" => findings.push(required(&at.child("name"), "name is not specified")),
            _ if !names::c_identifier(name).is_empty() => {
                findings.push(invalid(&at.child("name"), name, "must be a valid CEL identifier"));
            }
            _ => {}
        }
        if variable.text("expression").trim().is_empty() {
            findings.push(required(&at.child("expression"), "expression is not specified"));
        }
    }
    findings
}

pub(super) fn validate_binding(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = match spec.text("policyName") {
        "" => vec![required(&path.child("policyName"), "")],
        name => ill_formed(&path.child("policyName"), name, names::dns_subdomain(name)),
    };
    if spec.has("paramRef") {
        findings.extend(validate_parameter(&spec["paramRef"], &path.child("paramRef")));
    }
    if spec.has("matchResources") {
        findings.extend(validate_match(&spec["matchResources"], &path.child("matchResources")));
    }
    if object.text("kind") == "ValidatingAdmissionPolicyBinding" {
        findings.extend(validate_actions(spec, &path.child("validationActions")));
    }
    findings
}

fn validate_parameter(reference: &Value, path: &Path) -> Findings {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let mut findings = Findings::new();
    let (name, has_selector) = (reference.text("name"), reference.has("selector"));
    if !name.is_empty() {
        findings.extend(ill_formed(&path.child("name"), name, names::path_segment(name)));
        if has_selector {
            findings.push(forbidden(&path.child("name"), EXCLUSIVE));
        }
    }
    if has_selector {
        findings.extend(validate_selector(&reference["selector"], &path.child("selector")));
        if !name.is_empty() {
            findings.push(forbidden(&path.child("selector"), EXCLUSIVE));
        }
    }
    if name.is_empty() && !has_selector {
        findings.push(required(path, "one of name or selector must be specified"));
    }
    let action = reference.text("parameterNotFoundAction");
    findings.extend(one_of(&path.child("parameterNotFoundAction"), action, &["Deny", "Allow"]));
    findings
}

fn validate_actions(spec: &Value, path: &Path) -> Findings {
    const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
    const BOTH: &str = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                        API response and headers serves no purpose)";
    let actions: Vec<&str> = spec.texts("validationActions").collect();
    if actions.is_empty() {
        return vec![required(path, "at least one validation action is required")];
    }
    let mut findings = Findings::new();
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(action) {
            findings.push(not_supported(&path.index(index), *action, &ACTIONS));
        }
        if actions[..index].contains(action) {
            findings.push(duplicate(&path.index(index), *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        findings.push(invalid(path, spec["validationActions"].clone(), BOTH));
    }
    findings
}

pub(super) fn validate_api_service(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let name = object["metadata"].text("name");
    let expected = format!("{}.{}", spec.text("version"), spec.text("group"));
    let mut findings = Findings::new();
    if name != expected {
        let why = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
        findings.push(invalid(&Path::new("metadata.name"), name, &why));
    }
    let version = spec.text("version");
    findings.extend(ill_formed(&path.child("version"), version, names::dns_1035_label(version)));
    for (field, high) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = spec.number(field).unwrap_or_default();
        if priority <= 0 || priority > high {
            let why = format!("must be positive and less than {high}");
            findings.push(invalid(&path.child(field), priority, &why));
        }
    }
    if !spec.has("service") {
        if spec.has("caBundle") {
            let why = "local APIServices may not have a caBundle";
            findings.push(invalid(&path.child("caBundle"), spec["caBundle"].clone(), why));
        }
        if spec.flag("insecureSkipTLSVerify") {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            findings.push(invalid(&path.child("insecureSkipTLSVerify"), true, why));
        }
        return findings;
    }
    for field in ["namespace", "name"] {
        if spec["service"].text(field).is_empty() {
            findings.push(required(&path.child("service").child(field), ""));
        }
    }
    if spec.flag("insecureSkipTLSVerify") && spec.has("caBundle") {
        let why = "may not be true if caBundle is present";
        findings.push(invalid(&path.child("insecureSkipTLSVerify"), true, why));
    }
    findings
}

/// What the server must be able to rely on when it stores a definition: names, group, and one version to store.
pub(super) fn validate_definition(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let (group, plural) = (spec.text("group"), spec["names"].text("plural"));
    let mut findings = Findings::new();
    let name = object["metadata"].text("name");
    if name != format!("{plural}.{group}") {
        findings.push(invalid(
            &Path::new("metadata.name"),
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        findings.push(required(&path.child("group"), ""));
    } else {
        findings.extend(ill_formed(&path.child("group"), group, names::dns_subdomain(group)));
        if !group.contains('.') {
            findings.push(invalid(&path.child("group"), group, "should be a domain with at least one dot"));
        }
    }
    findings.extend(one_of(&path.child("scope"), spec.text("scope"), &["Cluster", "Namespaced"]));
    let stored = spec.list("versions").iter().filter(|version| version.flag("storage")).count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        findings.push(invalid(&path.child("versions"), spec["versions"].clone(), why));
    }
    for field in ["plural", "singular", "kind", "listKind"] {
        let (at, name) = (path.child("names").child(field), spec["names"].text(field));
        match name {
            "" => findings.push(required(&at, "")),
            _ => findings.extend(ill_formed(&at, name, names::dns_1035_label(&name.to_lowercase()))),
        }
    }
    findings
}
