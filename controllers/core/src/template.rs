//! Pod templates: when two are the same, the name part made from one, and the pod made from one.

use crate::owners::owner_reference;
use kedge_api::{ObjectMeta, Resource};
use serde_json::{Map, Value, json};

/// `creationTimestamp: null` and empty maps mean nothing.
pub fn normalized(mut template: Value) -> Value {
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()));
    }
    template
}

/// A name part out of the template, in an alphabet without vowels and look-alikes. Stable over restarts and releases: the
/// name of a ReplicaSet is how it is found again.
pub fn template_hash(template: &Value, collisions: i64) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text = normalized(template.clone()).to_string();
    if collisions > 0 {
        text.push_str(&collisions.to_string());
    }
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

/// The pod that a controller makes from its template; the caller names it.
pub fn pod_from_template(template: &Value, owner_kind: Resource, owner: &ObjectMeta) -> Value {
    let mut metadata = Map::new();
    for key in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(key).filter(|value| !value.is_null()) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    metadata.insert("namespace".to_owned(), owner.namespace.as_str().into());
    metadata.insert("ownerReferences".to_owned(), json!([owner_reference(owner_kind, owner)]));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}
