//! Quality of service, cgroup names and cgroup values (v1 numbers; the runtime translates them where the node has v2).

use kedge_api::Quantity;
use kedge_api::pod::{Container, Pod, PodSpec, ResourceList, ResourceRequirements};
use kedge_cri_api::LinuxContainerResources;

pub const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
pub const PERIOD_US: i64 = 100_000;
/// The kernel refuses a quota below one millisecond.
const QUOTA_MIN_US: i64 = 1_000;
const OOM_GUARANTEED: i64 = -997;
const OOM_BEST_EFFORT: i64 = 1000;
const PRIORITY_NODE_CRITICAL: i32 = 2_000_001_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

/// A quantity of a list in whole units; None where it is absent (or unreadable, which the API server refuses).
pub fn amount(list: &ResourceList, name: &str) -> Option<i64> {
    quantity(list, name).map(Quantity::value)
}

pub fn milli(list: &ResourceList, name: &str) -> Option<i64> {
    quantity(list, name).map(Quantity::milli_value)
}

fn quantity(list: &ResourceList, name: &str) -> Option<Quantity> {
    list.get(name)?.parse().ok()
}

/// Only cpu and memory count; a limit counts as its own request (the API server has written both).
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let of_pod = spec.resources.as_deref().filter(|r| !r.requests.is_empty() || !r.limits.is_empty());
    let all: Vec<&ResourceRequirements> = match of_pod {
        Some(resources) => vec![resources],
        None => spec.containers.iter().chain(&spec.init_containers).map(|c| &c.resources).collect(),
    };
    let set = |list: &ResourceList, name| quantity(list, name).is_some_and(|q: Quantity| !q.is_zero());
    let any = all.iter().any(|r| ["cpu", "memory"].iter().any(|n| set(&r.requests, n) || set(&r.limits, n)));
    if !any {
        return QosClass::BestEffort;
    }
    let equal = |r: &ResourceRequirements, name| {
        set(&r.limits, name)
            && r.requests.get(name).is_none_or(|_| quantity(&r.requests, name) == quantity(&r.limits, name))
    };
    let guaranteed = all.iter().all(|r| ["cpu", "memory"].iter().all(|name| equal(r, name)));
    if guaranteed { QosClass::Guaranteed } else { QosClass::Burstable }
}

/// The pod's cgroup relative to the cgroup root: `kubepods/burstable/pod<uid>`.
pub fn pod_cgroup(pod: &Pod) -> String {
    let uid = &pod.metadata.uid;
    match qos_class(&pod.spec) {
        QosClass::Guaranteed => format!("kubepods/pod{uid}"),
        QosClass::Burstable => format!("kubepods/burstable/pod{uid}"),
        QosClass::BestEffort => format!("kubepods/besteffort/pod{uid}"),
    }
}

