//! FlowSchemas and PriorityLevelConfigurations. They are stored; the server's own limits do not read them.

use super::access::{Fill, Read};
use super::field::{Path, forbidden, ill_formed, invalid, not_supported, required};
use super::usual::{ALL_METADATA, Usual};
use crate::status::Findings;
use kedge_api::names;
use serde_json::{Value, json};

pub(super) static FLOW_SCHEMA: Usual = Usual {
    status_keeps: ALL_METADATA,
    default: |object| {
        object.child("spec").fill_number("matchingPrecedence", 1000);
        object.child("status");
    },
    status: Some(|_| json!({})),
    generation: &["spec"],
    validate: validate_flow_schema,
    validate_update: |object, _| validate_flow_schema(object),
    ..Usual::PLAIN
};

pub(super) static PRIORITY_LEVEL: Usual = Usual {
    status_keeps: ALL_METADATA,
    default: default_priority_level,
    status: Some(|_| json!({})),
    generation: &["spec"],
    validate: validate_priority_level,
    validate_update: |object, _| validate_priority_level(object),
    ..Usual::PLAIN
};

fn default_priority_level(object: &mut Value) {
    object.child("status");
    let spec = object.child("spec");
    spec.with("exempt", |exempt| {
        exempt.fill("nominalConcurrencyShares", 0);
        exempt.fill("lendablePercent", 0);
    });
    spec.with("limited", |limited| {
        limited.fill("nominalConcurrencyShares", 30);
        limited.fill("lendablePercent", 0);
        if limited["limitResponse"].text("type") == "Queue" {
            limited.child("limitResponse").with("queuing", |queuing| {
                queuing.fill_number("handSize", 8);
                queuing.fill_number("queues", 64);
                queuing.fill_number("queueLengthLimit", 50);
            });
        }
    });
}

fn validate_flow_schema(object: &Value) -> Findings {
    const PRECEDENCE_MAX: i64 = 10_000;
    const METHODS: [&str; 2] = ["ByNamespace", "ByUser"];
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let (at, precedence) =
        (path.child("matchingPrecedence"), spec.number("matchingPrecedence").unwrap_or_default());
    let mut findings = Findings::new();
    if precedence <= 0 {
        findings.push(invalid(&at, precedence, "must be a positive value"));
    }
    if precedence > PRECEDENCE_MAX {
        findings.push(invalid(&at, precedence, &format!("must not be greater than {PRECEDENCE_MAX}")));
    }
    if precedence == 1 && object["metadata"].text("name") != "exempt" {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        findings.push(invalid(&at, precedence, why));
    }
    let method = spec["distinguisherMethod"].text("type");
    if spec.has("distinguisherMethod") && !METHODS.contains(&method) {
        let at = path.child("distinguisherMethod.type");
        findings.push(not_supported(&at, json!({"Type": method}), &METHODS));
    }
    let at = path.child("priorityLevelConfiguration.name");
    match spec["priorityLevelConfiguration"].text("name") {
        "" => findings.push(required(&at, "must reference a priority level")),
        name => findings.extend(ill_formed(&at, name, names::dns_subdomain(name))),
    }
    findings
}

fn validate_priority_level(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let kind = spec.text("type");
    let mut findings = Findings::new();
    if (object["metadata"].text("name") == "exempt") != (kind == "Exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        findings.push(invalid(&path.child("type"), kind, why));
    }
    match kind {
        "Exempt" => {
            if spec.has("limited") {
                findings.push(forbidden(&path.child("limited"), "must be nil if the type is not Limited"));
            }
        }
        "Limited" => {
            if spec.has("exempt") {
                findings.push(forbidden(&path.child("exempt"), "must be nil if the type is Limited"));
            }
            if spec.has("limited") {
                findings.extend(validate_limited(&spec["limited"], &path.child("limited")));
            } else {
                findings.push(required(&path.child("limited"), "must not be empty when type is Limited"));
            }
        }
        other => findings.push(not_supported(&path.child("type"), other, &["Exempt", "Limited"])),
    }
    findings
}

fn validate_limited(limited: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let shares = limited.number("nominalConcurrencyShares").unwrap_or_default();
    if shares < 0 {
        findings.push(invalid(
            &path.child("nominalConcurrencyShares"),
            shares,
            "must be a non-negative integer",
        ));
    }
    let (response, at) = (&limited["limitResponse"], path.child("limitResponse"));
    match (response.text("type"), response.has("queuing")) {
        ("Reject", true) => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            findings.push(forbidden(&at.child("queuing"), why));
        }
        ("Reject", false) => {}
        ("Queue", true) => findings.extend(validate_queuing(&response["queuing"], &at.child("queuing"))),
        ("Queue", false) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            findings.push(required(&at.child("queuing"), why));
        }
        (other, _) => findings.push(not_supported(&at.child("type"), other, &["Queue", "Reject"])),
    }
    let lendable = limited.number("lendablePercent").unwrap_or_default();
    for why in names::in_range(lendable, 0, 100) {
        findings.push(invalid(&path.child("lendablePercent"), lendable, &why));
    }
    if let Some(limit) = limited.number("borrowingLimitPercent").filter(|limit| *limit < 0) {
        let why = "if specified, must be a non-negative integer";
        findings.push(invalid(&path.child("borrowingLimitPercent"), limit, why));
    }
    findings
}

fn validate_queuing(queuing: &Value, path: &Path) -> Findings {
    const QUEUES_MAX: i64 = 10_000_000;
    let number = |field: &str| queuing.number(field).unwrap_or_default();
    let (queues, hand) = (number("queues"), number("handSize"));
    let mut findings = Findings::new();
    for field in ["queueLengthLimit", "queues", "handSize"] {
        if number(field) <= 0 {
            findings.push(invalid(&path.child(field), number(field), "must be positive"));
        }
    }
    if queues > QUEUES_MAX {
        findings.push(invalid(
            &path.child("queues"),
            queues,
            &format!("must not be greater than {QUEUES_MAX}"),
        ));
    }
    if hand > queues {
        let why = format!("should not be greater than queues ({queues})");
        findings.push(invalid(&path.child("handSize"), hand, &why));
    }
    findings
}
