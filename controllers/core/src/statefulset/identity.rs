//! What makes a pod the n-th of its set: name, labels, host name, claims.

use super::{REVISION_LABEL, claims};
use crate::api::StatefulSet;
use crate::template::pod_from_template;
use kedge_api::Pod;
use kedge_api::resource::STATEFUL_SETS;
use serde_json::{Value, json};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

pub fn pod_name(set: &str, ordinal: i64) -> String {
    format!("{set}-{ordinal}")
}

/// The ordinal of a pod of this name, if the set could have given it.
pub fn ordinal(set: &str, pod: &str) -> Option<i64> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let number: i64 = digits.parse().ok()?;
    (pod_name(set, number) == pod).then_some(number)
}

pub fn pod(set: &StatefulSet, ordinal: i64, revision: &str, template: &Value) -> Value {
    let mut pod = pod_from_template(template, STATEFUL_SETS, &set.metadata);
    let name = pod_name(&set.metadata.name, ordinal);
    pod["metadata"]["name"] = name.as_str().into();
    let labels = &mut pod["metadata"]["labels"];
    labels[POD_NAME] = name.as_str().into();
    labels[POD_INDEX] = ordinal.to_string().into();
    labels[REVISION_LABEL] = revision.into();
    let spec = &mut pod["spec"];
    spec["hostname"] = name.into();
    if !set.spec.service_name.is_empty() {
        spec["subdomain"] = set.spec.service_name.as_str().into();
    }
    let mut volumes: Vec<Value> = claims::names(set, ordinal)
        .map(|(volume, claim)| json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}))
        .collect();
    // A claim template hides a volume of the same name.
    let claimed: Vec<Value> = volumes.iter().map(|volume| volume["name"].clone()).collect();
    let others = spec["volumes"].as_array().into_iter().flatten();
    volumes.extend(others.filter(|volume| !claimed.contains(&volume["name"])).cloned().collect::<Vec<_>>());
    if !volumes.is_empty() {
        spec["volumes"] = volumes.into();
    }
    pod
}

/// A pod that lost its own labels gets them back.
pub fn mend(pod: &Pod, ordinal: i64) -> Option<Value> {
    let name = &pod.metadata.name;
    let right = pod.metadata.labels.get(POD_NAME) == Some(name);
    (!right).then(|| json!({"metadata": {"labels": {POD_NAME: name, POD_INDEX: ordinal.to_string()}}}))
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn ordinals() {
        for (pod, expected) in
            [("web-0", Some(0)), ("web-12", Some(12)), ("web-01", None), ("web-x", None), ("web", None)]
        {
            assert_eq!(ordinal("web", pod), expected, "{pod}");
        }
        assert_eq!(ordinal("web-a", "web-0"), None);
    }
}
