//! CertificateSigningRequests. Who asks is filled in by the registry, which knows the user.

use super::access::{Fill, Read};
use super::field::{Path, duplicate, ill_formed, invalid, not_supported, required};
use super::usual::Usual;
use crate::status::Findings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kedge_api::{Time, names};
use serde_json::{Value, json};

const SECONDS_MIN: i64 = 600;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(super) static SIGNING_REQUEST: Usual = Usual {
    default: |object| {
        object.child("status");
    },
    status: Some(|_| json!({})),
    on_update: |object, old| object.take_from(old, "spec"),
    validate: validate_request,
    validate_update: |object, _| validate_request(object),
    validate_part: |object, _, _| validate_conditions(&object["status"]),
    ..Usual::PLAIN
};

/// Conditions that come without their times get them: a known one keeps when it came to be.
pub fn stamp_conditions(object: &mut Value, old: &Value, now: Time) {
    let before = old["status"].list("conditions").to_vec();
    object.child("status").each("conditions", |condition| {
        condition.fill("lastUpdateTime", now.to_string());
        let same = |old: &&Value| old["type"] == condition["type"] && old["status"] == condition["status"];
        let since = before.iter().find(same).map(|old| old["lastTransitionTime"].clone());
        let since = since.filter(|since| !since.is_null()).unwrap_or_else(|| now.to_string().into());
        condition.fill("lastTransitionTime", since);
    });
}

/// What an approver or a signer may say.
fn validate_conditions(status: &Value) -> Findings {
    let path = Path::new("status").child("conditions");
    let mut findings = Findings::new();
    for (index, condition) in status.list("conditions").iter().enumerate() {
        let at = path.index(index);
        let (kind, value) = (condition.text("type"), condition.text("status"));
        if kind.is_empty() {
            findings.push(required(&at.child("type"), ""));
        }
        let known: &[&str] = match kind {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        match value {
            "" => findings.push(required(&at.child("status"), "")),
            value if !known.contains(&value) => {
                findings.push(not_supported(&at.child("status"), value, known))
            }
            _ => {}
        }
    }
    let has =
        |wanted: &str| status.list("conditions").iter().any(|condition| condition.text("type") == wanted);
    if has("Approved") && has("Denied") {
        findings.push(invalid(&path, Value::Null, "Approved and Denied conditions are mutually exclusive"));
    }
    findings
}

fn validate_request(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = Findings::new();
    if !is_request(spec.text("request")) {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        findings.push(invalid(&path.child("request"), spec["request"].clone(), why));
    }
    let at = path.child("usages");
    if spec.lacks("usages") {
        findings.push(required(&at, ""));
    }
    let usages: Vec<&str> = spec.texts("usages").collect();
    for (index, usage) in usages.iter().enumerate().filter(|(_, usage)| !USAGES.contains(usage)) {
        findings.push(not_supported(&at.index(index), *usage, &USAGES));
    }
    for (index, usage) in usages.iter().enumerate().filter(|(index, usage)| usages[..*index].contains(usage))
    {
        findings.push(duplicate(&at.index(index), *usage));
    }
    findings.extend(validate_signer(spec.text("signerName"), &path.child("signerName")));
    if let Some(seconds) = spec.number("expirationSeconds").filter(|seconds| *seconds < SECONDS_MIN) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        findings.push(invalid(&path.child("expirationSeconds"), seconds, why));
    }
    findings
}

/// Only the envelope is looked at here; the signer reads what is inside.
fn is_request(encoded: &str) -> bool {
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.contains("-----BEGIN CERTIFICATE REQUEST-----") && text.contains("-----END CERTIFICATE REQUEST-----")
}

fn validate_signer(name: &str, path: &Path) -> Findings {
    if name == "kubernetes.io/legacy-unknown" {
        return vec![invalid(path, name, "the legacy signerName is not allowed via this API version")];
    }
    if name.is_empty() {
        return vec![required(path, "")];
    }
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [domain, path_part] if !domain.is_empty() && !path_part.is_empty() => {
            let mut findings = ill_formed(path, domain, names::dns_subdomain(domain));
            if !domain.contains('.') {
                let why = "should be a domain with at least two segments separated by dots";
                findings.push(invalid(path, domain, why));
            }
            findings.extend(ill_formed(path, path_part, names::dns_subdomain(path_part)));
            findings
        }
        _ => {
            let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            vec![invalid(path, name, why)]
        }
    }
}
