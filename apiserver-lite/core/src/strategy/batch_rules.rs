//! What is wrong with Jobs and CronJobs.

use super::access::Read;
use super::cron;
use super::field::{
    Path, duplicate, forbidden, immutable, invalid, invalid_struct, not_negative, not_supported, one_of,
    required, too_many,
};
use super::labels::{validate_label_key, validate_selector};
use super::networking::validate_domain_path;
use super::pod::validate_template;
use crate::status::Findings;
use kedge_api::Selector;
use serde_json::Value;

const PARALLELISM_OF_INDEXED_MAX: i64 = 100_000;
const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const MANAGED_BY_LENGTH_MAX: usize = 63;
const NEEDS_INDEXES: &str = "requires indexed completion mode";

pub(super) fn validate_job(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = validate_spec(spec, &path);
    let (selector, at) = (&spec["selector"], path.child("selector"));
    if selector.is_null() {
        findings.push(required(&at, ""));
    }
    findings.extend(validate_selector(selector, &at));
    let labels = &spec["template"]["metadata"]["labels"];
    if Selector::from_object(selector).is_ok_and(|selector| !selector.matches(labels)) {
        let why = "`selector` does not match template `labels`";
        findings.push(invalid(&path.child("template.metadata.labels"), labels.clone(), why));
    }
    findings
}

pub(super) fn validate_job_update(object: &Value, old: &Value) -> Findings {
    let (spec, before, path) = (&object["spec"], &old["spec"], Path::new("spec"));
    let mut findings = validate_job(object);
    let is_elastic = spec.text("completionMode") == "Indexed" && spec["completions"] == spec["parallelism"];
    for field in [
        "completions",
        "selector",
        "template",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        let may_change = match field {
            "completions" => is_elastic,
            // The template of a Job that never started may still be told where to run.
            "template" => before.flag("suspend") && old["status"].lacks("startTime"),
            _ => false,
        };
        if !may_change {
            findings.extend(immutable(&path.child(field), &spec[field], &before[field]));
        }
    }
    findings
}

fn validate_spec(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        findings.extend(not_negative(&path.child(field), spec.number(field).unwrap_or_default()));
    }
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        findings.push(required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if spec.has("managedBy") {
        let (at, manager) = (path.child("managedBy"), spec.text("managedBy"));
        findings.extend(validate_domain_path(manager, &at));
        if manager.len() > MANAGED_BY_LENGTH_MAX {
            findings.push(super::field::too_long(&at, MANAGED_BY_LENGTH_MAX));
        }
    }
    findings.extend(validate_mode(spec, path));
    if spec.has("podFailurePolicy") {
        findings.extend(validate_failure_policy(spec, &path.child("podFailurePolicy.rules")));
    }
    if spec.has("successPolicy") {
        findings.extend(validate_success_policy(spec, &path.child("successPolicy")));
    }
    findings.extend(validate_replacement(spec, &path.child("podReplacementPolicy")));
    findings.extend(validate_template(&spec["template"], &path.child("template")));
    let (at, policy) =
        (path.child("template.spec.restartPolicy"), spec["template"]["spec"].text("restartPolicy"));
    match policy {
        "Never" => {}
        "OnFailure" if spec.has("podFailurePolicy") => {
            findings.push(invalid(
                &at,
                policy,
                "only \"Never\" is supported when podFailurePolicy is specified",
            ));
        }
        "OnFailure" => {}
        "Always" | "" => findings.push(required(&at, "valid values: \"OnFailure\", \"Never\"")),
        other => findings.push(not_supported(&at, other, &["OnFailure", "Never"])),
    }
    findings
}

