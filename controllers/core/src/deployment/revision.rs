//! The ReplicaSet of the current template, its revision, and how many old ones are kept.

use super::{DESIRED_REPLICAS, HASH_LABEL, MAX_REPLICAS, REVISION, REVISION_HISTORY, Scene, rollout};
use crate::EventSpec;
use crate::api::{Deployment, ReplicaSet};
use crate::owners::owner_reference;
use crate::plan::{Context, Plan, Write};
use crate::template::{normalized, template_hash};
use kedge_api::resource::{DEPLOYMENTS, REPLICA_SETS};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Annotations that describe one object and are not handed on.
const NOT_HANDED_ON: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Equal but for the hash label that we add ourselves.
pub fn same_template(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let mut theirs = set.spec.template.clone();
    if let Some(labels) = theirs.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    normalized(theirs) == normalized(deployment.spec.template.clone())
}

/// Brings the new set's annotations up to date, or makes it.
pub fn ensure_new_set(scene: &mut Scene, context: &Context, plan: &mut Plan) {
    let revision = (max_revision(scene.old()) + 1).to_string();
    match scene.new.clone() {
        Some(set) => {
            let effective = annotate_set(scene, &set, &revision, plan);
            annotate_deployment(scene, &effective, plan);
        }
        None => {
            create_set(scene, &revision, context, plan);
            annotate_deployment(scene, &revision, plan);
        }
    }
}

fn max_revision<'a>(sets: impl Iterator<Item = &'a Arc<ReplicaSet>>) -> i64 {
    sets.map(|set| revision_of(set)).max().unwrap_or(0)
}

fn revision_of(set: &ReplicaSet) -> i64 {
    set.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The annotations a set takes over from its deployment.
fn handed_on(deployment: &Deployment) -> Map<String, Value> {
    let kept =
        deployment.metadata.annotations.iter().filter(|(key, _)| !NOT_HANDED_ON.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect()
}

/// Returns the revision that the set has afterwards.
fn annotate_set(scene: &Scene, set: &ReplicaSet, revision: &str, plan: &mut Plan) -> String {
    let mut wanted = handed_on(&scene.deployment);
    let current = set.annotation(REVISION).unwrap_or("");
    let raise = revision_of(set) < revision.parse().unwrap_or(0);
    if raise {
        wanted.insert(REVISION.to_owned(), revision.into());
        if !current.is_empty() {
            let mut history: Vec<&str> = set
                .annotation(REVISION_HISTORY)
                .unwrap_or("")
                .split(',')
                .filter(|old| !old.is_empty())
                .collect();
            history.push(current);
            wanted.insert(REVISION_HISTORY.to_owned(), history.join(",").into());
        }
    }
    wanted.retain(|key, value| set.annotation(key) != value.as_str());
    let ready_s = scene.deployment.spec.min_ready_seconds;
    let mut patch = json!({});
    if !wanted.is_empty() {
        patch["metadata"] = json!({"annotations": wanted});
    }
    if set.spec.min_ready_seconds != ready_s {
        patch["spec"] = json!({"minReadySeconds": ready_s});
    }
    if patch != json!({}) {
        plan.push(Write::merge(REPLICA_SETS, &set.metadata.namespace, &set.metadata.name, "", patch));
    }
    if raise { revision.to_owned() } else { current.to_owned() }
}

fn annotate_deployment(scene: &Scene, revision: &str, plan: &mut Plan) {
    let meta = &scene.deployment.metadata;
    if meta.annotations.get(REVISION).map(String::as_str) != Some(revision) {
        let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
        plan.push(Write::merge(DEPLOYMENTS, &meta.namespace, &meta.name, "", patch));
    }
}

fn create_set(scene: &Scene, revision: &str, context: &Context, plan: &mut Plan) {
    let deployment = &scene.deployment;
    let taken: Vec<&str> = scene.sets.iter().map(|set| set.metadata.name.as_str()).collect();
    let mut collisions = deployment.status.collision_count.unwrap_or(0);
    let failed_on_name =
        context.last_failure.as_deref().is_some_and(|words| words.contains("already exists"));
    collisions += i64::from(failed_on_name);
    let (hash, name) = loop {
        let hash = template_hash(&deployment.spec.template, collisions);
        let name = format!("{}-{hash}", deployment.metadata.name);
        if !taken.contains(&name.as_str()) {
            break (hash, name);
        }
        collisions += 1;
    };
    let replicas = rollout::size_of_new_set(scene, 0);
    let mut annotations = handed_on(deployment);
    annotations.insert(REVISION.to_owned(), revision.into());
    annotations.insert(DESIRED_REPLICAS.to_owned(), deployment.replicas().to_string().into());
    let most = deployment.replicas() + scene.max_surge();
    annotations.insert(MAX_REPLICAS.to_owned(), most.to_string().into());
    let mut template = deployment.spec.template.clone();
    template["metadata"]["labels"][HASH_LABEL] = hash.as_str().into();
    let mut selector = deployment.spec.selector.clone();
    selector["matchLabels"][HASH_LABEL] = hash.as_str().into();
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": deployment.metadata.namespace, "annotations": annotations,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner_reference(DEPLOYMENTS, &deployment.metadata)],
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": selector, "template": template,
        },
    });
    let mut write =
        Write::create(REPLICA_SETS, &deployment.metadata.namespace, object).or_telling(EventSpec::warning(
            &scene.about,
            "ReplicaSetCreateError",
            format!("Failed to create new replica set \"{name}\": {{error}}"),
        ));
    if replicas > 0 {
        let message = format!("Scaled up replica set {name} from 0 to {replicas}");
        write = write.telling(EventSpec::normal(&scene.about, "ScalingReplicaSet", message));
    }
    plan.push(write);
}

/// Old, empty, idle sets beyond the limit go, oldest revision first.
pub fn clean_up_history(scene: &Scene, plan: &mut Plan) {
    let Some(limit) = scene.deployment.spec.revision_history_limit.and_then(|n| usize::try_from(n).ok())
    else {
        return;
    };
    let is_done = status_is_complete(scene);
    let mut idle: Vec<&Arc<ReplicaSet>> =
        scene.old().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    if !is_done || idle.len() <= limit {
        return;
    }
    let excess = idle.len() - limit;
    idle.sort_by_key(|set| (revision_of(set), set.metadata.creation_timestamp));
    for set in idle.into_iter().take(excess) {
        let empty = set.replicas() == 0
            && set.status.replicas == 0
            && set.metadata.generation <= set.status.observed_generation;
        if empty {
            let meta = &set.metadata;
            plan.push(Write::delete(REPLICA_SETS, &meta.namespace, &meta.name, &meta.uid));
        }
    }
}

fn status_is_complete(scene: &Scene) -> bool {
    let wanted = scene.deployment.replicas();
    let status = &scene.deployment.status;
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= scene.deployment.metadata.generation
}
