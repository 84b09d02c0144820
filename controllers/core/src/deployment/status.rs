//! Status and conditions of a Deployment.

use super::Scene;
use crate::api::{DeploymentCondition, DeploymentStatus};
use crate::plan::{Context, Plan, Write};
use kedge_api::Time;
use kedge_api::resource::DEPLOYMENTS;
use serde_json::{Value, json};

pub fn update(scene: &Scene, context: &Context, plan: &mut Plan) {
    let mut status = counts(scene);
    let available = status.available_replicas >= scene.deployment.replicas() - scene.max_unavailable();
    let availability = match available {
        true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    status.conditions = scene.deployment.status.conditions.clone();
    let (value, reason, message) = availability;
    set(&mut status.conditions, condition("Available", value, reason, message), context.now);
    progress(scene, &mut status, context, plan);
    replica_failure(scene, &mut status, context);
    if status != scene.deployment.status {
        let meta = &scene.deployment.metadata;
        let patch = json!({"status": to_patch(&status)});
        plan.push(Write::merge(DEPLOYMENTS, &meta.namespace, &meta.name, "status", patch));
    }
}

fn counts(scene: &Scene) -> DeploymentStatus {
    let sum = |count: fn(&crate::api::ReplicaSetStatus) -> i64| -> i64 {
        scene.sets.iter().map(|set| count(&set.status)).sum()
    };
    let available = sum(|status| status.available_replicas);
    let total: i64 = scene.sets.iter().map(|set| set.replicas()).sum();
    DeploymentStatus {
        observed_generation: scene.deployment.metadata.generation,
        replicas: sum(|status| status.replicas),
        updated_replicas: scene.new.as_ref().map_or(0, |set| set.status.replicas),
        ready_replicas: sum(|status| status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: (total - available).max(0),
        terminating_replicas: Some(sum(|status| status.terminating_replicas.unwrap_or(0))),
        collision_count: scene.deployment.status.collision_count,
        conditions: Vec::new(),
    }
}

fn is_complete(scene: &Scene, status: &DeploymentStatus) -> bool {
    let wanted = scene.deployment.replicas();
    status.updated_replicas == wanted && status.replicas == wanted && status.available_replicas == wanted
}

fn has_progressed(scene: &Scene, status: &DeploymentStatus) -> bool {
    let before = &scene.deployment.status;
    let old_before = before.replicas - before.updated_replicas;
    let old_after = status.replicas - status.updated_replicas;
    status.updated_replicas > before.updated_replicas
        || old_after < old_before
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas
}

fn progress(scene: &Scene, status: &mut DeploymentStatus, context: &Context, plan: &mut Plan) {
    let Some(deadline_s) =
        scene.deployment.spec.progress_deadline_seconds.filter(|s| *s < i64::from(i32::MAX))
    else {
        return;
    };
    let standing = scene.deployment.condition("Progressing").cloned();
    let standing_reason = standing.as_ref().map_or("", |condition| condition.reason.as_str());
    if pausing(scene, standing_reason, status, context) {
        return;
    }
    let Some(new) = &scene.new else {
        let message = "Created new replica set".to_owned();
        if standing.is_none() {
            set(
                &mut status.conditions,
                condition("Progressing", "True", "NewReplicaSetCreated", &message),
                context.now,
            );
        }
        return;
    };
    let name = &new.metadata.name;
    if is_complete(scene, status) {
        // Once complete, a rollout stays so until the template changes.
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        if standing_reason != "NewReplicaSetAvailable" || standing.is_some_and(|c| c.message != message) {
            let done = condition("Progressing", "True", "NewReplicaSetAvailable", &message);
            set(&mut status.conditions, done, context.now);
        }
    } else if standing.is_none() {
        let message = format!("Found new replica set \"{name}\"");
        set(
            &mut status.conditions,
            condition("Progressing", "True", "FoundNewReplicaSet", &message),
            context.now,
        );
    } else if has_progressed(scene, status) {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        let mut moving = condition("Progressing", "True", "ReplicaSetUpdated", &message);
        moving.last_update_time = Some(context.now);
        set(&mut status.conditions, moving, context.now);
        plan.requeue(Time(context.now.0 + deadline_s + 1));
    } else if standing_reason != "NewReplicaSetAvailable" {
        deadline(scene, name, deadline_s, status, context, plan);
    }
}

/// Paused and resumed rollouts say so, and do not run out of time. True while paused.
fn pausing(scene: &Scene, standing: &str, status: &mut DeploymentStatus, context: &Context) -> bool {
    let paused = scene.deployment.spec.paused;
    if standing == "ProgressDeadlineExceeded" {
        return paused;
    }
    if paused && standing != "DeploymentPaused" {
        let note = condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
        set(&mut status.conditions, note, context.now);
    } else if !paused && standing == "DeploymentPaused" {
        let note = condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
        set(&mut status.conditions, note, context.now);
    }
    paused
}

fn deadline(
    scene: &Scene,
    name: &str,
    deadline_s: i64,
    status: &mut DeploymentStatus,
    context: &Context,
    plan: &mut Plan,
) {
    let Some(standing) = scene.deployment.condition("Progressing") else {
        return;
    };
    let since = standing.last_update_time.or(standing.last_transition_time).unwrap_or(context.now);
    let at = Time(since.0 + deadline_s);
    if context.now < at {
        plan.requeue(Time(at.0 + 1));
    } else if standing.reason != "ProgressDeadlineExceeded" {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        let failed = condition("Progressing", "False", "ProgressDeadlineExceeded", &message);
        set(&mut status.conditions, failed, context.now);
    }
}

/// A ReplicaSet that cannot make pods is the deployment's trouble too.
fn replica_failure(scene: &Scene, status: &mut DeploymentStatus, context: &Context) {
    let failure = |set: &crate::api::ReplicaSet| {
        set.status.conditions.iter().find(|condition| condition.r#type == "ReplicaFailure").cloned()
    };
    let found =
        scene.new.as_ref().and_then(|set| failure(set)).or_else(|| scene.old().find_map(|set| failure(set)));
    match found {
        Some(of_set) => {
            let own = condition("ReplicaFailure", &of_set.status, &of_set.reason, &of_set.message);
            set(&mut status.conditions, own, context.now);
        }
        None => status.conditions.retain(|condition| condition.r#type != "ReplicaFailure"),
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> DeploymentCondition {
    DeploymentCondition {
        r#type: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..DeploymentCondition::default()
    }
}

/// Puts a condition in place. The transition time moves only with the status; an unchanged condition is left alone, unless it
/// carries an update time of its own.
fn set(conditions: &mut Vec<DeploymentCondition>, mut wanted: DeploymentCondition, now: Time) {
    let standing = conditions.iter().position(|condition| condition.r#type == wanted.r#type);
    let forced = wanted.last_update_time.is_some();
    if let Some(at) = standing {
        let current = &conditions[at];
        let same = (&current.status, &current.reason) == (&wanted.status, &wanted.reason);
        if same && !forced && current.message == wanted.message {
            return;
        }
        wanted.last_transition_time =
            if current.status == wanted.status { current.last_transition_time } else { Some(now) };
        wanted.last_update_time = Some(now);
        conditions[at] = wanted;
    } else {
        wanted.last_transition_time = Some(now);
        wanted.last_update_time = Some(now);
        conditions.push(wanted);
    }
}

/// Zero counts are absent on the wire; null removes them.
fn to_patch(status: &DeploymentStatus) -> Value {
    let count = |n: i64| if n == 0 { Value::Null } else { n.into() };
    json!({
        "observedGeneration": status.observed_generation,
        "replicas": count(status.replicas),
        "updatedReplicas": count(status.updated_replicas),
        "readyReplicas": count(status.ready_replicas),
        "availableReplicas": count(status.available_replicas),
        "unavailableReplicas": count(status.unavailable_replicas),
        "terminatingReplicas": status.terminating_replicas,
        "collisionCount": status.collision_count,
        "conditions": status.conditions,
    })
}
