//! LimitRanger: what a container gets that asks for nothing, and how little and how much it may ask for.

use super::{Operation, Plugin, Request, text};
use crate::status::ApiError;
use kedge_api::Quantity;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub struct LimitRanger;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type Amounts = BTreeMap<String, Quantity>;

impl Plugin for LimitRanger {
    fn admit(&self, request: Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.is("", "pods", "") || request.operation != Operation::Create {
            return Ok(());
        }
        for limits in rules(request, "Container") {
            let told = fill_containers(pod, &limits);
            if !told.is_empty() {
                let told = format!("LimitRanger plugin set: {}", told.join("; "));
                pod["metadata"]["annotations"][ANNOTATION] = told.into();
            }
        }
        Ok(())
    }

    fn validate(
        &self,
        request: Request<'_>,
        object: Option<&Value>,
        _: Option<&Value>,
    ) -> Result<(), ApiError> {
        let Some(object) = object else { return Ok(()) };
        let is_claim = request.is("", "persistentvolumeclaims", "");
        let is_pod = (request.is("", "pods", "") && request.operation == Operation::Create)
            || request.is("", "pods", "resize");
        let mut wrong = Vec::new();
        if is_pod {
            for limits in rules(request, "Container") {
                for container in containers(object) {
                    check(&limits, "Container", &Asked::of(&container["resources"]), &mut wrong);
                }
            }
            for limits in rules(request, "Pod") {
                check(&limits, "Pod", &whole_pod(object), &mut wrong);
            }
        } else if is_claim {
            for limits in rules(request, "PersistentVolumeClaim") {
                check_claim(&limits, &Asked::of(&object["spec"]["resources"]), &mut wrong);
            }
        }
        match wrong.as_slice() {
            [] => Ok(()),
            [one] => Err(request.forbidden(Some(object), one)),
            many => Err(request.forbidden(Some(object), &format!("[{}]", many.join(", ")))),
        }
    }
}

/// The items of this type in all LimitRanges of the namespace.
fn rules(request: Request<'_>, of: &str) -> Vec<Value> {
    let namespace = &request.attributes.namespace;
    let ranges = request.objects.list("", "limitranges", Some(namespace));
    let items = ranges.iter().flat_map(|range| range["spec"]["limits"].as_array().into_iter().flatten());
    items.filter(|item| item["type"] == of).cloned().collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let list = |field: &str| pod["spec"][field].as_array().into_iter().flatten();
    list("containers").chain(list("initContainers"))
}

fn fill_containers(pod: &mut Value, limits: &Value) -> Vec<String> {
    let mut told = Vec::new();
    for (field, noun) in [("containers", "container"), ("initContainers", "init container")] {
        for container in pod["spec"][field].as_array_mut().into_iter().flatten() {
            let name = text(&container["name"]).to_owned();
            for (part, defaults, verb) in
                [("requests", &limits["defaultRequest"], "request"), ("limits", &limits["default"], "limit")]
            {
                let set = fill(&mut container["resources"], part, defaults);
                if !set.is_empty() {
                    told.push(format!("{} {verb} for {noun} {name}", set.join(", ")));
                }
            }
        }
    }
    told
}

