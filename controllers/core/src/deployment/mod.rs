//! Deployment: one ReplicaSet per template, and the way from the old one to the new one.
//!
//! ```text
//!   claim ReplicaSets ─► find or make the new one ─► paused? scale in proportion
//!                                                 ├► scaled from outside? scale in proportion
//!                                                 ├► Recreate: old to 0, wait for their pods, new up
//!                                                 └► RollingUpdate: new up within maxSurge, old down within maxUnavailable
//!   and always: clean up old history, update status and conditions
//! ```

mod proportion;
mod revision;
mod rollout;
mod status;

use crate::Controller;
use crate::api::{Deployment, ReplicaSet};
use crate::owners::{Claim, Verdict};
use crate::plan::{Context, Plan, Write, reference};
use crate::share::share;
use crate::view::{Changed, KindId, View};
use kedge_api::resource::{DEPLOYMENTS, REPLICA_SETS};
use kedge_api::{ObjectMeta, Pod, Selector};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(crate) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(crate) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

pub struct DeploymentController;

/// A deployment with what belongs to it.
pub(crate) struct Scene {
    pub deployment: Arc<Deployment>,
    /// Oldest first.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Pods of all `sets`.
    pub pods: Vec<Arc<Pod>>,
    /// The set whose template is the deployment's.
    pub new: Option<Arc<ReplicaSet>>,
    pub about: Value,
}

impl Scene {
    pub fn old(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        let new = self.new.as_ref().map(|set| set.metadata.uid.clone());
        self.sets.iter().filter(move |set| Some(&set.metadata.uid) != new.as_ref())
    }

    pub fn is_rolling(&self) -> bool {
        self.deployment.spec.strategy.r#type != "Recreate"
    }

    pub fn max_surge(&self) -> i64 {
        if !self.is_rolling() {
            return 0;
        }
        let rolling = self.deployment.spec.strategy.rolling_update.as_ref();
        share(rolling.and_then(|r| r.max_surge.as_ref()), self.deployment.replicas(), true)
    }

    /// At least 1 when the surge is 0 too, else nothing could ever move.
    pub fn max_unavailable(&self) -> i64 {
        if !self.is_rolling() || self.deployment.replicas() == 0 {
            return 0;
        }
        let rolling = self.deployment.spec.strategy.rolling_update.as_ref();
        let wanted = self.deployment.replicas();
        let unavailable = share(rolling.and_then(|r| r.max_unavailable.as_ref()), wanted, false);
        let unavailable = if unavailable == 0 && self.max_surge() == 0 { 1 } else { unavailable };
        unavailable.min(wanted)
    }
}

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn account(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Deployment, KindId::ReplicaSet, KindId::Pod]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Deployment { key, .. } => vec![key.clone()],
            Changed::ReplicaSet { old, new, .. } => {
                let mut keys: Vec<ObjectKey> =
                    [old, new].into_iter().flatten().filter_map(|set| owner_key(&set.metadata)).collect();
                let orphan = new.as_ref().filter(|set| set.metadata.controller().is_none());
                keys.extend(orphan.into_iter().flat_map(|set| possible_owners(&set.metadata, view)));
                keys
            }
            // A Recreate rollout goes on when the last old pod is gone.
            Changed::Pod { old: Some(pod), new: None, .. } => deployment_of(pod, view).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let Some(deployment) = view.deployments.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        let Ok(selector) = Selector::from_object(&deployment.spec.selector) else {
            return Plan::waiting("a selector that can be parsed");
        };
        let mut plan = Plan::nothing();
        let mut scene = stage(deployment, &selector, view, &mut plan);
        if scene.deployment.metadata.deletion_timestamp.is_some() {
            status::update(&scene, context, &mut plan);
            return plan;
        }
        if !scene.deployment.spec.paused {
            revision::ensure_new_set(&mut scene, context, &mut plan);
        }
        if scene.deployment.spec.paused || proportion::is_scaling_event(&scene) {
            proportion::scale(&scene, &mut plan);
        } else if scene.is_rolling() {
            rollout::rolling(&scene, &mut plan);
        } else {
            rollout::recreate(&scene, &mut plan);
        }
        revision::clean_up_history(&scene, &mut plan);
        status::update(&scene, context, &mut plan);
        plan
    }
}

