//! What the scheduler writes to the API server, as values.

use kedge_api::{Pod, Time};
use serde_json::{Value, json};

/// Events keep at most this many bytes of a message, and conditions should not say more.
const MESSAGE_MAX: usize = 1024;

/// The body for the `binding` subresource. The uid makes sure that it is this pod and not one of the same name.
pub fn binding(pod: &Pod, node: &str) -> Value {
    let meta = &pod.metadata;
    json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
        "target": {"kind": "Node", "name": node},
    })
}

/// The strategic patch of the pod's status that says that it fits nowhere; None where it says so already.
pub fn unschedulable(pod: &Pod, message: &str, now: Time) -> Option<Value> {
    let message = truncate(message);
    let standing = pod.status.condition("PodScheduled");
    let said = standing.is_some_and(|condition| {
        condition.status == "False"
            && condition.reason == "Unschedulable"
            && condition.message == message
            && condition.observed_generation == pod.metadata.generation
    });
    if said {
        return None;
    }
    let since = standing
        .filter(|condition| condition.status == "False")
        .and_then(|condition| condition.last_transition_time)
        .unwrap_or(now);
    Some(json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "observedGeneration": pod.metadata.generation, "lastProbeTime": null, "lastTransitionTime": since,
        }]},
    }))
}

/// The `involvedObject` of an event about the pod.
pub fn reference(pod: &Pod) -> Value {
    let meta = &pod.metadata;
    json!({
        "apiVersion": "v1", "kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    })
}

/// Cuts a message that events would refuse.
pub fn truncate(message: &str) -> String {
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_MAX - 4);
    format!("{} ...", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;

    #[test]
    fn the_condition_is_written_when_it_says_something_else() {
        let mut told = Pod::clone(&pod("p"));
        let patch = unschedulable(&told, "no", Time(60)).unwrap();
        let condition = &patch["status"]["conditions"][0];
        assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:01:00Z");
        told.status.conditions = vec![serde_json::from_value(condition.clone()).unwrap()];
        assert_eq!(unschedulable(&told, "no", Time(99)), None);
        let again = unschedulable(&told, "still no", Time(99)).unwrap();
        let since = &again["status"]["conditions"][0]["lastTransitionTime"];
        assert_eq!(since, "1970-01-01T00:01:00Z", "it was False before");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = truncate(&"ä".repeat(1000));
        assert!(cut.len() <= MESSAGE_MAX && cut.ends_with("ä ..."), "{}", cut.len());
        assert_eq!(truncate("short"), "short");
    }
}
