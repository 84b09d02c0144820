//! DaemonSet: one pod on every node that its template may run on.
//!
//! ```text
//!   revision of the template ─► per node: make the missing, delete the failed, the doubled, the misplaced
//!                            ─► nothing to do there? RollingUpdate: replace old pods within maxUnavailable or maxSurge
//!   and always: forget old revisions, update status
//! ```

mod nodes;
mod rollout;
mod status;

use crate::Controller;
use crate::api::DaemonSet;
use crate::history::{self, Owner, Present};
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::pods;
use crate::template::pod_from_template;
use crate::view::{Changed, KindId, View};
use kedge_api::pod::Toleration;
use kedge_api::resource::{DAEMON_SETS, PODS};
use kedge_api::{Node, ObjectMeta, Pod, Selector, Time};
use kedge_machinery::ObjectKey;
use nodes::Placement;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const HASH_LABEL: &str = "controller-revision-hash";
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// So many pods are made or deleted in one go.
const BURST_MAX: usize = 250;
const BACKOFF_MAX_S: i64 = 15 * 60;

/// When a failed pod of a set on a node was last deleted, and how long the next one must wait.
#[derive(Debug, Default)]
struct Backoff {
    entries: BTreeMap<(String, String), (Time, i64)>,
}

impl Backoff {
    /// None: delete it now. Else: look again at this time.
    fn delete_failed(&mut self, set: &str, node: &str, now: Time) -> Option<Time> {
        self.entries.retain(|_, (at, _)| now.0 - at.0 < 2 * BACKOFF_MAX_S);
        let key = (set.to_owned(), node.to_owned());
        match self.entries.get_mut(&key) {
            Some((at, delay)) if now.0 - at.0 < *delay => return Some(Time(at.0 + *delay)),
            Some((at, delay)) => (*at, *delay) = (now, (*delay * 2).min(BACKOFF_MAX_S)),
            None => {
                self.entries.insert(key, (now, 1));
            }
        }
        None
    }
}

#[derive(Default)]
pub struct DaemonSetController {
    backoff: Mutex<Backoff>,
}

/// A set with what belongs to it.
struct Scene {
    set: Arc<DaemonSet>,
    present: Present,
    nodes: Vec<Arc<Node>>,
    /// Node name → its pods that are not on their way out of the store, oldest first.
    pods: BTreeMap<String, Vec<Arc<Pod>>>,
    /// The pod that the template makes, as the nodes judge it.
    sample: Pod,
    about: Value,
}

impl Scene {
    fn placement(&self, node: &Node) -> Placement {
        nodes::placement(&self.sample, node)
    }

    fn on(&self, node: &str) -> &[Arc<Pod>] {
        self.pods.get(node).map_or(&[], Vec::as_slice)
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        let labels = &pod.metadata.labels;
        let generation = self.set.metadata.annotations.get(TEMPLATE_GENERATION);
        let same_generation = generation.is_some() && labels.get("pod-template-generation") == generation;
        same_generation || labels.get(HASH_LABEL) == Some(&self.present.hash)
    }

    fn create_on(&self, node: &str) -> Write {
        let mut pod = pod_from_template(&self.set.spec.template, DAEMON_SETS, &self.set.metadata);
        pod["metadata"]["generateName"] = format!("{}-", self.set.metadata.name).into();
        pod["metadata"]["labels"][HASH_LABEL] = self.present.hash.as_str().into();
        if let Some(generation) = self.set.metadata.annotations.get(TEMPLATE_GENERATION) {
            pod["metadata"]["labels"]["pod-template-generation"] = generation.as_str().into();
        }
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
        pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": terms});
        pod["spec"]["tolerations"] = json!(self.sample.spec.tolerations);
        Write::create(PODS, &self.set.metadata.namespace, pod)
            .telling(EventSpec::normal(&self.about, "SuccessfulCreate", "Created pod: {name}"))
            .or_telling(EventSpec::warning(&self.about, "FailedCreate", "Error creating: {error}"))
    }