fn validate_mode(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mode = spec.text("completionMode");
    if !["NonIndexed", "Indexed"].contains(&mode) {
        findings.push(not_supported(&path.child("completionMode"), mode, &["NonIndexed", "Indexed"]));
    }
    if mode == "Indexed" {
        let parallelism = spec.number("parallelism").unwrap_or_default();
        if !spec.has("completions") {
            findings.push(required(&path.child("completions"), "when completion mode is Indexed"));
        }
        if parallelism > PARALLELISM_OF_INDEXED_MAX {
            let why = format!(
                "must be less than or equal to {PARALLELISM_OF_INDEXED_MAX} when completion mode is Indexed"
            );
            findings.push(invalid(&path.child("parallelism"), parallelism, &why));
        }
        if let (Some(failed), Some(all)) = (spec.number("maxFailedIndexes"), spec.number("completions"))
            && failed > all
        {
            let at = path.child("maxFailedIndexes");
            findings.push(invalid(&at, failed, "must be less than or equal to completions"));
        }
    }
    if mode == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"].iter().filter(|field| spec.has(field)) {
            findings.push(invalid(&path.child(field), spec[*field].clone(), NEEDS_INDEXES));
        }
    }
    findings
}

fn validate_failure_policy(spec: &Value, path: &Path) -> Findings {
    let rules = spec["podFailurePolicy"].list("rules");
    let mut findings = Findings::new();
    if rules.len() > RULES_MAX {
        findings.push(too_many(path, rules.len(), RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        let (at, action) = (path.index(index), rule.text("action"));
        const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
        if action == "FailIndex" && !spec.has("backoffLimitPerIndex") {
            let why = "requires the backoffLimitPerIndex to be set";
            findings.push(invalid(&at.child("action"), action, why));
        }
        findings.extend(one_of(&at.child("action"), action, &ACTIONS));
        if rule.has("onExitCodes") {
            findings.extend(validate_exit_codes(&rule["onExitCodes"], spec, &at.child("onExitCodes")));
        }
        for (index, pattern) in rule.list("onPodConditions").iter().enumerate() {
            let at = at.child("onPodConditions").index(index);
            findings.extend(validate_label_key(pattern.text("type"), &at.child("type")));
            let status = pattern.text("status");
            findings.extend(one_of(&at.child("status"), status, &["False", "True", "Unknown"]));
        }
        let both = (rule.has("onExitCodes"), !rule.lacks("onPodConditions"));
        let why = match both {
            (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        let mut finding = invalid(&at, "", why);
        finding.message = format!("Invalid value: {why}");
        findings.push(finding);
    }
    findings
}

fn validate_exit_codes(codes: &Value, spec: &Value, path: &Path) -> Findings {
    let operator = codes.text("operator");
    let mut findings = one_of(&path.child("operator"), operator, &["In", "NotIn"]);
    if codes.has("containerName") {
        let name = codes.text("containerName");
        let pod = &spec["template"]["spec"];
        let mut containers = pod.list("containers").iter().chain(pod.list("initContainers"));
        if !containers.any(|container| container.text("name") == name) {
            let why = "must be one of the container or initContainer names in the pod template";
            findings.push(invalid(&path.child("containerName"), name, why));
        }
    }
    let (at, values) = (path.child("values"), codes.list("values"));
    if values.is_empty() {
        findings.push(invalid(&at, codes["values"].clone(), "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
        findings.push(too_many(&at, values.len(), EXIT_CODES_MAX));
    }
    for (index, value) in values.iter().enumerate() {
        let at = at.index(index);
        if operator == "In" && value == 0 {
            findings.push(invalid(&at, 0, "must not be 0 for the In operator"));
        }
        if values[..index].contains(value) {
            findings.push(duplicate(&at, value.clone()));
        }
    }
    if !values.is_sorted_by_key(|value| value.as_i64()) {
        findings.push(invalid(&at, codes["values"].clone(), "must be ordered"));
    }
    findings
}

fn validate_success_policy(spec: &Value, path: &Path) -> Findings {
    let rules = spec["successPolicy"].list("rules");
    if spec.text("completionMode") != "Indexed" {
        let shown = [("Rules", Value::Array(rules.to_vec()))];
        return vec![invalid_struct(path, &shown, NEEDS_INDEXES)];
    }
    let at = path.child("rules");
    let mut findings = Findings::new();
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        findings.push(required(&at, why));
    }
    if rules.len() > RULES_MAX {
        findings.push(too_many(&at, rules.len(), RULES_MAX));
    }
    let all = spec.number("completions").unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        if !rule.has("succeededCount") && !rule.has("succeededIndexes") {
            let why = "at least one of succeededCount or succeededIndexes must be specified";
            findings.push(required(&at, why));
        }
        if let Some(count) = rule.number("succeededCount") {
            let at = at.child("succeededCount");
            findings.extend(not_negative(&at, count));
            if count > all {
                let why =
                    format!("must be less than or equal to {all} (the number of specified completions)");
                findings.push(invalid(&at, count, &why));
            }
        }
    }
    findings
}

fn validate_replacement(spec: &Value, path: &Path) -> Findings {
    if !spec.has("podReplacementPolicy") {
        return Findings::new();
    }
    let policy = spec.text("podReplacementPolicy");
    let supported: &[&str] =
        if spec.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if supported.contains(&policy) { Findings::new() } else { vec![not_supported(path, policy, supported)] }
}

pub(super) fn validate_cron_job(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let (at, schedule) = (path.child("schedule"), spec.text("schedule"));
    let mut findings = Findings::new();
    if schedule.is_empty() {
        findings.push(required(&at, ""));
    } else {
        if let Err(why) = cron::check(schedule) {
            findings.push(invalid(&at, schedule, &why));
        }
        if schedule.contains("TZ") {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            findings.push(invalid(&at, schedule, why));
        }
    }
    let deadline = spec.number("startingDeadlineSeconds").unwrap_or_default();
    findings.extend(not_negative(&path.child("startingDeadlineSeconds"), deadline));
    if spec.has("timeZone") {
        findings.extend(validate_time_zone(spec.text("timeZone"), &path.child("timeZone")));
    }
    let policies = ["Allow", "Forbid", "Replace"];
    findings.extend(one_of(&path.child("concurrencyPolicy"), spec.text("concurrencyPolicy"), &policies));
    findings.extend(validate_job_template(&spec["jobTemplate"]["spec"], &path.child("jobTemplate.spec")));
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        findings.extend(not_negative(&path.child(field), spec.number(field).unwrap_or_default()));
    }
    findings
}

/// Whether a zone exists is known where the time zone database is; here only the form of its name is.
fn validate_time_zone(zone: &str, path: &Path) -> Findings {
    let is_part = |part: &str| {
        let right = part.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
        !part.is_empty() && right && part != "." && part != ".." && !part.starts_with('-')
    };
    if zone.is_empty() {
        return vec![invalid(path, zone, "timeZone must be nil or non-empty string")];
    }
    if !zone.split('/').all(is_part) {
        return vec![invalid(path, zone, &format!("unknown time zone {zone}"))];
    }
    if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        return vec![invalid(path, zone, why)];
    }
    Findings::new()
}

fn validate_job_template(spec: &Value, path: &Path) -> Findings {
    // Templates are not defaulted as Jobs are; the mode of a Job is what counts.
    let mut completed = spec.clone();
    if completed.text("completionMode").is_empty() {
        completed["completionMode"] = "NonIndexed".into();
    }
    let mut findings = validate_spec(&completed, path);
    if spec.has("selector") {
        let why = "`selector` will be auto-generated";
        findings.push(invalid(&path.child("selector"), spec["selector"].clone(), why));
    }
    if spec.flag("manualSelector") {
        findings.push(not_supported(&path.child("manualSelector"), true, &["nil", "false"]));
    }
    findings
}

pub(super) fn validate_job_status(object: &Value, _old: &Value, part: &str) -> Findings {
    let mut findings = Findings::new();
    if part != "status" {
        return findings;
    }
    let (status, path) = (&object["status"], Path::new("status"));
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        findings.extend(not_negative(&path.child(field), status.number(field).unwrap_or_default()));
    }
    let is_done = |kind: &str| {
        status.list("conditions").iter().any(|c| c.text("type") == kind && c.text("status") == "True")
    };
    if is_done("Complete") && is_done("Failed") {
        let why = "cannot set Complete=True and Failed=true conditions";
        findings.push(forbidden(&path.child("conditions"), why));
    }
    findings
}
