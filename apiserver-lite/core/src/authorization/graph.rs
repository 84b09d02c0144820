//! Which nodes may read which objects: what the pods bound to a node refer to, directly or through a claim and its volume.
//!
//! ```text
//! node ◄─ pod ◄─ secret, configmap, serviceaccount, persistentvolumeclaim, resourceclaim
//!                persistentvolumeclaim ◄─ persistentvolume ◄─ secret
//! node ◄─ volumeattachment, resourceslice, podcertificaterequest
//! ```
//!
//! The graph is kept as counted references (object → node → number of pods), so that a question is two look-ups however many
//! pods there are.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vertex {
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    PersistentVolumeClaim,
    PersistentVolume,
    ResourceClaim,
    VolumeAttachment,
    ResourceSlice,
    PodCertificateRequest,
}

/// Kind, namespace, name.
pub type Object = (Vertex, String, String);

#[derive(Debug, Default, Clone)]
pub struct NodeGraph {
    /// What each observed object (pod, attachment, slice, …) adds: its node and the objects it opens to that node.
    sources: BTreeMap<Object, (String, BTreeSet<Object>)>,
    references: BTreeMap<Object, BTreeMap<String, u32>>,
    /// Volume → its claim and the secrets it refers to.
    volumes: BTreeMap<String, ((String, String), BTreeSet<Object>)>,
    /// Secret → the volumes that refer to it.
    volumes_by_secret: BTreeMap<Object, BTreeSet<String>>,
}

impl NodeGraph {
    /// Follows one object; `None` means deleted. Other resources are ignored.
    pub fn observe(&mut self, plural: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let key = |vertex| (vertex, namespace.to_owned(), name.to_owned());
        let own =
            |vertex, field: &str| object.map(|object| (text(object, field), BTreeSet::from([key(vertex)])));
        match plural {
            "pods" => {
                let added =
                    object.map(|pod| (text(pod, "/spec/nodeName"), pod_references(pod, namespace, name)));
                self.replace(key(Vertex::Pod), added);
            }
            "volumeattachments" => {
                self.replace(key(Vertex::VolumeAttachment), own(Vertex::VolumeAttachment, "/spec/nodeName"))
            }
            "resourceslices" => {
                self.replace(key(Vertex::ResourceSlice), own(Vertex::ResourceSlice, "/spec/nodeName"))
            }
            "podcertificaterequests" => self.replace(
                key(Vertex::PodCertificateRequest),
                own(Vertex::PodCertificateRequest, "/spec/nodeName"),
            ),
            "persistentvolumes" => self.observe_volume(name, object),
            _ => {}
        }
    }

    fn replace(&mut self, source: Object, added: Option<(String, BTreeSet<Object>)>) {
        let added = added.filter(|(node, _)| !node.is_empty());
        if self.sources.get(&source) == added.as_ref() {
            return;
        }
        if let Some((node, targets)) = self.sources.remove(&source) {
            for target in targets {
                self.release(&target, &node);
            }
        }
        let Some((node, targets)) = added else { return };
        for target in &targets {
            *self.references.entry(target.clone()).or_default().entry(node.clone()).or_default() += 1;
        }
        self.sources.insert(source, (node, targets));
    }

