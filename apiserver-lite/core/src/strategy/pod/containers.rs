//! Containers of all three kinds: what they share, and what each may not have.

use super::super::access::Read;
use super::super::field::{
    Path, duplicate, forbidden, ill_formed, invalid, not_found, not_supported, one_of, required, too_many,
};
use super::validation::Context;
use super::{environment, mounts, probes, resource_rules, security};
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

pub(super) fn validate_all(context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = validate_containers(context, &path.child("containers"));
    findings.extend(validate_init_containers(context, &path.child("initContainers")));
    findings.extend(validate_ephemeral_containers(context, &path.child("ephemeralContainers")));
    findings
}

fn validate_containers(context: &Context<'_>, path: &Path) -> Findings {
    let containers = context.spec.list("containers");
    if containers.is_empty() {
        return vec![required(path, "")];
    }
    let mut findings = Findings::new();
    let mut names_seen: Vec<&str> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let at = path.index(index);
        findings.extend(validate_common(container, context, &at));
        let name = container.text("name");
        if names_seen.contains(&name) {
            findings.push(duplicate(&at.child("name"), name));
        }
        names_seen.push(name);
        findings.extend(probes::validate_of_container(container, context, &at));
        findings.extend(validate_restart_policy(container, &at));
    }
    findings.extend(host_port_conflicts(containers, path, 0));
    findings
}

fn validate_init_containers(context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut names_seen: Vec<&str> = context.spec.list("containers").iter().map(|c| c.text("name")).collect();
    for (index, container) in context.spec.list("initContainers").iter().enumerate() {
        let at = path.index(index);
        findings.extend(validate_common(container, context, &at));
        findings.extend(validate_restart_policy(container, &at));
        let name = container.text("name");
        if names_seen.contains(&name) {
            findings.push(duplicate(&at.child("name"), name));
        } else if !name.is_empty() {
            names_seen.push(name);
        }
        findings.extend(host_port_conflicts(std::slice::from_ref(container), path, index));
        if container.text("restartPolicy") == "Always" {
            findings.extend(probes::validate_of_container(container, context, &at));
            continue;
        }
        for field in ["lifecycle"].iter().chain(&PROBES) {
            if container.has(field) {
                let why = "may not be set for init containers without restartPolicy=Always";
                findings.push(forbidden(&at.child(field), why));
            }
        }
    }
    findings
}

/// Everything that an ephemeral container may not bring.
const NOT_EPHEMERAL: [&str; 8] = [
    "ports",
    "resources",
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "resizePolicy",
    "restartPolicy",
];

