//! NodeRestriction: a kubelet writes about itself and its own pods only. The Node authorizer has let the request pass by its
//! kind; here its content is looked at.

use super::{Operation, Plugin, Request, text};
use crate::attributes::Attributes;
use crate::authorization::graph::{Vertex, referenced};
use crate::authorization::node_name;
use crate::status::ApiError;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

pub struct NodeRestriction;

const MIRROR: &str = "kubernetes.io/config.mirror";

impl Plugin for NodeRestriction {
    fn admit(&self, request: Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        check(request, Some(object), old)
    }

    fn validate(
        &self,
        request: Request<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        // Creates and updates were refused in the mutating pass, before any finding of validation.
        if object.is_none() { check(request, None, old) } else { Ok(()) }
    }
}

fn check(request: Request<'_>, object: Option<&Value>, old: Option<&Value>) -> Result<(), ApiError> {
    let a = request.attributes;
    let Some(node) = node_name(&a.user) else {
        return Ok(());
    };
    let write = Write { request, node, object, old };
    if node.is_empty() {
        return write.refuse(&format!("could not determine node from user {:?}", a.user.user));
    }
    match (a.group.as_str(), a.resource.as_str(), a.subresource.as_str()) {
        ("", "pods", "") => write.pod(),
        ("", "pods", "status") => write.pod_status(),
        ("", "pods", "eviction") => write.eviction(),
        ("", "pods", other) => write.refuse(&format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        )),
        ("", "nodes", _) => write.node(),
        ("", "persistentvolumeclaims", "status") => write.claim_status(),
        ("", "persistentvolumeclaims", _) => write.refuse("may only update PVC status"),
        ("", "serviceaccounts", "token") if request.operation == Operation::Create => write.token(),
        ("coordination.k8s.io", "leases", _) => write.lease(),
        ("storage.k8s.io", "csinodes", _) => write.csi_node(),
        ("resource.k8s.io", "resourceslices", _) => write.resource_slice(),
        _ => Ok(()),
    }
}

struct Write<'a> {
    request: Request<'a>,
    node: &'a str,
    object: Option<&'a Value>,
    old: Option<&'a Value>,
}

