//! What a pod asks of a node: amounts per resource, CPU in thousandths, everything else in whole units.
//!
//! The rule for init containers and sidecars is KEP-753's: while init container i runs, the sidecars before it run too.

use std::collections::BTreeMap;

use kedge_api::pod::{Container, ContainerStatus, Pod, ResourceList};
use kedge_api::{Condition, Quantity};

pub const CPU: &str = "cpu";
pub const MEMORY: &str = "memory";
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
/// Every pod takes one of these; what a node offers is how many pods it may run.
pub const PODS: &str = "pods";

/// A container without a request counts as this much when nodes are compared, so that such pods spread out as well.
const UNREQUESTED_MILLI_CPU: i64 = 100;
const UNREQUESTED_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts per resource name; a missing resource is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, i64>);

impl Amounts {
    /// Reads the resources that the scheduler counts; others and unreadable quantities are left out.
    pub fn read(list: &ResourceList) -> Amounts {
        let counted = list.iter().filter(|(name, _)| is_counted(name));
        Amounts(counted.filter_map(|(name, text)| Some((name.clone(), amount(name, text)?))).collect())
    }

    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub fn set(&mut self, name: &str, amount: i64) {
        self.0.insert(name.to_owned(), amount);
    }

    fn add(&mut self, other: &Amounts) {
        for (name, amount) in other.iter() {
            let sum = self.get(name).saturating_add(amount);
            self.set(name, sum);
        }
    }

    fn raise_to(&mut self, other: &Amounts) {
        for (name, amount) in other.iter() {
            let most = self.get(name).max(amount);
            self.set(name, most);
        }
    }

    fn default_to(&mut self, name: &str, amount: i64) {
        self.0.entry(name.to_owned()).or_insert(amount);
    }
}

fn is_counted(name: &str) -> bool {
    matches!(name, CPU | MEMORY | EPHEMERAL_STORAGE | PODS)
        || name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
        || name.contains('/')
}

fn amount(name: &str, text: &str) -> Option<i64> {
    let quantity: Quantity = text.parse().ok()?;
    Some(if name == CPU { quantity.milli_value() } else { quantity.value() })
}

/// What a pod takes from its node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// What must be free.
    pub exact: Amounts,
    /// CPU and memory with an assumed use for containers that request none; only to compare nodes.
    pub assumed: Amounts,
}

impl Requests {
    pub fn of(pod: &Pod) -> Requests {
        let mut exact = total(pod, false);
        exact.set(PODS, 1);
        Requests { exact, assumed: total(pod, true) }
    }
}

fn total(pod: &Pod, with_defaults: bool) -> Amounts {
    let spec = &pod.spec;
    let requested = |container: &Container| {
        let mut amounts = effective(pod, container);
        if with_defaults {
            amounts.default_to(CPU, UNREQUESTED_MILLI_CPU);
            amounts.default_to(MEMORY, UNREQUESTED_MEMORY);
        }
        amounts
    };
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&requested(container));
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for container in &spec.init_containers {
        let mut running = requested(container);
        if container.is_sidecar() {
            total.add(&running);
            sidecars.add(&running);
            starting.raise_to(&sidecars);
        } else {
            running.add(&sidecars);
            starting.raise_to(&running);
        }
    }
    total.raise_to(&starting);
    if let Some(of_pod) = &spec.resources {
        for (name, amount) in Amounts::read(&of_pod.requests).iter() {
            total.set(name, amount);
        }
    }
    total.add(&Amounts::read(&spec.overhead));
    total
}

/// A container that is being resized may hold what it was given and soon hold what it asks for: the larger counts, except
/// that a resize which the kubelet called infeasible will not come.
fn effective(pod: &Pod, container: &Container) -> Amounts {
    let spec = Amounts::read(&container.resources.requests);
    let Some((status, actuated)) = status_of(pod, &container.name) else {
        return spec;
    };
    let mut amounts = if is_resize_infeasible(pod) { Amounts::default() } else { spec };
    amounts.raise_to(&actuated);
    amounts.raise_to(&Amounts::read(&status.allocated_resources));
    amounts
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<(&'a ContainerStatus, Amounts)> {
    let statuses = &pod.status;
    let status = statuses
        .container_statuses
        .iter()
        .chain(&statuses.init_container_statuses)
        .find(|status| status.name == name)?;
    let actuated = Amounts::read(&status.resources.as_ref()?.requests);
    Some((status, actuated))
}

fn is_resize_infeasible(pod: &Pod) -> bool {
    let infeasible = |condition: &Condition| condition.is_true() && condition.reason == "Infeasible";
    pod.status.condition("PodResizePending").is_some_and(infeasible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: serde_json::Value, milli_cpu: i64, memory: i64) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        let exact = Requests::of(&pod).exact;
        assert_eq!((exact.get(CPU), exact.get(MEMORY), exact.get(PODS)), (milli_cpu, memory, 1), "{spec}");
    }

    fn cpu(amount: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": amount}}})
    }

    fn sidecar(amount: &str) -> serde_json::Value {
        json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": amount}}})
    }

    #[test]
    fn what_a_pod_requests() {
        check(json!({"containers": []}), 0, 0);
        check(json!({"containers": [cpu("100m"), cpu("1")]}), 1100, 0);
        check(
            json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]}),
            0,
            1 << 20,
        );
        // Init containers run one at a time, before the others.
        check(json!({"containers": [cpu("1")], "initContainers": [cpu("3"), cpu("2")]}), 3000, 0);
        check(json!({"containers": [cpu("4")], "initContainers": [cpu("3")]}), 4000, 0);
        // A sidecar runs beside all that come after it.
        check(json!({"containers": [cpu("1")], "initContainers": [sidecar("1"), cpu("3")]}), 4000, 0);
        check(json!({"containers": [cpu("1")], "initContainers": [cpu("3"), sidecar("1")]}), 3000, 0);
        check(json!({"containers": [cpu("5")], "initContainers": [sidecar("1"), cpu("3")]}), 6000, 0);
        check(json!({"containers": [cpu("1")], "overhead": {"cpu": "250m", "memory": "1"}}), 1250, 1);
        check(
            json!({"containers": [cpu("1")], "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "1"}}),
            4000,
            0,
        );
    }

    #[test]
    fn a_resize_counts_as_the_larger_side_unless_it_is_infeasible() {
        let pod = |conditions: serde_json::Value| -> Pod {
            serde_json::from_value(json!({
                "spec": {"containers": [cpu("4")]},
                "status": {"conditions": conditions, "containerStatuses": [
                    {"name": "c", "resources": {"requests": {"cpu": "1"}}, "allocatedResources": {"cpu": "2"}}]}
            }))
            .unwrap()
        };
        assert_eq!(Requests::of(&pod(json!([]))).exact.get(CPU), 4000);
        let infeasible = json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        assert_eq!(Requests::of(&pod(infeasible)).exact.get(CPU), 2000);
    }

    #[test]
    fn containers_without_requests_are_compared_by_an_assumed_use() {
        let pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [{"name": "a"}, cpu("1")]}})).unwrap();
        let assumed = Requests::of(&pod).assumed;
        assert_eq!((assumed.get(CPU), assumed.get(MEMORY)), (1100, 2 * UNREQUESTED_MEMORY));
    }
}