/// Gives the names of what was missing.
fn fill(resources: &mut Value, part: &str, defaults: &Value) -> Vec<String> {
    let missing = |resources: &Value, name: &str| resources[part].get(name).is_none();
    let defaults = defaults.as_object().into_iter().flatten();
    let set: Map<String, Value> = defaults
        .filter(|(name, _)| missing(resources, name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in &set {
        resources[part][name.as_str()] = value.clone();
    }
    let mut names: Vec<String> = set.into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

/// Requests and limits of one container, or of a pod.
#[derive(Default)]
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    fn of(resources: &Value) -> Asked {
        Asked { requests: amounts(&resources["requests"]), limits: amounts(&resources["limits"]) }
    }
}

fn amounts(list: &Value) -> Amounts {
    let parse = |(name, value): (&String, &Value)| Some((name.clone(), text(value).parse().ok()?));
    list.as_object().into_iter().flatten().filter_map(parse).collect()
}

/// All containers together; an init container runs alone and counts where it asks for more.
fn whole_pod(pod: &Value) -> Asked {
    let mut whole = Asked::default();
    let list = |field: &str| pod["spec"][field].as_array().cloned().unwrap_or_default();
    for container in list("containers") {
        let asked = Asked::of(&container["resources"]);
        for (sum, part) in [(&mut whole.requests, asked.requests), (&mut whole.limits, asked.limits)] {
            for (name, amount) in part {
                let so_far = sum.get(&name).copied();
                sum.insert(name, so_far.map_or(amount, |so_far| so_far + amount));
            }
        }
    }
    for container in list("initContainers") {
        let asked = Asked::of(&container["resources"]);
        for (most, part) in [(&mut whole.requests, asked.requests), (&mut whole.limits, asked.limits)] {
            for (name, amount) in part {
                let so_far = most.get(&name).copied().unwrap_or(amount);
                most.insert(name, so_far.max(amount));
            }
        }
    }
    whole
}

fn check(limits: &Value, of: &str, asked: &Asked, wrong: &mut Vec<String>) {
    for (name, least) in amounts(&limits["min"]) {
        at_least(&name, least, of, asked, wrong);
    }
    for (name, most) in amounts(&limits["max"]) {
        let rule = format!("maximum {name} usage per {of} is {most}");
        let (request, limit) = (asked.requests.get(&name), asked.limits.get(&name));
        match limit {
            None => wrong.push(format!("{rule}.  No limit is specified")),
            Some(limit) if *limit > most => wrong.push(format!("{rule}, but limit is {limit}")),
            Some(_) => {}
        }
        if let (Some(request), Some(_)) = (request.filter(|request| **request > most), limit) {
            wrong.push(format!("{rule}, but request is {request}"));
        }
    }
    for (name, ratio) in amounts(&limits["maxLimitRequestRatio"]) {
        check_ratio(&name, ratio, of, asked, wrong);
    }
}

fn at_least(name: &str, least: Quantity, of: &str, asked: &Asked, wrong: &mut Vec<String>) {
    let rule = format!("minimum {name} usage per {of} is {least}");
    match (asked.requests.get(name), asked.limits.get(name)) {
        (None, _) => wrong.push(format!("{rule}.  No request is specified")),
        (Some(request), _) if *request < least => wrong.push(format!("{rule}, but request is {request}")),
        (Some(_), Some(limit)) if *limit < least => wrong.push(format!("{rule}, but limit is {limit}")),
        (Some(_), _) => {}
    }
}

fn check_ratio(name: &str, ratio: Quantity, of: &str, asked: &Asked, wrong: &mut Vec<String>) {
    let rule = format!("{name} max limit to request ratio per {of} is {ratio}");
    let some = |amounts: &Amounts| amounts.get(name).copied().filter(|amount| !amount.is_zero());
    match (some(&asked.requests), some(&asked.limits)) {
        (None, _) => wrong.push(format!("{rule}, but no request is specified or request is 0")),
        (_, None) => wrong.push(format!("{rule}, but no limit is specified or limit is 0")),
        (Some(request), Some(limit)) => {
            let provided = limit.as_f64() / request.as_f64();
            if provided > ratio.as_f64() {
                wrong.push(format!("{rule}, but provided ratio is {provided:.6}"));
            }
        }
    }
}

/// A claim has requests only.
fn check_claim(limits: &Value, asked: &Asked, wrong: &mut Vec<String>) {
    for (name, least) in amounts(&limits["min"]) {
        at_least(&name, least, "PersistentVolumeClaim", asked, wrong);
    }
    for (name, most) in amounts(&limits["max"]) {
        let rule = format!("maximum {name} usage per PersistentVolumeClaim is {most}");
        match asked.requests.get(&name) {
            None => wrong.push(format!("{rule}.  No request is specified")),
            Some(request) if *request > most => wrong.push(format!("{rule}, but request is {request}")),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(requests: Value, limits: Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    fn verdict(limits: Value, of: &str, containers: Value) -> String {
        let pod = json!({"spec": {"containers": containers}});
        let mut wrong = Vec::new();
        match of {
            "Pod" => check(&limits, of, &whole_pod(&pod), &mut wrong),
            _ => check(&limits, of, &Asked::of(&pod["spec"]["containers"][0]["resources"]), &mut wrong),
        }
        wrong.join("; ")
    }

    /// The words of the recorded refusals (`limitranger-violate`).
    #[test]
    fn too_little_too_much_and_too_far_apart() {
        let limits =
            json!({"min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}});
        for (request, limit, expected) in [
            ("10m", "20m", "minimum cpu usage per Container is 100m, but request is 10m"),
            ("1", "2", "maximum cpu usage per Container is 1, but limit is 2"),
            (
                "100m",
                "900m",
                "cpu max limit to request ratio per Container is 2, but provided ratio is 9.000000",
            ),
            ("500m", "1", ""),
        ] {
            let containers = json!([container(json!({"cpu": request}), json!({"cpu": limit}))]);
            assert_eq!(verdict(limits.clone(), "Container", containers), expected);
        }
        let most = json!({"max": {"memory": "1Gi"}});
        let big = container(json!({"memory": "600Mi"}), json!({"memory": "600Mi"}));
        assert_eq!(
            verdict(most.clone(), "Pod", json!([big, big])),
            "maximum memory usage per Pod is 1Gi, but limit is 1200Mi; \
             maximum memory usage per Pod is 1Gi, but request is 1200Mi"
        );
        assert_eq!(
            verdict(most, "Pod", json!([{"name": "c"}])),
            "maximum memory usage per Pod is 1Gi.  No limit is specified"
        );
    }

    #[test]
    fn what_is_missing_is_filled_in() {
        let limits = json!({"default": {"cpu": "500m", "memory": "64Mi"}, "defaultRequest": {"cpu": "100m"}});
        let mut pod = json!({"spec": {"containers": [container(json!({}), json!({"memory": "1Gi"}))]}});
        let told = fill_containers(&mut pod, &limits);
        let resources = &pod["spec"]["containers"][0]["resources"];
        assert_eq!(
            *resources,
            json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "1Gi"}})
        );
        assert_eq!(told, ["cpu request for container c", "cpu limit for container c"]);
    }
}
