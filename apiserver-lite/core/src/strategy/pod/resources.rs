//! Sums over the containers of a pod, and the quality of service that follows from them.

use super::super::access::Read;
use kedge_api::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by resource name.
pub(super) type Amounts = BTreeMap<String, Quantity>;

pub(super) fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), amount.as_str()?.parse().ok()?))).collect()
}

/// What the pod takes at most at any time, by its containers alone: the sum of what runs together, or the largest init
/// container together with the sidecars started before it. `part` is `requests` or `limits`.
pub(super) fn of_containers(spec: &Value, part: &str) -> Amounts {
    let mut running = Amounts::new();
    for container in spec.list("containers") {
        add(&mut running, &amounts(&container["resources"][part]));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.list("initContainers") {
        let own = amounts(&container["resources"][part]);
        if container.text("restartPolicy") == "Always" {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut together = sidecars.clone();
            add(&mut together, &own);
            raise(&mut peak, &together);
        }
    }
    raise(&mut running, &peak);
    running
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = most.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by cpu and memory of all containers (or of the pod as a whole).
pub(in super::super) fn qos_class(spec: &Value) -> &'static str {
    let mut requests = Amounts::new();
    let mut limits = Amounts::new();
    let mut guaranteed = true;
    let whole = spec.has("resources").then(|| &spec["resources"]);
    let parts: Vec<&Value> = match whole {
        Some(resources) => vec![resources],
        None => {
            let containers = spec.list("initContainers").iter().chain(spec.list("containers"));
            containers.map(|container| &container["resources"]).collect()
        }
    };
    for resources in parts {
        let counted = |part: &str| {
            let mut amounts = amounts(&resources[part]);
            amounts.retain(|name, amount| matches!(name.as_str(), "cpu" | "memory") && !amount.is_zero());
            amounts
        };
        let own_limits = counted("limits");
        guaranteed &= own_limits.len() == 2;
        add(&mut requests, &counted("requests"));
        add(&mut limits, &own_limits);
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    if guaranteed && requests == limits { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quality_of_service() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        for (resources, class) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"x.com/y": "1"}}), "BestEffort"),
            (json!({"requests": {"cpu": "0"}}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"requests": both, "limits": both}), "Guaranteed"),
            (json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": both}), "Burstable"),
            (json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}), "Burstable"),
        ] {
            let spec = json!({"containers": [{"resources": resources}]});
            assert_eq!(qos_class(&spec), class, "{spec}");
        }
    }

    #[test]
    fn init_containers_run_before_and_sidecars_beside() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
        let spec = json!({
            "containers": [{"resources": cpu("1")}, {"resources": cpu("1")}],
            "initContainers": [{"resources": cpu("1"), "restartPolicy": "Always"}, {"resources": cpu("4")}],
        });
        assert_eq!(of_containers(&spec, "requests")["cpu"], Quantity::from_milli(5000));
    }
}