    fn delete(&self, pod: &Pod) -> Write {
        let meta = &pod.metadata;
        let done = format!("Deleted pod: {}", meta.name);
        Write::delete(PODS, &meta.namespace, &meta.name, &meta.uid)
            .telling(EventSpec::normal(&self.about, "SuccessfulDelete", done))
            .or_telling(EventSpec::warning(&self.about, "FailedDelete", "Error deleting: {error}"))
    }

    fn min_ready_s(&self) -> i64 {
        self.set.spec.min_ready_seconds
    }
}

impl Controller for DaemonSetController {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn account(&self) -> &'static str {
        "daemon-set-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::DaemonSet, KindId::ControllerRevision, KindId::Pod, KindId::Node]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        let concerned = |old: Option<&ObjectMeta>, new: Option<&ObjectMeta>| {
            pods::concerned(old, new, "DaemonSet", |orphan| {
                let sets = view.daemon_sets.list(Some(&orphan.namespace));
                let owners = sets.iter().map(|set| (&set.metadata, read(&set.spec.selector)));
                pods::matching(orphan, owners)
            })
        };
        match change {
            Changed::DaemonSet { key, .. } => vec![key.clone()],
            Changed::Pod { old, new, .. } => {
                concerned(old.as_ref().map(|pod| &pod.metadata), new.as_ref().map(|pod| &pod.metadata))
            }
            Changed::ControllerRevision { old, new, .. } => {
                concerned(old.as_ref().map(|r| &r.metadata), new.as_ref().map(|r| &r.metadata))
            }
            // Heartbeats are most of a node's changes and move no pod.
            Changed::Node { old: Some(old), new: Some(new), .. }
                if old.metadata.labels == new.metadata.labels && old.spec.taints == new.spec.taints =>
            {
                Vec::new()
            }
            Changed::Node { .. } => {
                let sets = view.daemon_sets.list(None);
                let key = |set: &Arc<DaemonSet>| {
                    ObjectKey::new(set.metadata.namespace.clone(), set.metadata.name.clone())
                };
                sets.iter().map(key).collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let Some(set) = view.daemon_sets.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        let about = reference(DAEMON_SETS, &set.metadata);
        let mut plan = Plan::nothing();
        let selector = read(&set.spec.selector);
        if selector.is_empty() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            plan.events.push(EventSpec::warning(&about, "SelectingAll", message));
            return plan;
        }
        if set.metadata.deletion_timestamp.is_some() {
            return plan;
        }
        let owner = Owner {
            of: DAEMON_SETS,
            meta: &set.metadata,
            selector: &selector,
            template: &set.spec.template,
            hash_label: HASH_LABEL,
        };
        let revisions = history::revisions(&owner, view, &mut plan);
        let collisions = set.status.collision_count.unwrap_or(0);
        let present = history::ensure(&owner, &revisions, collisions, view, &mut plan);
        let limit = set.spec.revision_history_limit;
        let scene = stage(set.clone(), present, &selector, about, view, &mut plan);
        let before = plan.writes.len();
        self.manage(&scene, context.now, &mut plan);
        // What was just made or deleted is not in the view: replacing is for the next look.
        if plan.writes.len() == before && set.spec.update_strategy.r#type != "OnDelete" {
            rollout::replace(&scene, context.now, &mut plan);
        }
        let is_live = |hash: Option<&String>| {
            hash == Some(&scene.present.hash)
                || scene.pods.values().flatten().any(|pod| pod.metadata.labels.get(HASH_LABEL) == hash)
        };
        history::prune(&revisions, limit, |r| is_live(r.metadata.labels.get(HASH_LABEL)), &mut plan);
        status::update(&scene, context, &mut plan);
        plan
    }
}

fn read(selector: &Value) -> Selector {
    Selector::from_object(selector).unwrap_or_else(|_| Selector::nothing())
}

