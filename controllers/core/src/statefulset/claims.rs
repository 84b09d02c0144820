//! The claims of a StatefulSet's pods: made before the pod, kept or deleted as the retention policy says.
//!
//! Deleting is the garbage collector's work: a claim that must go with the set is owned by it, one that must go with a pod
//! that was scaled away is owned by the pod.

use super::{Scene, identity};
use crate::api::{PersistentVolumeClaim, StatefulSet};
use crate::owners::owner_reference;
use crate::plan::{EventSpec, Plan, Write, merge};
use kedge_api::resource::{PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS};
use kedge_api::{OwnerReference, Pod};
use serde_json::{Value, json};
use std::sync::Arc;

/// Volume name and claim name, per template.
pub fn names(set: &StatefulSet, ordinal: i64) -> impl Iterator<Item = (String, String)> {
    set.spec.volume_claim_templates.iter().filter_map(move |template| {
        let name = template["metadata"]["name"].as_str()?;
        Some((name.to_owned(), format!("{name}-{}-{ordinal}", set.metadata.name)))
    })
}

fn deletes(set: &StatefulSet) -> (bool, bool) {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    policy.map_or((false, false), |p| (p.when_deleted == "Delete", p.when_scaled == "Delete"))
}

/// Makes those that are not there.
pub fn create_missing(scene: &Scene<'_>, ordinal: i64, plan: &mut Plan) {
    let set = &scene.set;
    let pod = identity::pod_name(&set.metadata.name, ordinal);
    for (template, (_, name)) in set.spec.volume_claim_templates.iter().zip(names(set, ordinal)) {
        if scene.view.claims.get(&set.metadata.namespace, &name).is_some() {
            continue;
        }
        let mut metadata = json!({"labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"]});
        merge(&mut metadata["labels"], &set.spec.selector["matchLabels"]);
        metadata["name"] = name.as_str().into();
        metadata["namespace"] = set.metadata.namespace.as_str().into();
        if deletes(set).0 {
            metadata["ownerReferences"] = json!([owner_reference(STATEFUL_SETS, &set.metadata)]);
        }
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
            "spec": template["spec"]});
        let what = format!("create Claim {name} Pod {pod} in StatefulSet {}", set.metadata.name);
        plan.push(
            Write::create(PERSISTENT_VOLUME_CLAIMS, &set.metadata.namespace, claim)
                .telling(EventSpec::normal(&scene.about, "SuccessfulCreate", format!("{what} success")))
                .or_telling(EventSpec::warning(
                    &scene.about,
                    "FailedCreate",
                    format!("{what} failed error: {{error}}"),
                )),
        );
    }
}

fn present(scene: &Scene<'_>, ordinal: i64) -> Vec<Arc<PersistentVolumeClaim>> {
    let namespace = &scene.set.metadata.namespace;
    names(&scene.set, ordinal).filter_map(|(_, name)| scene.view.claims.get(namespace, &name)).collect()
}

/// A claim that still goes with a former pod of this name must be gone before the next one.
pub fn is_stale(scene: &Scene<'_>, ordinal: i64) -> bool {
    let pod = identity::pod_name(&scene.set.metadata.name, ordinal);
    let stale = |owner: &OwnerReference| owner.kind == "Pod" && owner.name == pod;
    deletes(&scene.set).1
        && present(scene, ordinal).iter().any(|claim| claim.metadata.owner_references.iter().any(stale))
}

/// Gives the claims of a pod the owners that the retention policy asks for.
pub fn own(scene: &Scene<'_>, ordinal: i64, pod: Option<&Arc<Pod>>, plan: &mut Plan) {
    let set = &scene.set;
    let (when_deleted, when_scaled) = deletes(set);
    let scaled_away = !scene.ordinals().contains(&ordinal);
    let by_pod = when_scaled && scaled_away;
    let by_set = when_deleted && !by_pod;
    for claim in present(scene, ordinal) {
        let owners = &claim.metadata.owner_references;
        let is_set = |o: &OwnerReference| o.kind == "StatefulSet" && o.name == set.metadata.name;
        let is_pod =
            |o: &OwnerReference| o.kind == "Pod" && o.name == identity::pod_name(&set.metadata.name, ordinal);
        let is_present = |o: &OwnerReference| {
            o.uid == set.metadata.uid || pod.is_some_and(|pod| o.uid == pod.metadata.uid)
        };
        let ours = |o: &OwnerReference| is_set(o) || is_pod(o);
        // What a former set or another controller owns is left as it is.
        if owners.iter().any(|o| (ours(o) && !is_present(o)) || (!ours(o) && o.controller == Some(true))) {
            continue;
        }
        let right = owners.iter().any(is_set) == by_set && owners.iter().any(is_pod) == by_pod;
        if right {
            continue;
        }
        let mut wanted: Vec<Value> = owners.iter().filter(|o| !ours(o)).map(|o| json!(o)).collect();
        if by_set {
            wanted.push(owner_reference(STATEFUL_SETS, &set.metadata));
        }
        if let Some(pod) = pod.filter(|_| by_pod) {
            wanted.push(owner_reference(PODS, &pod.metadata));
        }
        let meta = &claim.metadata;
        let patch = json!({"metadata": {"uid": meta.uid, "ownerReferences": wanted}});
        plan.push(Write::merge(PERSISTENT_VOLUME_CLAIMS, &meta.namespace, &meta.name, "", patch));
    }
}