impl Write<'_> {
    fn refuse(&self, why: &str) -> Result<(), ApiError> {
        Err(self.request.forbidden(self.object.or(self.old), why))
    }

    fn sent(&self) -> &Value {
        self.object.unwrap_or(&Value::Null)
    }

    fn stored(&self) -> &Value {
        self.old.unwrap_or(&Value::Null)
    }

    fn attributes(&self) -> &Attributes {
        self.request.attributes
    }

    fn stored_pod(&self, name: &str) -> Result<Arc<Value>, ApiError> {
        let namespace = &self.attributes().namespace;
        let pod = self.request.objects.get("", "pods", namespace, name);
        pod.ok_or_else(|| ApiError::not_found("", "pods", name))
    }

    fn pod(&self) -> Result<(), ApiError> {
        let node = self.node;
        match self.request.operation {
            Operation::Create => self.mirror_pod(),
            Operation::Delete => {
                let pod = self.stored_pod(&self.attributes().name)?;
                match text(&pod["spec"]["nodeName"]) == node {
                    true => Ok(()),
                    false => self.refuse(&format!(
                        "node {node:?} can only delete pods with spec.nodeName set to itself"
                    )),
                }
            }
            operation @ (Operation::Update | Operation::Connect) => self.refuse(&format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                upper(operation)
            )),
        }
    }

    fn mirror_pod(&self) -> Result<(), ApiError> {
        let (pod, node) = (self.sent(), self.node);
        if pod["metadata"]["annotations"].get(MIRROR).is_none() {
            return self.refuse(&format!(
                "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        if text(&pod["spec"]["nodeName"]) != node {
            return self
                .refuse(&format!("node {node:?} can only create pods with spec.nodeName set to itself"));
        }
        self.mirror_pod_owner()?;
        let namespace = &self.attributes().namespace;
        let referenced = referenced(pod, namespace, text(&pod["metadata"]["name"]));
        match referenced.first() {
            Some((vertex, _, _)) => {
                self.refuse(&format!("node {node:?} can not create pods that reference {}", plural(*vertex)))
            }
            None => Ok(()),
        }
    }

    fn mirror_pod_owner(&self) -> Result<(), ApiError> {
        let node = self.node;
        let owners =
            self.sent()["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        let owner = match owners {
            [owner] => owner,
            [] => {
                return self.refuse(&format!(
                    "node {node:?} can only create pods with an owner reference set to itself"
                ));
            }
            _ => {
                return self.refuse(&format!(
                    "node {node:?} can only create pods with a single owner reference set to itself"
                ));
            }
        };
        if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != *node {
            return self.refuse(&format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        if owner["controller"] != true {
            return self.refuse(&format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        if owner["blockOwnerDeletion"] == true {
            return self
                .refuse(&format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
        }
        let Some(stored) = self.request.objects.get("", "nodes", "", node) else {
            return Err(ApiError::not_found("", "nodes", node));
        };
        let (expected, got) = (text(&owner["uid"]), text(&stored["metadata"]["uid"]));
        if expected != got {
            return self.refuse(&format!("node {node} UID mismatch: expected {expected} got {got}"));
        }
        Ok(())
    }

    fn pod_status(&self) -> Result<(), ApiError> {
        let (new, old, node) = (self.sent(), self.stored(), self.node);
        if self.request.operation != Operation::Update {
            return self.refuse(&format!("unexpected operation {:?}", upper(self.request.operation)));
        }
        if text(&old["spec"]["nodeName"]) != node {
            return self.refuse(&format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        if changed(new, old, "/metadata/labels") {
            return self.refuse(&format!("node {node:?} cannot update labels through pod status"));
        }
        if changed(new, old, "/status/resourceClaimStatuses") {
            return self.refuse(&format!("node {node:?} cannot update resource claim statues"));
        }
        if changed(new, old, "/status/extendedResourceClaimStatus") {
            return self.refuse(&format!("node {node:?} cannot update extended resource claim status"));
        }
        Ok(())
    }

    fn eviction(&self) -> Result<(), ApiError> {
        let own = &self.attributes().name;
        let name = if own.is_empty() { text(&self.sent()["metadata"]["name"]) } else { own };
        let pod = self.stored_pod(name)?;
        match text(&pod["spec"]["nodeName"]) == self.node {
            true => Ok(()),
            false => self
                .refuse(&format!("node {} can only evict pods with spec.nodeName set to itself", self.node)),
        }
    }

    fn node(&self) -> Result<(), ApiError> {
        let (new, old, node) = (self.sent(), self.stored(), self.node);
        let own = &self.attributes().name;
        let name = if own.is_empty() { text(&new["metadata"]["name"]) } else { own };
        if name != node {
            return self.refuse(&format!("node {node:?} is not allowed to modify node {name:?}"));
        }
        let labels = forbidden_labels(&new["metadata"]["labels"], &old["metadata"]["labels"]);
        match self.request.operation {
            Operation::Create if !new["spec"]["configSource"].is_null() => self
                .refuse(&format!("node {node:?} is not allowed to create pods with a non-nil configSource")),
            Operation::Create if !labels.is_empty() => self.refuse(&format!(
                "node {node:?} is not allowed to set the following labels: {}",
                labels.join(", ")
            )),
            Operation::Update
                if !new["spec"]["configSource"].is_null() && changed(new, old, "/spec/configSource") =>
            {
                self.refuse(&format!(
                    "node {node:?} is not allowed to update configSource to a new non-nil configSource"
                ))
            }
            Operation::Update if changed(new, old, "/spec/taints") => {
                self.refuse(&format!("node {node:?} is not allowed to modify taints"))
            }
            Operation::Update if changed(new, old, "/metadata/ownerReferences") => {
                self.refuse(&format!("node {node:?} is not allowed to modify ownerReferences"))
            }
            Operation::Update if !labels.is_empty() => {
                self.refuse(&format!("is not allowed to modify labels: {}", labels.join(", ")))
            }
            Operation::Create | Operation::Update | Operation::Delete | Operation::Connect => Ok(()),
        }
    }

    fn claim_status(&self) -> Result<(), ApiError> {
        let rest = |claim: &Value| {
            let mut claim = claim.clone();
            for (part, fields) in [
                ("metadata", ["resourceVersion", "managedFields", "", ""]),
                ("status", ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"]),
            ] {
                if let Some(part) = claim.get_mut(part).and_then(Value::as_object_mut) {
                    fields.iter().for_each(|field| drop(part.remove(*field)));
                }
            }
            claim
        };
        match rest(self.sent()) == rest(self.stored()) {
            true => Ok(()),
            false => self.refuse(&format!(
                "node {:?} is not allowed to update fields other than status.quantity and status.conditions",
                self.node
            )),
        }
    }

    /// A kubelet asks for tokens of pods that run on it, bound to them, for audiences that they mount.
    fn token(&self) -> Result<(), ApiError> {
        let spec = &self.sent()["spec"];
        let reference = &spec["boundObjectRef"];
        if reference["apiVersion"] != "v1"
            || reference["kind"] != "Pod"
            || text(&reference["name"]).is_empty()
        {
            return self.refuse("node requested token not bound to a pod");
        }
        let uid = text(&reference["uid"]);
        if uid.is_empty() {
            return self.refuse("node requested token with a pod binding without a uid");
        }
        let pod = self.stored_pod(text(&reference["name"]))?;
        if text(&pod["metadata"]["uid"]) != uid {
            return self.refuse(&format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ));
        }
        if text(&pod["spec"]["nodeName"]) != self.node {
            return self.refuse("node requested token bound to a pod scheduled on a different node");
        }
        let audience = match spec["audiences"].as_array().map(Vec::as_slice).unwrap_or_default() {
            [] => "",
            [one] => text(one),
            _ => return self.refuse("node may only request 0 or 1 audiences"),
        };
        if self.mounts_audience(&pod, audience) || self.may_request(audience) {
            return Ok(());
        }
        self.refuse(&format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            self.attributes().user.user
        ))
    }

    fn mounts_audience(&self, pod: &Value, audience: &str) -> bool {
        let volumes = || pod["spec"]["volumes"].as_array().into_iter().flatten();
        let projected =
            volumes().flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
        let mut tokens =
            projected.map(|source| &source["serviceAccountToken"]).filter(|token| !token.is_null());
        if tokens.any(|token| text(&token["audience"]) == audience) {
            return true;
        }
        let drivers = volumes().filter_map(|volume| self.driver(pod, volume));
        drivers.filter_map(|name| self.request.objects.get("storage.k8s.io", "csidrivers", "", &name)).any(
            |driver| {
                let requests = driver["spec"]["tokenRequests"].as_array().into_iter().flatten();
                requests.into_iter().any(|request| text(&request["audience"]) == audience)
            },
        )
    }

    /// The CSI driver behind a volume: named by it, or by the persistent volume of its claim.
    fn driver(&self, pod: &Value, volume: &Value) -> Option<String> {
        if let Some(driver) = volume["csi"]["driver"].as_str() {
            return Some(driver.to_owned());
        }
        let claim = match volume["persistentVolumeClaim"]["claimName"].as_str() {
            Some(claim) => claim.to_owned(),
            None if !volume["ephemeral"].is_null() => {
                format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"]))
            }
            None => return None,
        };
        let objects = self.request.objects;
        let claim = objects.get("", "persistentvolumeclaims", &self.attributes().namespace, &claim)?;
        let volume = objects.get("", "persistentvolumes", "", text(&claim["spec"]["volumeName"]))?;
        volume["spec"]["csi"]["driver"].as_str().map(str::to_owned)
    }

    fn may_request(&self, audience: &str) -> bool {
        let a = self.attributes();
        let attributes = Attributes {
            user: a.user.clone(),
            verb: "request-serviceaccounts-token-audience".to_owned(),
            is_resource: true,
            version: "v1".to_owned(),
            resource: audience.to_owned(),
            namespace: a.namespace.clone(),
            name: a.name.clone(),
            ..Attributes::default()
        };
        self.request.authorizer.authorize(&attributes).allowed
    }

    fn lease(&self) -> Result<(), ApiError> {
        let a = self.attributes();
        if a.namespace != "kube-node-lease" {
            return self.refuse("can only access leases in the \"kube-node-lease\" system namespace");
        }
        // The authorizer knows the name of every other operation.
        let named = self.request.operation != Operation::Create
            || text(&self.sent()["metadata"]["name"]) == self.node;
        match named {
            true => Ok(()),
            false => self.refuse("can only access node lease with the same name as the requesting node"),
        }
    }

    fn csi_node(&self) -> Result<(), ApiError> {
        let named = self.request.operation != Operation::Create
            || text(&self.sent()["metadata"]["name"]) == self.node;
        match named {
            true => Ok(()),
            false => self.refuse("can only access CSINode with the same name as the requesting node"),
        }
    }

    fn resource_slice(&self) -> Result<(), ApiError> {
        let own = |slice: &Value| text(&slice["spec"]["nodeName"]) == self.node;
        match self.request.operation {
            Operation::Create if !own(self.sent()) => {
                self.refuse("can only create ResourceSlice with the same NodeName as the requesting node")
            }
            Operation::Update if changed(self.sent(), self.stored(), "/spec/nodeName") => {
                self.refuse("cannot change ResourceSlice.NodeName")
            }
            Operation::Delete if self.old.is_some() && !own(self.stored()) => {
                self.refuse("can only delete ResourceSlice with the same NodeName as the requesting node")
            }
            Operation::Create | Operation::Update | Operation::Delete | Operation::Connect => Ok(()),
        }
    }
}

/// Missing and empty are the same.
fn changed(new: &Value, old: &Value, pointer: &str) -> bool {
    let at = |object: &Value| match object.pointer(pointer) {
        Some(Value::Array(list)) if list.is_empty() => Value::Null,
        Some(Value::Object(map)) if map.is_empty() => Value::Null,
        Some(value) => value.clone(),
        None => Value::Null,
    };
    at(new) != at(old)
}

fn upper(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn plural(vertex: Vertex) -> &'static str {
    match vertex {
        Vertex::Pod => "pods",
        Vertex::Secret => "secrets",
        Vertex::ConfigMap => "configmaps",
        Vertex::ServiceAccount => "serviceaccounts",
        Vertex::PersistentVolumeClaim => "persistentvolumeclaims",
        Vertex::PersistentVolume => "persistentvolumes",
        Vertex::ResourceClaim => "resourceclaims",
        Vertex::VolumeAttachment => "volumeattachments",
        Vertex::ResourceSlice => "resourceslices",
        Vertex::PodCertificateRequest => "podcertificaterequests",
    }
}

/// Labels that differ and that a kubelet may not write: those that steer workloads.
fn forbidden_labels(new: &Value, old: &Value) -> Vec<String> {
    let empty = Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let keys: BTreeSet<&String> =
        new.keys().chain(old.keys()).filter(|key| new.get(*key) != old.get(*key)).collect();
    keys.into_iter().filter(|key| is_forbidden(key)).cloned().collect()
}

fn is_forbidden(label: &str) -> bool {
    const OWN: [&str; 11] = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ];
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let below = |parent: &str| {
        domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    if below("node-restriction.kubernetes.io") {
        return true;
    }
    let kubelets = below("kubelet.kubernetes.io") || below("node.kubernetes.io");
    (below("kubernetes.io") || below("k8s.io")) && !kubelets && !OWN.contains(&label)
}
