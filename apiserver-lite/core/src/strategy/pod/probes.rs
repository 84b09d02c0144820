//! Probes and lifecycle hooks: exactly one handler each.

use super::super::access::Read;
use super::super::field::{Path, forbidden, invalid, not_negative, not_supported, required};
use super::containers::validate_port_number;
use super::validation::Context;
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

pub(super) fn validate_of_container(container: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let grace = context.spec.number("terminationGracePeriodSeconds");
    let mut findings = validate_lifecycle(&container["lifecycle"], grace, &path.child("lifecycle"));
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container.has(name) {
            findings.extend(validate_probe(&container[name], name, grace, &path.child(name)));
        }
    }
    findings
}

fn validate_lifecycle(lifecycle: &Value, grace: Option<i64>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for hook in ["postStart", "preStop"] {
        if lifecycle.has(hook) {
            findings.extend(validate_handler(&lifecycle[hook], grace, &path.child(hook)));
        }
    }
    findings
}

fn validate_probe(probe: &Value, name: &str, grace: Option<i64>, path: &Path) -> Findings {
    let mut findings = validate_handler(probe, grace, path);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        findings.extend(not_negative(&path.child(field), probe.number(field).unwrap_or_default()));
    }
    if name == "readinessProbe" {
        if probe.has("terminationGracePeriodSeconds") {
            let value = probe["terminationGracePeriodSeconds"].clone();
            let why = "must not be set for readinessProbes";
            findings.push(invalid(&path.child("terminationGracePeriodSeconds"), value, why));
        }
        return findings;
    }
    if let Some(period) = probe.number("terminationGracePeriodSeconds").filter(|period| *period <= 0) {
        findings.push(invalid(
            &path.child("terminationGracePeriodSeconds"),
            period,
            "must be greater than 0",
        ));
    }
    let threshold = probe.number("successThreshold").unwrap_or_default();
    if threshold != 1 {
        findings.push(invalid(&path.child("successThreshold"), threshold, "must be 1"));
    }
    findings
}

fn validate_handler(handler: &Value, grace: Option<i64>, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut found = false;
    for name in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        if !handler.has(name) {
            continue;
        }
        let (action, at) = (&handler[name], path.child(name));
        if found {
            findings.push(forbidden(&at, "may not specify more than 1 handler type"));
            continue;
        }
        found = true;
        findings.extend(match name {
            "exec" if action.lacks("command") => vec![required(&at.child("command"), "")],
            "httpGet" => validate_http_get(action, &at),
            "tcpSocket" => validate_port(&action["port"], &at.child("port")),
            "grpc" => validate_port_number(action.number("port").unwrap_or_default(), &at.child("port")),
            "sleep" => validate_sleep(action, grace, &at),
            _ => Findings::new(),
        });
    }
    if !found {
        findings.push(required(path, "must specify a handler type"));
    }
    findings
}

fn validate_http_get(action: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if action.text("path").is_empty() {
        findings.push(required(&path.child("path"), ""));
    }
    findings.extend(validate_port(&action["port"], &path.child("port")));
    let scheme = action.text("scheme");
    if !["HTTP", "HTTPS"].contains(&scheme) {
        findings.push(not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in action.list("httpHeaders") {
        let name = header.text("name");
        for why in names::http_header_name(name) {
            findings.push(invalid(&path.child("httpHeaders"), name, &why));
        }
    }
    findings
}

/// A port by number or by name.
pub(in super::super) fn validate_port(port: &Value, path: &Path) -> Findings {
    match port {
        Value::String(name) => {
            names::port_name(name).iter().map(|why| invalid(path, name.as_str(), why)).collect()
        }
        other => validate_port_number(other.as_i64().unwrap_or_default(), path),
    }
}

fn validate_sleep(action: &Value, grace: Option<i64>, path: &Path) -> Findings {
    let seconds = action.number("seconds").unwrap_or_default();
    match grace {
        Some(grace) if seconds < 0 || seconds > grace => {
            let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            vec![invalid(path, seconds, &why)]
        }
        _ => Findings::new(),
    }
}
