//! Limits of local storage: what a pod wrote against what it may. The checks and their order are upstream's.

use std::collections::BTreeMap;

use kedge_api::Quantity;
use kedge_api::pod::{Container, Pod};

use crate::observed::Ending;

pub const EVICTED: &str = "Evicted";
const STORAGE: &str = "ephemeral-storage";

/// Bytes on the node's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Writable layer and logs, by container.
    pub containers: BTreeMap<String, u64>,
    /// emptyDir volumes that lie on the disk.
    pub volumes: BTreeMap<String, u64>,
}

/// Whether the pod has a limit to be watched at all.
pub fn is_limited(pod: &Pod) -> bool {
    pod.spec.containers.iter().any(|container| limit(container).is_some())
        || volume_limits(pod).next().is_some()
}

/// Why the pod has to go, if it does.
pub fn over_limit(pod: &Pod, usage: &Usage) -> Option<Ending> {
    let message =
        over_volume(pod, usage).or_else(|| over_total(pod, usage)).or_else(|| over_container(pod, usage))?;
    Some(Ending { reason: EVICTED.to_owned(), message })
}

fn limit(container: &Container) -> Option<Quantity> {
    container.resources.limits.get(STORAGE)?.parse().ok()
}

fn volume_limits(pod: &Pod) -> impl Iterator<Item = (&str, Quantity)> {
    let limited = |volume: &kedge_api::pod::Volume| {
        let source = volume.empty_dir.as_ref().filter(|source| source.medium.is_empty())?;
        source.size_limit.as_deref()?.parse::<Quantity>().ok().filter(|limit| !limit.is_zero())
    };
    pod.spec.volumes.iter().filter_map(move |volume| Some((volume.name.as_str(), limited(volume)?)))
}

fn exceeds(used: u64, limit: Quantity) -> bool {
    i64::try_from(used).unwrap_or(i64::MAX) > limit.value()
}

fn over_volume(pod: &Pod, usage: &Usage) -> Option<String> {
    let used = |name: &str| usage.volumes.get(name).copied().unwrap_or(0);
    let (name, limit) = volume_limits(pod).find(|(name, limit)| exceeds(used(name), *limit))?;
    Some(format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{limit}\". "))
}

fn over_total(pod: &Pod, usage: &Usage) -> Option<String> {
    let limit = pod.spec.containers.iter().filter_map(limit).reduce(|sum, limit| sum + limit)?;
    let used = usage.containers.values().chain(usage.volumes.values()).sum();
    exceeds(used, limit)
        .then(|| format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "))
}

fn over_container(pod: &Pod, usage: &Usage) -> Option<String> {
    pod.spec.containers.iter().find_map(|container| {
        let limit = limit(container)?;
        let used = usage.containers.get(&container.name).copied().unwrap_or(0);
        exceeds(used, limit).then(|| {
            format!("Container {} exceeded its local ephemeral storage limit \"{limit}\". ", container.name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(containers: &[(&str, u64)], volumes: &[(&str, u64)], message: &str) {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1"}}],
            "containers": [{"name": "a", "resources": {"limits": {"ephemeral-storage": "2Mi"}}},
                {"name": "b", "resources": {"limits": {"ephemeral-storage": "3Mi"}}}]}}))
        .unwrap();
        assert!(is_limited(&pod));
        let map =
            |list: &[(&str, u64)]| list.iter().map(|(name, used)| ((*name).to_owned(), *used)).collect();
        let usage = Usage { containers: map(containers), volumes: map(volumes) };
        let seen = over_limit(&pod, &usage).map(|ending| ending.message).unwrap_or_default();
        assert_eq!(seen, message);
    }

    /// `vol-ephemeral-limit-evict`
    #[test]
    fn the_first_limit_that_is_passed_is_told() {
        const MI: u64 = 1 << 20;
        check(&[("a", 2 * MI), ("b", 3 * MI)], &[], "");
        check(&[], &[("v", MI), ("m", MI)], "");
        check(&[("a", 3 * MI)], &[], "Container a exceeded its local ephemeral storage limit \"2Mi\". ");
        check(&[], &[("v", MI + 1)], "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
        let total = "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ";
        check(&[("a", 3 * MI), ("b", 3 * MI)], &[], total);
        assert!(!is_limited(&Pod::default()));
    }
}
