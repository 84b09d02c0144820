//! Kinds of `apps/v1` that keep pods running, and the ReplicationController.

use super::access::{Fill, Read};
use super::field::{Path, immutable};
use super::pod::{default_template, validate_template};
use super::storage::default_claim_spec;
use super::usual::Usual;
use super::warnings;
use super::workload_rules::{
    validate_counts, validate_daemon_set, validate_daemon_set_update, validate_deployment,
    validate_deployment_update, validate_replica_set, validate_replication_controller, validate_revision,
    validate_stateful_set, validate_stateful_set_update, with_fixed_selector,
};
use serde_json::{Value, json};

pub(super) static DEPLOYMENT: Usual = Usual {
    default: default_deployment,
    status: Some(|_| json!({})),
    generation: &["spec"],
    validate: validate_deployment,
    validate_update: validate_deployment_update,
    validate_part: validate_counts,
    warnings: warnings::of_template,
    status_keeps: &["labels"],
    ..Usual::PLAIN
};

pub(super) static REPLICA_SET: Usual = Usual {
    default: |object| {
        let spec = object.child("spec");
        spec.fill("replicas", 1);
        default_template(spec.child("template"));
        object.child("status").fill("replicas", 0);
    },
    status: Some(|_| json!({"replicas": 0})),
    generation: &["spec"],
    validate: validate_replica_set,
    validate_update: |object, old| with_fixed_selector(validate_replica_set(object), object, old),
    validate_part: validate_counts,
    warnings: warnings::of_template,
    ..Usual::PLAIN
};

pub(super) static DAEMON_SET: Usual = Usual {
    default: default_daemon_set,
    on_create: |object| set_template_generation(object, 1),
    on_update: count_templates,
    status: Some(|_| daemon_set_status()),
    generation: &["spec"],
    validate: validate_daemon_set,
    validate_update: validate_daemon_set_update,
    validate_part: validate_counts,
    // Its annotation stands for a field of the spec.
    status_keeps: &["annotations"],
    warnings: warnings::of_template,
    ..Usual::PLAIN
};

pub(super) static STATEFUL_SET: Usual = Usual {
    default: default_stateful_set,
    status: Some(|_| json!({"replicas": 0, "availableReplicas": 0})),
    generation: &["spec"],
    validate: validate_stateful_set,
    validate_update: validate_stateful_set_update,
    validate_part: validate_counts,
    warnings: warnings::of_template,
    ..Usual::PLAIN
};

pub(super) static CONTROLLER_REVISION: Usual = Usual {
    default: |object| object.fill("revision", 0),
    validate: validate_revision,
    validate_update: |object, old| {
        let mut findings = validate_revision(object);
        findings.extend(immutable(&Path::new("data"), &object["data"], &old["data"]));
        findings
    },
    ..Usual::PLAIN
};

pub(super) static REPLICATION_CONTROLLER: Usual = Usual {
    default: default_replication_controller,
    status: Some(|_| json!({"replicas": 0})),
    generation: &["spec"],
    validate: validate_replication_controller,
    validate_update: |object, _| validate_replication_controller(object),
    validate_part: validate_counts,
    warnings: warnings::of_template,
    ..Usual::PLAIN
};

pub(super) static POD_TEMPLATE: Usual = Usual {
    default: |object| default_template(object.child("template")),
    generation: &["template"],
    validate: |object| validate_template(&object["template"], &Path::new("template")),
    validate_update: |object, _| validate_template(&object["template"], &Path::new("template")),
    ..Usual::PLAIN
};

fn default_deployment(object: &mut Value) {
    object.child("status");
    let spec = object.child("spec");
    spec.fill("replicas", 1);
    spec.fill("revisionHistoryLimit", 10);
    spec.fill("progressDeadlineSeconds", 600);
    spec.fill("selector", Value::Null);
    default_template(spec.child("template"));
    let strategy = spec.child("strategy");
    strategy.fill_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.child("rollingUpdate");
        rolling.fill("maxUnavailable", "25%");
        rolling.fill("maxSurge", "25%");
    }
}

fn default_daemon_set(object: &mut Value) {
    object.child("metadata").child("annotations").fill_text(TEMPLATE_GENERATION, "0");
    let status = object.child("status");
    for (count, zero) in daemon_set_status().as_object().into_iter().flatten() {
        status.fill(count, zero.clone());
    }
    let spec = object.child("spec");
    spec.fill("revisionHistoryLimit", 10);
    spec.fill("selector", Value::Null);
    default_template(spec.child("template"));
    let strategy = spec.child("updateStrategy");
    strategy.fill_text("type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = strategy.child("rollingUpdate");
        rolling.fill("maxUnavailable", 1);
        rolling.fill("maxSurge", 0);
    }
}

fn daemon_set_status() -> Value {
    json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
}

/// The count of templates lives in an annotation since the field left the API.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = object.child("metadata").child("annotations");
    annotations[TEMPLATE_GENERATION] = generation.to_string().into();
}

fn count_templates(object: &mut Value, old: &Value) {
    let before = old["metadata"]["annotations"].text(TEMPLATE_GENERATION).parse().unwrap_or(0);
    let changed = object["spec"]["template"] != old["spec"]["template"];
    set_template_generation(object, before + i64::from(changed));
}

fn default_stateful_set(object: &mut Value) {
    let status = object.child("status");
    status.fill("replicas", 0);
    status.fill("availableReplicas", 0);
    let spec = object.child("spec");
    spec.fill("replicas", 1);
    spec.fill("revisionHistoryLimit", 10);
    spec.fill("serviceName", "");
    spec.fill("selector", Value::Null);
    spec.fill_text("podManagementPolicy", "OrderedReady");
    default_template(spec.child("template"));
    let retention = spec.child("persistentVolumeClaimRetentionPolicy");
    retention.fill_text("whenDeleted", "Retain");
    retention.fill_text("whenScaled", "Retain");
    let strategy = spec.child("updateStrategy");
    if strategy.text("type").is_empty() {
        strategy.fill_text("type", "RollingUpdate");
        strategy.child("rollingUpdate");
    }
    if strategy.text("type") == "RollingUpdate" {
        strategy.with("rollingUpdate", |rolling| rolling.fill("partition", 0));
    }
    spec.each("volumeClaimTemplates", |claim| {
        claim.fill_text("apiVersion", "v1");
        claim.fill_text("kind", "PersistentVolumeClaim");
        claim.child("metadata");
        default_claim_spec(claim.child("spec"));
        claim.child("status").fill_text("phase", "Pending");
    });
}

fn default_replication_controller(object: &mut Value) {
    object.child("status").fill("replicas", 0);
    let spec = object.child("spec");
    spec.fill("replicas", 1);
    let mut labels = Value::Null;
    spec.with("template", |template| {
        default_template(template);
        labels = template["metadata"]["labels"].clone();
    });
    if labels.is_null() {
        return;
    }
    if spec.lacks("selector") {
        spec["selector"] = labels.clone();
    }
    if object["metadata"].lacks("labels") {
        object.child("metadata")["labels"] = labels;
    }
}
