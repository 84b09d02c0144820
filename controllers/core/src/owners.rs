//! Which objects a controller owns: adoption of matching orphans, release of those that no longer match.

use crate::plan::Write;
use kedge_api::{ObjectMeta, Resource, Selector};
use serde_json::{Value, json};

/// An owner that claims objects by selector.
pub struct Claim<'a> {
    pub owner: &'a ObjectMeta,
    pub owner_kind: Resource,
    pub selector: &'a Selector,
    /// What is claimed.
    pub of: Resource,
}

/// What the claim says about one object.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Mine,
    /// Becomes ours by this write.
    Adopt(Box<Write>),
    /// Stops being ours by this write.
    Release(Box<Write>),
    NotMine,
}

impl Claim<'_> {
    pub fn verdict(&self, object: &ObjectMeta) -> Verdict {
        let matches = self.selector.matches(&object.labels);
        match object.controller() {
            Some(owner) if owner.uid != self.owner.uid => Verdict::NotMine,
            Some(_) if matches => Verdict::Mine,
            Some(_) if self.owner.deletion_timestamp.is_some() => Verdict::NotMine,
            Some(_) => Verdict::Release(Box::new(self.release(object))),
            None if !matches => Verdict::NotMine,
            None if object.deletion_timestamp.is_some() || self.owner.deletion_timestamp.is_some() => {
                Verdict::NotMine
            }
            None => Verdict::Adopt(Box::new(self.adopt(object))),
        }
    }

    fn adopt(&self, object: &ObjectMeta) -> Write {
        let patch = json!({"metadata": {
            "ownerReferences": [owner_reference(self.owner_kind, self.owner)], "uid": object.uid,
        }});
        Write::strategic(self.of, &object.namespace, &object.name, patch)
    }

    fn release(&self, object: &ObjectMeta) -> Write {
        let patch = json!({"metadata": {
            "ownerReferences": [{"$patch": "delete", "uid": self.owner.uid}], "uid": object.uid,
        }});
        Write::strategic(self.of, &object.namespace, &object.name, patch)
    }
}

/// The reference that makes `owner` the controller of an object.
pub fn owner_reference(kind: Resource, owner: &ObjectMeta) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "name": owner.name, "uid": owner.uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::resource::{PODS, REPLICA_SETS};

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn check(owner_deleting: bool, object: Value, expected: &str) {
        let mut owner = meta(json!({"name": "rs", "namespace": "d", "uid": "1"}));
        owner.deletion_timestamp = owner_deleting.then(Default::default);
        let selector = Selector::from_map(&json!({"app": "a"}));
        let claim = Claim { owner: &owner, owner_kind: REPLICA_SETS, selector: &selector, of: PODS };
        let verdict = match claim.verdict(&meta(object.clone())) {
            Verdict::Mine => "mine",
            Verdict::Adopt(_) => "adopt",
            Verdict::Release(_) => "release",
            Verdict::NotMine => "not mine",
        };
        assert_eq!(verdict, expected, "{object}");
    }

    #[test]
    fn verdicts() {
        let owned = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "1", "controller": true}]);
        let other = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "2", "controller": true}]);
        check(false, json!({"labels": {"app": "a"}, "ownerReferences": owned}), "mine");
        check(false, json!({"labels": {"app": "b"}, "ownerReferences": owned}), "release");
        check(true, json!({"labels": {"app": "b"}, "ownerReferences": owned}), "not mine");
        check(false, json!({"labels": {"app": "a"}}), "adopt");
        check(true, json!({"labels": {"app": "a"}}), "not mine");
        check(
            false,
            json!({"labels": {"app": "a"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
            "not mine",
        );
        check(false, json!({"labels": {"app": "b"}}), "not mine");
        check(false, json!({"labels": {"app": "a"}, "ownerReferences": other}), "not mine");
    }
}