fn validate_ephemeral_containers(context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut names_seen: Vec<&str> = Vec::new();
    for list in ["containers", "initContainers"] {
        names_seen.extend(context.spec.list(list).iter().map(|container| container.text("name")));
    }
    let targets = names_seen.clone();
    for (index, container) in context.spec.list("ephemeralContainers").iter().enumerate() {
        let at = path.index(index);
        findings.extend(validate_common(container, context, &at));
        findings.extend(validate_image_spaces(container, &at));
        let name = container.text("name");
        if names_seen.contains(&name) {
            findings.push(duplicate(&at.child("name"), name));
        }
        names_seen.push(name);
        let target = container.text("targetContainerName");
        if !target.is_empty() && !targets.contains(&target) {
            findings.push(not_found(&at.child("targetContainerName"), target));
        }
        for field in NOT_EPHEMERAL.iter().filter(|field| is_set(&container[**field])) {
            findings.push(forbidden(&at.child(field), "cannot be set for an Ephemeral Container"));
        }
        for (index, mount) in container.list("volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"].iter().filter(|field| !mount.text(field).is_empty()) {
                let at = at.child("volumeMounts").index(index).child(field);
                findings.push(forbidden(&at, "cannot be set for an Ephemeral Container"));
            }
        }
    }
    findings
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn validate_common(container: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = match container.text("name") {
        "" => vec![required(&path.child("name"), "")],
        name => ill_formed(&path.child("name"), name, names::dns_label(name)),
    };
    if container.text("image").is_empty() {
        findings.push(required(&path.child("image"), ""));
    }
    findings.extend(one_of(
        &path.child("terminationMessagePolicy"),
        container.text("terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
    ));
    findings.extend(validate_ports(container.list("ports"), &path.child("ports")));
    findings.extend(environment::validate_env(container.list("env"), &path.child("env")));
    findings.extend(environment::validate_env_from(container.list("envFrom"), &path.child("envFrom")));
    findings.extend(mounts::validate(container, context, path));
    findings.extend(one_of(
        &path.child("imagePullPolicy"),
        container.text("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    ));
    findings.extend(resource_rules::validate_container(
        &container["resources"],
        context,
        &path.child("resources"),
    ));
    findings.extend(validate_resize_policy(container, context, &path.child("resizePolicy")));
    findings.extend(security::validate_container(container, context, &path.child("securityContext")));
    findings
}

/// Only in pods: templates may hold what a mutating webhook is going to mend.
pub(super) fn validate_image_spaces(container: &Value, path: &Path) -> Findings {
    let image = container.text("image");
    if image == image.trim() {
        return Findings::new();
    }
    vec![invalid(&path.child("image"), image, "must not have leading or trailing whitespace")]
}

fn validate_ports(ports: &[Value], path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut names_seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let (at, name) = (path.index(index), port.text("name"));
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if !wrong.is_empty() {
                findings.extend(ill_formed(&at.child("name"), name, wrong));
            } else if names_seen.contains(&name) {
                findings.push(duplicate(&at.child("name"), name));
            } else {
                names_seen.push(name);
            }
        }
        match port.number("containerPort").unwrap_or_default() {
            0 => findings.push(required(&at.child("containerPort"), "")),
            number => findings.extend(validate_port_number(number, &at.child("containerPort"))),
        }
        let host_port = port.number("hostPort").unwrap_or_default();
        if host_port != 0 {
            findings.extend(validate_port_number(host_port, &at.child("hostPort")));
        }
        findings.extend(one_of(&at.child("protocol"), port.text("protocol"), &["SCTP", "TCP", "UDP"]));
    }
    findings
}

pub(in super::super) fn validate_port_number(number: i64, path: &Path) -> Findings {
    names::port_number(number).iter().map(|why| invalid(path, number, why)).collect()
}

/// No two ports of these containers may claim the same port of the host. `offset` is the index of the first.
fn host_port_conflicts(containers: &[Value], path: &Path, offset: usize) -> Findings {
    let mut findings = Findings::new();
    let mut claimed: Vec<String> = Vec::new();
    for (container_index, container) in containers.iter().enumerate() {
        for (index, port) in container.list("ports").iter().enumerate() {
            let host_port = port.number("hostPort").unwrap_or_default();
            if host_port == 0 {
                continue;
            }
            let claim = format!("{}/{}/{host_port}", port.text("protocol"), port.text("hostIP"));
            let at = path.index(offset + container_index).child("ports").index(index).child("hostPort");
            if claimed.contains(&claim) {
                findings.push(duplicate(&at, claim));
            } else {
                claimed.push(claim);
            }
        }
    }
    findings
}

fn validate_restart_policy(container: &Value, path: &Path) -> Findings {
    const RULES_MAX: usize = 20;
    const EXIT_CODES_MAX: usize = 255;
    let mut findings = Findings::new();
    let (policy, rules) = (container.text("restartPolicy"), container.list("restartPolicyRules"));
    if !container.has("restartPolicy") {
        if !rules.is_empty() {
            let why = "must specify restartPolicy when restart rules are used";
            findings.push(required(&path.child("restartPolicy"), why));
        }
    } else if !["Always", "Never", "OnFailure"].contains(&policy) {
        let at = path.child("restartPolicy");
        findings.push(not_supported(&at, policy, &["Always", "Never", "OnFailure"]));
    }
    let at = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        findings.push(too_many(&at, rules.len(), RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        let action = rule.text("action");
        if !["Restart", "RestartAllContainers"].contains(&action) {
            findings.push(not_supported(&at.child("action"), action, &["Restart", "RestartAllContainers"]));
        }
        if rule.has("exitCodes") {
            let (codes, at) = (&rule["exitCodes"], at.child("exitCodes"));
            let operator = codes.text("operator");
            if !["In", "NotIn"].contains(&operator) {
                findings.push(not_supported(&at.child("operator"), operator, &["In", "NotIn"]));
            }
            if codes.list("values").len() > EXIT_CODES_MAX {
                findings.push(too_many(&at.child("values"), codes.list("values").len(), EXIT_CODES_MAX));
            }
        } else {
            findings.push(required(&at.child("exitCodes"), "must be specified"));
        }
    }
    findings
}

fn validate_resize_policy(container: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, policy) in container.list("resizePolicy").iter().enumerate() {
        let (resource, restart) = (policy.text("resourceName"), policy.text("restartPolicy"));
        if seen.contains(&resource) {
            findings.push(duplicate(&path.index(index), resource));
        }
        seen.push(resource);
        findings.extend(one_of(path, resource, &["cpu", "memory"]));
        findings.extend(one_of(path, restart, &["NotRequired", "RestartContainer"]));
        if context.spec.text("restartPolicy") == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            findings.push(invalid(path, restart, why));
        }
    }
    findings
}
