//! Events, in the core form and in that of `events.k8s.io`.

use super::access::{Fill, Read};
use super::field::{Path, ill_formed, immutable, invalid, required};
use super::usual::Usual;
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;

const ACTION_LENGTH_MAX: usize = 128;
const REASON_LENGTH_MAX: usize = 128;
const INSTANCE_LENGTH_MAX: usize = 128;
const NOTE_LENGTH_MAX: usize = 1024;

pub(super) static CORE_EVENT: Usual = Usual {
    default: |object| {
        for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
            object.fill(time, Value::Null);
        }
        for text in ["reportingComponent", "reportingInstance"] {
            object.fill(text, "");
        }
        object.child("involvedObject");
        object.child("source");
    },
    validate: |object| validate_any(object, &CORE),
    validate_update: |object, _| validate_any(object, &CORE),
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static EVENT: Usual = Usual {
    default: |object| {
        for time in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"] {
            object.fill(time, Value::Null);
        }
        object.child("deprecatedSource");
    },
    validate: validate_event,
    validate_update: validate_event_update,
    create_on_update: true,
    ..Usual::PLAIN
};

/// The names that the two forms give to the same fields.
struct Names {
    object: &'static str,
    controller: &'static str,
    note: &'static str,
}

const CORE: Names = Names { object: "involvedObject", controller: "reportingComponent", note: "message" };
const GROUP: Names = Names { object: "regarding", controller: "reportingController", note: "note" };

/// The rules that both forms share; findings speak of the core form's fields.
fn validate_any(object: &Value, fields: &Names) -> Findings {
    let mut findings = Findings::new();
    let namespace = object["metadata"].text("namespace");
    let about = object[fields.object].text("namespace");
    let has_time = object.has("eventTime");
    let agrees = match about {
        "" if has_time => ["default", "kube-system"].contains(&namespace),
        "" => ["", "default"].contains(&namespace),
        _ => has_time || about == namespace,
    };
    if !agrees {
        let at = Path::new("involvedObject").child("namespace");
        findings.push(invalid(&at, about, "does not match event.namespace"));
    }
    if has_time {
        findings.extend(validate_timed(object, fields));
    }
    findings.extend(ill_formed(&Path::new("namespace"), namespace, names::dns_subdomain(namespace)));
    findings
}

fn validate_timed(object: &Value, fields: &Names) -> Findings {
    let mut findings = Findings::new();
    let controller = object.text(fields.controller);
    let at = Path::new(fields.controller);
    if controller.is_empty() {
        findings.push(required(&at, ""));
    }
    findings.extend(ill_formed(&at, controller, names::qualified_name(controller)));
    for (field, name, length_max, needed) in [
        ("reportingInstance", "reportingInstance", INSTANCE_LENGTH_MAX, true),
        ("action", "action", ACTION_LENGTH_MAX, true),
        ("reason", "reason", REASON_LENGTH_MAX, true),
        (fields.note, "message", NOTE_LENGTH_MAX, false),
    ] {
        let (at, text) = (Path::new(name), object.text(field));
        if needed && text.is_empty() {
            findings.push(required(&at, ""));
        }
        if text.len() > length_max {
            findings.push(invalid(&at, "", &format!("can have at most {length_max} characters")));
        }
    }
    findings
}

fn validate_event(object: &Value) -> Findings {
    let mut findings = validate_any(object, &GROUP);
    findings.extend(validate_series(object));
    if !object.has("eventTime") {
        findings.push(required(&Path::new("eventTime"), ""));
    }
    let kind = object.text("type");
    if !["Normal", "Warning"].contains(&kind) {
        findings.push(invalid(&Path::new("type"), "", &format!("has invalid value: {kind}")));
    }
    for (field, name) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
    ] {
        if object.has(field) && object.number(field) != Some(0) {
            findings.push(invalid(&Path::new(name), "", "needs to be unset"));
        }
    }
    if !object.lacks("deprecatedSource") {
        findings.push(invalid(&Path::new("source"), "", "needs to be unset"));
    }
    findings
}

fn validate_series(object: &Value) -> Findings {
    let mut findings = Findings::new();
    if object.has("series") {
        let series = &object["series"];
        if series.number("count").unwrap_or_default() < 2 {
            findings.push(invalid(&Path::new("series.count"), "", "should be at least 2"));
        }
        if !series.has("lastObservedTime") {
            findings.push(required(&Path::new("series.lastObservedTime"), ""));
        }
    }
    findings
}

/// Only the series of an event goes on.
fn validate_event_update(object: &Value, old: &Value) -> Findings {
    let mut findings = validate_any(object, &GROUP);
    if object["series"] != old["series"] {
        findings.extend(validate_series(object));
    }
    for (field, name) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        findings.extend(immutable(&Path::new(name), &object[field], &old[field]));
    }
    findings
}
