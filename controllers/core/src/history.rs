//! ControllerRevisions: every template that a DaemonSet or StatefulSet has had, numbered; `kubectl rollout undo` goes back to
//! one of them.

use crate::api::ControllerRevision;
use crate::owners::{Claim, Verdict, owner_reference};
use crate::plan::{Plan, Write};
use crate::template::{normalized, template_hash};
use crate::view::View;
use kedge_api::resource::CONTROLLER_REVISIONS;
use kedge_api::{ObjectMeta, Resource, Selector};
use serde_json::{Value, json};
use std::sync::Arc;

/// Whose revisions they are.
pub struct Owner<'a> {
    pub of: Resource,
    pub meta: &'a ObjectMeta,
    pub selector: &'a Selector,
    pub template: &'a Value,
    /// The label that carries the hash of the template.
    pub hash_label: &'static str,
}

/// The revision of the present template. It may be one that the plan only makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    pub name: String,
    pub hash: String,
    pub collision_count: i64,
}

/// Its revisions, oldest first.
pub fn revisions(owner: &Owner<'_>, view: &View<'_>, plan: &mut Plan) -> Vec<Arc<ControllerRevision>> {
    let claim =
        Claim { owner: owner.meta, owner_kind: owner.of, selector: owner.selector, of: CONTROLLER_REVISIONS };
    let mut found = Vec::new();
    for revision in view.controller_revisions.list(Some(&owner.meta.namespace)) {
        match claim.verdict(&revision.metadata) {
            Verdict::Mine => found.push(revision),
            Verdict::Adopt(write) => {
                plan.push(*write);
                found.push(revision);
            }
            Verdict::Release(write) => plan.push(*write),
            Verdict::NotMine => {}
        }
    }
    found.sort_by_key(|revision| {
        (revision.revision, revision.metadata.creation_timestamp, revision.metadata.name.clone())
    });
    found
}

/// Finds the revision of the present template, gives it the highest number, or makes it.
pub fn ensure(
    owner: &Owner<'_>,
    revisions: &[Arc<ControllerRevision>],
    collision_count: i64,
    view: &View<'_>,
    plan: &mut Plan,
) -> Present {
    let same =
        revisions.iter().rev().find(|revision| template_of(revision) == normalized(owner.template.clone()));
    let next = revisions.last().map_or(0, |last| last.revision) + 1;
    let Some(found) = same else {
        return create(owner, next, collision_count, view, plan);
    };
    if found.revision + 1 < next {
        let patch = json!({"revision": next});
        let meta = &found.metadata;
        plan.push(Write::merge(CONTROLLER_REVISIONS, &meta.namespace, &meta.name, "", patch));
    }
    let hash = found.metadata.labels.get(owner.hash_label).cloned();
    Present {
        name: found.metadata.name.clone(),
        hash: hash.unwrap_or_else(|| found.metadata.name.clone()),
        collision_count,
    }
}

fn create(owner: &Owner<'_>, number: i64, mut collisions: i64, view: &View<'_>, plan: &mut Plan) -> Present {
    let meta = owner.meta;
    let (hash, name) = loop {
        let hash = template_hash(owner.template, collisions);
        let name = format!("{}-{hash}", meta.name);
        if view.controller_revisions.get(&meta.namespace, &name).is_none() {
            break (hash, name);
        }
        collisions += 1;
    };
    let mut labels = owner.template["metadata"]["labels"].clone();
    labels[owner.hash_label] = hash.as_str().into();
    let mut template = owner.template.clone();
    template["$patch"] = "replace".into();
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": name, "namespace": meta.namespace, "labels": labels, "annotations": meta.annotations,
            "ownerReferences": [owner_reference(owner.of, meta)],
        },
        "data": {"spec": {"template": template}},
        "revision": number,
    });
    plan.push(Write::create(CONTROLLER_REVISIONS, &meta.namespace, object));
    Present { name, hash, collision_count: collisions }
}

/// The pod template that a revision keeps.
pub fn template_of(revision: &ControllerRevision) -> Value {
    let mut template = revision.data["spec"]["template"].clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    normalized(template)
}

/// Revisions that no pod lives by go, oldest first, down to the limit.
pub fn prune(
    revisions: &[Arc<ControllerRevision>],
    limit: Option<i64>,
    is_live: impl Fn(&ControllerRevision) -> bool,
    plan: &mut Plan,
) {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    let idle: Vec<&Arc<ControllerRevision>> =
        revisions.iter().filter(|revision| !is_live(revision)).collect();
    for revision in idle.iter().take(idle.len().saturating_sub(limit)) {
        let meta = &revision.metadata;
        plan.push(Write::delete(CONTROLLER_REVISIONS, &meta.namespace, &meta.name, &meta.uid));
    }
}
