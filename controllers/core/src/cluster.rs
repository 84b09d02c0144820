//! A cluster in memory that takes a controller's writes as the API server would: what tests and the simulation run
//! controllers on. It knows as much of the server as the controllers rely on: uids, generations, finalizers, preconditions.

use crate::plan::{Op, Plan, Write, merge};
use crate::view::{Changed, Objects};
use crate::{Context, Controller};
use kedge_api::{Resource, Time, resource};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Cluster {
    pub objects: Objects,
    pub now: Time,
    stored: BTreeMap<(&'static str, ObjectKey), Value>,
    /// What no controller was told of yet.
    news: Vec<Changed>,
    /// Counts writes; gives uids, revisions and the random part of names.
    writes: u64,
}

impl Cluster {
    pub fn at(now: Time) -> Cluster {
        Cluster { now, ..Cluster::default() }
    }

    pub fn get(&self, of: Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.stored.get(&(of.kind, ObjectKey::new(namespace, name)))
    }

    pub fn list(&self, of: Resource) -> impl Iterator<Item = &Value> {
        self.stored.iter().filter(move |((kind, _), _)| *kind == of.kind).map(|(_, object)| object)
    }

    pub fn news(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.news)
    }

    /// Everything there is, as who starts anew is told of it.
    pub fn replay(&mut self) -> Vec<Changed> {
        let told = self.stored.iter().filter_map(|((kind, key), object)| {
            self.objects.set(kind, key.clone(), Some(object)).ok().flatten()
        });
        told.collect()
    }

    pub fn perform(&mut self, write: &Write) -> Result<(), String> {
        let namespace = write.namespace.as_str();
        match &write.op {
            Op::Create(object) => self.create(write.of, namespace, object.clone()).map(|_| ()),
            Op::Patch { name, patch, strategic, .. } => {
                self.change(write.of, namespace, name, patch, *strategic)
            }
            Op::Replace { name, object } => self.patch(write.of, namespace, name, object),
            Op::Delete { name, uid, grace_period_s } => {
                let key = ObjectKey::new(namespace, name.as_str());
                match self.stored.get(&(write.of.kind, key)) {
                    Some(object) if object["metadata"]["uid"] != uid.as_str() => Err("conflict".to_owned()),
                    Some(_) => self.delete(write.of, namespace, name, *grace_period_s == Some(0)),
                    None => Ok(()),
                }
            }
        }
    }

    /// Gives the name.
    pub fn create(&mut self, of: Resource, namespace: &str, mut object: Value) -> Result<String, String> {
        self.writes += 1;
        let name = match object["metadata"]["name"].as_str() {
            Some(name) => name.to_owned(),
            None => {
                let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
                format!("{prefix}{}", self.writes)
            }
        };
        let key = ObjectKey::new(namespace, name.as_str());
        if self.stored.contains_key(&(of.kind, key.clone())) {
            return Err(format!("{} {name:?} already exists", of.plural));
        }
        let metadata = &mut object["metadata"];
        metadata["name"] = name.as_str().into();
        metadata["namespace"] = namespace.into();
        metadata["uid"] = format!("uid-{}", self.writes).into();
        metadata["generation"] = 1.into();
        metadata["creationTimestamp"] = json!(self.now);
        object["kind"] = of.kind.into();
        if of == resource::PODS && object["status"]["phase"].is_null() {
            object["status"]["phase"] = "Pending".into();
        }
        self.put(of, key, Some(object))?;
        Ok(name)
    }

    /// JSON merge patch.
    pub fn patch(&mut self, of: Resource, namespace: &str, name: &str, patch: &Value) -> Result<(), String> {
        self.change(of, namespace, name, patch, false)
    }

    fn change(
        &mut self,
        of: Resource,
        namespace: &str,
        name: &str,
        patch: &Value,
        strategic: bool,
    ) -> Result<(), String> {
        self.writes += 1;
        let key = ObjectKey::new(namespace, name);
        let Some(old) = self.stored.get(&(of.kind, key.clone())) else {
            return Ok(());
        };
        let mut object = old.clone();
        let uid = &patch["metadata"]["uid"];
        if !uid.is_null() && *uid != old["metadata"]["uid"] {
            return Err("conflict".to_owned());
        }
        let mut patch = patch.clone();
        if strategic {
            merge_lists(&mut object, &mut patch);
        }
        merge(&mut object, &patch);
        if object["spec"] != old["spec"] {
            object["metadata"]["generation"] =
                (old["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        if *old == object {
            return Ok(());
        }
        let released = !object["metadata"]["deletionTimestamp"].is_null() && finalizers(&object) == 0;
        let held_before = finalizers(old) > 0;
        let gone = released && held_before && !has_grace(of, &object);
        self.put(of, key, (!gone).then_some(object))
    }

    /// A pod that runs somewhere, and anything with finalizers, stays until it is let go.
    pub fn delete(&mut self, of: Resource, namespace: &str, name: &str, force: bool) -> Result<(), String> {
        self.writes += 1;
        let key = ObjectKey::new(namespace, name);
        let Some(mut object) = self.stored.get(&(of.kind, key.clone())).cloned() else {
            return Ok(());
        };
        let stays = finalizers(&object) > 0 || (!force && has_grace(of, &object));
        if !stays {
            return self.put(of, key, None);
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(self.now);
            return self.put(of, key, Some(object));
        }
        Ok(())
    }

    fn put(&mut self, of: Resource, key: ObjectKey, object: Option<Value>) -> Result<(), String> {
        let object = object.map(|mut object| {
            object["metadata"]["resourceVersion"] = self.writes.to_string().into();
            object
        });
        let changed = self.objects.set(of.kind, key.clone(), object.as_ref()).map_err(|e| e.to_string())?;
        self.news.extend(changed);
        match object {
            Some(object) => self.stored.insert((of.kind, key), object),
            None => self.stored.remove(&(of.kind, key)),
        };
        Ok(())
    }

    /// Decides one key and performs all of the plan; gives the plan, and the failure that stopped it.
    pub fn reconcile(&mut self, controller: &dyn Controller, key: &ObjectKey) -> (Plan, Option<String>) {
        let context = Context { now: self.now, last_failure: None };
        let plan = controller.reconcile(&self.objects.view(), key, &context);
        let failure = plan.writes.iter().find_map(|write| self.perform(write).err());
        (plan, failure)
    }

    /// Runs one controller on one key until it has nothing left to write; None: it never comes to rest.
    pub fn settle(&mut self, controller: &dyn Controller, key: &ObjectKey) -> Option<Plan> {
        for _ in 0..200 {
            let before = self.writes;
            let (plan, _) = self.reconcile(controller, key);
            if self.writes == before {
                return Some(plan);
            }
        }
        None
    }

    /// The kubelet's part: a bound pod gets a phase, and is ready or not.
    pub fn pod_status(
        &mut self,
        namespace: &str,
        name: &str,
        phase: &str,
        ready: bool,
    ) -> Result<(), String> {
        let ready = if ready { "True" } else { "False" };
        let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": self.now}]);
        let status = json!({"phase": phase, "conditions": conditions, "startTime": self.now});
        self.patch(resource::PODS, namespace, name, &json!({"status": status}))
    }
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

fn has_grace(of: Resource, object: &Value) -> bool {
    let bound = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let over = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    of == resource::PODS && bound && !over
}

/// The strategic parts that controllers use: owner references by uid, finalizers one by one, conditions by type.
fn merge_lists(object: &mut Value, patch: &mut Value) {
    let removed = patch["metadata"]["$deleteFromPrimitiveList/finalizers"].take();
    if let (Some(removed), Some(list)) = (removed.as_array(), object["metadata"]["finalizers"].as_array_mut())
    {
        list.retain(|finalizer| !removed.contains(finalizer));
    }
    let owners = patch["metadata"]["ownerReferences"].take();
    for owner in owners.as_array().into_iter().flatten() {
        if !object["metadata"]["ownerReferences"].is_array() {
            object["metadata"]["ownerReferences"] = json!([]);
        }
        if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
            list.retain(|present| present["uid"] != owner["uid"]);
            if owner["$patch"] != "delete" {
                list.push(owner.clone());
            }
        }
    }
    if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
}
