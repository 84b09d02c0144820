//! Amounts of resources: names, values, and what must agree with what.

use super::super::access::Read;
use super::super::field::{Path, forbidden, ill_formed, invalid, not_found, not_supported, required};
use super::resources::{amounts, of_containers};
use super::validation::Context;
use crate::status::Findings;
use kedge_api::{Quantity, names};
use serde_json::Value;

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Names that a container may ask for without a domain.
fn is_standard_for_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(name)
}

/// Names without a domain that mean something anywhere.
fn is_standard(name: &str) -> bool {
    is_standard_for_containers(name)
        || name.starts_with("requests.hugepages-")
        || matches!(
            name,
            "requests.cpu"
                | "requests.memory"
                | "requests.ephemeral-storage"
                | "limits.cpu"
                | "limits.memory"
                | "limits.ephemeral-storage"
                | "pods"
                | "resourcequotas"
                | "services"
                | "replicationcontrollers"
                | "secrets"
                | "persistentvolumeclaims"
                | "configmaps"
                | "services.nodeports"
                | "services.loadbalancers"
                | "storage"
                | "requests.storage"
        )
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// More may be promised than there is: not of extended resources and huge pages.
fn allows_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// The name of a resource anywhere in the API.
pub(in super::super) fn validate_name(name: &str, path: &Path) -> Findings {
    let findings = ill_formed(path, name, names::qualified_name(name));
    if findings.is_empty() && !name.contains('/') && !is_standard(name) {
        return vec![invalid(path, name, "must be a standard resource type or fully qualified")];
    }
    findings
}

/// A value for a resource: never negative, whole where the resource is counted.
pub(in super::super) fn validate_value(name: &str, amount: Quantity, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if amount.is_negative() {
        findings.push(invalid(path, amount.to_string(), NOT_NEGATIVE));
    }
    let is_counted = is_extended(name)
        || matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        );
    if is_counted && !amount.is_whole() {
        findings.push(invalid(path, amount.to_string(), "must be an integer"));
    }
    findings
}

fn validate_container_name(name: &str, path: &Path) -> Findings {
    let mut findings = validate_name(name, path);
    if !name.contains('/') {
        if !is_standard_for_containers(name) {
            findings.push(invalid(path, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        findings.push(invalid(path, name, "doesn't follow extended resource name standard"));
    }
    findings
}

fn validate_pod_name(name: &str, path: &Path) -> Findings {
    let findings = validate_name(name, path);
    let is_supported = matches!(name, "cpu" | "memory") || is_huge_page(name);
    if findings.is_empty() && !is_supported {
        return vec![not_supported(path, name, &["cpu", "hugepages-", "memory"])];
    }
    findings
}

pub(super) fn validate_container(resources: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = validate_requirements(resources, validate_container_name, path);
    let mut seen: Vec<&str> = Vec::new();
    for (index, claim) in resources.list("claims").iter().enumerate() {
        let (at, name) = (path.child("claims").index(index), claim.text("name"));
        if name.is_empty() {
            findings.push(required(&at.child("name"), ""));
        } else if seen.contains(&name) {
            findings.push(super::super::field::duplicate(&at, name));
        } else if !context.claims.contains(&name) {
            findings.push(not_found(&at, name));
        }
        seen.push(name);
    }
    findings
}

type NameCheck = fn(&str, &Path) -> Findings;

fn validate_requirements(resources: &Value, check_name: NameCheck, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let (limits, requests) = (amounts(&resources["limits"]), amounts(&resources["requests"]));
    let (at_limits, at_requests) = (path.child("limits"), path.child("requests"));
    for (name, amount) in &limits {
        let at = at_limits.key(name);
        findings.extend(check_name(name, &at));
        findings.extend(validate_value(name, *amount, &at));
        findings.extend(validate_huge_pages(name, *amount, &at));
    }
    for (name, amount) in &requests {
        let at = at_requests.key(name);
        findings.extend(check_name(name, &at));
        findings.extend(validate_value(name, *amount, &at));
        let overcommit = allows_overcommit(name);
        match limits.get(name) {
            Some(limit) if amount != limit && !overcommit => {
                let why = format!("must be equal to {name} limit of {limit}");
                findings.push(invalid(&at_requests, amount.to_string(), &why));
            }
            Some(limit) if amount > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                findings.push(invalid(&at_requests, amount.to_string(), &why));
            }
            None if !overcommit => {
                findings.push(required(&at_limits, "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
        findings.extend(validate_huge_pages(name, *amount, &at));
    }
    let mut all = limits.keys().chain(requests.keys());
    let has_usual = all.clone().any(|name| matches!(name.as_str(), "cpu" | "memory"));
    if !has_usual && all.any(|name| is_huge_page(name)) {
        findings.push(forbidden(path, "HugePages require cpu or memory"));
    }
    findings
}

fn validate_huge_pages(name: &str, amount: Quantity, path: &Path) -> Findings {
    let Some(size) = name.strip_prefix("hugepages-") else {
        return Findings::new();
    };
    let page = size.parse().map(Quantity::value).unwrap_or(0);
    if page > 0 && amount.is_whole() && amount.value() % page == 0 {
        return Findings::new();
    }
    let why = format!("{amount} is not positive integer multiple of {name}");
    vec![invalid(path, amount.to_string(), &why)]
}

/// `spec.resources`: the pod's own amounts cover those of its containers.
pub(super) fn validate_pod_level(spec: &Value, path: &Path) -> Findings {
    if !spec.has("resources") {
        return Findings::new();
    }
    let (resources, at) = (&spec["resources"], path.child("resources"));
    let mut findings = Findings::new();
    if resources.has("claims") {
        let why = "claims may not be set for Resources at pod-level";
        findings.push(forbidden(&at.child("claims"), why));
    }
    findings.extend(validate_requirements(resources, validate_pod_name, &at));
    let own = amounts(&resources["requests"]);
    for (name, sum) in of_containers(spec, "requests") {
        if let Some(request) = own.get(&name).filter(|request| **request < sum) {
            let why = format!("must be greater than or equal to aggregate container requests of {sum}");
            findings.push(invalid(&at.child("requests").key(&name), request.to_string(), &why));
        }
    }
    findings
}

/// What the runtime class takes for itself.
pub(in super::super) fn validate_overhead(overhead: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (name, amount) in amounts(overhead) {
        let at = path.key(&name);
        findings.extend(validate_container_name(&name, &at));
        findings.extend(validate_value(&name, amount, &at));
        findings.extend(validate_huge_pages(&name, amount, &at));
    }
    findings
}
