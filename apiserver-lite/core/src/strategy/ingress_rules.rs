//! What is wrong with Ingresses and IngressClasses.

use super::access::Read;
use super::field::{Path, ill_formed, invalid, not_supported, required, too_long};
use super::networking::validate_domain_path;
use super::pod::validate_port_number;
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;
use std::net::IpAddr;

const CONTROLLER_LENGTH_MAX: usize = 250;
const BAD_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_ENDS: [&str; 2] = ["/..", "/."];

pub(super) fn validate_create(object: &Value) -> Findings {
    const CLASS: &str = "kubernetes.io/ingress.class";
    let mut findings = validate(object);
    let (annotations, spec) = (&object["metadata"]["annotations"], &object["spec"]);
    if annotations.has(CLASS)
        && spec.has("ingressClassName")
        && annotations[CLASS] != spec["ingressClassName"]
    {
        let why = "must match `ingressClassName` when both are specified";
        findings.push(invalid(&Path::new("annotations").child(CLASS), annotations[CLASS].clone(), why));
    }
    findings
}

pub(super) fn validate(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = Findings::new();
    if spec.lacks("rules") && !spec.has("defaultBackend") {
        let why = "either `defaultBackend` or `rules` must be specified";
        findings.push(invalid(&path, spec["rules"].clone(), why));
    }
    if spec.has("defaultBackend") {
        findings.extend(validate_backend(&spec["defaultBackend"], &path.child("defaultBackend")));
    }
    for (index, rule) in spec.list("rules").iter().enumerate() {
        let at = path.child("rules").index(index);
        findings.extend(validate_rule_host(rule.text("host"), &at.child("host")));
        if rule.has("http") {
            findings.extend(validate_paths(&rule["http"], &at.child("http.paths")));
        }
    }
    for (index, tls) in spec.list("tls").iter().enumerate() {
        let at = path.child("tls").index(index);
        for (index, host) in tls.texts("hosts").enumerate() {
            findings.extend(validate_host(host, &at.child("hosts").index(index)));
        }
        let secret = tls.text("secretName");
        if !secret.is_empty() {
            findings.extend(ill_formed(&at.child("secretName"), secret, names::dns_subdomain(secret)));
        }
    }
    if spec.has("ingressClassName") {
        let class = spec.text("ingressClassName");
        findings.extend(ill_formed(&path.child("ingressClassName"), class, names::dns_subdomain(class)));
    }
    findings
}

fn validate_host(host: &str, path: &Path) -> Findings {
    let wrong =
        if host.contains('*') { names::wildcard_dns_subdomain(host) } else { names::dns_subdomain(host) };
    ill_formed(path, host, wrong)
}

fn validate_rule_host(host: &str, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if host.is_empty() {
        return findings;
    }
    if host.parse::<IpAddr>().is_ok() {
        findings.push(invalid(path, host, "must be a DNS name, not an IP address"));
    }
    findings.extend(validate_host(host, path));
    findings
}

fn validate_paths(http: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if http.lacks("paths") {
        findings.push(required(path, ""));
    }
    for (index, entry) in http.list("paths").iter().enumerate() {
        let at = path.index(index);
        if !entry.has("pathType") {
            findings.push(required(&at.child("pathType"), "pathType must be specified"));
            continue;
        }
        findings.extend(validate_path(entry, &at));
        findings.extend(validate_backend(&entry["backend"], &at.child("backend")));
    }
    findings
}

fn validate_path(entry: &Value, path: &Path) -> Findings {
    let (kind, target, at) = (entry.text("pathType"), entry.text("path"), path.child("path"));
    let mut findings = Findings::new();
    match kind {
        "Exact" | "Prefix" => {
            if !target.starts_with('/') {
                findings.push(invalid(&at, target, "must be an absolute path"));
            }
            for bad in BAD_SEQUENCES.iter().filter(|bad| target.contains(**bad)) {
                findings.push(invalid(&at, target, &format!("must not contain '{bad}'")));
            }
            for bad in BAD_ENDS.iter().filter(|bad| target.ends_with(**bad)) {
                findings.push(invalid(&at, target, &format!("cannot end with '{bad}'")));
            }
        }
        "ImplementationSpecific" => {
            if !target.is_empty() && !target.starts_with('/') {
                findings.push(invalid(&at, target, "must be an absolute path"));
            }
        }
        other => {
            let supported = ["Exact", "ImplementationSpecific", "Prefix"];
            findings.push(not_supported(&path.child("pathType"), other, &supported));
        }
    }
    findings
}

fn validate_backend(backend: &Value, path: &Path) -> Findings {
    match (backend.has("resource"), backend.has("service")) {
        (true, true) => vec![invalid(path, "", "cannot set both resource and service backends")],
        (true, false) => validate_reference(&backend["resource"], &path.child("resource")),
        (false, true) => validate_service(&backend["service"], path),
        (false, false) => vec![invalid(path, "", "resource or service backend is required")],
    }
}

fn validate_service(service: &Value, path: &Path) -> Findings {
    let at = path.child("service");
    let mut findings = match service.text("name") {
        "" => vec![required(&at.child("name"), "")],
        name => ill_formed(&at.child("name"), name, names::dns_label(name)),
    };
    let port = &service["port"];
    match (port.text("name"), port.number("number").unwrap_or_default()) {
        ("", 0) => findings.push(required(path, "port name or number is required")),
        ("", number) => findings.extend(validate_port_number(number, &at.child("port.number"))),
        (name, 0) => findings.extend(ill_formed(&at.child("port.name"), name, names::port_name(name))),
        _ => findings.push(invalid(path, "", "cannot set both port name & port number")),
    }
    findings
}

fn validate_reference(reference: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if reference.has("apiGroup") {
        let group = reference.text("apiGroup");
        findings.extend(ill_formed(&path.child("apiGroup"), group, names::dns_subdomain(group)));
    }
    for field in ["kind", "name"] {
        match reference.text(field) {
            "" => findings.push(required(&path.child(field), "")),
            text => findings.extend(ill_formed(&path.child(field), text, names::path_segment(text))),
        }
    }
    findings
}

pub(super) fn validate_class(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = Findings::new();
    let controller = spec.text("controller");
    if controller.len() > CONTROLLER_LENGTH_MAX {
        findings.push(too_long(&path.child("controller"), CONTROLLER_LENGTH_MAX));
    }
    findings.extend(validate_domain_path(controller, &path.child("controller")));
    if !spec.has("parameters") {
        return findings;
    }
    let (parameters, at) = (&spec["parameters"], path.child("parameters"));
    findings.extend(validate_reference(parameters, &at));
    match (parameters.text("scope"), parameters.has("namespace")) {
        ("Cluster", false) | ("Namespace", true) => {}
        ("Cluster", true) => {
            let why = "`parameters.scope` is set to 'Cluster'";
            findings.push(super::field::forbidden(&at.child("namespace"), why));
        }
        ("Namespace", false) => {
            findings.push(required(&at.child("namespace"), "`parameters.scope` is set to 'Namespace'"));
        }
        (other, _) => findings.push(not_supported(&at.child("scope"), other, &["Cluster", "Namespace"])),
    }
    findings
}
