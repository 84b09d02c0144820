//! Static pods: manifests in a folder of the node, and the mirror pods by which the API shows them.

use kedge_api::pod::Pod;
use kedge_api::{Node, Time};
use serde_json::{Value, json};

use crate::names::{CONFIG_HASH, CONFIG_MIRROR, CONFIG_SEEN, CONFIG_SOURCE};

const PROBE_DEFAULTS: [(&str, i64); 4] =
    [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)];

/// The pod of a manifest on this node. Its uid is the hash of what it says, so that a change makes another pod and a
/// restart of ours finds the same.
pub fn from_manifest(mut pod: Value, node_name: &str, seen: Time) -> Result<Value, String> {
    if pod["kind"] != "Pod" || pod["apiVersion"] != "v1" {
        return Err("not a Pod of v1".to_owned());
    }
    let hash = hash(&pod);
    let meta = pod["metadata"].as_object_mut().ok_or("metadata is missing")?;
    let name = meta.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err("metadata.name is missing".to_owned());
    }
    let name = format!("{name}-{node_name}").to_lowercase();
    meta.insert("name".to_owned(), name.into());
    meta.entry("namespace").or_insert_with(|| "default".into());
    meta.insert("uid".to_owned(), hash.clone().into());
    let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
    annotations[CONFIG_HASH] = hash.into();
    annotations[CONFIG_SEEN] = seen.to_string().into();
    annotations[CONFIG_SOURCE] = "file".into();
    default(&mut pod)?;
    pod["spec"]["nodeName"] = node_name.into();
    // Nothing that happens to a node takes its static pods away.
    let tolerations = pod["spec"].as_object_mut().ok_or("spec is missing")?;
    let tolerations = tolerations.entry("tolerations").or_insert_with(|| json!([]));
    tolerations
        .as_array_mut()
        .ok_or("spec.tolerations is no list")?
        .push(json!({"operator": "Exists", "effect": "NoExecute"}));
    pod["status"] = json!({"phase": "Pending"});
    serde_json::from_value::<Pod>(pod.clone()).map_err(|error| error.to_string())?;
    Ok(pod)
}

/// The object that is made in the API for it.
pub fn mirror(pod: &Value, node: &Node) -> Value {
    let mut mirror = pod.clone();
    let hash = mirror["metadata"]["uid"].take();
    if let Some(meta) = mirror["metadata"].as_object_mut() {
        meta.remove("uid");
    }
    mirror["metadata"]["annotations"][CONFIG_MIRROR] = hash;
    mirror["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "Node", "name": node.metadata.name, "uid": node.metadata.uid, "controller": true}]);
    mirror
}

/// The uid of the static pod that a pod of the API mirrors.
pub fn mirrored(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.get(CONFIG_MIRROR).map(String::as_str)
}

pub fn is_static(pod: &Pod) -> bool {
    let source = pod.metadata.annotations.get(CONFIG_SOURCE);
    source.is_some_and(|source| source != "api") && mirrored(pod).is_none()
}

/// 128 bits of FNV-1a in hexadecimal, the form of upstream's MD5. It tells manifests apart; nobody attacks it who could not
/// write the folder.
fn hash(manifest: &Value) -> String {
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let hash =
        manifest.to_string().bytes().fold(start, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

fn default(pod: &mut Value) -> Result<(), String> {
    let spec = pod["spec"].as_object_mut().ok_or("spec is missing")?;
    // What the API server would have given it.
    for (name, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
        ("enableServiceLinks", json!(true)),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
    ] {
        spec.entry(name).or_insert(value);
    }
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_container(container);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "downwardAPI", "projected"] {
            if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                source.entry("defaultMode").or_insert_with(|| json!(0o644));
            }
        }
    }
    Ok(())
}

fn default_container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_latest = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    let policy = if is_latest { "Always" } else { "IfNotPresent" };
    let Some(container) = container.as_object_mut() else { return };
    for (name, value) in [
        ("imagePullPolicy", json!(policy)),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
        ("resources", json!({})),
    ] {
        container.entry(name).or_insert(value);
    }
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.entry("protocol").or_insert_with(|| "TCP".into());
        }
    }
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) else { continue };
        for (name, value) in PROBE_DEFAULTS {
            probe.entry(name).or_insert_with(|| value.into());
        }
        if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
            get.entry("path").or_insert_with(|| "/".into());
            get.entry("scheme").or_insert_with(|| "HTTP".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "c", "image": "i:1", "readinessProbe": {"httpGet": {"port": 80}}}]}})
    }

    /// `static-pod`
    #[test]
    fn a_manifest_becomes_a_pod_of_this_node() {
        let pod = from_manifest(manifest(), "Node", Time(0)).unwrap();
        assert_eq!(
            (&pod["metadata"]["name"], &pod["metadata"]["namespace"]),
            (&"web-node".into(), &"default".into())
        );
        assert_eq!(pod["spec"]["tolerations"], json!([{"operator": "Exists", "effect": "NoExecute"}]));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(pod["spec"]["containers"][0]["readinessProbe"]["periodSeconds"], 10);
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        assert_eq!((uid.len(), pod["metadata"]["annotations"][CONFIG_HASH].as_str()), (32, Some(uid)));
        let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
        assert!(is_static(&typed));
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "node", "uid": "n"}})).unwrap();
        let mirror: Pod = serde_json::from_value(mirror(&pod, &node)).unwrap();
        assert_eq!((mirrored(&mirror), mirror.metadata.uid.as_str()), (Some(uid), ""));
        assert!(!is_static(&mirror));
    }

    #[test]
    fn the_uid_follows_what_is_said() {
        let uid = |manifest| from_manifest(manifest, "n", Time(0)).unwrap()["metadata"]["uid"].clone();
        let mut changed = manifest();
        changed["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(uid(manifest()), uid(manifest()));
        assert_ne!(uid(manifest()), uid(changed));
    }

    #[test]
    fn what_is_no_pod_is_refused() {
        for (manifest, why) in [
            (json!({"kind": "Pod"}), "not a Pod of v1"),
            (json!({"apiVersion": "v1", "kind": "Pod"}), "metadata is missing"),
            (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}}), "metadata.name is missing"),
            (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}), "spec is missing"),
        ] {
            assert_eq!(from_manifest(manifest, "n", Time(0)), Err(why.to_owned()));
        }
    }
}
