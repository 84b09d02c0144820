//! Protection of volumes in use: the API server puts a finalizer on every claim and volume; here it goes once nobody uses them.

use crate::Controller;
use crate::plan::{Context, Plan, Write};
use crate::view::{Changed, KindId, View};
use kedge_api::resource::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES};
use kedge_api::{ObjectMeta, Pod, Resource};
use kedge_machinery::ObjectKey;
use serde_json::json;
use std::sync::Arc;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// A claim is in use while a pod that has not ended names it.
pub struct ClaimProtection;

impl Controller for ClaimProtection {
    fn name(&self) -> &'static str {
        "persistentvolumeclaim-protection-controller"
    }

    fn account(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::PersistentVolumeClaim, KindId::Pod]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::PersistentVolumeClaim { key, new: Some(_), .. } => vec![key.clone()],
            // A pod that goes or ends may have been the last.
            Changed::Pod { old: Some(pod), new, .. } if new.as_ref().is_none_or(|new| new.is_terminal()) => {
                let namespace = &pod.metadata.namespace;
                claims_of(pod)
                    .filter(|name| view.claims.get(namespace, name).is_some())
                    .map(|name| ObjectKey::new(namespace.clone(), name))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, _context: &Context) -> Plan {
        let Some(claim) = view.claims.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        let users = || view.pods.list(Some(&key.namespace)).into_iter().filter(|pod| uses(pod, &key.name));
        protect(PERSISTENT_VOLUME_CLAIMS, &claim.metadata, CLAIM, || users().next().is_some())
    }
}

/// A volume is in use while it is bound to a claim.
pub struct VolumeProtection;

impl Controller for VolumeProtection {
    fn name(&self) -> &'static str {
        "persistentvolume-protection-controller"
    }

    fn account(&self) -> &'static str {
        "pv-protection-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::PersistentVolume]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::PersistentVolume { key, new: Some(_), .. } => vec![key.clone()],
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, _context: &Context) -> Plan {
        match view.volumes.get("", &key.name) {
            Some(volume) => {
                protect(PERSISTENT_VOLUMES, &volume.metadata, VOLUME, || volume.status.phase == "Bound")
            }
            None => Plan::nothing(),
        }
    }
}

/// Takes the finalizer off what is going and unused, and puts it on what lost it.
fn protect(of: Resource, meta: &ObjectMeta, finalizer: &str, in_use: impl Fn() -> bool) -> Plan {
    let has = meta.finalizers.iter().any(|present| present == finalizer);
    let going = meta.deletion_timestamp.is_some();
    let finalizers: Vec<&str> = match (going, has) {
        (true, true) if !in_use() => {
            meta.finalizers.iter().map(String::as_str).filter(|present| *present != finalizer).collect()
        }
        (false, false) => meta.finalizers.iter().map(String::as_str).chain([finalizer]).collect(),
        (true, true) => return Plan::waiting("the last user"),
        (true, false) | (false, true) => return Plan::nothing(),
    };
    let mut plan = Plan::nothing();
    let patch = json!({"metadata": {"uid": meta.uid, "finalizers": finalizers}});
    plan.push(Write::merge(of, &meta.namespace, &meta.name, "", patch));
    plan
}

/// The claims that a pod names, those of its generic ephemeral volumes included.
fn claims_of(pod: &Arc<Pod>) -> impl Iterator<Item = String> {
    pod.spec.volumes.iter().filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name, volume.name)),
        (None, None) => None,
    })
}

/// A pod without a node has not begun to use what it names, unless it may still be bound.
fn uses(pod: &Arc<Pod>, claim: &str) -> bool {
    let unscheduled_and_going = pod.spec.node_name.is_empty() && pod.metadata.deletion_timestamp.is_some();
    !pod.is_terminal() && !unscheduled_and_going && claims_of(pod).any(|name| name == claim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use kedge_api::resource::PODS;

    fn claim_is_there(cluster: &Cluster) -> bool {
        cluster.get(PERSISTENT_VOLUME_CLAIMS, "d", "data").is_some()
    }

    #[test]
    fn a_claim_stays_until_its_last_pod_has_ended() {
        let mut cluster = Cluster::default();
        let key = ObjectKey::new("d", "data");
        cluster.create(PERSISTENT_VOLUME_CLAIMS, "d", json!({"metadata": {"name": "data"}})).unwrap();
        cluster.settle(&ClaimProtection, &key).unwrap();
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}});
        cluster.create(PODS, "d", pod).unwrap();
        cluster.delete(PERSISTENT_VOLUME_CLAIMS, "d", "data", false).unwrap();
        cluster.settle(&ClaimProtection, &key).unwrap();
        assert!(claim_is_there(&cluster), "a pod uses it");
        cluster.news();
        cluster.pod_status("d", "p", "Succeeded", false).unwrap();
        let change = cluster.news().pop().unwrap();
        assert_eq!(ClaimProtection.keys(&change, &cluster.objects.view()), std::slice::from_ref(&key));
        cluster.settle(&ClaimProtection, &key).unwrap();
        assert!(!claim_is_there(&cluster));
    }

    #[test]
    fn a_volume_stays_while_it_is_bound() {
        let mut cluster = Cluster::default();
        let key = ObjectKey::new("", "v");
        let volume = json!({"metadata": {"name": "v"}, "status": {"phase": "Bound"}});
        cluster.create(PERSISTENT_VOLUMES, "", volume).unwrap();
        cluster.settle(&VolumeProtection, &key).unwrap();
        cluster.delete(PERSISTENT_VOLUMES, "", "v", false).unwrap();
        cluster.settle(&VolumeProtection, &key).unwrap();
        assert!(cluster.get(PERSISTENT_VOLUMES, "", "v").is_some());
        cluster.patch(PERSISTENT_VOLUMES, "", "v", &json!({"status": {"phase": "Released"}})).unwrap();
        cluster.settle(&VolumeProtection, &key).unwrap();
        assert!(cluster.get(PERSISTENT_VOLUMES, "", "v").is_none());
    }
}