pub fn cpu_shares(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(1024) / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

/// 0 is "no limit".
pub fn cpu_quota_us(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { 0 } else { (milli_cpu.saturating_mul(PERIOD_US) / 1000).max(QUOTA_MIN_US) }
}

/// Shares follow the request, or the limit where there is no request.
fn shares(resources: &ResourceRequirements) -> i64 {
    let request = milli(&resources.requests, "cpu");
    let request = request.or_else(|| milli(&resources.limits, "cpu")).unwrap_or(0);
    cpu_shares(request)
}

/// Values of one container's cgroup.
pub fn container_resources(
    pod: &Pod,
    container: &Container,
    memory_capacity: i64,
) -> LinuxContainerResources {
    let own = with_limits_of_pod(&pod.spec, &container.resources);
    let limits = &own.limits;
    let memory = amount(limits, "memory").unwrap_or(0);
    LinuxContainerResources {
        cpu_period_us: PERIOD_US,
        cpu_quota_us: cpu_quota_us(milli(limits, "cpu").unwrap_or(0)),
        cpu_shares: shares(&own),
        memory_limit_bytes: memory,
        // No swap: the kubelet's default swap behaviour.
        memory_swap_limit_bytes: memory,
        oom_score_adj: oom_score_adj(pod, container, memory_capacity),
        hugepage_limits: hugepage_limits(limits),
        ..LinuxContainerResources::default()
    }
}

/// A container without a limit of its own may use what the pod may (KEP-2837).
fn with_limits_of_pod(spec: &PodSpec, own: &ResourceRequirements) -> ResourceRequirements {
    let mut own = own.clone();
    for name in ["cpu", "memory"] {
        let of_pod = spec.resources.as_deref().and_then(|resources| resources.limits.get(name));
        if let Some(limit) = of_pod.filter(|_| !own.limits.contains_key(name)) {
            own.limits.insert(name.to_owned(), limit.clone());
        }
    }
    own
}

/// Every size that x86-64 and arm64 share is set, to zero where the pod asks for none.
fn hugepage_limits(limits: &ResourceList) -> Vec<(String, u64)> {
    [("2MB", "hugepages-2Mi"), ("1GB", "hugepages-1Gi")]
        .into_iter()
        .map(|(size, name)| (size.to_owned(), u64::try_from(amount(limits, name).unwrap_or(0)).unwrap_or(0)))
        .collect()
}

/// Values of the pod's cgroup: sums over containers. A limit holds only where every container has one.
pub fn pod_resources(spec: &PodSpec) -> LinuxContainerResources {
    let total = |list: fn(&ResourceRequirements) -> &ResourceList, name: &str| pod_total(spec, list, name);
    let every = |name: &str| {
        spec.containers.iter().chain(&spec.init_containers).all(|c| c.resources.limits.contains_key(name))
            || spec.resources.as_deref().is_some_and(|r| r.limits.contains_key(name))
    };
    let limit = |name: &str| {
        if every(name) { total(|r| &r.limits, name) } else { 0 }
    };
    let request = match total(|r| &r.requests, "cpu") {
        0 => limit("cpu"),
        request => request,
    };
    LinuxContainerResources {
        cpu_period_us: PERIOD_US,
        cpu_quota_us: cpu_quota_us(limit("cpu")),
        cpu_shares: cpu_shares(request),
        memory_limit_bytes: limit("memory"),
        ..LinuxContainerResources::default()
    }
}

/// What a pod uses of a resource: containers and sidecars together, or the largest ordinary init container beside the sidecars
/// before it; plus overhead. Milli-units for cpu.
pub fn pod_total(spec: &PodSpec, list: fn(&ResourceRequirements) -> &ResourceList, name: &str) -> i64 {
    let read = |list: &ResourceList| {
        if name == "cpu" { milli(list, name) } else { amount(list, name) }
    };
    let overhead = read(&spec.overhead).unwrap_or(0);
    if let Some(of_pod) = spec.resources.as_deref().and_then(|r| read(list(r))) {
        return of_pod + overhead;
    }
    let of = |container: &Container| read(list(&container.resources)).unwrap_or(0);
    let mut sidecars = 0;
    let mut init_peak = 0;
    for container in &spec.init_containers {
        if container.is_sidecar() {
            sidecars += of(container);
            init_peak = init_peak.max(sidecars);
        } else {
            init_peak = init_peak.max(sidecars + of(container));
        }
    }
    let running = spec.containers.iter().map(of).sum::<i64>() + sidecars;
    running.max(init_peak) + overhead
}

/// Upstream's scale: what asks for more memory dies later; a sidecar never before the containers it serves.
pub fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i64 {
    if pod.spec.priority.is_some_and(|priority| priority >= PRIORITY_NODE_CRITICAL) {
        return OOM_GUARANTEED;
    }
    match qos_class(&pod.spec) {
        QosClass::Guaranteed => return OOM_GUARANTEED,
        QosClass::BestEffort => return OOM_BEST_EFFORT,
        QosClass::Burstable => {}
    }
    let of = |container: &Container| {
        let request = amount(&container.resources.requests, "memory").unwrap_or(0);
        1000 - request.saturating_mul(1000) / memory_capacity.max(1)
    };
    let mut adj = of(container);
    if container.is_sidecar() {
        adj = pod.spec.containers.iter().map(of).min().map_or(adj, |lowest| adj.min(lowest));
    }
    adj.clamp(1000 + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(
            serde_json::json!({"metadata": {"uid": "u"}, "spec": {"containers": containers}}),
        )
        .unwrap()
    }

    #[test]
    fn classes_and_cgroups() {
        for (resources, class, cgroup) in [
            (r#"[{}]"#, "BestEffort", "kubepods/besteffort/podu"),
            (r#"[{"resources":{"requests":{"cpu":"0"}}}]"#, "BestEffort", "kubepods/besteffort/podu"),
            (r#"[{"resources":{"requests":{"cpu":"1"}}}]"#, "Burstable", "kubepods/burstable/podu"),
            (r#"[{"resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]"#, "Guaranteed", "kubepods/podu"),
            (
                r#"[{"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1024Mi"}}}]"#,
                "Guaranteed",
                "kubepods/podu",
            ),
            (
                r#"[{"resources":{"limits":{"cpu":"1","memory":"1Gi"}}},{}]"#,
                "Burstable",
                "kubepods/burstable/podu",
            ),
        ] {
            let pod = pod(serde_json::from_str(resources).unwrap());
            assert_eq!(qos_class(&pod.spec).as_str(), class, "{resources}");
            assert_eq!(pod_cgroup(&pod), cgroup);
        }
    }

    /// The values that upstream's kubelet was recorded to send for `cpu: 200m, memory: 48Mi`.
    #[test]
    fn recorded_guaranteed_values() {
        let pod = pod(serde_json::json!([{"resources": {"limits": {"cpu": "200m", "memory": "48Mi"}}}]));
        let seen = container_resources(&pod, &pod.spec.containers[0], 1 << 33);
        assert_eq!((seen.cpu_quota_us, seen.cpu_shares, seen.memory_limit_bytes), (20_000, 204, 50_331_648));
        assert_eq!((seen.memory_swap_limit_bytes, seen.oom_score_adj), (50_331_648, -997));
        let of_pod = pod_resources(&pod.spec);
        assert_eq!(
            (of_pod.cpu_quota_us, of_pod.cpu_shares, of_pod.memory_limit_bytes),
            (20_000, 204, 50_331_648)
        );
    }

    /// `qos-pod-level`: what the recorded containers found in their cgroups.
    #[test]
    fn limits_of_the_pod_hold_for_containers_without() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "300m", "memory": "96Mi"}},
            "containers": [{"name": "c"}, {"name": "d", "resources": {"requests": {"cpu": "20m"}}}]}}))
        .unwrap();
        for (container, shares) in pod.spec.containers.iter().zip([307, 20]) {
            let seen = container_resources(&pod, container, 1 << 33);
            assert_eq!(
                (seen.cpu_shares, seen.cpu_quota_us, seen.memory_limit_bytes),
                (shares, 30_000, 100_663_296)
            );
        }
    }

    #[test]
    fn best_effort_gets_the_least() {
        let pod = pod(serde_json::json!([{}]));
        let seen = container_resources(&pod, &pod.spec.containers[0], 1 << 33);
        assert_eq!((seen.cpu_quota_us, seen.cpu_shares, seen.oom_score_adj), (0, 2, 1000));
        assert_eq!(seen.hugepage_limits, [("2MB".to_owned(), 0), ("1GB".to_owned(), 0)]);
    }

    #[test]
    fn oom_score_of_burstable_follows_the_request() {
        for (request, adj) in [("1Gi", 750), ("4Gi", 3), ("1", 999)] {
            let pod = pod(serde_json::json!([{"resources": {"requests": {"memory": request}}}]));
            assert_eq!(oom_score_adj(&pod, &pod.spec.containers[0], 4 << 30), adj, "{request}");
        }
    }

    #[test]
    fn totals_take_the_larger_of_start_and_run() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "200m"}}}]
        }))
        .unwrap();
        assert_eq!(pod_total(&spec, |r| &r.requests, "cpu"), 1100);
        assert_eq!(pod_total(&spec, |r| &r.requests, "memory"), 0);
    }
}