    fn release(&mut self, target: &Object, node: &str) {
        let Some(nodes) = self.references.get_mut(target) else {
            return;
        };
        if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.references.remove(target);
        }
    }

    fn observe_volume(&mut self, name: &str, object: Option<&Value>) {
        if let Some((_, secrets)) = self.volumes.remove(name) {
            for secret in secrets {
                if let Some(volumes) = self.volumes_by_secret.get_mut(&secret) {
                    volumes.remove(name);
                }
            }
            self.volumes_by_secret.retain(|_, volumes| !volumes.is_empty());
        }
        let Some(volume) = object else { return };
        let claim = (text(volume, "/spec/claimRef/namespace"), text(volume, "/spec/claimRef/name"));
        if claim.1.is_empty() {
            return;
        }
        let mut secrets = BTreeSet::new();
        volume_secrets(&volume["spec"], &claim.0, &mut secrets);
        for secret in &secrets {
            self.volumes_by_secret.entry(secret.clone()).or_default().insert(name.to_owned());
        }
        self.volumes.insert(name.to_owned(), (claim, secrets));
    }

    /// Does something bound to the node refer to the object?
    pub fn reaches(&self, node: &str, vertex: Vertex, namespace: &str, name: &str) -> bool {
        let object = (vertex, namespace.to_owned(), name.to_owned());
        if self.references.get(&object).is_some_and(|nodes| nodes.contains_key(node)) {
            return true;
        }
        match vertex {
            Vertex::PersistentVolume => self.volumes.get(name).is_some_and(|((namespace, claim), _)| {
                self.reaches(node, Vertex::PersistentVolumeClaim, namespace, claim)
            }),
            Vertex::Secret => self.volumes_by_secret.get(&object).is_some_and(|volumes| {
                volumes.iter().any(|v| self.reaches(node, Vertex::PersistentVolume, "", v))
            }),
            _ => false,
        }
    }
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

/// What a pod opens to its node, itself included. A mirror pod opens nothing else: a node can create it at will.
fn pod_references(pod: &Value, namespace: &str, name: &str) -> BTreeSet<Object> {
    let own = (Vertex::Pod, namespace.to_owned(), name.to_owned());
    if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return BTreeSet::from([own]);
    }
    let mut found = referenced(pod, namespace, name);
    found.insert(own);
    found
}

/// The objects that a pod's spec and status name.
pub fn referenced(pod: &Value, namespace: &str, name: &str) -> BTreeSet<Object> {
    let mut found = BTreeSet::new();
    let spec = &pod["spec"];
    let mut add = |vertex, value: &Value| {
        if let Some(name) = value.as_str().filter(|name| !name.is_empty()) {
            found.insert((vertex, namespace.to_owned(), name.to_owned()));
        }
    };
    add(Vertex::ServiceAccount, &spec["serviceAccountName"]);
    items(spec, "imagePullSecrets").for_each(|secret| add(Vertex::Secret, &secret["name"]));
    for container in
        ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|f| items(spec, f))
    {
        for env in items(container, "env") {
            add(Vertex::Secret, &env["valueFrom"]["secretKeyRef"]["name"]);
            add(Vertex::ConfigMap, &env["valueFrom"]["configMapKeyRef"]["name"]);
        }
        for source in items(container, "envFrom") {
            add(Vertex::Secret, &source["secretRef"]["name"]);
            add(Vertex::ConfigMap, &source["configMapRef"]["name"]);
        }
    }
    for volume in items(spec, "volumes") {
        add(Vertex::ConfigMap, &volume["configMap"]["name"]);
        add(Vertex::Secret, &volume["secret"]["secretName"]);
        add(Vertex::PersistentVolumeClaim, &volume["persistentVolumeClaim"]["claimName"]);
        if let (false, Some(volume)) = (volume["ephemeral"].is_null(), volume["name"].as_str()) {
            add(Vertex::PersistentVolumeClaim, &Value::from(format!("{name}-{volume}")));
        }
        for source in items(&volume["projected"], "sources") {
            add(Vertex::Secret, &source["secret"]["name"]);
            add(Vertex::ConfigMap, &source["configMap"]["name"]);
        }
    }
    for claim in items(spec, "resourceClaims") {
        add(Vertex::ResourceClaim, &claim["resourceClaimName"]);
    }
    for claim in items(&pod["status"], "resourceClaimStatuses") {
        add(Vertex::ResourceClaim, &claim["resourceClaimName"]);
    }
    items(spec, "volumes").for_each(|volume| volume_secrets(volume, namespace, &mut found));
    found
}

