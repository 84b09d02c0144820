//! What a controller wants done.

use kedge_api::{Resource, Time};
use serde_json::{Map, Value, json};

/// What reconcile is told besides the view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    pub now: Time,
    /// The server's words about the write that failed when this key was last worked on.
    pub last_failure: Option<String>,
}

/// The decision about one key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub writes: Vec<Write>,
    pub events: Vec<EventSpec>,
    /// Decide again at this time even if nothing changes.
    pub requeue_at: Option<Time>,
    /// Why nothing, or not everything, is done: `waiting for 2 pods to terminate`.
    pub waiting_for: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub of: Resource,
    pub namespace: String,
    pub op: Op,
    /// `{name}` in the message becomes the name of the written object.
    pub on_success: Option<EventSpec>,
    /// `{error}` in the message becomes the server's words.
    pub on_failure: Option<EventSpec>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Create(Value),
    /// Strategic merge patch for owner references, JSON merge patch for the rest.
    Patch {
        name: String,
        subresource: &'static str,
        strategic: bool,
        patch: Value,
    },
    Replace {
        name: String,
        object: Value,
    },
    /// `uid` guards against deleting a namesake.
    Delete {
        name: String,
        uid: String,
        grace_period_s: Option<i64>,
    },
}

/// An event about an object.
#[derive(Debug, Clone, PartialEq)]
pub struct EventSpec {
    /// `ObjectReference` of the object that it is about.
    pub about: Value,
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Plan {
    pub fn nothing() -> Plan {
        Plan::default()
    }

    pub fn waiting(why: impl Into<String>) -> Plan {
        Plan { waiting_for: Some(why.into()), ..Plan::default() }
    }

    pub fn push(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// The earlier of the standing and the given time.
    pub fn requeue(&mut self, at: Time) {
        self.requeue_at = Some(self.requeue_at.map_or(at, |standing| standing.min(at)));
    }
}

impl Write {
    fn new(of: Resource, namespace: &str, op: Op) -> Write {
        Write { of, namespace: namespace.to_owned(), op, on_success: None, on_failure: None }
    }

    pub fn create(of: Resource, namespace: &str, object: Value) -> Write {
        Write::new(of, namespace, Op::Create(object))
    }

    pub fn merge(
        of: Resource,
        namespace: &str,
        name: &str,
        subresource: &'static str,
        patch: Value,
    ) -> Write {
        let op = Op::Patch { name: name.to_owned(), subresource, strategic: false, patch };
        Write::new(of, namespace, op)
    }

    pub fn strategic(of: Resource, namespace: &str, name: &str, patch: Value) -> Write {
        let op = Op::Patch { name: name.to_owned(), subresource: "", strategic: true, patch };
        Write::new(of, namespace, op)
    }

    pub fn replace(of: Resource, namespace: &str, name: &str, object: Value) -> Write {
        Write::new(of, namespace, Op::Replace { name: name.to_owned(), object })
    }

    pub fn delete(of: Resource, namespace: &str, name: &str, uid: &str) -> Write {
        let op = Op::Delete { name: name.to_owned(), uid: uid.to_owned(), grace_period_s: None };
        Write::new(of, namespace, op)
    }

    pub fn force_delete(of: Resource, namespace: &str, name: &str, uid: &str) -> Write {
        let op = Op::Delete { name: name.to_owned(), uid: uid.to_owned(), grace_period_s: Some(0) };
        Write::new(of, namespace, op)
    }

    pub fn telling(mut self, on_success: EventSpec) -> Write {
        self.on_success = Some(on_success);
        self
    }

    pub fn or_telling(mut self, on_failure: EventSpec) -> Write {
        self.on_failure = Some(on_failure);
        self
    }
}

/// An `ObjectReference` for events.
pub fn reference(of: Resource, meta: &kedge_api::ObjectMeta) -> Value {
    let mut reference = json!({
        "apiVersion": of.api_version(), "kind": of.kind, "name": meta.name, "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    });
    if !meta.namespace.is_empty() {
        reference["namespace"] = meta.namespace.as_str().into();
    }
    reference
}

impl EventSpec {
    pub fn normal(about: &Value, reason: &'static str, message: impl Into<String>) -> EventSpec {
        EventSpec { about: about.clone(), kind: "Normal", reason, message: message.into() }
    }

    pub fn warning(about: &Value, reason: &'static str, message: impl Into<String>) -> EventSpec {
        EventSpec { about: about.clone(), kind: "Warning", reason, message: message.into() }
    }
}

/// JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(object) = target.as_object_mut() else { return };
    for (key, value) in fields {
        match value {
            Value::Null => {
                object.remove(key);
            }
            value => merge(object.entry(key.as_str()).or_insert(Value::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_patches() {
        for (target, patch, expected) in [
            (json!({"a": 1, "b": 2}), json!({"b": null, "c": {"d": 3}}), json!({"a": 1, "c": {"d": 3}})),
            (json!({"a": [1]}), json!({"a": [2, 3]}), json!({"a": [2, 3]})),
            (json!({"a": 1}), json!({"a": {"b": null}}), json!({"a": {}})),
        ] {
            let mut merged = target;
            merge(&mut merged, &patch);
            assert_eq!(merged, expected);
        }
    }
}
