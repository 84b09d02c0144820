//! Deletion of a namespace: pods first, then everything else, then the finalizer. What blocks is named in the conditions.

use crate::api::Namespace;
use kedge_api::{Condition, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is still there of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remaining {
    /// `pods`, or `leases.coordination.k8s.io`.
    pub resource: String,
    pub count: usize,
    /// Finalizer → number of objects that carry it.
    pub finalizers: BTreeMap<String, usize>,
    /// The server's words when it could not be deleted or listed.
    pub failure: Option<String>,
}

/// The next step of a namespace's end.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It lives, or somebody else's finalizer holds it.
    Nothing,
    /// Delete everything of these resources; pods alone while there are any.
    Sweep { pods_only: bool },
    /// Content remains: write these conditions if they differ, and look again soon.
    Wait { conditions: Option<Vec<Condition>> },
    /// All is gone: take the finalizer off.
    Finalize(Value),
}

pub const FINALIZER: &str = "kubernetes";

/// `remaining` is None before anything was swept and counted in this round.
pub fn step(namespace: &Namespace, remaining: Option<&[Remaining]>, pods: usize, now: Time) -> Step {
    let ours = namespace.spec.finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    if namespace.metadata.deletion_timestamp.is_none() || !ours {
        return Step::Nothing;
    }
    let Some(remaining) = remaining else {
        return Step::Sweep { pods_only: pods > 0 };
    };
    let blocked = remaining.iter().any(|entry| entry.count > 0 || entry.failure.is_some());
    if !blocked {
        let others: Vec<&String> = namespace.spec.finalizers.iter().filter(|f| *f != FINALIZER).collect();
        return Step::Finalize(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace.metadata.name, "uid": namespace.metadata.uid},
            "spec": {"finalizers": others},
        }));
    }
    let conditions = conditions(&namespace.status.conditions, remaining, now);
    Step::Wait { conditions: (conditions != namespace.status.conditions).then_some(conditions) }
}

fn conditions(standing: &[Condition], remaining: &[Remaining], now: Time) -> Vec<Condition> {
    let failures: Vec<String> = remaining.iter().filter_map(|entry| entry.failure.clone()).collect();
    let content: Vec<String> = remaining
        .iter()
        .filter(|entry| entry.count > 0)
        .map(|entry| format!("{} has {} resource instances", entry.resource, entry.count))
        .collect();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, count) in remaining.iter().flat_map(|entry| &entry.finalizers) {
        *finalizers.entry(name).or_insert(0) += count;
    }
    let held: Vec<String> =
        finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let told = |kind: &str, parts: &[String], good: (&str, &str), bad: (&str, &str)| {
        let (status, reason, message) = match parts.is_empty() {
            true => ("False", good.0, good.1.to_owned()),
            false => ("True", bad.0, format!("{}{}", bad.1, parts.join(", "))),
        };
        make(standing, kind, status, reason, &message, now)
    };
    vec![
        told(
            "NamespaceDeletionDiscoveryFailure",
            &[],
            ("ResourcesDiscovered", "All resources successfully discovered"),
            ("", ""),
        ),
        told(
            "NamespaceDeletionGroupVersionParsingFailure",
            &[],
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ("", ""),
        ),
        told(
            "NamespaceDeletionContentFailure",
            &failures,
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ("ContentDeletionFailed", "Failed to delete all resource types, "),
        ),
        told(
            "NamespaceContentRemaining",
            &content,
            ("ContentRemoved", "All content successfully removed"),
            ("SomeResourcesRemain", "Some resources are remaining: "),
        ),
        told(
            "NamespaceFinalizersRemaining",
            &held,
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ("SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "),
        ),
    ]
}

fn make(
    standing: &[Condition],
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Time,
) -> Condition {
    let before = standing.iter().find(|condition| condition.r#type == kind);
    let since = before.filter(|condition| condition.status == status).and_then(|c| c.last_transition_time);
    Condition {
        r#type: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Some(since.unwrap_or(now)),
        ..Condition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(namespace: Value, remaining: Option<Vec<Remaining>>, pods: usize, expected: &str) {
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        let text = match step(&namespace, remaining.as_deref(), pods, Time(100)) {
            Step::Nothing => "nothing".to_owned(),
            Step::Sweep { pods_only } => format!("sweep pods_only={pods_only}"),
            Step::Finalize(object) => format!("finalize {}", object["spec"]["finalizers"]),
            Step::Wait { conditions } => {
                let all = conditions.unwrap_or_default();
                let bad = all.iter().filter(|condition| condition.is_true());
                bad.map(|condition| condition.message.clone()).collect::<Vec<_>>().join("; ")
            }
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn the_way_of_a_namespace() {
        let live = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}});
        let ending = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes", "x/y"]}});
        let held = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["x/y"]}});
        check(live, None, 0, "nothing");
        check(held, None, 0, "nothing");
        check(ending.clone(), None, 2, "sweep pods_only=true");
        check(ending.clone(), None, 0, "sweep pods_only=false");
        check(ending.clone(), Some(vec![Remaining::default()]), 0, "finalize [\"x/y\"]");
        let left = Remaining {
            resource: "pods".into(),
            count: 2,
            finalizers: [("a/b".to_owned(), 1)].into(),
            failure: None,
        };
        check(
            ending,
            Some(vec![left]),
            2,
            "Some resources are remaining: pods has 2 resource instances; \
             Some content in the namespace has finalizers remaining: a/b in 1 resource instances",
        );
    }
}
