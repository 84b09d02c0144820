//! What is wrong with a pod spec, in the order in which upstream looks.

use super::super::access::Read;
use super::super::field::{
    Path, duplicate, forbidden, ill_formed, invalid, invalid_struct, not_supported, one_of, required,
};
use super::super::labels::{validate_annotations, validate_labels};
use super::{containers, resource_rules, scheduling, security, volumes};
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;
use std::net::IpAddr;

const NAMESERVERS_MAX: usize = 3;
const SEARCH_PATHS_MAX: usize = 32;
const SEARCH_CHARACTERS_MAX: usize = 2048;

/// What the parts of a spec need to know of the whole.
pub(super) struct Context<'a> {
    pub spec: &'a Value,
    /// The names and sources of the volumes that are right.
    pub volumes: Vec<&'a Value>,
    pub claims: Vec<&'a str>,
    /// Users of the host, not of a user namespace.
    pub host_users: bool,
}

/// A whole pod at its creation.
pub(super) fn validate_create(pod: &Value) -> Findings {
    let mut findings = validate_pod(pod);
    let (spec, path) = (&pod["spec"], Path::new("spec"));
    if !spec.lacks("ephemeralContainers") {
        findings.push(forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    if !spec.text("nodeName").is_empty() && !spec.lacks("schedulingGates") {
        let why = "cannot be set until all schedulingGates have been cleared";
        findings.push(forbidden(&path.child("nodeName"), why));
    }
    findings
}

/// The rules that hold for a pod at any time.
pub(super) fn validate_pod(pod: &Value) -> Findings {
    let (spec, path) = (&pod["spec"], Path::new("spec"));
    let mut findings = validate_pod_annotations(&pod["metadata"]["annotations"], spec);
    findings.extend(validate_spec(spec, &path));
    if spec.text("serviceAccountName").is_empty() {
        findings.extend(tokens_without_account(spec, &path));
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            findings.extend(containers::validate_image_spaces(container, &path.child(list).index(index)));
        }
    }
    findings
}

fn validate_pod_annotations(annotations: &Value, spec: &Value) -> Findings {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    let path = Path::new("metadata").child("annotations");
    let mut findings = Findings::new();
    if annotations.has(MIRROR) && spec.text("nodeName").is_empty() {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        findings.push(invalid(&path.key(MIRROR), annotations[MIRROR].clone(), why));
    }
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    if annotations.has(COST) && !is_plain_i32(annotations.text(COST)) {
        findings.push(invalid(&path.key(COST), annotations[COST].clone(), "must be a 32bit integer"));
    }
    for (key, profile) in annotations.as_object().into_iter().flatten() {
        let names_profile = key == "seccomp.security.alpha.kubernetes.io/pod"
            || key.starts_with("container.seccomp.security.alpha.kubernetes.io/");
        let profile = profile.as_str().unwrap_or_default();
        let known = matches!(profile, "runtime/default" | "docker/default" | "unconfined")
            || profile.strip_prefix("localhost/").is_some_and(|file| !file.is_empty());
        if names_profile && !known {
            findings.push(invalid(&path.child(key), profile, "must be a valid seccomp profile"));
        }
    }
    findings
}

fn is_plain_i32(text: &str) -> bool {
    text.parse::<i32>().is_ok() && !text.starts_with('+') && (text == "0" || !text.starts_with('0'))
}

fn tokens_without_account(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (volume_index, volume) in spec.list("volumes").iter().enumerate() {
        for (index, source) in volume["projected"].list("sources").iter().enumerate() {
            if source.has("serviceAccountToken") {
                let at = path.child("volumes").index(volume_index).child("projected.sources").index(index);
                let why = "must not be specified when serviceAccountName is not set";
                findings.push(forbidden(&at.child("serviceAccountToken"), why));
            }
        }
    }
    findings
}

/// A `PodTemplateSpec`.
pub(in super::super) fn validate_template(template: &Value, path: &Path) -> Findings {
    let mut findings = validate_labels(&template["metadata"]["labels"], &path.child("labels"));
    findings.extend(validate_annotations(&template["metadata"]["annotations"], &path.child("annotations")));
    findings.extend(validate_spec(&template["spec"], &path.child("spec")));
    if !template["spec"].lacks("ephemeralContainers") {
        let why = "ephemeral containers not allowed in pod template";
        findings.push(forbidden(&path.child("spec.ephemeralContainers"), why));
    }
    findings
}

/// A pod spec, of a pod or a template.
pub(super) fn validate_spec(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let right = volumes::validate(spec, &path.child("volumes"), &mut findings);
    let host_users = spec["hostUsers"].as_bool().unwrap_or(true);
    let claims = spec.list("resourceClaims").iter().map(|claim| claim.text("name")).collect();
    let context = Context { spec, volumes: right, claims, host_users };
    findings.extend(validate_claims(spec, &path.child("resourceClaims")));
    findings.extend(containers::validate_all(&context, path));
    findings.extend(resource_rules::validate_pod_level(spec, path));
    findings.extend(validate_host_network(spec, path));
    findings.extend(one_of(
        &path.child("restartPolicy"),
        spec.text("restartPolicy"),
        &["Always", "OnFailure", "Never"],
    ));
    findings.extend(one_of(
        &path.child("dnsPolicy"),
        spec.text("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    ));
    findings.extend(validate_labels(&spec["nodeSelector"], &path.child("nodeSelector")));
    findings.extend(security::validate_pod(spec, path));
    findings.extend(scheduling::validate_affinity(&spec["affinity"], &path.child("affinity")));
    findings.extend(validate_dns_config(spec, &path.child("dnsConfig")));
    findings.extend(scheduling::validate_gates(spec, path));
    findings.extend(scheduling::validate_spread(spec, &path.child("topologySpreadConstraints")));
    findings.extend(validate_host_users(spec, path));
    findings.extend(validate_names(spec, path));
    findings.extend(scheduling::validate_tolerations(spec.list("tolerations"), &path.child("tolerations")));
    findings.extend(validate_host_aliases(spec, &path.child("hostAliases")));
    findings.extend(validate_classes(spec, path));
    findings
}

fn validate_claims(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut names_seen: Vec<&str> = Vec::new();
    for (index, claim) in spec.list("resourceClaims").iter().enumerate() {
        let (at, name) = (path.index(index), claim.text("name"));
        match name {
            "" => findings.push(required(&at.child("name"), "")),
            _ if names_seen.contains(&name) => findings.push(duplicate(&at.child("name"), name)),
            _ => {
                findings.extend(ill_formed(&at.child("name"), name, names::dns_label(name)));
                names_seen.push(name);
            }
        }
        let sources = (claim.has("resourceClaimName"), claim.has("resourceClaimTemplateName"));
        let why = match sources {
            (true, true) => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            (false, false) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => continue,
        };
        let shown = [
            ("Name", name.into()),
            ("ResourceClaimName", claim["resourceClaimName"].clone()),
            ("ResourceClaimTemplateName", claim["resourceClaimTemplateName"].clone()),
        ];
        findings.push(invalid_struct(&at, &shown, why));
    }
    findings
}

fn validate_host_network(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if !spec.flag("hostNetwork") {
        return findings;
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (container_index, container) in spec.list(list).iter().enumerate() {
            for (index, port) in container.list("ports").iter().enumerate() {
                let host_port = port.number("hostPort").unwrap_or_default();
                if host_port != port.number("containerPort").unwrap_or_default() {
                    let at =
                        path.child(list).index(container_index).child("ports").index(index).child("hostPort");
                    findings.push(invalid(
                        &at,
                        host_port,
                        "must match `containerPort` when `hostNetwork` is true",
                    ));
                }
            }
        }
    }
    findings
}

fn validate_dns_config(spec: &Value, path: &Path) -> Findings {
    let config = &spec["dnsConfig"];
    let servers = config.list("nameservers");
    if spec.text("dnsPolicy") == "None" {
        if config.is_null() {
            return vec![required(path, "must provide `dnsConfig` when `dnsPolicy` is None")];
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return vec![required(&path.child("nameservers"), why)];
        }
    }
    let mut findings = Findings::new();
    let at = path.child("nameservers");
    if servers.len() > NAMESERVERS_MAX {
        let why = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        findings.push(invalid(&at, servers, &why));
    }
    for (index, server) in config.texts("nameservers").enumerate() {
        findings.extend(validate_ip(server, &at.index(index)));
    }
    let searches: Vec<&str> = config.texts("searches").collect();
    let at = path.child("searches");
    if searches.len() > SEARCH_PATHS_MAX {
        let why = format!("must not have more than {SEARCH_PATHS_MAX} search paths");
        findings.push(invalid(&at, config["searches"].clone(), &why));
    }
    if searches.join(" ").len() > SEARCH_CHARACTERS_MAX {
        let why = format!(
            "must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list"
        );
        findings.push(invalid(&at, config["searches"].clone(), &why));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| **search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        findings.extend(ill_formed(&at.index(index), search, names::dns_subdomain_underscore(search)));
    }
    for (index, option) in config.list("options").iter().enumerate() {
        if option.text("name").is_empty() {
            findings.push(required(&path.child("options").index(index), "must not be empty"));
        }
    }
    findings
}

/// Old fields take any text that reads as an address.
pub(in super::super) fn validate_ip(text: &str, path: &Path) -> Findings {
    if text.parse::<IpAddr>().is_ok() {
        return Findings::new();
    }
    vec![invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
}

fn validate_host_users(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if spec["hostUsers"].as_bool() != Some(false) {
        return findings;
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            if !container.lacks("volumeDevices") {
                let at = path.child(list).index(index).child("volumeDevices");
                findings.push(forbidden(&at, "when `hostUsers` is false"));
            }
        }
    }
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec.flag(field) {
            findings.push(forbidden(&path.child(field), "when `hostUsers` is false"));
        }
    }
    findings
}

fn validate_names(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (field, check) in [
        ("serviceAccountName", names::dns_subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::dns_subdomain),
    ] {
        let name = spec.text(field);
        if !name.is_empty() {
            findings.extend(ill_formed(&path.child(field), name, check(name)));
        }
    }
    if let Some(deadline) = spec.number("activeDeadlineSeconds") {
        for why in names::in_range(deadline, 1, i64::from(i32::MAX)) {
            findings.push(invalid(&path.child("activeDeadlineSeconds"), deadline, &why));
        }
    }
    for field in ["hostname", "subdomain"] {
        let name = spec.text(field);
        if !name.is_empty() {
            findings.extend(ill_formed(&path.child(field), name, names::dns_label(name)));
        }
    }
    findings
}

fn validate_host_aliases(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (index, alias) in spec.list("hostAliases").iter().enumerate() {
        let at = path.index(index);
        findings.extend(validate_ip(alias.text("ip"), &at.child("ip")));
        for (index, name) in alias.texts("hostnames").enumerate() {
            findings.extend(ill_formed(
                &at.child("hostnames").index(index),
                name,
                names::dns_subdomain(name),
            ));
        }
    }
    findings
}

fn validate_classes(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for field in ["priorityClassName", "runtimeClassName"] {
        let name = spec.text(field);
        if !name.is_empty() {
            findings.extend(ill_formed(&path.child(field), name, names::dns_subdomain(name)));
        }
    }
    if spec.has("preemptionPolicy") {
        let policy = spec.text("preemptionPolicy");
        findings.extend(one_of(&path.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]));
    }
    findings.extend(resource_rules::validate_overhead(&spec["overhead"], &path.child("overhead")));
    if spec.has("os") {
        match spec["os"].text("name") {
            "" => findings.push(required(&path.child("os.name"), "")),
            "linux" => {}
            "windows" => findings.extend(security::validate_windows_pod(spec, path)),
            other => findings.push(not_supported(&path.child("os"), other, &["linux", "windows"])),
        }
    }
    findings
}
