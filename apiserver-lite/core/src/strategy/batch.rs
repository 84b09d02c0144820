//! Jobs and CronJobs.

use super::access::{Fill, Read};
use super::batch_rules::{validate_cron_job, validate_job, validate_job_status, validate_job_update};
use super::pod::default_template;
use super::usual::Usual;
use super::warnings;
use serde_json::{Value, json};

pub(super) static JOB: Usual = Usual {
    default: default_job,
    on_create: select_own_pods,
    status: Some(|_| json!({})),
    generation: &["spec"],
    validate: validate_job,
    validate_update: validate_job_update,
    validate_part: validate_job_status,
    warnings: warnings::of_template,
    ..Usual::PLAIN
};

pub(super) static CRON_JOB: Usual = Usual {
    default: default_cron_job,
    status: Some(|_| json!({})),
    generation: &["spec"],
    validate: validate_cron_job,
    validate_update: |object, _| validate_cron_job(object),
    ..Usual::PLAIN
};

fn default_job(object: &mut Value) {
    object.child("status");
    let spec = object.child("spec");
    if !spec.has("completions") && !spec.has("parallelism") {
        spec.fill("completions", 1);
    }
    spec.fill("parallelism", 1);
    let retries = if spec.has("backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    spec.fill("backoffLimit", retries);
    spec.fill("completionMode", "NonIndexed");
    spec.fill("suspend", false);
    spec.fill("manualSelector", false);
    let replacement = if spec.has("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    spec.fill("podReplacementPolicy", replacement);
    default_job_spec(spec);
    let labels = spec["template"]["metadata"]["labels"].clone();
    if !labels.is_null() && object["metadata"].lacks("labels") {
        object.child("metadata")["labels"] = labels;
    }
}

/// What a CronJob's template gets too.
fn default_job_spec(spec: &mut Value) {
    default_template(spec.child("template"));
    spec.with("podFailurePolicy", |policy| {
        policy.each("rules", |rule| {
            rule.each("onPodConditions", |pattern| pattern.fill_text("status", "True"));
        })
    });
}

/// A Job without a selector of its own selects by its uid, and marks its template so.
fn select_own_pods(object: &mut Value) {
    if object["spec"].flag("manualSelector") {
        return;
    }
    let uid = object["metadata"].text("uid").to_owned();
    let name = object["metadata"].text("name").to_owned();
    let spec = object.child("spec");
    let labels = spec.child("template").child("metadata").child("labels");
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.fill(key, value.as_str());
    }
    let labels = labels.clone();
    if !spec.has("selector") {
        spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    }
    // The object's labels were taken from the template before the server added its own.
    let own = object.child("metadata").child("labels");
    for (key, value) in labels.as_object().into_iter().flatten() {
        own.fill(key, value.clone());
    }
}

fn default_cron_job(object: &mut Value) {
    object.child("status");
    let spec = object.child("spec");
    spec.fill_text("concurrencyPolicy", "Allow");
    spec.fill("suspend", false);
    spec.fill("successfulJobsHistoryLimit", 3);
    spec.fill("failedJobsHistoryLimit", 1);
    let template = spec.child("jobTemplate");
    template.child("metadata");
    default_job_spec(template.child("spec"));
}