/// Secrets that a volume source (of a pod's volume or of a persistent volume's spec) names in one of its `…Ref` fields.
fn volume_secrets(source: &Value, namespace: &str, found: &mut BTreeSet<Object>) {
    const REFERENCES: [&str; 6] = [
        "secretRef",
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "nodeExpandSecretRef",
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
    ];
    const SOURCES: [&str; 8] =
        ["azureFile", "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];
    let mut add = |namespace: &str, name: &Value| {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            found.insert((Vertex::Secret, namespace.to_owned(), name.to_owned()));
        }
    };
    for kind in SOURCES.iter().chain(&["csi"]) {
        for reference in REFERENCES.iter().map(|field| &source[kind][field]) {
            add(reference["namespace"].as_str().unwrap_or(namespace), &reference["name"]);
        }
    }
    let file = &source["azureFile"];
    add(file["secretNamespace"].as_str().unwrap_or(namespace), &file["secretName"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(node: &str) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}],
                "envFrom": [{"configMapRef": {"name": "from"}}]}],
            "volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {}},
                {"name": "s", "secret": {"secretName": "vol"}},
                {"name": "i", "csi": {"nodePublishSecretRef": {"name": "csi"}}}]}})
    }

    #[test]
    fn a_node_reaches_what_its_pods_refer_to() {
        let mut graph = NodeGraph::default();
        graph.observe("pods", "a", "p", Some(&pod("n1")));
        graph.observe(
            "persistentvolumes",
            "",
            "pv",
            Some(&json!({"spec": {"claimRef": {"namespace": "a", "name": "claim"},
                "csi": {"nodeStageSecretRef": {"namespace": "other", "name": "stage"}}}})),
        );
        use Vertex::*;
        let reached = [
            (Pod, "a", "p"),
            (ServiceAccount, "a", "sa"),
            (Secret, "a", "pull"),
            (Secret, "a", "env"),
            (Secret, "a", "vol"),
            (Secret, "a", "csi"),
            (Secret, "other", "stage"),
            (ConfigMap, "a", "from"),
            (ConfigMap, "a", "kube-root-ca.crt"),
            (PersistentVolumeClaim, "a", "claim"),
            (PersistentVolumeClaim, "a", "p-e"),
            (PersistentVolume, "", "pv"),
        ];
        for (vertex, namespace, name) in reached {
            assert!(graph.reaches("n1", vertex, namespace, name), "{vertex:?} {namespace}/{name}");
            assert!(!graph.reaches("n2", vertex, namespace, name), "{vertex:?} {namespace}/{name}");
        }
        assert!(!graph.reaches("n1", Secret, "b", "env"));
        graph.observe("pods", "a", "p", None);
        graph.observe("persistentvolumes", "", "pv", None);
        assert!(
            graph.references.is_empty() && graph.sources.is_empty() && graph.volumes_by_secret.is_empty()
        );
    }

    #[test]
    fn two_pods_keep_an_object_open_until_both_are_gone() {
        let mut graph = NodeGraph::default();
        graph.observe("pods", "a", "p", Some(&pod("n")));
        graph.observe("pods", "a", "q", Some(&pod("n")));
        graph.observe("pods", "a", "p", None);
        assert!(graph.reaches("n", Vertex::Secret, "a", "env"));
        graph.observe("pods", "a", "q", Some(&pod("m")));
        assert!(!graph.reaches("n", Vertex::Secret, "a", "env"));
        assert!(graph.reaches("m", Vertex::Secret, "a", "env"));
    }

    #[test]
    fn a_mirror_pod_opens_only_itself() {
        let mut graph = NodeGraph::default();
        let mut mirror = pod("n");
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
        graph.observe("pods", "a", "p", Some(&mirror));
        assert!(graph.reaches("n", Vertex::Pod, "a", "p"));
        assert!(!graph.reaches("n", Vertex::Secret, "a", "env"));
    }
}