fn stage(
    set: Arc<DaemonSet>,
    present: Present,
    selector: &Selector,
    about: Value,
    view: &View<'_>,
    plan: &mut Plan,
) -> Scene {
    let owned = pods::claim((DAEMON_SETS, &set.metadata), selector, view, plan, |_| true);
    let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in owned {
        // An ended pod that is being deleted is the store's business alone.
        let leaving = pod.is_terminal() && pod.metadata.deletion_timestamp.is_some();
        if let Some(node) = nodes::node_of(&pod).filter(|_| !leaving) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    for pods in by_node.values_mut() {
        pods.sort_by_key(|pod| {
            let unbound = pod.spec.node_name.is_empty();
            (unbound, pod.metadata.creation_timestamp, pod.metadata.name.clone())
        });
    }
    let mut sample: Pod = serde_json::from_value(set.spec.template.clone()).unwrap_or_default();
    for toleration in nodes::daemon_tolerations(sample.spec.host_network) {
        let same = |present: &Toleration| {
            (&present.key, &present.operator, &present.effect, &present.value)
                == (&toleration.key, &toleration.operator, &toleration.effect, &toleration.value)
        };
        if !sample.spec.tolerations.iter().any(same) {
            sample.spec.tolerations.push(toleration);
        }
    }
    Scene { set, present, nodes: view.nodes.list(None), pods: by_node, sample, about }
}

impl DaemonSetController {
    fn manage(&self, scene: &Scene, now: Time, plan: &mut Plan) {
        let (mut create, mut delete) = (Vec::new(), Vec::new());
        for node in &scene.nodes {
            let pods = scene.on(&node.metadata.name);
            let placement = scene.placement(node);
            if placement.runs && pods.is_empty() {
                create.push(scene.create_on(&node.metadata.name));
            } else if placement.stays {
                self.weed(scene, &node.metadata.name, now, plan, &mut delete);
            } else {
                let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
                delete.extend(living.map(|pod| scene.delete(pod)));
            }
        }
        // A pod that waits for a node that is gone will never run.
        let known = |name: &str| scene.nodes.iter().any(|node| node.metadata.name == name);
        for (_, pods) in scene.pods.iter().filter(|(node, _)| !known(node)) {
            let waiting = pods
                .iter()
                .filter(|pod| pod.spec.node_name.is_empty() && pod.metadata.deletion_timestamp.is_none());
            delete.extend(waiting.map(|pod| scene.delete(pod)));
        }
        create.truncate(BURST_MAX);
        delete.truncate(BURST_MAX);
        plan.writes.append(&mut create);
        plan.writes.append(&mut delete);
    }

    /// Deletes what ended on a node, and what is too many there.
    fn weed(&self, scene: &Scene, node: &str, now: Time, plan: &mut Plan, delete: &mut Vec<Write>) {
        let mut running: Vec<&Arc<Pod>> = Vec::new();
        for pod in scene.on(node).iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            let name = pod.full_name();
            match pod.status.phase.as_str() {
                "Failed" => {
                    let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(at) = backoff.delete_failed(&scene.set.metadata.uid, node, now) {
                        plan.requeue(at);
                        continue;
                    }
                    let message =
                        format!("Found failed daemon pod {name} on node {node}, will try to kill it");
                    plan.events.push(EventSpec::warning(&scene.about, "FailedDaemonPod", message));
                    delete.push(scene.delete(pod));
                }
                "Succeeded" => {
                    let message =
                        format!("Found succeeded daemon pod {name} on node {node}, will try to delete it");
                    plan.events.push(EventSpec::normal(&scene.about, "SucceededDaemonPod", message));
                    delete.push(scene.delete(pod));
                }
                _ => running.push(pod),
            }
        }
        if rollout::max_surge(scene, 1) == 0 {
            delete.extend(running.iter().skip(1).map(|pod| scene.delete(pod)));
            return;
        }
        // While surging, a node may have one old and one new pod.
        let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
            running.into_iter().partition(|pod| scene.is_updated(pod));
        delete.extend(new.iter().skip(1).chain(old.iter().skip(1)).map(|pod| scene.delete(pod)));
        if let (Some(new), Some(old)) = (new.first(), old.first()) {
            let replaced = pods::is_available(new, scene.min_ready_s(), now, plan);
            if !old.is_ready() || replaced {
                delete.push(scene.delete(old));
            }
        }
    }
}

#[cfg(test)]
mod tests;