fn stage(deployment: Arc<Deployment>, selector: &Selector, view: &View<'_>, plan: &mut Plan) -> Scene {
    let claim = Claim { owner: &deployment.metadata, owner_kind: DEPLOYMENTS, selector, of: REPLICA_SETS };
    let namespace = &deployment.metadata.namespace;
    let mut sets = Vec::new();
    for set in view.replica_sets.list(Some(namespace)) {
        match claim.verdict(&set.metadata) {
            Verdict::Mine => sets.push(set),
            Verdict::Adopt(write) => {
                plan.push(*write);
                sets.push(set);
            }
            Verdict::Release(write) => plan.push(*write),
            Verdict::NotMine => {}
        }
    }
    sets.sort_by_key(|set| (set.metadata.creation_timestamp, set.metadata.name.clone()));
    let is_mine = |meta: &ObjectMeta| {
        meta.controller().is_some_and(|owner| sets.iter().any(|set| set.metadata.uid == owner.uid))
    };
    let pods = view.pods.list(Some(namespace)).into_iter().filter(|pod| is_mine(&pod.metadata)).collect();
    let new = sets.iter().find(|set| revision::same_template(&deployment, set)).cloned();
    let about = reference(DEPLOYMENTS, &deployment.metadata);
    Scene { deployment, sets, pods, new, about }
}

fn owner_key(meta: &ObjectMeta) -> Option<ObjectKey> {
    let owner = meta.controller().filter(|owner| owner.kind == "Deployment")?;
    Some(ObjectKey::new(meta.namespace.clone(), owner.name.clone()))
}

fn deployment_of(pod: &Pod, view: &View<'_>) -> Option<ObjectKey> {
    let owner = pod.metadata.controller().filter(|owner| owner.kind == "ReplicaSet")?;
    let set = view.replica_sets.get(&pod.metadata.namespace, &owner.name)?;
    owner_key(&set.metadata)
}

fn possible_owners(set: &ObjectMeta, view: &View<'_>) -> Vec<ObjectKey> {
    let deployments = view.deployments.list(Some(&set.namespace));
    let matches = |deployment: &&Arc<Deployment>| {
        Selector::from_object(&deployment.spec.selector)
            .is_ok_and(|selector| !selector.is_empty() && selector.matches(&set.labels))
    };
    deployments
        .iter()
        .filter(matches)
        .map(|d| ObjectKey::new(d.metadata.namespace.clone(), d.metadata.name.clone()))
        .collect()
}

/// Sets the size of a ReplicaSet, with the annotations that let a later scaling be shared out, and tells of it.
pub(crate) fn resize(scene: &Scene, set: &ReplicaSet, replicas: i64, plan: &mut Plan) {
    let current = set.replicas();
    let desired = scene.deployment.replicas().to_string();
    let most = (scene.deployment.replicas() + scene.max_surge()).to_string();
    let annotated =
        set.annotation(DESIRED_REPLICAS) == Some(&*desired) && set.annotation(MAX_REPLICAS) == Some(&*most);
    if current == replicas && annotated {
        return;
    }
    let mut patch = json!({"metadata": {"annotations": {DESIRED_REPLICAS: desired, MAX_REPLICAS: most}}});
    if current != replicas {
        patch["spec"] = json!({"replicas": replicas});
    }
    let meta = &set.metadata;
    let mut write = Write::merge(REPLICA_SETS, &meta.namespace, &meta.name, "", patch);
    if current != replicas {
        let direction = if replicas > current { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {} from {current} to {replicas}", meta.name);
        write = write.telling(crate::EventSpec::normal(&scene.about, "ScalingReplicaSet", message));
    }
    plan.push(write);
}

#[cfg(test)]
mod tests;
