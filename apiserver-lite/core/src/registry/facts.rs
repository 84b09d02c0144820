//! What readers of an entry want to know without decoding it each time: made lazily, dropped with the revision.

use super::encode::{Encoded, decode};
use super::fields;
use crate::protobuf;
use bytes::Bytes;
use kedge_api::kinds::{self, Kind};
use kedge_store::Entry;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Derived from one entry of the store; see [`Entry::derived`].
pub struct Facts {
    pub kind: &'static Kind,
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    fields: Vec<(&'static str, String)>,
    /// Frames of a watch in the stored version: added, modified.
    frames: [OnceLock<Bytes>; 2],
    decoded: OnceLock<Arc<Value>>,
    /// The protobuf message of the stored version.
    message: OnceLock<Bytes>,
}

/// Kinds that decisions read on every request; their decoded form is kept. All others are decoded when asked for: a decoded
/// pod takes ten times its JSON.
const KEPT: &[&str] = &[
    "Namespace",
    "ServiceAccount",
    "PriorityClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "StorageClass",
    "IngressClass",
    "RuntimeClass",
];

impl Facts {
    pub fn of(entry: &Entry) -> &Facts {
        entry.derived(Facts::make)
    }

    fn make(entry: &Entry) -> Facts {
        let object = decode(entry);
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let kind = kind_of(&object);
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        Facts {
            kind,
            namespace: text("namespace"),
            name: text("name"),
            labels: labels.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect(),
            fields: fields::values(kind, &object),
            frames: [OnceLock::new(), OnceLock::new()],
            decoded: match KEPT.contains(&kind.kind) {
                true => OnceLock::from(Arc::new(object)),
                false => OnceLock::new(),
            },
            message: OnceLock::new(),
        }
    }

    /// The value of a selectable field; empty for fields the kind does not have.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value)
    }

    /// The decoded object.
    pub fn object(entry: &Entry) -> Arc<Value> {
        match Facts::of(entry).decoded.get() {
            Some(object) => object.clone(),
            None => Arc::new(decode(entry)),
        }
    }

    /// The object in protobuf without its envelope, as lists and watches put it into theirs.
    pub fn message(entry: &Entry) -> Bytes {
        let make = || protobuf::message(&Facts::object(entry)).expect("every stored kind has a type").into();
        Facts::of(entry).message.get_or_init(make).clone()
    }

    /// The frame `{"type":…,"object":…}` of a watch, encoded once for all watchers.
    pub fn frame(entry: &Entry, added: bool) -> Bytes {
        let (slot, word) = if added { (0, "ADDED") } else { (1, "MODIFIED") };
        Facts::of(entry).frames[slot].get_or_init(|| frame(word, entry, entry.mod_revision)).clone()
    }
}

/// A frame that nobody shares: the last state of a deleted or departed object, at the revision of the change.
pub fn frame(word: &str, entry: &Entry, revision: kedge_store::Revision) -> Bytes {
    let mut out = Vec::with_capacity(entry.value.len() + 80);
    out.extend_from_slice(format!("{{\"type\":\"{word}\",\"object\":").as_bytes());
    Encoded::stored(entry).write(&mut out, Some(revision));
    out.extend_from_slice(b"}\n");
    out.into()
}

fn kind_of(object: &Value) -> &'static Kind {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = object["kind"].as_str().unwrap_or_default();
    kinds::by_kind(group, version, kind).expect("the registry stores only kinds of the table")
}
