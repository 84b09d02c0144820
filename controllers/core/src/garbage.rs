//! The garbage collector: an object whose owners are all gone goes too; foreground and orphan deletions are carried out.
//!
//! The graph holds the metadata of every object of every kind. It decides; the shell verifies each decision against the
//! server (an owner missing in the graph may merely not have been seen yet) and acts.

use kedge_api::{ObjectMeta, OwnerReference, Resource};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// An object by kind and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub of: Resource,
    pub key: ObjectKey,
    pub uid: String,
}

/// What is to be done about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// No owner is left in the graph. Ask the server for each of these owners; if none answers with this uid, delete in the
    /// background.
    DeleteUnlessOwned { node: Node, owners: Vec<(Option<Resource>, OwnerReference, ObjectKey)> },
    /// Some owners live, some are gone: drop the references to the gone ones (same question to the server first).
    DropReferences { node: Node, owners: Vec<(Option<Resource>, OwnerReference, ObjectKey)> },
    /// An owner that is being deleted in the foreground waits for this one.
    DeleteForeground(Node),
    /// Take the owner's reference out of this dependent.
    Orphan { node: Node, owner_uid: String },
    /// All dependents are settled: take the finalizer off.
    RemoveFinalizer { node: Node, finalizers: Vec<String> },
}

#[derive(Debug, Clone)]
struct Entry {
    node: Node,
    owners: Vec<OwnerReference>,
    finalizers: Vec<String>,
    deleting: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Graph {
    by_uid: BTreeMap<String, Entry>,
    /// Owner uid → uids of its dependents.
    dependents: BTreeMap<String, BTreeSet<String>>,
    dirty: BTreeSet<String>,
}

impl Graph {
    pub fn apply(&mut self, of: Resource, meta: &ObjectMeta) {
        self.forget_edges(&meta.uid);
        for owner in &meta.owner_references {
            self.dependents.entry(owner.uid.clone()).or_default().insert(meta.uid.clone());
            // A foreground owner may have been waiting for this change.
            self.dirty.insert(owner.uid.clone());
        }
        let key = ObjectKey::new(meta.namespace.clone(), meta.name.clone());
        let entry = Entry {
            node: Node { of, key, uid: meta.uid.clone() },
            owners: meta.owner_references.clone(),
            finalizers: meta.finalizers.clone(),
            deleting: meta.deletion_timestamp.is_some(),
        };
        self.by_uid.insert(meta.uid.clone(), entry);
        self.dirty.insert(meta.uid.clone());
    }

    pub fn delete(&mut self, uid: &str) {
        if let Some(entry) = self.by_uid.get(uid) {
            self.dirty.extend(entry.owners.iter().map(|owner| owner.uid.clone()));
        }
        self.forget_edges(uid);
        self.by_uid.remove(uid);
        self.dirty.remove(uid);
        self.dirty.extend(self.dependents.get(uid).into_iter().flatten().cloned());
    }

    /// Look at this object again (an action failed).
    pub fn retry(&mut self, uid: &str) {
        self.dirty.insert(uid.to_owned());
    }

    /// Everything to be done about what changed since the last call.
    pub fn drain(&mut self) -> Vec<Act> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().filter_map(|uid| self.by_uid.get(uid)).flat_map(|entry| self.acts(entry)).collect()
    }

    fn acts(&self, entry: &Entry) -> Vec<Act> {
        let has = |finalizer: &str| entry.finalizers.iter().any(|f| f == finalizer);
        if entry.deleting {
            return match (has(ORPHAN), has(FOREGROUND)) {
                (true, _) => self.orphan(entry),
                (false, true) => self.foreground(entry),
                (false, false) => Vec::new(),
            };
        }
        let (gone, solid): (Vec<&OwnerReference>, Vec<&OwnerReference>) =
            entry.owners.iter().partition(|owner| !self.is_owner(entry, owner));
        if gone.is_empty() {
            return Vec::new();
        }
        let owners: Vec<_> = gone.iter().map(|owner| self.question(entry, owner)).collect();
        let node = entry.node.clone();
        match solid.is_empty() {
            true => vec![Act::DeleteUnlessOwned { node, owners }],
            false => vec![Act::DropReferences { node, owners }],
        }
    }

    /// An owner counts if it is there and in the same namespace or cluster-scoped.
    fn is_owner(&self, entry: &Entry, owner: &OwnerReference) -> bool {
        self.by_uid.get(&owner.uid).is_some_and(|found| {
            let namespace = &found.node.key.namespace;
            namespace.is_empty() || *namespace == entry.node.key.namespace
        })
    }

    fn question(
        &self,
        entry: &Entry,
        owner: &OwnerReference,
    ) -> (Option<Resource>, OwnerReference, ObjectKey) {
        let resource = resource_of(&owner.api_version, &owner.kind);
        let namespaced = resource.is_none_or(|resource| resource.namespaced);
        let namespace = if namespaced { entry.node.key.namespace.clone() } else { String::new() };
        (resource, owner.clone(), ObjectKey::new(namespace, owner.name.clone()))
    }

    fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &Entry> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.by_uid.get(uid))
    }

    fn foreground(&self, entry: &Entry) -> Vec<Act> {
        let uid = &entry.node.uid;
        let blocks = |dependent: &&Entry| {
            dependent.owners.iter().any(|o| o.uid == *uid && o.block_owner_deletion == Some(true))
        };
        let mut acts: Vec<Act> = self
            .dependents_of(uid)
            .filter(|dependent| !dependent.deleting)
            .map(|dependent| Act::DeleteForeground(dependent.node.clone()))
            .collect();
        if acts.is_empty() && !self.dependents_of(uid).any(|dependent| blocks(&dependent)) {
            acts.push(without(entry, FOREGROUND));
        }
        acts
    }

    fn orphan(&self, entry: &Entry) -> Vec<Act> {
        let uid = &entry.node.uid;
        let mut acts: Vec<Act> = self
            .dependents_of(uid)
            .map(|dependent| Act::Orphan { node: dependent.node.clone(), owner_uid: uid.clone() })
            .collect();
        if acts.is_empty() {
            acts.push(without(entry, ORPHAN));
        }
        acts
    }

    fn forget_edges(&mut self, uid: &str) {
        let Some(entry) = self.by_uid.get(uid) else { return };
        for owner in &entry.owners {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

fn without(entry: &Entry, finalizer: &str) -> Act {
    let finalizers = entry.finalizers.iter().filter(|f| *f != finalizer).cloned().collect();
    Act::RemoveFinalizer { node: entry.node.clone(), finalizers }
}

/// The resource of an owner reference; None for kinds that are not built in.
pub fn resource_of(api_version: &str, kind: &str) -> Option<Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let found = kedge_api::kinds::kinds()
        .iter()
        .find(|row| row.group == group && row.version == version && row.kind == kind && row.is_stored())?;
    Some(resource(found))
}

pub fn resource(row: &'static kedge_api::kinds::Kind) -> Resource {
    Resource {
        group: row.group,
        version: row.version,
        plural: row.plural,
        kind: row.kind,
        namespaced: row.namespaced,
    }
}

/// The patch that takes references to these owners out of an object.
pub fn drop_references(uid: &str, owner_uids: &[String]) -> Value {
    let entries: Vec<Value> =
        owner_uids.iter().map(|owner| json!({"$patch": "delete", "uid": owner})).collect();
    json!({"metadata": {"uid": uid, "ownerReferences": entries}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::resource::{DEPLOYMENTS, PODS, REPLICA_SETS};

    fn meta(name: &str, owners: &[(&str, bool)]) -> ObjectMeta {
        let reference = |&(uid, block): &(&str, bool)| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid, "blockOwnerDeletion": block});
        let owners: Vec<Value> = owners.iter().map(reference).collect();
        serde_json::from_value(
            json!({"name": name, "namespace": "d", "uid": name, "ownerReferences": owners}),
        )
        .unwrap()
    }

    fn deleting(mut meta: ObjectMeta, finalizer: &str) -> ObjectMeta {
        meta.deletion_timestamp = Some(Default::default());
        meta.finalizers = vec![finalizer.to_owned()];
        meta
    }

    fn seen(graph: &mut Graph) -> String {
        let acts = graph.drain();
        let texts: Vec<String> = acts
            .iter()
            .map(|act| match act {
                Act::DeleteUnlessOwned { node, owners } => {
                    format!("delete {} unless {}", node.uid, owners[0].1.uid)
                }
                Act::DropReferences { node, owners } => format!("drop {} from {}", owners[0].1.uid, node.uid),
                Act::DeleteForeground(node) => format!("foreground {}", node.uid),
                Act::Orphan { node, owner_uid } => format!("orphan {} of {owner_uid}", node.uid),
                Act::RemoveFinalizer { node, .. } => format!("finalize {}", node.uid),
            })
            .collect();
        texts.join(", ")
    }

    #[test]
    fn dependents_follow_their_owner() {
        let mut graph = Graph::default();
        graph.apply(REPLICA_SETS, &meta("rs", &[]));
        graph.apply(PODS, &meta("p", &[("rs", true)]));
        assert_eq!(seen(&mut graph), "");
        graph.delete("rs");
        assert_eq!(seen(&mut graph), "delete p unless rs");
    }

    #[test]
    fn an_object_with_a_living_owner_only_loses_the_reference() {
        let mut graph = Graph::default();
        graph.apply(REPLICA_SETS, &meta("rs", &[]));
        graph.apply(PODS, &meta("p", &[("rs", true), ("gone", true)]));
        assert_eq!(seen(&mut graph), "drop gone from p");
    }

    #[test]
    fn a_foreground_deletion_waits_for_its_dependents() {
        let mut graph = Graph::default();
        graph.apply(PODS, &meta("p", &[("rs", true)]));
        graph.apply(REPLICA_SETS, &deleting(meta("rs", &[]), FOREGROUND));
        assert_eq!(seen(&mut graph), "foreground p");
        graph.apply(PODS, &deleting(meta("p", &[("rs", true)]), "x"));
        assert_eq!(seen(&mut graph), "");
        graph.delete("p");
        assert_eq!(seen(&mut graph), "finalize rs");
    }

    #[test]
    fn an_orphaning_deletion_frees_its_dependents() {
        let mut graph = Graph::default();
        graph.apply(REPLICA_SETS, &meta("rs", &[("dep", true)]));
        graph.apply(DEPLOYMENTS, &deleting(meta("dep", &[]), ORPHAN));
        assert_eq!(seen(&mut graph), "orphan rs of dep");
        graph.apply(REPLICA_SETS, &meta("rs", &[]));
        graph.retry("dep");
        assert_eq!(seen(&mut graph), "finalize dep");
    }
}
